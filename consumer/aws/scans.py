"""Source table and leaderboard page by page, as `verify` reads them: consistently, and with what it costs."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from decimal import Decimal, InvalidOperation
from hashlib import blake2b
from typing import Any, Final

from consumer.aws.board import player_key
from consumer.aws.corrections import INDEX, ITEM_KEY, KEPT, index_row, item_text, kept_of
from consumer.aws.items import Item, ledger_of, text
from consumer.aws.streams import date_of
from consumer.aws.tables import keys_of, stream_of
from consumer.aws.wire import body_of_reply, decode_json, encode_json, keep_bodies, translated
from consumer.domain.corrections import IndexRow, RecordKey
from consumer.domain.errors import CallFailed, FailureKind
from consumer.domain.leases import Ledger, TableNames
from consumer.domain.operator_ports import BoardPage, BoardState, CountedPage, ItemPage, LifeOver, TableFacts
from consumer.domain.windows import GAMES, SCORE, window_of

PAGE_ITEMS: Final = 4_000
"""Of a page of 1 MB that holds more: it comes sooner, and the pace is smoother, for the same read units."""
_CONSUMED: Final = "TOTAL"


class DynamoScans:
    """The Scans port over a boto3 client of its own: its scans and queries are not parsed by botocore."""

    def __init__(self, client: Any, tables: TableNames, source: str) -> None:
        self._client = client
        self._tables = tables
        self._source = source
        self._partition_key = ""
        for operation in ("Scan", "Query", "BatchGetItem"):
            keep_bodies(client, operation)

    def source(self) -> TableFacts:
        """DescribeTable; see operator_ports.Scans."""
        facts = self._describe(self._source)
        self._partition_key = facts.keys[0]
        return facts

    def board(self) -> TableFacts:
        """DescribeTable; see operator_ports.Scans."""
        return self._describe(self._tables.leaderboard)

    @translated()
    def ledger(self) -> tuple[Ledger, float]:
        """One consistent scan; see operator_ports.Scans."""
        rows: list[Item] = []
        begun_at: float | None = None
        request: dict[str, Any] = {"TableName": self._tables.leases, "ConsistentRead": True}
        while True:
            reply = self._client.scan(**request)
            begun_at = date_of(reply) if begun_at is None else begun_at
            page = decode_json(body_of_reply(reply))
            rows += page["Items"]
            if not page.get("LastEvaluatedKey"):
                return ledger_of(rows), begun_at
            request["ExclusiveStartKey"] = page["LastEvaluatedKey"]

    def items(self, after: Mapping[str, Any] | None) -> ItemPage:
        """One page of a scan; see operator_ports.Scans."""
        return self._items(self._client.scan, {}, after)

    def items_of(self, player: str, after: Mapping[str, Any] | None) -> ItemPage:
        """One page of a query; see operator_ports.Scans."""
        request = {
            "KeyConditionExpression": "#player = :player",
            "ExpressionAttributeNames": {"#player": self._partition_key},
            "ExpressionAttributeValues": {":player": {"S": player}},
        }
        return self._items(self._client.query, request, after)

    @translated()
    def counted_items(self, after: Mapping[str, Any] | None) -> CountedPage:
        """One page of a scan; see operator_ports.Scans."""
        request = {
            "TableName": self._tables.quarantine,
            "FilterExpression": f"begins_with(shardId, :index) OR attribute_exists({KEPT})",
            "ExpressionAttributeValues": {":index": {"S": INDEX}},
        }
        _, page = self._page(self._client.scan, request, after)
        return CountedPage(list(map(_counted, page["Items"])), page.get("LastEvaluatedKey") or None, units_of(page))

    @translated()
    def board_rows(self, after: Mapping[str, Any] | None) -> BoardPage:
        """One page of a scan; see operator_ports.Scans."""
        _, page = self._page(self._client.scan, {"TableName": self._tables.leaderboard}, after)
        return BoardPage(list(map(board_state, page["Items"])), page.get("LastEvaluatedKey") or None, units_of(page))

    @translated()
    def rows_of(self, players: Sequence[str]) -> BoardPage:
        """BatchGetItem, as often as it takes; see operator_ports.Scans."""
        board, rows, units = self._tables.leaderboard, list[BoardState](), 0.0
        keys = [player_key(player) for player in players]
        while keys:
            wanted = {board: {"Keys": keys, "ConsistentRead": True}}
            reply = decode_json(
                body_of_reply(self._client.batch_get_item(RequestItems=wanted, ReturnConsumedCapacity=_CONSUMED))
            )
            rows += map(board_state, reply["Responses"].get(board, ()))
            units += sum(float(each["CapacityUnits"]) for each in reply.get("ConsumedCapacity", ()))
            left = reply.get("UnprocessedKeys", {}).get(board, {}).get("Keys", [])
            if len(left) == len(keys):
                raise CallFailed(FailureKind.THROTTLED, "BatchGetItem: no row was read")
            keys = left
        return BoardPage(rows, None, units)

    @translated()
    def _items(self, read: Any, request: Mapping[str, Any], after: Mapping[str, Any] | None) -> ItemPage:
        date, page = self._page(read, {"TableName": self._source, **request}, after)
        return ItemPage(page["Items"], page.get("LastEvaluatedKey") or None, units_of(page), date)

    def _page(self, read: Any, request: dict[str, Any], after: Mapping[str, Any] | None) -> tuple[float, Any]:
        """The Date of a reply, and its content."""
        start = {} if after is None else {"ExclusiveStartKey": after}
        reply = read(**request, **start, ConsistentRead=True, Limit=PAGE_ITEMS, ReturnConsumedCapacity=_CONSUMED)
        return date_of(reply), decode_json(body_of_reply(reply))

    @translated()
    def _describe(self, name: str) -> TableFacts:
        table = self._client.describe_table(TableName=name)["Table"]
        created = table.get("CreationDateTime")
        return TableFacts(
            name,
            tuple(key for key, _ in keys_of(table)),
            int(table.get("ItemCount", 0)),
            int(table.get("TableSizeBytes", 0)),
            created.timestamp() if isinstance(created, datetime) else None,
            stream_of(table),
        )


def _counted(row: Item) -> IndexRow | LifeOver:
    if row["shardId"]["S"].startswith(INDEX):
        return index_row(row)
    record = RecordKey(row["shardId"]["S"], row["sequenceNumber"]["S"])
    kept = kept_of(row, record)
    counted, parts = kept.counted if kept is not None else None, int(text(row, "parts", "N") or 0)
    return LifeOver(record, item_text(row[ITEM_KEY]), text(row, "state") or "", text(row, "act"), counted, parts)


def units_of(page: Mapping[str, Any]) -> float:
    """The read units that a page took, as DynamoDB bills them; 0: the engine does not say it."""
    return float(page.get("ConsumedCapacity", {}).get("CapacityUnits", 0.0))


def board_state(item: Item) -> BoardState:
    """A row of the leaderboard with its windows, from its item."""
    windows = {window for name in item if (window := window_of(name)) is not None}
    shown = {window: (_number(item, window + GAMES), _number(item, window + SCORE)) for window in windows}
    digest = blake2b(encode_json(item, sort_keys=True), digest_size=16).digest()
    games, total = _number(item, "gamesPlayed"), _number(item, "totalScore")
    return BoardState(item["playerId"]["S"], games, total, text(item, "lastPlayedDate"), shown, digest)


def _number(item: Item, name: str) -> Decimal | None:
    digits = text(item, name, "N")
    try:
        return None if digits is None else Decimal(digits)
    except InvalidOperation:
        return None
