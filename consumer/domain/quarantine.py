"""The quarantine's nouns: a record's head, what a person picks among heads, and what he does with one."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from consumer.domain.audit import Trace
from consumer.domain.leaderboard import Delta
from consumer.domain.leases import Shard


class State(StrEnum):
    """Whether a quarantined record still waits for a person."""

    PENDING = "pending"
    APPLIED = "applied"
    DISCARDED = "discarded"


@dataclass(frozen=True, slots=True)
class Settled:
    """Who dealt with a record, and when (ISO, UTC). `repairs`: what redrive set, by field; `why`: discard's reason."""

    by: str
    at: str
    repairs: Mapping[str, str] = field(default_factory=dict)
    why: str | None = None


@dataclass(frozen=True, slots=True)
class Head:
    """What a quarantined record's head row says; its parts hold the record. Times are ISO, UTC; `created` unix."""

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
    settled: Settled | None = None

    @property
    def shard(self) -> Shard:
        """The shard it came from."""
        return Shard(self.stream_arn, self.shard_id)

    @property
    def order(self) -> tuple[str, int]:
        """By shard, and in it as the stream had them."""
        return self.shard_id, int(self.sequence_number)

    def __str__(self) -> str:
        return f"{self.shard} {self.sequence_number}"


@dataclass(frozen=True, slots=True)
class Choice:
    """Which heads a person means; None: all. `shard` is an id or label/id; `since` and `until` belong to it (unix)."""

    shard: str | None = None
    player: str | None = None
    reason: str | None = None
    state: State | None = State.PENDING
    since: float | None = None
    until: float | None = None

    @property
    def shard_id(self) -> str | None:
        """The shard's id, without the label."""
        return self.shard.rpartition("/")[2] if self.shard is not None else None

    def names_shard(self, head: Head) -> bool:
        """Whether the record is of the chosen shard."""
        return self.shard is None or self.shard in (head.shard_id, str(head.shard))

    def takes(self, head: Head) -> bool:
        """Whether the record is meant."""
        if not self.names_shard(head) or (self.state is not None and head.state != self.state):
            return False
        if (self.player is not None and head.player != self.player) or (self.reason or head.reason) != head.reason:
            return False
        if self.since is None and self.until is None:
            return True
        at = _seconds(head.quarantined_at)
        if at is None:
            return False
        return (self.since is None or self.since <= at) and (self.until is None or at <= self.until)


@dataclass(frozen=True, slots=True)
class Act:
    """A person's act on one record. `token` is like no other: by it an act whose reply was lost is known again."""

    head: Head
    token: str
    trace: Trace


@dataclass(frozen=True, slots=True)
class Application:
    """What a redrive writes, all or nothing. Not `dated`: the player's stored date is a later one and stays."""

    act: Act
    player: str
    delta: Delta
    repairs: Mapping[str, str]
    dated: bool = True


@dataclass(frozen=True, slots=True)
class Taken:
    """The record is not pending any more, by somebody else's act; `head` is what its row says now, None: no row."""

    head: Head | None


def _seconds(iso: str) -> float | None:
    try:
        return datetime.fromisoformat(iso).timestamp()
    except ValueError:
        return None
