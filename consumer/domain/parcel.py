"""The whole record as it came, packed for the quarantine: gzip of its wire JSON, in parts that fit an item each."""

import gzip
import json
import zlib
from collections.abc import Iterable, Mapping
from typing import Any, Final

PART_BYTES: Final = 350_000
"""Bytes a part holds: an item is at most 400 KB, keys and names included."""


def pack(wire: Mapping[str, Any]) -> tuple[bytes, ...]:
    """The record in one or more parts; the same record always gives the same bytes (a client token depends on it)."""
    packed = gzip.compress(json.dumps(wire, separators=(",", ":"), default=repr).encode(), compresslevel=6, mtime=0)
    return tuple(packed[at : at + PART_BYTES] for at in range(0, len(packed), PART_BYTES))


def unpack(parts: Iterable[bytes]) -> dict[str, Any]:
    """The record that `pack` took; ValueError when a part is missing or damaged."""
    try:
        record: dict[str, Any] = json.loads(gzip.decompress(b"".join(parts)))
    except (OSError, EOFError, zlib.error) as error:
        raise ValueError(f"the parts are no whole record: {error}") from error
    return record
