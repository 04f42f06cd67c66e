"""JSON on the wire, by orjson; the few texts that it refuses and the standard library takes go there."""

import base64
import json
from datetime import datetime
from typing import Any, Final

import orjson


def write(value: object, *, sort_keys: bool = False) -> bytes:
    """Binary values as base64 text and moments in unix seconds, as DynamoDB has them."""
    try:
        return orjson.dumps(value, default=_plain, option=_SORTED if sort_keys else _UNSORTED)
    except orjson.JSONEncodeError:  # half a surrogate pair; it is for the database to refuse
        return json.dumps(value, sort_keys=sort_keys, default=_plain).encode()


def read(body: bytes) -> Any:
    """An answer's body. Raises ValueError, or RecursionError for what is nested without end."""
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError:  # half a surrogate pair in one record must not hide the others
        return json.loads(body)


_UNSORTED: Final = orjson.OPT_PASSTHROUGH_DATETIME
_SORTED: Final = _UNSORTED | orjson.OPT_SORT_KEYS


def _plain(value: object) -> str | float:
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    if isinstance(value, datetime):
        return value.timestamp()
    raise TypeError(f"{type(value).__name__} has no place in a request")
