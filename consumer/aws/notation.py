"""JSON on the wire, by msgspec; the few texts that it refuses and the standard library takes go there."""

import base64
import json
from datetime import datetime
from typing import Any, Final

import msgspec


def write(value: object, *, sort_keys: bool = False) -> bytes:
    """Binary values as base64 text, as DynamoDB has them."""
    try:
        return (_SORTED if sort_keys else _AS_IT_IS).encode(value)
    except UnicodeEncodeError:  # half a surrogate pair; it is for the database to refuse
        return write_plainly(value, sort_keys=sort_keys)


def write_plainly(value: object, *, sort_keys: bool = False) -> bytes:
    """The same of all that botocore takes and gives: moments become unix seconds."""
    return json.dumps(value, sort_keys=sort_keys, default=_plain).encode()


def read(body: bytes) -> Any:
    """An answer's body. Raises ValueError, or RecursionError for what is nested without end."""
    try:
        return msgspec.json.decode(body)
    except msgspec.DecodeError:  # half a surrogate pair in one record must not hide the others
        return json.loads(body)


_AS_IT_IS: Final = msgspec.json.Encoder()
_SORTED: Final = msgspec.json.Encoder(order="sorted")


def _plain(value: object) -> str | float:
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    if isinstance(value, datetime):
        return value.timestamp()
    raise TypeError(f"{type(value).__name__} has no place in a request")
