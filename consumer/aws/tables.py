"""Whole tables: made, checked at start, and read by operators' commands."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from functools import partial
from threading import Event
from typing import Any, Final, NamedTuple, TypeVar

from botocore.exceptions import ClientError

from consumer import retries
from consumer.aws.items import (
    AUDIT,
    BINDING,
    EXPIRY,
    GAP,
    MEMBERS_KEY,
    PENDING_INDEX,
    PENDING_KEY,
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
from consumer.aws.wire import call_with_retries, code_of, refusal_of, translated
from consumer.domain.errors import CallFailed, FailureKind, StartRefused, UnsafeRefused
from consumer.domain.leases import TableBinding, TableNames
from consumer.domain.operator_ports import BoardRow, Gap, LeaseTable
from consumer.domain.records import Corrections
from consumer.domain.stream_halt import StreamHaltReason, StreamUnusable, missing_images
from consumer.domain.windows import GAMES, SCORE

Keys = tuple[tuple[str, str], ...]
"""A table's key as (name, type) pairs, partition key first."""

LEADERBOARD_KEYS: Final[Keys] = (("playerId", "S"),)
LEASE_KEYS: Final[Keys] = (("leaseKey", "S"),)
QUARANTINE_KEYS: Final[Keys] = (("shardId", "S"), ("sequenceNumber", "S"))

USABLE: Final = ("ACTIVE", "UPDATING")
"""Statuses of a table that can be read and written."""
ACTIVE_SECONDS: Final = 120.0
"""How long `init` waits for a new table."""
INDEX_SECONDS: Final = 1_800.0
"""The same for an index that is added: AWS takes minutes, also where there is little to index."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class TableReport:
    """What `init` did for one table."""

    name: str
    created: bool
    note: str | None


class DynamoTables:
    """Tables and streams by name. It waits on `stop`; every failure is a ConsumerError."""

    def __init__(self, client: Any, streams: Any, stop: Event) -> None:
        self._client = client
        self._streams = streams
        self._stop = stop

    def ensure(self, name: str, keys: Keys, variable: str | None = None) -> TableReport:
        """Creates the table if it is missing and waits until it is active.

        It is on demand, has point-in-time recovery and, if it is the quarantine table, its index.

        Raises UnsafeRefused, which names `variable`, for a table of that name with another key; StartRefused for what
        AWS refuses.
        """
        created = self._describe(name) is None and self._create(name, keys)
        found = self._wait(name, lambda table: table.status in USABLE, ACTIVE_SECONDS).keys
        if found != keys:
            named = f"{name} ({variable})" if variable else name
            raise UnsafeRefused(
                f"table {named} exists with the key {_show(found)}; {_show(keys)} is needed. It is another table: "
                "use another name, or delete the table if nothing needs it."
            )
        return TableReport(name, created, self._switch_on_recovery(name))

    def ensure_index(self, name: str) -> bool:
        """Adds the index of pending records to a table that an older version made, and waits until it is served.

        False: the table has it. Raises StartRefused for what AWS refuses.
        """
        table = self._describe(name)
        if table is not None and table.index_status == ACTIVE:
            return False
        if table is None or table.index_status is None:
            self._call(lambda: self._add_index(name))
        self._wait(name, lambda table: table.index_status == ACTIVE, INDEX_SECONDS)
        return True

    def ensure_expiry(self, name: str) -> None:
        """Switches on time to live: rows that say when they expire are deleted then. Raises StartRefused.

        AWS refuses to switch on what is on, as another `init` may do meanwhile.
        """
        specification = {"Enabled": True, "AttributeName": EXPIRY}

        def is_on() -> bool:
            found = self._client.describe_time_to_live(TableName=name)["TimeToLiveDescription"]
            return found["TimeToLiveStatus"] in ("ENABLED", "ENABLING")

        def switch_on() -> None:
            try:
                self._client.update_time_to_live(TableName=name, TimeToLiveSpecification=specification)
            except ClientError:
                if not is_on():
                    raise

        if not self._call(is_on):
            self._call(switch_on)

    def _switch_on_recovery(self, name: str) -> str | None:
        """Point-in-time recovery; a note where the engine has none."""

        def update() -> str | None:
            try:
                self._client.update_continuous_backups(
                    TableName=name, PointInTimeRecoverySpecification={"PointInTimeRecoveryEnabled": True}
                )
            except ClientError as error:
                if code_of(error) != "UnknownOperationException":
                    raise
                return "this engine has no point-in-time recovery"
            return None

        return self._call(update)

    def check(self, name: str, keys: Keys, variable: str, made_by: str = "consumer init") -> None:
        """Raises StartRefused unless the table exists, is active and has this key. `made_by` would create it."""
        table = self._describe(name)
        if table is None:
            raise StartRefused(
                f"table {name} ({variable}) does not exist: check its name and the region; if they are right, create "
                f"it with `{made_by}`"
            )
        if table.keys != keys:
            raise StartRefused(
                f"table {name} ({variable}) has the key {_show(table.keys)}; {_show(keys)} is needed. "
                f"Correct {variable}, or create the right table with `{made_by}`."
            )
        if table.status not in USABLE:
            raise StartRefused(f"table {name} ({variable}) is {table.status}: wait until it is ACTIVE")

    def require_stream(self, source_table: str, corrections: Corrections = Corrections.IGNORE) -> str:
        """The ARN of the table's stream. Raises StreamUnusable when no stream with the needed images is on."""
        table = self._describe(source_table)
        if table is None:
            raise StreamUnusable(
                StreamHaltReason.OFF,
                None,
                f"source table {source_table} (CONSUMER_SOURCE_TABLE) does not exist",
                named_wrong=True,
            )
        if table.stream_arn is None:
            raise StreamUnusable(
                StreamHaltReason.OFF,
                None,
                f"the stream of table {source_table} is off: switch it on with the view type NEW_IMAGE, "
                "or NEW_AND_OLD_IMAGES where corrections are to be applied "
                "(or name an older stream with CONSUMER_STREAM_ARN)",
            )
        unusable = missing_images(str(table.view), corrections, table.stream_arn, source_table)
        if unusable is not None:
            raise unusable
        return table.stream_arn

    def check_stream(self, stream_arn: str, corrections: Corrections = Corrections.IGNORE) -> None:
        """Raises StreamUnusable unless the stream exists and carries the needed images."""

        def view() -> str:
            description = self._streams.describe_stream(StreamArn=stream_arn)["StreamDescription"]
            return str(description.get("StreamViewType"))

        found = self._find(view)
        if found is None:
            raise StreamUnusable(
                StreamHaltReason.OFF,
                stream_arn,
                f"stream {stream_arn} (CONSUMER_STREAM_ARN) does not exist, or is older than 24 hours",
            )
        unusable = missing_images(found, corrections, stream_arn)
        if unusable is not None:
            raise unusable

    def _create(self, name: str, keys: Keys) -> bool:
        """False when the table was created elsewhere in the meantime."""
        schema = [
            {"AttributeName": key, "KeyType": kind} for (key, _), kind in zip(keys, ("HASH", "RANGE"), strict=False)
        ]
        indexes = {"GlobalSecondaryIndexes": [INDEX]} if keys == QUARANTINE_KEYS else {}
        attributes = (*keys, (PENDING_KEY, "S")) if indexes else keys

        def create() -> bool:
            try:
                self._client.create_table(
                    TableName=name,
                    BillingMode="PAY_PER_REQUEST",
                    KeySchema=schema,
                    AttributeDefinitions=_definitions(attributes),
                    **indexes,
                )
            except ClientError as error:
                if code_of(error) != "ResourceInUseException":
                    raise
                return False
            return True

        return self._call(create)

    def _add_index(self, name: str) -> None:
        try:
            self._client.update_table(
                TableName=name,
                AttributeDefinitions=_definitions((*QUARANTINE_KEYS, (PENDING_KEY, "S"))),
                GlobalSecondaryIndexUpdates=[{"Create": INDEX}],
            )
        except ClientError:
            description = self._client.describe_table(TableName=name)["Table"]
            if index_status_of(description) is None:  # no other `init` was faster
                raise

    def _wait(self, name: str, ready: "Callable[[_Table], bool]", seconds: float) -> "_Table":
        def describe() -> _Table:
            table = self._describe(name)
            if table is None or not ready(table):
                raise _NotYet
            return table

        try:
            return retries.persist(
                describe, seconds=seconds, stop=self._stop, retry_on=lambda error: isinstance(error, _NotYet)
            )
        except _NotYet:
            raise StartRefused(f"table {name} is not active after {seconds:.0f} s; run init again") from None

    def _describe(self, name: str) -> "_Table | None":
        return self._find(lambda: _table(self._client.describe_table(TableName=name)["Table"]))

    def _find(self, call: Callable[[], T]) -> T | None:
        """The result of `call`, None for what does not exist."""
        try:
            return call_with_retries(call, self._stop)
        except CallFailed as failure:
            if failure.kind is FailureKind.MISSING:
                return None
            raise refusal_of(failure) from failure

    def _call(self, call: Callable[[], T]) -> T:
        """The result of `call`. Failures that may pass are retried; the others are why the command cannot start."""
        try:
            return call_with_retries(call, self._stop)
        except CallFailed as failure:
            raise refusal_of(failure) from failure


class _Table(NamedTuple):
    """The part of a table's description that is checked. No `stream_arn`: its stream is off.

    `index_status` is that of the index of pending records; None: there is none.
    """

    status: str
    keys: Keys
    stream_arn: str | None
    view: str | None
    index_status: str | None


def _table(description: Mapping[str, Any]) -> _Table:
    return _Table(
        str(description["TableStatus"]),
        keys_of(description),
        stream_of(description),
        description.get("StreamSpecification", {}).get("StreamViewType"),
        index_status_of(description),
    )


def _definitions(attributes: Keys) -> list[dict[str, str]]:
    return [{"AttributeName": name, "AttributeType": kind} for name, kind in attributes]


def keys_of(description: Mapping[str, Any]) -> Keys:
    """The key of a table from its description."""
    types = {
        attribute["AttributeName"]: attribute["AttributeType"] for attribute in description["AttributeDefinitions"]
    }
    schema = sorted(description["KeySchema"], key=lambda part: str(part["KeyType"]))
    return tuple((part["AttributeName"], types[part["AttributeName"]]) for part in schema)


def stream_of(description: Mapping[str, Any]) -> str | None:
    """The ARN of a table's stream from the table's description; None where it is off."""
    stream_arn = description.get("LatestStreamArn")
    is_on = description.get("StreamSpecification", {}).get("StreamEnabled")
    return stream_arn if is_on and isinstance(stream_arn, str) else None


def _show(keys: Keys) -> str:
    return " + ".join(f"{name} ({kind})" for name, kind in keys)


class _NotYet(Exception):
    """The table is not active yet."""


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


class DynamoBoard:
    """The Boards port over a boto3 client. Retries wait on `stop`."""

    def __init__(self, client: Any, tables: TableNames, stop: Event) -> None:
        self._client = client
        self._leaderboard = tables.leaderboard
        self._stop = stop

    def rows(self, window: str | None = None) -> Iterator[BoardRow]:
        """One scan; it has everything that was committed before it. See operator_ports.Boards."""
        games, total = ("gamesPlayed", "totalScore") if window is None else (window + GAMES, window + SCORE)
        columns = f"playerId, {games}, {total}, lastPlayedDate"
        for item in read_items(
            self._client.scan, self._stop, TableName=self._leaderboard, ProjectionExpression=columns
        ):
            if window is not None and games not in item and total not in item:
                continue
            with translated():
                row = BoardRow(
                    item["playerId"]["S"], _number(item, games), _number(item, total), text(item, "lastPlayedDate")
                )
            if row.games != 0:
                yield row

    def about(self) -> int:
        """The table's ItemCount, which DynamoDB counts about every six hours. Source: DescribeTable's reference."""
        reply = call_with_retries(lambda: self._client.describe_table(TableName=self._leaderboard), self._stop)
        return int(reply["Table"].get("ItemCount", 0))


def _number(item: Item, name: str) -> Decimal | None:
    """Made from the digits as they came: nothing is rounded."""
    digits = text(item, name, "N")
    try:
        return None if digits is None else Decimal(digits)
    except InvalidOperation:
        raise ValueError(f"{name} is no number") from None


INDEX: Final[dict[str, Any]] = {
    "IndexName": PENDING_INDEX,
    "KeySchema": [{"AttributeName": PENDING_KEY, "KeyType": "HASH"}],
    "Projection": {"ProjectionType": "INCLUDE", "NonKeyAttributes": ["state"]},
}
"""As a request to create it."""
ACTIVE: Final = "ACTIVE"
"""The status of an index that is complete and can be read."""
_COUNT: Final[dict[str, Any]] = {
    "FilterExpression": "#state = :pending",
    "ExpressionAttributeNames": {"#state": "state"},
    "ExpressionAttributeValues": {":pending": {"S": "pending"}},
    "Select": "COUNT",
}


class DynamoPending:
    """The PendingRecords port over a boto3 client."""

    def __init__(self, client: Any, tables: TableNames) -> None:
        self._client = client
        self._quarantine = tables.quarantine

    @translated()
    def count(self) -> int | None:
        """By the index, eventually consistent; see ports.PendingRecords."""
        if index_status_of(self._client.describe_table(TableName=self._quarantine)["Table"]) != ACTIVE:
            return None
        pages = self._client.get_paginator("scan").paginate(
            TableName=self._quarantine, IndexName=PENDING_INDEX, **_COUNT
        )
        return sum(int(page["Count"]) for page in pages)

    def scan(self) -> Iterator[int]:
        """The whole table; see ports.PendingRecords."""
        pages = iter(self._client.get_paginator("scan").paginate(TableName=self._quarantine, **_COUNT))
        while True:
            with translated():
                page = next(pages, None)
                count = int(page["Count"]) if page is not None else None
            if count is None:
                return
            yield count


def index_status_of(description: Mapping[str, Any]) -> str | None:
    """The index's status by the table's description; None: there is none."""
    indexes = description.get("GlobalSecondaryIndexes", ())
    # ministack's CloudFormation makes indexes without a status.
    statuses = (str(index.get("IndexStatus", ACTIVE)) for index in indexes if index["IndexName"] == PENDING_INDEX)
    return next(statuses, None)
