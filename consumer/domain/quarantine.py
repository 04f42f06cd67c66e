"""The quarantine: entries, how operators select them and resolve them, and how a repaired record is decoded again."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum
from typing import Any, Final

from consumer.domain.audit import AuditEntry
from consumer.domain.conversions import CONVERSIONS, Unconvertible
from consumer.domain.corrections import ItemWrite, KeptImage
from consumer.domain.errors import UsageFault
from consumer.domain.fold import Delta
from consumer.domain.leases import Shard
from consumer.domain.records import Entry, Poison, Rules, decode
from consumer.domain.replies import Done
from consumer.domain.timestamps import PER_SECOND, TimestampFormat, parse_timestamp


class EntryState(StrEnum):
    """Whether a quarantined record still waits for an operator. SUPERSEDED: a later record of its item counts."""

    PENDING = "pending"
    APPLIED = "applied"
    DISCARDED = "discarded"
    SUPERSEDED = "superseded"


@dataclass(frozen=True, slots=True)
class Resolution:
    """How a record was resolved.

    `by` is the operator (empty: a later record of the item superseded it), `at` an ISO time in UTC. `repairs` are the
    values that a redrive set, by field; `why` is the reason of a discard.
    """

    by: str
    at: str
    repairs: Mapping[str, str] = field(default_factory=dict)
    why: str | None = None


@dataclass(frozen=True, slots=True)
class QuarantineEntry:
    """A quarantined record without the record itself, which its `parts` rows hold.

    `state` is an EntryState, `reason` a Reason; a newer version may have written others. `quarantined_at` is an ISO
    time in UTC; `created` is when the record was created, in unix seconds. `expires`: its rows have a time at which
    they expire. `token` is that of the action that changed it last.

    Where corrections count, `item` is the key of its item (see records.item_of; None: it cannot be read), and `kept`
    says what stays counted of the item, whose life is over (None: its index row says what is counted).
    """

    shard_id: str
    sequence_number: str
    reason: str
    state: str
    player: str | None
    parts: int
    detail: str = ""
    quarantined_at: str = ""
    created: float | None = None
    stream_arn: str = ""
    resolution: Resolution | None = None
    token: str | None = field(default=None, compare=False)
    expires: bool = field(default=False, compare=False)
    item: str | None = None
    kept: KeptImage | None = None

    @property
    def shard(self) -> Shard:
        """The shard that the record is from."""
        return Shard(self.stream_arn, self.shard_id)

    @property
    def order(self) -> tuple[str, int]:
        """Sort key: by shard, and in the order of the stream."""
        return self.shard_id, int(self.sequence_number)

    def __str__(self) -> str:
        return f"{self.shard} {self.sequence_number}"


@dataclass(frozen=True, slots=True)
class QuarantineFilter:
    """Which entries an operator selects; None: all.

    `shard` is a shard id or label/id. `since` and `until` (unix seconds, both included) limit when the record was
    quarantined.
    """

    shard: str | None = None
    player: str | None = None
    reason: str | None = None
    state: EntryState | None = EntryState.PENDING
    since: float | None = None
    until: float | None = None

    @property
    def shard_id(self) -> str | None:
        """The shard id, without the label."""
        return self.shard.rpartition("/")[2] if self.shard is not None else None

    def matches_shard(self, entry: QuarantineEntry) -> bool:
        """Whether the entry is of the selected shard."""
        return self.shard is None or self.shard in (entry.shard_id, str(entry.shard))

    def matches(self, entry: QuarantineEntry) -> bool:
        """Whether the entry is selected."""
        if not self.matches_shard(entry) or (self.state is not None and entry.state != self.state):
            return False
        if (self.player is not None and entry.player != self.player) or (self.reason or entry.reason) != entry.reason:
            return False
        if self.since is None and self.until is None:
            return True
        at = _seconds(entry.quarantined_at)
        if at is None:
            return False
        return (self.since is None or self.since <= at) and (self.until is None or at <= self.until)


@dataclass(frozen=True, slots=True)
class OperatorAction:
    """What an operator does to one record. By its unique `token` a retry finds that an attempt before took effect.

    `item`: where corrections count, what becomes of the index row of the record's item, which must be as it was found.
    """

    entry: QuarantineEntry
    token: str
    audit_entry: AuditEntry
    item: ItemWrite | None = None

    @property
    def players(self) -> frozenset[str]:
        """The players whose rows it changes: none."""
        return frozenset()

    def undated_for(self, later: Collection[str]) -> "OperatorAction":  # noqa: ARG002
        """The same: it has no date."""
        return self


@dataclass(frozen=True, slots=True)
class Application:
    """What a redrive writes for one record: a delta per player. Those of `undated` have a later date, which stays."""

    action: OperatorAction
    deltas: Mapping[str, Delta]
    repairs: Mapping[str, str]
    undated: frozenset[str] = frozenset()

    @property
    def entry(self) -> QuarantineEntry:
        """The record's entry."""
        return self.action.entry

    @property
    def item(self) -> ItemWrite | None:
        """What becomes of the index row of its item."""
        return self.action.item

    @property
    def players(self) -> frozenset[str]:
        """The players whose rows it changes."""
        return frozenset(self.deltas)

    def undated_for(self, later: Collection[str]) -> "Application":
        """The same without the dates of those players."""
        return replace(self, undated=self.undated | self.players.intersection(later))


@dataclass(frozen=True, slots=True)
class AlreadyResolved:
    """Another operator resolved the record first. `entry` is what its row says now, None: the row is gone."""

    entry: QuarantineEntry | None


@dataclass(frozen=True, slots=True)
class Unsettled:
    """Nothing was written: some records of a batch do not have the state that it needs, by their place in it.

    Done: this very action settled the record, with an attempt whose reply was lost.
    """

    replies: Mapping[int, Done | AlreadyResolved]


def _seconds(iso: str) -> float | None:
    try:
        return datetime.fromisoformat(iso).timestamp()
    except ValueError:
        return None


TAGS: Final = {"player": "S", "score": "N", "timestamp": "S"}
"""The fields that a repair can set, and the type of each in DynamoDB JSON."""
_VALID: Final = {"player": "any", "score": "0", "timestamp": "2026-01-31"}


def parse_repairs(texts: Iterable[str]) -> dict[str, str]:
    """The values of `field=value` texts, by field. Raises UsageFault, with all faults, for what no record can have."""
    repairs: dict[str, str] = {}
    faults = []
    for text in texts:
        field, equals, value = text.partition("=")
        if not equals or field not in TAGS:
            faults.append(f"--set {text}: it must be player=..., score=... or timestamp=...")
        elif field in repairs:
            faults.append(f"--set {text}: {field} is set twice")
        else:
            repairs[field] = value
            if (fault := _fault({**_VALID, field: value})) is not None:
                faults.append(f"--set {text}: {fault}")
    if faults:
        raise UsageFault("\n".join(faults))
    return repairs


def repaired(wire: Mapping[str, Any], repairs: Mapping[str, str], rules: Rules) -> Mapping[str, Any]:
    """A copy of the record with these fields set; the record itself when it has no image to set them in.

    A repair gives a timestamp as ISO 8601 writes it, in whatever format the rules read it.
    """
    image = wire["dynamodb"].get("NewImage")
    if not isinstance(image, Mapping):
        return wire
    names = _names(rules)
    values = {names[field]: {TAGS[field]: value} for field, value in repairs.items()}
    if "timestamp" in repairs and rules.timestamp_format is not TimestampFormat.ISO:
        seconds, _ = parse_timestamp(repairs["timestamp"])
        values[names["timestamp"]] = {"N": str(int(seconds) * PER_SECOND[rules.timestamp_format])}
    return {**wire, "dynamodb": {**wire["dynamodb"], "NewImage": {**image, **values}}}


def decode_again(
    wire: Mapping[str, Any],
    repairs: Mapping[str, str],
    rules: Rules,
    *,
    only_wrong: bool,
    converts: Collection[str] = (),
) -> tuple[Entry, dict[str, str]]:
    """What a quarantined record means by these rules, and the repairs that were used. No start time applies.

    `only_wrong`: a field is set only if it is what makes the record poison. So one repair of many records changes no
    value that was right. The fields of `converts` get the value that they were meant to have, if the record says it.
    """
    used = {} if only_wrong else dict(repairs)
    while True:
        entry = decode(repaired(wire, used, rules), rules, None)
        field = entry.reason.partition("_")[0] if isinstance(entry, Poison) else ""
        if field in repairs and field not in used:
            used[field] = repairs[field]
        elif isinstance(entry, Poison) and field in converts and field not in used:
            try:
                used[field] = CONVERSIONS[field](value_of(wire, field, rules), entry.created + rules.max_future_seconds)
            except Unconvertible as fault:
                return entry._replace(detail=f"{entry.detail}; {fault}"), used
        else:
            return entry, used


def field_of(reason: str) -> str | None:
    """The field in which a record with this reason is wrong; None: it is wrong in none."""
    field = reason.partition("_")[0]
    return field if field in TAGS else None


def value_of(wire: Mapping[str, Any] | None, field: str, rules: Rules) -> Any:
    """The record's value of a field as it came, in DynamoDB JSON; None: there is none."""
    image = wire["dynamodb"].get("NewImage") if wire is not None else None
    return image.get(_names(rules)[field]) if isinstance(image, Mapping) else None


def _names(rules: Rules) -> dict[str, str]:
    return {"player": rules.player_attribute, "score": rules.score_attribute, "timestamp": rules.timestamp_attribute}


def _fault(values: Mapping[str, str]) -> str | None:
    """Why no record can have these values. How late a timestamp may be depends on the record, so it is not checked."""
    rules = Rules("player", "score", "timestamp")
    blank = {"eventName": "INSERT", "dynamodb": {"SequenceNumber": "1", "NewImage": {}}}
    entry = decode(repaired(blank, values, rules), rules, None)
    return entry.detail if isinstance(entry, Poison) else None
