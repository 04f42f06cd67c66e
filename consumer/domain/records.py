"""Decode: one stream record in wire form becomes a game, a poison record or an ignored one. It never raises.

At the end: how a poison record is packed for the quarantine.
"""

import gzip
import json
import re
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Context, Decimal, Inexact, InvalidOperation, Overflow, Subnormal, Underflow
from enum import StrEnum
from functools import lru_cache
from math import floor
from typing import Any, Final, NamedTuple

from consumer.domain.windows import Calendar, Kept, calendar_of

EXACT: Final = Context(prec=38, Emin=-130, Emax=125, traps=[Inexact, InvalidOperation, Overflow, Subnormal, Underflow])
"""DynamoDB's numbers: 38 significant digits, 1e-130 to 9.99e125. What does not fit raises, and is never rounded.

Source: Amazon DynamoDB Developer Guide, "Supported data types", Number.
"""

MAX_PLAYER_BYTES: Final = 2048
"""Longest partition key, in bytes of UTF-8. Source: Developer Guide, "Constraints in Amazon DynamoDB"."""

UNKNOWN_CREATION: Final = 1e12
"""Unix seconds for a record without a valid creation time."""


class Outcome(StrEnum):
    """Where a record ends: in exactly one of these, or unread in a gap.

    ALREADY_SETTLED: a record that was read again, and whose player's row shows that it has ended before.
    """

    APPLIED = "applied"
    QUARANTINED = "quarantined"
    IGNORED = "ignored"
    ALREADY_SETTLED = "already_settled"
    BEFORE_START = "before_start"


class Reason(StrEnum):
    """Why a record is in quarantine, as a stable code."""

    PLAYER_MISSING = "player_missing"
    PLAYER_EMPTY = "player_empty"
    PLAYER_TYPE = "player_type"
    PLAYER_TOO_LONG = "player_too_long"
    SCORE_MISSING = "score_missing"
    SCORE_TYPE = "score_type"
    TIMESTAMP_MISSING = "timestamp_missing"
    TIMESTAMP_TYPE = "timestamp_type"
    TIMESTAMP_INVALID = "timestamp_invalid"
    TIMESTAMP_IN_FUTURE = "timestamp_in_future"
    IMAGE_MISSING = "image_missing"
    TOTAL_TYPE = "total_type"
    TOTAL_OVERFLOW = "total_overflow"
    DATE_TYPE = "date_type"
    REFUSED = "refused"


SETTINGS: Final = {
    Reason.PLAYER_MISSING: "CONSUMER_PLAYER_ATTRIBUTE",
    Reason.SCORE_MISSING: "CONSUMER_SCORE_ATTRIBUTE",
    Reason.TIMESTAMP_MISSING: "CONSUMER_TIMESTAMP_ATTRIBUTE",
}
"""The setting that names the attribute which a record lacks."""
SHOWN_ATTRIBUTES: Final = 20


class Game(NamedTuple):
    """A game that counts. `created` is in unix seconds, `date` the UTC date of the game, `wire` the whole record.

    `windows` are those that it counts in, by their names.
    """

    sequence_number: str
    created: float
    player: str
    score: Decimal
    date: str
    wire: Mapping[str, Any]
    windows: tuple[str, ...] = ()


class Poison(NamedTuple):
    """A record that can never count as it is. `parts` hold all of it; see `pack`."""

    sequence_number: str
    created: float
    player: str | None
    reason: Reason
    detail: str
    parts: tuple[bytes, ...]


class Ignored(NamedTuple):
    """A record that does not count by the rules: a change, a removal, or one from before the start time."""

    sequence_number: str
    created: float
    outcome: Outcome


Entry = Game | Poison | Ignored

Verdict = tuple[Reason, str]
"""Why a game can never be applied: a code, and a sentence for the operator."""


class TimestampFormat(StrEnum):
    """How a game says when it was played: a text as ISO 8601 writes it, or a number of unix seconds or milliseconds."""

    ISO = "iso"
    EPOCH_SECONDS = "epoch_seconds"
    EPOCH_MILLISECONDS = "epoch_milliseconds"


PER_SECOND: Final = {TimestampFormat.EPOCH_SECONDS: 1, TimestampFormat.EPOCH_MILLISECONDS: 1_000}
"""Of the formats that are numbers."""


@dataclass(frozen=True, slots=True)
class Rules:
    """How records are read: what a game looks like in the source table, and which windows of the board it counts in.

    A timestamp may lie up to `max_future_seconds` after the record's own creation. `time_zone` is an IANA name.
    """

    player_attribute: str = "playerId"
    score_attribute: str = "score"
    timestamp_attribute: str = "timestamp"
    timestamp_format: TimestampFormat = TimestampFormat.ISO
    max_future_seconds: float = 86_400
    windows: Kept = ()
    time_zone: str = "UTC"


class Fault(Exception):
    """Why a record is poison."""

    def __init__(self, reason: Reason, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason
        self.detail = detail


def decode(
    wire: Mapping[str, Any], rules: Rules, start_time: float | None, lazy_record: Mapping[str, Any] | None = None
) -> Entry:
    """What `wire` means: a record as GetRecords sent it, with a valid sequence number.

    What was created before `start_time` (unix seconds; None: the trim horizon) is ignored. A game stores `lazy_record`
    instead of `wire`, if there is one.
    """
    change, event = wire["dynamodb"], wire.get("eventName")
    created = _created(change)
    ignored = uncounted(change["SequenceNumber"], created, event, start_time)
    if ignored is not None:
        return ignored
    if event == "INSERT":
        return _game_or_poison(wire, created, rules, wire if lazy_record is None else lazy_record)
    return poison(wire, Reason.REFUSED, f"eventName is {_short(event)}, not INSERT, MODIFY or REMOVE", rules)


def uncounted(sequence_number: str, created: float, event: object, start_time: float | None) -> Ignored | None:
    """The record as ignored, if it does not count by the rules. Times are unix seconds."""
    if start_time is not None and created < start_time:
        return Ignored(sequence_number, created, Outcome.BEFORE_START)
    if event == "MODIFY" or event == "REMOVE":
        return Ignored(sequence_number, created, Outcome.IGNORED)
    return None


def plain_game(
    sequence_number: str,
    created: float,
    player: str,
    score: str,
    timestamp: str,
    rules: Rules,
    calendar: Calendar | None,
    wire: Mapping[str, Any],
) -> Game | None:
    """A game from the texts of its fields, if it is like nearly all: an ASCII player, a timestamp not in the future.

    `calendar` is that of the rules. None: only `decode` can say what the record is.
    """
    if not player.isascii() or not 0 < len(player) <= MAX_PLAYER_BYTES:
        return None
    try:
        counted = EXACT.create_decimal(score)
        played = played_by(timestamp, created + rules.max_future_seconds, rules.timestamp_format)
    except (ArithmeticError, ValueError):
        return None
    if played is None or not counted.is_finite():
        return None
    if calendar is None:
        return Game(sequence_number, created, player, counted, played[0], wire)
    return Game(sequence_number, created, player, counted, played[0], wire, windows_of(played, calendar, created))


def calendar_by(rules: Rules) -> Calendar | None:
    """The calendar of the windows that these rules keep; None: they keep none."""
    return calendar_of(rules.windows, rules.time_zone) if rules.windows else None


def windows_of(played: "Played", calendar: Calendar, created: float) -> tuple[str, ...]:
    """The windows that a game counts in."""
    day, at = played
    local_day = day if at is None or calendar.is_utc else calendar.local_day(at)
    return calendar.counted(local_day, created)


def without_expired(entry: Entry, rules: Rules, now: float) -> Entry:
    """A record that an operator counts at `now` (unix seconds), without windows that have expired: rows do not grow.

    They have for two days, so that an operator's clock that is a day off does no harm.
    """
    calendar = calendar_by(rules)
    if calendar is None or not isinstance(entry, Game):
        return entry
    expired = calendar.expired(entry.windows, now - LONG_EXPIRED_SECONDS)
    return entry._replace(windows=tuple(each for each in entry.windows if each not in expired)) if expired else entry


LONG_EXPIRED_SECONDS: Final = 2 * 86_400


def _game_or_poison(wire: Mapping[str, Any], created: float, rules: Rules, stored: Mapping[str, Any]) -> Game | Poison:
    change = wire["dynamodb"]
    try:
        image = change.get("NewImage")
        if not isinstance(image, Mapping):
            raise Fault(Reason.IMAGE_MISSING, "the record has no NewImage; the stream must carry new images")
        player = _player(image, rules.player_attribute)
        score = _score(image, rules.score_attribute)
        played = _played(image, rules, created + rules.max_future_seconds)
    except Fault as fault:
        return poison(wire, fault.reason, fault.detail, rules)
    calendar = calendar_by(rules)
    windows = () if calendar is None else windows_of(played, calendar, created)
    return Game(change["SequenceNumber"], created, player, score, played[0], stored, windows)


def poison(wire: Mapping[str, Any], reason: Reason, detail: str, rules: Rules) -> Poison:
    """`wire` as a poison record, with the player's id if its image, or its key, has a usable one."""
    change = wire["dynamodb"]
    player = _player_of(change, "NewImage", rules) or _player_of(change, "Keys", rules)
    return Poison(change["SequenceNumber"], _created(change), player, reason, detail, pack(wire))


def _player_of(change: Mapping[str, Any], part: str, rules: Rules) -> str | None:
    try:
        return _player(change[part], rules.player_attribute)
    except (Fault, KeyError, TypeError, AttributeError):
        return None


def _created(change: Mapping[str, Any]) -> float:
    """Creation time in unix seconds. A record without one counts as new, so that no rule ignores it."""
    created: Any = change.get("ApproximateCreationDateTime")
    if type(created) in (float, int) and abs(created) < UNKNOWN_CREATION:  # a bool is an int, but not a time
        return float(created)
    return UNKNOWN_CREATION


def _player(image: Mapping[str, Any], name: str) -> str:
    player = _typed(image, name, "S", Reason.PLAYER_MISSING, Reason.PLAYER_TYPE)
    if not player:
        raise Fault(Reason.PLAYER_EMPTY, f"{name} is empty")
    try:
        size = len(player.encode())
    except UnicodeEncodeError:
        raise Fault(Reason.PLAYER_TYPE, f"{name} is not valid Unicode") from None
    if size > MAX_PLAYER_BYTES:
        raise Fault(Reason.PLAYER_TOO_LONG, f"{name} has {size} bytes; a key has at most {MAX_PLAYER_BYTES}")
    return player


def _score(image: Mapping[str, Any], name: str) -> Decimal:
    text = _typed(image, name, "N", Reason.SCORE_MISSING, Reason.SCORE_TYPE)
    try:
        score = EXACT.create_decimal(text)
    except ArithmeticError:
        raise Fault(Reason.SCORE_TYPE, f"{name} is {_short(text)}, not a number that DynamoDB can hold") from None
    if not score.is_finite() or "_" in text:
        raise Fault(Reason.SCORE_TYPE, f"{name} is {_short(text)}, not a number that DynamoDB can hold")
    return score


def _played(image: Mapping[str, Any], rules: Rules, latest: float) -> "Played":
    name, format_ = rules.timestamp_attribute, rules.timestamp_format
    iso = format_ is TimestampFormat.ISO
    text = _typed(image, name, "S" if iso else "N", Reason.TIMESTAMP_MISSING, Reason.TIMESTAMP_TYPE)
    if iso and not looks_like_timestamp(text):
        raise Fault(Reason.TIMESTAMP_INVALID, f"{name} is {_short(text)}; it must be YYYY-MM-DD, or that and a time")
    try:
        seconds, day = parse_timestamp(text) if iso else parse_epoch(text, format_)
    except (ValueError, OverflowError):
        unit = "" if iso else f" in {'milliseconds' if format_ is TimestampFormat.EPOCH_MILLISECONDS else 'seconds'}"
        raise Fault(
            Reason.TIMESTAMP_INVALID, f"{name} is {_short(text)}, not a time{unit} in the years 1 to 9999"
        ) from None
    if seconds > latest:
        raise Fault(Reason.TIMESTAMP_IN_FUTURE, f"{name} is {_short(text)}, too far after the record was created")
    return day, None if iso and len(text) == BARE_DATE else seconds


def _typed(image: Mapping[str, Any], name: str, tag: str, missing: Reason, wrong: Reason) -> str:
    """The text of the attribute `name`. DynamoDB JSON writes each attribute as {tag: value}."""
    value = image.get(name)
    if value is None:
        there = ", ".join(sorted(map(str, image))[:SHOWN_ATTRIBUTES]) or "no attribute"
        raise Fault(missing, f"the record has no {name}: it has {_cut(there, 200)} ({SETTINGS[missing]} names it)")
    text = value.get(tag) if isinstance(value, Mapping) else None
    if not isinstance(text, str):
        found = ", ".join(map(str, value)) if isinstance(value, Mapping) else type(value).__name__
        raise Fault(wrong, f"{name} is of type {_short(found)}; it must be {tag}")
    return text


def _short(value: object) -> str:
    return _cut(repr(value), 80)


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else text[: most - 3] + "..."


PART_BYTES: Final = 350_000
"""Bytes in one part. An item has at most 400 KB, keys and names included. Source: as MAX_PLAYER_BYTES."""


def pack(wire: Mapping[str, Any]) -> tuple[bytes, ...]:
    """The record in one or more parts. The same record always gives the same bytes: a client token depends on it."""
    packed = gzip.compress(json.dumps(wire, separators=(",", ":"), default=repr).encode(), compresslevel=6, mtime=0)
    return tuple(packed[at : at + PART_BYTES] for at in range(0, len(packed), PART_BYTES))


def unpack(parts: Iterable[bytes]) -> dict[str, Any]:
    """The record that was packed. ValueError when a part is missing or damaged."""
    try:
        record: dict[str, Any] = json.loads(gzip.decompress(b"".join(parts)))
    except (OSError, EOFError, zlib.error) as error:
        raise ValueError(f"the parts are not a whole record: {error}") from error
    return record


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
