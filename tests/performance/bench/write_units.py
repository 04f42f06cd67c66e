"""Write units by DynamoDB's published rule: a request is charged by the size of the items that it writes."""

import json
import math
from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Any

from tests.support.processes import Call

Document = Mapping[str, Any]

TRANSACTIONAL = 2
"""A write in a transaction costs twice. Source: Developer Guide, "Read/write capacity mode", write request units."""

_UNIT_BYTES = 1_024
_SINGLE = {"PutItem": "Item", "UpdateItem": "Key", "DeleteItem": "Key"}

Sizes = Mapping[tuple[str, str], int]
"""The bytes of an item, by its table and `key_text`."""


def item_bytes(item: Document) -> int:
    """The bytes of names and values. Source: Developer Guide, "DynamoDB item sizes and formats"."""
    return sum(len(name.encode()) + _value_bytes(value) for name, value in item.items())


def key_text(key: Document) -> str:
    """A key as text."""
    return json.dumps(key, sort_keys=True)


def units(size_bytes: int) -> int:
    """The units of one write outside a transaction."""
    return max(1, math.ceil(size_bytes / _UNIT_BYTES))


def is_write(call: Call) -> bool:
    """Whether it is charged as a write, whatever its result."""
    return call.operation in _SINGLE or call.operation in ("TransactWriteItems", "BatchWriteItem")


def written_units(calls: Iterable[Call], sizes: Sizes) -> int:
    """The units of all calls that write. An item of unknown size is small: no row of the product is over 1 KB."""
    total = 0
    for call in calls:
        if call.operation in _SINGLE:
            total += _write_units(call.request, sizes)
        elif call.operation == "TransactWriteItems":
            for action in call.request["TransactItems"]:
                (what,) = action.values()
                total += TRANSACTIONAL * _write_units(what, sizes)
    return total


def _write_units(write: Document, sizes: Sizes) -> int:
    key = write.get("Key")
    known = sizes.get((write["TableName"], key_text(key)), 0) if key else item_bytes(write.get("Item", {}))
    return units(known)


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
