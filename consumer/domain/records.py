"""Decode: one stream record in wire form becomes a game, a poison record or an ignored one. Never raises."""

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Context, Decimal, Inexact, InvalidOperation, Overflow, Subnormal, Underflow
from enum import StrEnum
from typing import Any, Final, NamedTuple

from consumer.domain.moments import day_by, is_shaped, moment_of
from consumer.domain.parcel import pack

EXACT: Final = Context(prec=38, Emin=-130, Emax=125, traps=[Inexact, InvalidOperation, Overflow, Subnormal, Underflow])
"""DynamoDB's number: 38 significant digits, 1e-130 to 9.99e125. Whatever would not fit raises instead of rounding.

Source: Amazon DynamoDB Developer Guide, "Supported data types", Number.
"""

MAX_PLAYER_BYTES: Final = 2048
"""Longest partition key, in bytes of UTF-8. Source: Developer Guide, "Constraints in Amazon DynamoDB"."""

UNKNOWN_CREATION: Final = 1e12
"""Unix seconds of a record that does not tell when it was created, or tells what is no moment."""


class Outcome(StrEnum):
    """Where a record ends. Each ends in exactly one (the fifth, a gap, has no record)."""

    APPLIED = "applied"
    QUARANTINED = "quarantined"
    IGNORED = "ignored"
    BEFORE_START = "before_start"


class Reason(StrEnum):
    """Stable code of why a record is in quarantine."""

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


class Game(NamedTuple):
    """A finished game that counts."""

    sequence_number: str
    created: float
    player: str
    score: Decimal
    date: str
    wire: Mapping[str, Any]


class Poison(NamedTuple):
    """A record that can never count as it is. `parts` hold the whole of it (see parcel)."""

    sequence_number: str
    created: float
    player: str | None
    reason: Reason
    detail: str
    parts: tuple[bytes, ...]


class Ignored(NamedTuple):
    """A record that does not count by rule: a change or removal, or one from before the start position."""

    sequence_number: str
    created: float
    outcome: Outcome


Entry = Game | Poison | Ignored

Verdict = tuple[Reason, str]
"""Why a game can never be applied, and a sentence for a person."""


@dataclass(frozen=True, slots=True)
class Rules:
    """What a game looks like in the source table. `max_future_seconds` counts from the record's own creation."""

    player_attribute: str = "playerId"
    score_attribute: str = "score"
    timestamp_attribute: str = "timestamp"
    max_future_seconds: float = 86_400


class Fault(Exception):
    """Why a record is poison."""

    def __init__(self, reason: Reason, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason
        self.detail = detail


def decode(wire: Mapping[str, Any], rules: Rules, floor: float | None, kept: Mapping[str, Any] | None = None) -> Entry:
    """What `wire` (a record as GetRecords sent it, with a valid sequence number) means; a game keeps it, or `kept`.

    `floor` is the start position in unix seconds, None for the trim horizon: what was created before it is ignored.
    """
    change, event = wire["dynamodb"], wire.get("eventName")
    created = _created(change)
    ignored = uncounted(change["SequenceNumber"], created, event, floor)
    if ignored is not None:
        return ignored
    if event == "INSERT":
        return _game_or_poison(wire, created, rules, wire if kept is None else kept)
    return poison(wire, Reason.REFUSED, f"eventName is {_short(event)}, not INSERT, MODIFY or REMOVE", rules)


def uncounted(sequence_number: str, created: float, event: object, floor: float | None) -> Ignored | None:
    """What does not count by rule."""
    if floor is not None and created < floor:
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
    wire: Mapping[str, Any],
) -> Game | None:
    """A game like nearly all, of its fields' texts: an ASCII player, a moment not after the record.

    None: `decode` must say.
    """
    if not player.isascii() or not 0 < len(player) <= MAX_PLAYER_BYTES:
        return None
    try:
        counted = EXACT.create_decimal(score)
        day = day_by(timestamp, created + rules.max_future_seconds)
    except (ArithmeticError, ValueError):
        return None
    if day is None or not counted.is_finite():
        return None
    return Game(sequence_number, created, player, counted, day, wire)


def _game_or_poison(wire: Mapping[str, Any], created: float, rules: Rules, kept: Mapping[str, Any]) -> Game | Poison:
    change = wire["dynamodb"]
    try:
        image = change.get("NewImage")
        if not isinstance(image, Mapping):
            raise Fault(Reason.IMAGE_MISSING, "the record has no NewImage; the stream must carry new images")
        player = _player(image, rules.player_attribute)
        score = _score(image, rules.score_attribute)
        day = _date(image, rules.timestamp_attribute, created + rules.max_future_seconds)
    except Fault as fault:
        return poison(wire, fault.reason, fault.detail, rules)
    return Game(change["SequenceNumber"], created, player, score, day, kept)


def poison(wire: Mapping[str, Any], reason: Reason, detail: str, rules: Rules) -> Poison:
    """`wire` as a poison record, whole, with the player's id where it has a usable one."""
    change = wire["dynamodb"]
    try:
        player = _player(change["NewImage"], rules.player_attribute)
    except (Fault, KeyError, TypeError, AttributeError):
        player = None
    return Poison(change["SequenceNumber"], _created(change), player, reason, detail, pack(wire))


def _created(change: Mapping[str, Any]) -> float:
    """Creation time in unix seconds; a record that tells none is as new as can be, so that no rule drops it."""
    created: Any = change.get("ApproximateCreationDateTime")
    if type(created) in (float, int) and abs(created) < UNKNOWN_CREATION:  # a bool is no number here
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
        raise Fault(Reason.SCORE_TYPE, f"{name} is {_short(text)}, no number that DynamoDB can hold") from None
    if not score.is_finite() or "_" in text:
        raise Fault(Reason.SCORE_TYPE, f"{name} is {_short(text)}, no number that DynamoDB can hold")
    return score


def _date(image: Mapping[str, Any], name: str, latest: float) -> str:
    """The UTC date of the game."""
    text = _typed(image, name, "S", Reason.TIMESTAMP_MISSING, Reason.TIMESTAMP_TYPE)
    if not is_shaped(text):
        raise Fault(Reason.TIMESTAMP_INVALID, f"{name} is {_short(text)}; YYYY-MM-DD, with a time or without, is right")
    try:
        moment, day = moment_of(text)
    except (ValueError, OverflowError):
        raise Fault(Reason.TIMESTAMP_INVALID, f"{name} is {_short(text)}, no moment of the years 1 to 9999") from None
    if moment > latest:
        raise Fault(Reason.TIMESTAMP_IN_FUTURE, f"{name} is {_short(text)}, too far after the record was created")
    return day


def _typed(image: Mapping[str, Any], name: str, tag: str, missing: Reason, wrong: Reason) -> str:
    """The text under `name`'s type tag; DynamoDB JSON writes each attribute as {tag: value}."""
    value = image.get(name)
    if value is None:
        raise Fault(missing, f"the record has no {name}")
    text = value.get(tag) if isinstance(value, Mapping) else None
    if not isinstance(text, str):
        found = ", ".join(map(str, value)) if isinstance(value, Mapping) else type(value).__name__
        raise Fault(wrong, f"{name} is of type {_short(found)}; {tag} is right")
    return text


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + "..."
