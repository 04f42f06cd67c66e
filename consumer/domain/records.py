"""Decode: one stream record in wire form becomes a game, a poison record or an ignored one. It never raises.

At the end: how a poison record is packed for the quarantine.
"""

import gzip
import json
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from typing import Any, Final, NamedTuple

from consumer.domain.numbers import EXACT
from consumer.domain.timestamps import (
    BARE_DATE,
    Played,
    TimestampFormat,
    looks_like_timestamp,
    parse_epoch,
    parse_timestamp,
    played_by,
)
from consumer.domain.windows import Calendar, Kept, calendar_of

MAX_PLAYER_BYTES: Final = 2048
"""Longest partition key, in bytes of UTF-8. Source: Developer Guide, "Constraints in Amazon DynamoDB"."""

UNKNOWN_CREATION: Final = 1e12
"""Unix seconds for a record without a valid creation time."""


class Outcome(StrEnum):
    """Where a record ends: in exactly one of these, or unread in a gap.

    MODIFIED, REMOVED and EXPIRED are ignored: what was done to the item does not count. ALREADY_SETTLED: a record that
    was read again, and whose player's row shows that it has ended before.
    """

    APPLIED = "applied"
    QUARANTINED = "quarantined"
    MODIFIED = "modified"
    REMOVED = "removed"
    EXPIRED = "expired"
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

    @property
    def players(self) -> frozenset[str]:
        """The players whose rows it changes."""
        return frozenset([self.player])


class Image(NamedTuple):
    """A game as an item of the source table says it. `played`: see Played."""

    player: str
    score: Decimal
    played: Played


class Correction(NamedTuple):
    """A change or a removal of an item that counts: its new image is added, and what was counted of it taken away.

    `item` is its key, as `item_of` writes it. `new` None: it is gone. `old` None: the old image is no game. `expired`:
    its time to live removed it, which takes nothing away. `player`: of the key, else of an image; None: neither names
    one. `wire` is the whole record.
    """

    sequence_number: str
    created: float
    player: str | None
    item: str
    new: Image | None
    old: Image | None
    expired: bool
    wire: Mapping[str, Any]

    @property
    def players(self) -> frozenset[str]:
        """The players whose rows it may change, as far as it says so itself."""
        named = (self.player, *(image.player for image in (self.new, self.old) if image is not None))
        return frozenset(player for player in named if player is not None)


class ItemRecord(NamedTuple):
    """What a poison record says of its item, where corrections count: its key, and its old image if that is a game.

    `insertion`: nothing was counted of it before. `removal`: the item is gone.
    """

    item: str
    old: Image | None = None
    insertion: bool = False
    removal: bool = False


class Poison(NamedTuple):
    """A record that can never count as it is. `parts` hold all of it; see `pack`.

    `about`: where corrections count, what it says of its item. None: its key cannot be read, or they do not count.
    """

    sequence_number: str
    created: float
    player: str | None
    reason: Reason
    detail: str
    parts: tuple[bytes, ...]
    about: ItemRecord | None = None


class Ignored(NamedTuple):
    """A record that does not count by the rules: a change, a removal, or one from before the start time."""

    sequence_number: str
    created: float
    outcome: Outcome


Entry = Game | Correction | Poison | Ignored

Verdict = tuple[Reason, str]
"""Why a game can never be applied: a code, and a sentence for the operator."""


class Corrections(StrEnum):
    """What becomes of changes and removals of items: they are ignored, or the board follows them."""

    IGNORE = "ignore"
    APPLY = "apply"


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
    corrections: Corrections = Corrections.IGNORE


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
    corrects = rules.corrections is Corrections.APPLY
    ignored = uncounted(change["SequenceNumber"], created, event, start_time, expired=_expired(wire), corrects=corrects)
    if ignored is not None:
        return ignored
    stored = wire if lazy_record is None else lazy_record
    if event == "INSERT":
        return _game_or_poison(wire, created, rules, stored)
    if event == "MODIFY" or event == "REMOVE":
        return _correction_or_poison(wire, created, rules, stored)
    return poison(wire, Reason.REFUSED, f"eventName is {_short(event)}, not INSERT, MODIFY or REMOVE", rules)


def uncounted(
    sequence_number: str,
    created: float,
    event: object,
    start_time: float | None,
    *,
    expired: bool = False,
    corrects: bool = False,
) -> Ignored | None:
    """The record as ignored, if it does not count by the rules. Times are unix seconds.

    `expired`: the item's time to live removed it. `corrects`: changes and removals count.
    """
    if start_time is not None and created < start_time:
        return Ignored(sequence_number, created, Outcome.BEFORE_START)
    if corrects or (event != "MODIFY" and event != "REMOVE"):
        return None
    if event == "MODIFY":
        return Ignored(sequence_number, created, Outcome.MODIFIED)
    return Ignored(sequence_number, created, Outcome.EXPIRED if expired else Outcome.REMOVED)


TIME_TO_LIVE: Final = {"type": "Service", "principalId": "dynamodb.amazonaws.com"}
"""Who removed an item whose time to live was over. Source: Developer Guide, "DynamoDB Streams and Time to Live"."""


def _expired(wire: Mapping[str, Any]) -> bool:
    """Whether the item's time to live removed it."""
    who = wire.get("userIdentity")
    if wire.get("eventName") != "REMOVE" or not isinstance(who, Mapping):
        return False
    # The API spells the names in two ways: those of its reference, and those of its records.
    names = {str(name)[:1].lower() + str(name)[1:]: value for name, value in who.items()}
    return all(names.get(name) == value for name, value in TIME_TO_LIVE.items())


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


def windows_of(played: Played, calendar: Calendar, created: float) -> tuple[str, ...]:
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
        image = image_of(change, NEW_IMAGE, rules)
    except Fault as fault:
        return poison(wire, fault.reason, fault.detail, rules)
    return game_of(image, change["SequenceNumber"], created, calendar_by(rules), stored)


def game_of(
    image: Image, sequence_number: str, created: float, calendar: Calendar | None, wire: Mapping[str, Any]
) -> Game:
    """What an image counts as in a record that was created then (unix seconds)."""
    windows = () if calendar is None else windows_of(image.played, calendar, created)
    return Game(sequence_number, created, image.player, image.score, image.played[0], wire, windows)


def _correction_or_poison(
    wire: Mapping[str, Any], created: float, rules: Rules, stored: Mapping[str, Any]
) -> Correction | Poison:
    change, removal = wire["dynamodb"], wire["eventName"] == "REMOVE"
    try:
        item, old = item_of(change["Keys"]), old_image(change, rules)
        new = None if removal else image_of(change, NEW_IMAGE, rules)
    except (KeyError, TypeError, ValueError):
        return poison(wire, Reason.IMAGE_MISSING, "the record has no Keys", rules)
    except Fault as fault:
        return poison(wire, fault.reason, fault.detail, rules)
    player = _player_of(change, "Keys", rules) or next((image.player for image in (new, old) if image), None)
    return Correction(change["SequenceNumber"], created, player, item, new, old, _expired(wire), stored)


NEW_IMAGE: Final = "NewImage"
OLD_IMAGE: Final = "OldImage"


def image_of(change: Mapping[str, Any], part: str, rules: Rules) -> Image:
    """The game that a record's new or old image is, at the record's creation. Raises Fault."""
    image = change.get(part)
    if not isinstance(image, Mapping):
        which = "new" if part == NEW_IMAGE else "old"
        raise Fault(Reason.IMAGE_MISSING, f"the record has no {part}; the stream must carry {which} images")
    player = _player(image, rules.player_attribute)
    score = _score(image, rules.score_attribute)
    return Image(player, score, _played(image, rules, _created(change) + rules.max_future_seconds))


def old_image(change: Mapping[str, Any], rules: Rules) -> Image | None:
    """The game that a record's old image is; None: it is none. Raises Fault where the record has no old image."""
    try:
        return image_of(change, OLD_IMAGE, rules)
    except Fault as fault:
        if fault.reason is Reason.IMAGE_MISSING:
            raise
        return None


def item_of(keys: Mapping[str, Any]) -> str:
    """The key of an item, from a record's `Keys` in DynamoDB JSON: the same text for the same item."""
    return json.dumps(keys, sort_keys=True, separators=(",", ":"))


IGNORED_CORRECTIONS: Final = frozenset({Outcome.MODIFIED, Outcome.REMOVED, Outcome.EXPIRED})
"""Outcomes after which the board rightly differs from the source table."""


def poison(wire: Mapping[str, Any], reason: Reason, detail: str, rules: Rules) -> Poison:
    """`wire` as a poison record, with the player's id if its image, or its key, has a usable one."""
    change = wire["dynamodb"]
    player = _player_of(change, NEW_IMAGE, rules) or _player_of(change, "Keys", rules)
    about = _about(wire, rules) if rules.corrections is Corrections.APPLY else None
    return Poison(change["SequenceNumber"], _created(change), player, reason, detail, pack(wire), about)


def _about(wire: Mapping[str, Any], rules: Rules) -> ItemRecord | None:
    change, event = wire["dynamodb"], wire.get("eventName")
    try:
        item = item_of(change["Keys"])
        old = None if event == "INSERT" else old_image(change, rules)
    except (Fault, KeyError, TypeError, ValueError):
        return None
    return ItemRecord(item, old, event == "INSERT", event == "REMOVE")


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


def _played(image: Mapping[str, Any], rules: Rules, latest: float) -> Played:
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
