"""What operators' commands read: whole tables page by page, the board, gaps, table bindings, the audit trail.

Every page that cannot be read is retried for a while, so that a long scan survives a throttled table.
"""

from collections.abc import Callable, Iterator, Mapping
from decimal import Decimal, InvalidOperation
from functools import partial
from threading import Event
from typing import Any, Final

from consumer.aws.errors import call_with_retries, translated
from consumer.aws.items import (
    AUDIT,
    BINDING,
    GAP,
    MEMBERS_KEY,
    REPLAY_PREFIX,
    Item,
    audit_row,
    binding_row,
    gap_row,
    ledger_of,
    members_of,
    partition_of,
    text,
)
from consumer.aws.pending import DynamoPending
from consumer.domain.leases import TableBinding, TableNames
from consumer.domain.operator_ports import BoardRow, Gap, LeaseTable

Reply = Mapping[str, Any]


def read_pages(read: Callable[..., Reply], stop: Event, **request: Any) -> Iterator[Reply]:
    """The replies to a scan or a query, consistently read, each as it is at its time. Raises CallFailed."""
    start: dict[str, Any] = {}
    while True:
        reply = call_with_retries(partial(read, **request, ConsistentRead=True, **start), stop)
        yield reply
        if not reply.get("LastEvaluatedKey"):
            return
        start = {"ExclusiveStartKey": reply["LastEvaluatedKey"]}


def read_items(read: Callable[..., Reply], stop: Event, **request: Any) -> Iterator[Item]:
    """The items of all pages. Raises CallFailed."""
    for page in read_pages(read, stop, **request):
        with translated():
            found = page["Items"]
        yield from found


class DynamoTableReader:
    """The TableReader port over a boto3 client, and the audit trail. Retries wait on `stop`."""

    def __init__(self, client: Any, tables: TableNames, stop: Event) -> None:
        self._client = client
        self._tables = tables
        self._stop = stop

    @translated()
    def lease_table(self) -> LeaseTable:
        """One scan; see operator_ports.TableReader."""
        found = {
            item["leaseKey"]["S"]: item
            for item in read_items(self._client.scan, self._stop, TableName=self._tables.leases)
        }
        replays = tuple(_scalars(item) for key, item in found.items() if key.startswith(REPLAY_PREFIX))
        return LeaseTable(ledger_of(found.values()), members_of(found.get(MEMBERS_KEY, {})), replays)

    @translated()
    def gaps(self) -> tuple[Gap, ...]:
        """One partition; see operator_ports.TableReader."""
        return tuple(map(gap_row, self._partition(GAP)))

    @translated()
    def bindings(self) -> tuple[TableBinding, ...]:
        """One partition; see operator_ports.TableReader."""
        return tuple(map(binding_row, self._partition(BINDING)))

    def pending(self) -> int | None:
        """By the index; see operator_ports.TableReader."""
        return call_with_retries(DynamoPending(self._client, self._tables).count, self._stop)

    def audit_rows(self, *, newest_first: bool = True) -> Iterator[dict[str, str]]:
        """All audit entries: `who`, `at`, `act`, `target` and the entry's own details, as text. Raises CallFailed."""
        return map(audit_row, self._partition(AUDIT, newest_first=newest_first))

    def _partition(self, name: str, *, newest_first: bool = False) -> Iterator[Item]:
        """A partition of the quarantine table, by its sort key."""
        return read_items(
            self._client.query,
            self._stop,
            TableName=self._tables.quarantine,
            ScanIndexForward=not newest_first,
            **partition_of(name),
        )


def _scalars(item: Item) -> dict[str, str]:
    """The item's texts, numbers and booleans, as text."""
    values = {name: next(iter(value.items())) for name, value in sorted(item.items())}
    return {name: str(value) for name, (tag, value) in values.items() if tag in ("S", "N", "BOOL")}


_COLUMNS: Final = "playerId, gamesPlayed, totalScore, lastPlayedDate"


class DynamoBoard:
    """The Boards port over a boto3 client. Retries wait on `stop`."""

    def __init__(self, client: Any, tables: TableNames, stop: Event) -> None:
        self._client = client
        self._leaderboard = tables.leaderboard
        self._stop = stop

    def rows(self) -> Iterator[BoardRow]:
        """One scan; it has everything that was committed before it. See operator_ports.Boards."""
        request = {"TableName": self._leaderboard, "ProjectionExpression": _COLUMNS}
        for item in read_items(self._client.scan, self._stop, **request):
            with translated():
                row = _board_row(item)
            yield row

    def about(self) -> int:
        """The table's ItemCount, which DynamoDB counts about every six hours. Source: DescribeTable's reference."""
        reply = call_with_retries(lambda: self._client.describe_table(TableName=self._leaderboard), self._stop)
        return int(reply["Table"].get("ItemCount", 0))


def _board_row(item: Item) -> BoardRow:
    return BoardRow(
        item["playerId"]["S"],
        _number(item, "gamesPlayed"),
        _number(item, "totalScore"),
        text(item, "lastPlayedDate"),
    )


def _number(item: Item, name: str) -> Decimal | None:
    """Made from the digits as they came: nothing is rounded."""
    digits = text(item, name, "N")
    try:
        return None if digits is None else Decimal(digits)
    except InvalidOperation:
        raise ValueError(f"{name} is no number") from None
