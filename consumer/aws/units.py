"""Read and write units as AWS bills them, counted from the events of the DynamoDB client: no caller has to know.

Replies say what their calls cost, where requests ask for it (`ReturnConsumedCapacity`). Only DynamoDB knows the size of
the item that an update changes (`members` grows with the workers), which indexes it writes, and whether a transaction
was done before, which costs reads. Two things are counted from requests:

- Refused conditions. DynamoDB bills them and does not say it. An item is as large as what came back of it, or as what
  was to be set. A transaction that was cancelled by a conflict counts too, which is not documented.
- Statements, and the rows that BatchGetItem reads: a figure per statement would cost more than all else about a reply.
  They are rows of the leaderboard, of some 300 bytes, and index rows of corrected items with the heads of their
  records. One that others, or a very long id, have made larger than a unit counts as one unit.

DynamoDB Local says too little of transactions with several actions and of reads that find nothing: what the request
makes sure counts at least. A call without a reply does not count, although DynamoDB may have done it; nor does one that
was throttled or failed.
Sources: Developer Guide, "Read and write operations" and "Managing complex workflows with transactions".
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from functools import partial
from math import ceil
from typing import Any, Final

from consumer.aws.commits import size_of
from consumer.aws.items import Item
from consumer.aws.transact import CONDITION_FAILED, UPDATE_CONDITION_FAILED
from consumer.aws.wire import UNREADABLE, body_of_reply, decode_json, service_of
from consumer.domain.leases import OwnTable, TableNames
from consumer.domain.ports import UnitMeter

UNIT_BYTES: Final = 1_024
TRANSACTIONAL: Final = 2
"""Units per action of a transaction, and started KB."""
BILLED_REFUSALS: Final = frozenset({CONDITION_FAILED, "DuplicateItem"})
"""Of a statement."""
BILLED_CANCELLATIONS: Final = frozenset({CONDITION_FAILED, "TransactionConflict"})

UNASKED: Final = frozenset({"BatchExecuteStatement", "BatchGetItem"})
"""Operations whose replies need not say what they cost."""
_CONTEXT_KEY: Final = "leaderboard_consumer_request"

Count = Callable[[Mapping[str, Any], Mapping[str, Any]], None]
"""Counts a call by its request and its reply."""


class UnitCounter:
    """Counts the calls of the clients that it watches, on their threads."""

    def __init__(self, tables: TableNames, meter: UnitMeter) -> None:
        self._meter = meter
        self._table_of = {
            tables.leases: OwnTable.LEASE,
            tables.leaderboard: OwnTable.LEADERBOARD,
            tables.quarantine: OwnTable.QUARANTINE,
        }
        self.operations: Mapping[str, Count] = {
            "BatchExecuteStatement": self._statements,
            "BatchGetItem": self._rows,
            "GetItem": self._read,
            "Query": self._read,
            "Scan": self._read,
            "TransactGetItems": self._read,
            "TransactWriteItems": self._transaction,
            "UpdateItem": self._update,
        }

    def watch(self, client: Any) -> None:
        """Counts what this client's calls cost from now on."""
        events, service = client.meta.events, service_of(client)
        for operation, count in self.operations.items():
            remember = _keep if operation in UNASKED else _ask
            events.register_first(f"provide-client-params.{service}.{operation}", remember)
            events.register(f"after-call.{service}.{operation}", partial(_count, count))

    def _statements(self, request: Mapping[str, Any], reply: Mapping[str, Any]) -> None:
        if "Error" in reply:
            return
        billed, body = len(request["Statements"]), body_of_reply(reply)
        if b'"Error"' in body:  # only then it is worth parsing
            errors = (answer.get("Error") for answer in decode_json(body)["Responses"])
            billed = sum(error is None or error.get("Code") in BILLED_REFUSALS for error in errors)
        self._meter.write_units(OwnTable.LEADERBOARD, billed)

    def _rows(self, request: Mapping[str, Any], reply: Mapping[str, Any]) -> None:
        if "Error" in reply:
            return
        body, unread = body_of_reply(reply), {}
        if b'"UnprocessedKeys":{}' not in body:  # only then it is worth parsing
            unread = decode_json(body).get("UnprocessedKeys", {})
        for table, wanted in request["RequestItems"].items():
            read = len(wanted["Keys"]) - len(unread.get(table, {}).get("Keys", ()))
            self._meter.read_units(self._table_of[table], read if wanted.get("ConsistentRead") else read / 2)

    def _read(self, request: Mapping[str, Any], reply: Mapping[str, Any]) -> None:
        least = 1 if request.get("ConsistentRead") else 0.5  # also where nothing is found
        for entry in _consumed(reply):
            self._meter.read_units(self._table_of[entry["TableName"]], max(least, entry["CapacityUnits"]))

    def _update(self, request: Mapping[str, Any], reply: Mapping[str, Any]) -> None:
        for entry in _consumed(reply):
            self._meter.write_units(self._table_of[entry["TableName"]], entry["CapacityUnits"])
        if reply.get("Error", {}).get("Code") == UPDATE_CONDITION_FAILED:
            self._meter.write_units(self._table_of[request["TableName"]], _kilobytes(request, reply.get("Item")))

    def _transaction(self, request: Mapping[str, Any], reply: Mapping[str, Any]) -> None:
        writes = [write for action in request["TransactItems"] for write in action.values()]
        units = _cancelled(writes, reply) if "Error" in reply else _least(writes)
        for entry in _consumed(reply):
            table, consumed = entry["TableName"], entry["CapacityUnits"]
            if "ReadCapacityUnits" in entry and "WriteCapacityUnits" not in entry:
                del units[table]
                self._meter.read_units(self._table_of[table], consumed)
            else:
                units[table] = max(units[table], consumed)
        for table, written in units.items():
            self._meter.write_units(self._table_of[table], written)


def _keep(params: dict[str, Any], context: dict[str, Any], **_: object) -> None:
    context[_CONTEXT_KEY] = params


def _ask(params: dict[str, Any], context: dict[str, Any], **_: object) -> None:
    context[_CONTEXT_KEY] = params
    params["ReturnConsumedCapacity"] = "TOTAL"


def _count(count: Count, parsed: Mapping[str, Any], context: Mapping[str, Any], **_: object) -> None:
    with suppress(*UNREADABLE):  # of a malformed reply: it is no reason why the call should fail
        count(context[_CONTEXT_KEY], parsed)


def _consumed(reply: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """What the reply says of its cost, by table."""
    consumed = reply.get("ConsumedCapacity", ())
    yield from (consumed,) if isinstance(consumed, Mapping) else consumed


def _least(writes: Iterable[Mapping[str, Any]]) -> dict[str, float]:
    """What a transaction costs at least, by table."""
    units: dict[str, float] = defaultdict(float)
    for write in writes:
        units[write["TableName"]] += TRANSACTIONAL
    return units


def _cancelled(writes: Iterable[Mapping[str, Any]], reply: Mapping[str, Any]) -> dict[str, float]:
    """What a transaction costs that DynamoDB refused, by table."""
    units: dict[str, float] = defaultdict(float)
    reasons = reply.get("CancellationReasons", ())
    if not BILLED_CANCELLATIONS.isdisjoint(reason.get("Code") for reason in reasons):
        for write, reason in zip(writes, reasons, strict=True):
            units[write["TableName"]] += TRANSACTIONAL * _kilobytes(write, reason.get("Item"))
    return units


def _kilobytes(write: Mapping[str, Any], item: Item | None) -> int:
    """Started KB of the item that was to be written."""
    new = write.get("Item") or write.get("ExpressionAttributeValues") or {}
    return max(1, ceil(max(size_of(new), size_of(item or {})) / UNIT_BYTES))
