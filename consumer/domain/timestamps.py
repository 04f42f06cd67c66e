"""When a game was played: what its timestamp says, as a UTC date and as unix seconds."""

import re
from datetime import UTC, date, datetime, timedelta
from enum import StrEnum
from functools import lru_cache
from math import floor
from typing import Final

from consumer.domain.numbers import EXACT


class TimestampFormat(StrEnum):
    """How a game says when it was played: a text as ISO 8601 writes it, or a number of unix seconds or milliseconds."""

    ISO = "iso"
    EPOCH_SECONDS = "epoch_seconds"
    EPOCH_MILLISECONDS = "epoch_milliseconds"


PER_SECOND: Final = {TimestampFormat.EPOCH_SECONDS: 1, TimestampFormat.EPOCH_MILLISECONDS: 1_000}
"""Of the formats that are numbers."""


DAY_SECONDS: Final = 86_400
BARE_DATE: Final = 10
"""Characters of a timestamp without a time: that date in every zone."""

Played = tuple[str, float | None]
"""When a game was played: the UTC date, and unix seconds, to the minute at least; None: only the date is known."""

_SHAPE: Final = re.compile(
    r"(\d{4}-\d\d-\d\d)(?:[T ](\d\d):(\d\d)(?::(\d\d)(?:\.\d+)?)?(?:Z|([+-])(\d\d)(?::?(\d\d))?)?)?", re.ASCII
)
_VALID: Final = re.compile(
    r"\d{4}-\d\d-\d\d(?:[T ](?:[01]\d|2[0-3]):[0-5]\d(?::[0-5]\d(?:\.\d+)?)?"
    r"(?:Z|\+00:00|([+-](?:[01]\d|2[0-3])(?::?[0-5]\d)?))?)?",
    re.ASCII,
)


def looks_like_timestamp(text: str) -> bool:
    """Whether `text` is written like a timestamp, even if no calendar or clock has such numbers."""
    return _SHAPE.fullmatch(text) is not None


def played_by(text: str, latest: float, format_: TimestampFormat = TimestampFormat.ISO) -> Played | None:
    """When a game was played, None if that is after `latest` (unix seconds).

    Raises as `parse_timestamp` and `parse_epoch` do.
    """
    if format_ is not TimestampFormat.ISO:
        seconds, day = parse_epoch(text, format_)
        return (day, seconds) if seconds <= latest else None
    match = _VALID.fullmatch(text)
    if match is not None:
        (midnight, day), zone = _day(text[:BARE_DATE]), match[1]
        if len(text) == BARE_DATE:
            return (day, None) if midnight <= latest else None
        minutes = int(text[11:13]) * 60 + int(text[14:16])
        if zone is not None:
            minutes -= _minutes_ahead(zone)
        days = minutes // 1440
        if midnight + (days + 1) * DAY_SECONDS <= latest:
            return _days_later(day, days) if days else day, midnight + minutes * 60
    seconds, day = parse_timestamp(text)
    return (day, seconds) if seconds <= latest else None


def parse_epoch(text: str, format_: TimestampFormat) -> tuple[float, str]:
    """Unix seconds (whole, rounded down) and the UTC date of a number of seconds or milliseconds since 1970.

    ValueError for a text that is no such number, OverflowError outside of the years 1 to 9999.
    """
    try:
        number = int(text) if text.isascii() and text.isdigit() else floor(EXACT.create_decimal(text))
        seconds = number // PER_SECOND[format_]
    except ArithmeticError:
        raise ValueError("not a number") from None
    if "_" in text:
        raise ValueError("not a number")
    return seconds, _days_later("1970-01-01", seconds // DAY_SECONDS)


def parse_timestamp(text: str) -> tuple[float, str]:
    """Unix seconds and the UTC date of a timestamp.

    ValueError for a date or time that no calendar or clock has, OverflowError outside of the years 1 to 9999 in UTC.
    """
    match = _SHAPE.fullmatch(text)
    if match is None:
        raise ValueError("not a timestamp")
    day, *time, sign, ahead_hours, ahead_minutes = match.groups()
    hours, minutes, seconds = (int(part or 0) for part in time)
    if hours > 23 or minutes > 59 or seconds > 59:
        raise ValueError("no such time of day")
    ahead = _offset_seconds(sign, int(ahead_hours or 0), int(ahead_minutes or 0))
    passed = hours * 3600 + minutes * 60 + seconds - ahead
    days = passed // DAY_SECONDS
    midnight, day = _day(day)
    return midnight + passed, _days_later(day, days) if days else day


@lru_cache
def _minutes_ahead(zone: str) -> int:
    """Minutes that `zone`, like +05:30, +0530 or +05, is ahead of UTC."""
    return _offset_seconds(zone[0], int(zone[1:3]), int(zone[3:].lstrip(":") or 0)) // 60


def _offset_seconds(sign: str | None, hours: int, minutes: int) -> int:
    if hours > 23 or minutes > 59:
        raise ValueError("no such offset")
    seconds = hours * 3600 + minutes * 60
    return -seconds if sign == "-" else seconds


@lru_cache(maxsize=4096)
def _day(day: str) -> tuple[float, str]:
    """Unix seconds of the day's start in UTC, and the day: all games of one day share one text.

    ValueError for a day that no calendar has.
    """
    return datetime.fromisoformat(day).replace(tzinfo=UTC).timestamp(), day


@lru_cache(maxsize=4096)
def _days_later(day: str, days: int) -> str:
    """The date some days later. OverflowError before the year 1 or after the year 9999."""
    return (date.fromisoformat(day) + timedelta(days=days)).isoformat()
