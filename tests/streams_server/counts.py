"""Counts of the requests to the server: calls, writes and read units."""

import json
import math
from collections import Counter, defaultdict
from collections.abc import Mapping
from typing import Any

from tests.streams_server.faults import SINGLE_WRITES
from tests.streams_server.statements import BATCH, table_of

Document = Mapping[str, Any]

_UNIT_BYTES = 4_096


class Counts:
    """Since the start, or the last `clear`. A write is counted when it is requested, whatever its result."""

    def __init__(self) -> None:
        self.clear()

    def clear(self) -> None:
        """Starts counting again."""
        self.calls: Counter[str] = Counter()
        self.busiest: Counter[str] = Counter()
        """The most calls of an operation within one second of the clock."""
        self.writes: defaultdict[str, Counter[str]] = defaultdict(Counter)
        """By table and operation: items."""
        self.read_units: Counter[str] = Counter()
        """By table: one per 4 KB of a consistent read, rounded up per call; half of that otherwise."""
        self._second: Counter[str] = Counter()
        self._seconds: dict[str, int] = {}

    def call(self, operation: str, now: float) -> None:
        """A call came in; `now` in seconds."""
        self.calls[operation] += 1
        if self._seconds.get(operation) != int(now):
            self._seconds[operation] = int(now)
            self._second[operation] = 0
        self._second[operation] += 1
        self.busiest[operation] = max(self.busiest[operation], self._second[operation])

    def write(self, operation: str, asked: Document) -> None:
        """Counts the items that a call would write."""
        if operation in SINGLE_WRITES:
            self.writes[str(asked.get("TableName"))][operation] += 1
        elif operation in (BATCH, "BatchWriteItem", "TransactWriteItems"):
            for table, items in written(operation, asked).items():
                self.writes[table][operation] += items

    def read(self, operation: str, asked: Document, answered: Document) -> None:
        """Counts the read units of a reply to GetItem, Query, Scan or BatchGetItem, where each key is read alone.

        Items that a filter left out are not counted, and those of a batch are small.
        """
        if operation == "BatchGetItem":
            for table, wanted in asked["RequestItems"].items():
                self.read_units[table] += len(wanted["Keys"]) / (1 if wanted.get("ConsistentRead") else 2)  # type: ignore[assignment]
            return
        items = answered.get("Items", ()) if operation != "GetItem" else [answered.get("Item", {})]
        size = sum(item_bytes(item) for item in items)
        units = max(1, math.ceil(size / _UNIT_BYTES))
        self.read_units[str(asked.get("TableName"))] += units if asked.get("ConsistentRead") else units / 2  # type: ignore[assignment]


def written(operation: str, asked: Document) -> Counter[str]:
    """How many items of each table a batch or a transaction writes."""
    if operation == BATCH:
        return Counter(map(table_of, asked.get("Statements", ())))
    if operation == "BatchWriteItem":
        return Counter({table: len(items) for table, items in asked.get("RequestItems", {}).items()})
    actions = [next(iter(action.items())) for action in asked.get("TransactItems", ())]
    return Counter(str(action["TableName"]) for kind, action in actions if kind != "ConditionCheck")


def tables_of(asked: Document) -> set[str]:
    """All tables that a request names."""
    if "TableName" in asked:
        return {str(asked["TableName"])}
    if "RequestItems" in asked:
        return set(asked["RequestItems"])
    if "Statements" in asked:
        return set(map(table_of, asked["Statements"]))
    return {str(next(iter(action.values()))["TableName"]) for action in asked.get("TransactItems", ())}


def item_bytes(item: Document) -> int:
    """About what DynamoDB counts: names and values."""
    return sum(len(name) + len(json.dumps(value, separators=(",", ":"))) - 7 for name, value in item.items())
