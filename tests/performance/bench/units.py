"""Write and read units by DynamoDB's published rules: a request is charged by the size of the items that it names."""

import json
import math
from collections import Counter
from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Any, NamedTuple

from tests.support.processes import Call

Document = Mapping[str, Any]

TRANSACTIONAL = 2
"""A write in a transaction costs twice. Source: Developer Guide, "Read/write capacity mode", write request units."""

_WRITE_BYTES = 1_024
_READ_BYTES = 4_096
_SINGLE = {"PutItem": "Item", "UpdateItem": "Key", "DeleteItem": "Key"}

Sizes = Mapping[tuple[str, str], int]
"""The bytes of an item, by its table and `key_text`."""


class Units(NamedTuple):
    """What calls cost within some `seconds`: units of the leaderboard and of the lease table; `polls` of the stream."""

    seconds: float
    board_writes: float = 0.0
    board_reads: float = 0.0
    lease_writes: float = 0.0
    lease_reads: float = 0.0
    polls: int = 0


def units_of(calls: Iterable[Call], tables: Mapping[str, str], sizes: Sizes, seconds: float) -> Units:
    """The units of all these calls, refused ones too. `tables`: see Game."""
    written, read, polls = Counter[str](), Counter[str](), 0
    for call in calls:
        polls += call.operation == "GetRecords"
        written.update(written_units(call, sizes))
        read.update(read_units(call, sizes))
    board, lease = tables["leaderboard"], tables["lease"]
    return Units(seconds, written[board], read[board], written[lease], read[lease], polls)


def item_bytes(item: Document) -> int:
    """The bytes of names and values. Source: Developer Guide, "DynamoDB item sizes and formats"."""
    return sum(len(name.encode()) + _value_bytes(value) for name, value in item.items())


def key_text(key: Document) -> str:
    """A key as text."""
    return json.dumps(key, sort_keys=True)


def units(size_bytes: int) -> int:
    """The units of one write outside a transaction."""
    return max(1, math.ceil(size_bytes / _WRITE_BYTES))


def written_units(call: Call, sizes: Sizes) -> Counter[str]:
    """The write units of a call by table, whatever its result. An item of unknown size is small."""
    if call.operation in _SINGLE:
        return _write(call.request, sizes)
    total = Counter[str]()
    if call.operation == "TransactWriteItems":
        for action in call.request["TransactItems"]:
            (what,) = action.values()
            total.update({table: TRANSACTIONAL * count for table, count in _write(what, sizes).items()})
    elif call.operation == "BatchExecuteStatement":
        for statement in call.request["Statements"]:
            key = {"playerId": parameter(statement, "playerId")}
            total.update(_write({"TableName": table_of(statement), "Key": key}, sizes))
    return total


def read_units(call: Call, sizes: Sizes) -> Counter[str]:
    """The read units of a call by table; half of them where the read is eventually consistent.

    A batch is charged item by item, also for an item that is not there; a scan by all that it has read.
    """
    total = Counter[str]()
    if not call.applied:
        return total
    if call.operation == "BatchGetItem":
        for table, wanted in call.request["RequestItems"].items():
            read = sum(_read(sizes.get((table, key_text(key)), 0)) for key in wanted["Keys"])
            total[table] = _consistency(wanted, read)
    elif call.operation in ("GetItem", "Query", "Scan"):
        items = call.reply.get("Items", ()) if call.operation != "GetItem" else [call.reply.get("Item", {})]
        total[call.request["TableName"]] = _consistency(call.request, _read(sum(map(item_bytes, items))))
    return total


def table_of(statement: Document) -> str:
    """The table that a statement writes."""
    return str(statement["Statement"].split('"')[1])


def parameter(statement: Document, attribute: str) -> Document:
    """The parameter of the first place in a statement that names the attribute."""
    before, found, _ = statement["Statement"].partition(attribute)
    assert found
    value: Document = statement["Parameters"][before.count("?")]
    return value


def _write(write: Document, sizes: Sizes) -> Counter[str]:
    key = write.get("Key")
    known = sizes.get((write["TableName"], key_text(key)), 0) if key else item_bytes(write.get("Item", {}))
    return Counter({write["TableName"]: units(known)})


def _read(size_bytes: int) -> int:
    return max(1, math.ceil(size_bytes / _READ_BYTES))


def _consistency(request: Document, consistent: float) -> Any:  # a Counter takes halves
    return consistent if request.get("ConsistentRead") else consistent / 2


def _value_bytes(value: Document) -> int:
    ((kind, content),) = value.items()
    match kind:
        case "S":
            return len(content.encode())
        case "N":
            sign, digits, _ = Decimal(content).as_tuple()
            significant = "".join(map(str, digits)).strip("0")
            return math.ceil(len(significant) / 2) + 1 + sign
        case "B":
            return len(content)
        case "BOOL" | "NULL":
            return 1
        case "M":
            return 3 + len(content) + item_bytes(content)
        case "L":
            return 3 + len(content) + sum(_value_bytes(element) for element in content)
    return sum(_value_bytes({kind[0]: element}) for element in content)
