"""Timestamps of games: YYYY-MM-DD, optionally a time of day and Z or an offset; without a zone in UTC."""

import re
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from typing import Final

DAY_SECONDS: Final = 86_400

_SHAPE: Final = re.compile(
    r"(\d{4}-\d\d-\d\d)(?:[T ](\d\d):(\d\d)(?::(\d\d)(?:\.\d+)?)?(?:Z|([+-])(\d\d)(?::?(\d\d))?)?)?", re.ASCII
)
_SOUND: Final = re.compile(
    r"\d{4}-\d\d-\d\d(?:[T ](?:[01]\d|2[0-3]):[0-5]\d(?::[0-5]\d(?:\.\d+)?)?"
    r"(?:Z|\+00:00|([+-](?:[01]\d|2[0-3])(?::?[0-5]\d)?))?)?",
    re.ASCII,
)


def is_shaped(text: str) -> bool:
    """Whether it is written like a timestamp, though its numbers may be none of a calendar or a clock."""
    return _SHAPE.fullmatch(text) is not None


def day_by(text: str, latest: float) -> str | None:
    """The date in UTC of a timestamp that is not after `latest` (unix seconds); None if it is. See `moment_of`."""
    match = _SOUND.fullmatch(text)
    if match is not None:
        (midnight, day), zone = _day(text[:10]), match[1]
        days = 0 if zone is None else (int(text[11:13]) * 60 + int(text[14:16]) - _minutes_ahead(zone)) // 1440
        if midnight + (days + 1) * DAY_SECONDS <= latest:
            return _days_later(day, days) if days else day
    moment, day = moment_of(text)
    return day if moment <= latest else None


def moment_of(text: str) -> tuple[float, str]:
    """Unix seconds and the date, both in UTC.

    ValueError for what no calendar or clock has, OverflowError for what leaves the years 1 to 9999 in UTC.
    """
    match = _SHAPE.fullmatch(text)
    if match is None:
        raise ValueError("no timestamp")
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
    """Of UTC; `zone` is like +05:30, +0530 or +05."""
    return _offset_seconds(zone[0], int(zone[1:3]), int(zone[3:].lstrip(":") or 0)) // 60


def _offset_seconds(sign: str | None, hours: int, minutes: int) -> int:
    if hours > 23 or minutes > 59:
        raise ValueError("no such offset")
    seconds = hours * 3600 + minutes * 60
    return -seconds if sign == "-" else seconds


@lru_cache(maxsize=4096)
def _day(day: str) -> tuple[float, str]:
    """Unix seconds of the day's first moment in UTC, and the day, one text for all games of it.

    ValueError for a day that no calendar has.
    """
    return datetime.fromisoformat(day).replace(tzinfo=UTC).timestamp(), day


@lru_cache(maxsize=4096)
def _days_later(day: str, days: int) -> str:
    """OverflowError for a day before the year 1 or after the year 9999."""
    return (date.fromisoformat(day) + timedelta(days=days)).isoformat()
