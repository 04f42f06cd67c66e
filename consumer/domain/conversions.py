"""Conversions: the value that a field of a poison record was meant to have, where the record says it unambiguously.

A score as a string of digits was meant as that number. A timestamp as a number, or in another ISO form, was meant as
one time, if only one of its readings is possible. What can be read in two ways, or in none, is never guessed.
"""

import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, Final

_NUMBER: Final = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?", re.ASCII)
_EPOCH: Final = re.compile(r"\d{1,20}(\.\d{1,9})?", re.ASCII)
_BEGIN: Final = datetime(1970, 1, 1, tzinfo=UTC)
EARLIEST: Final = datetime(2000, 1, 1, tzinfo=UTC).timestamp()
"""A converted timestamp lies between this and the record's creation: then seconds and milliseconds since 1970 cannot
be mistaken for each other, nor for a date without dashes."""


class Unconvertible(Exception):
    """Why a value does not say what was meant: a sentence."""


def score(value: object, latest: float) -> str:  # noqa: ARG001  all conversions take the same
    """The number that a string says."""
    text = _text(value, "S")
    if text is None:
        raise Unconvertible("only a string can be converted to a score")
    if _NUMBER.fullmatch(text.strip()):
        return text.strip()
    if re.search(r"\d[,_'\s]\d", text):
        raise Unconvertible(f"{_short(text)} can be read in more than one way: convert only takes digits and a point")
    raise Unconvertible(f"{_short(text)} is no number")


def timestamp(value: object, latest: float) -> str:
    """The ISO time that a number, or a string in another form, says. It is not after `latest` (unix seconds)."""
    text = (_text(value, "N") or _text(value, "S") or "").strip()
    if not text:
        raise Unconvertible("only a number or a string can be converted to a timestamp")
    readings = {time for read in _READINGS if (time := read(text)) is not None}
    possible = [time for time in readings if EARLIEST <= time.timestamp() <= latest]
    if len(possible) == 1:
        return possible[0].isoformat().replace("+00:00", "Z")
    raise Unconvertible(
        f"{_short(text)} is no time between 2000 and the record's creation: not in seconds or milliseconds since 1970, "
        "and in no ISO form"
    )


CONVERSIONS: Final[Mapping[str, Callable[[object, float], str]]] = {"score": score, "timestamp": timestamp}
"""By field: takes the attribute's value in DynamoDB JSON and the latest time, in unix seconds. Raises Unconvertible."""


def _since_1970(text: str, unit_seconds: Decimal) -> datetime | None:
    if not _EPOCH.fullmatch(text):
        return None
    try:
        return _BEGIN + timedelta(microseconds=int(Decimal(text) * unit_seconds * 1_000_000))
    except (ArithmeticError, ValueError):
        return None


def _iso(text: str) -> datetime | None:
    """Any ISO form that has a date. Without a zone it is UTC."""
    try:
        time = datetime.fromisoformat(text.upper())
        return (time if time.tzinfo is not None else time.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError):
        return None


_READINGS: Final[tuple[Callable[[str], datetime | None], ...]] = (
    lambda text: _since_1970(text, Decimal(1)),
    lambda text: _since_1970(text, Decimal("0.001")),
    _iso,
)


def _text(value: object, tag: str) -> str | None:
    text: Any = value.get(tag) if isinstance(value, Mapping) else None
    return text if isinstance(text, str) else None


def _short(text: str) -> str:
    return repr(text if len(text) <= 60 else text[:57] + "...")
