"""Replays: a range of one shard, the progress row, and the batch that one transaction counts."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final, NamedTuple

from consumer.domain.fold import Unit
from consumer.domain.leases import TRIM_HORIZON, Shard, rank

LATEST: Final = "LATEST"
"""As the end of a range: the shard's checkpoint at the time when the replay starts."""


class Mode(StrEnum):
    """What a replay counts."""

    PENDING = "pending"
    """What is not counted yet: the pending quarantine entries."""
    RECOUNT = "recount"
    """The whole range again; quarantined records count as their entries say."""


class Range(NamedTuple):
    """A shard's records from `first` (TRIM_HORIZON: its oldest) to `last` (SHARD_END: its newest), both included."""

    first: str
    last: str

    def overlaps(self, other: "Range") -> bool:
        """Whether a record can be in both ranges."""
        return rank(self.first) <= rank(other.last) and rank(other.first) <= rank(self.last)

    def contains(self, sequence_number: str) -> bool:
        """Whether the record is in the range."""
        return rank(self.first) <= rank(sequence_number) <= rank(self.last)

    def __str__(self) -> str:
        return f"{self.first}..{self.last}"


@dataclass(frozen=True, slots=True)
class Progress:
    """The progress row of a replay: one per shard and target (a leaderboard table).

    `range.last` is a position; `requested_last` is what the operator gave for it, which may be LATEST. All records up
    to `position` are done (TRIM_HORIZON: none yet): `games` were counted, `skipped` records could not be.

    `runner` is unique per run of the command: a run that takes the row over writes its own, which fences the run
    before. `replay_id` stays the same over all runs. `done` are the ranges that earlier replays counted again. The
    operator `who` started it, at `started_at` (unix seconds).
    """

    shard: Shard
    target: str
    mode: Mode
    range: Range
    requested_last: str
    position: str
    replay_id: str
    runner: str
    who: str
    started_at: float
    running: bool = True
    games: int = 0
    skipped: int = 0
    done: tuple[Range, ...] = ()

    @property
    def counted(self) -> Range | None:
        """The part of the range that is counted again so far; None: nothing."""
        if self.mode is not Mode.RECOUNT or self.position == TRIM_HORIZON:
            return None
        return Range(self.range.first, self.position if self.running else self.range.last)

    @property
    def history(self) -> tuple[Range, ...]:
        """All ranges that were counted again, by this replay and earlier ones."""
        return self.done if self.counted is None else (*self.done, self.counted)

    def after(self, batch: "Batch") -> "Progress":
        """The row when the batch is counted."""
        unit = batch.unit
        games = sum(delta.games for delta in unit.deltas.values())
        return replace(self, position=unit.last, games=self.games + games, skipped=self.skipped + len(batch.skipped))


@dataclass(frozen=True, slots=True)
class Batch:
    """Consecutive records that one transaction counts.

    `states` are the states of quarantine entries on which the batch relies, by sequence number; the transaction checks
    them. `skipped` says, by sequence number, why a record that should count cannot.
    """

    unit: Unit
    states: Mapping[str, str]
    skipped: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Overtaken:
    """Another run has the progress row. `row` is the row now, None: there is none."""

    row: Progress | None


@dataclass(frozen=True, slots=True)
class Changed:
    """Quarantine entries of these sequence numbers have other states now."""

    sequence_numbers: frozenset[str]


def merged(ranges: Iterable[Range]) -> tuple[Range, ...]:
    """The same records in as few ranges as possible, in order."""
    found: list[Range] = []
    for range_ in sorted(ranges, key=lambda range_: rank(range_.first)):
        if found and found[-1].overlaps(range_):
            found[-1] = Range(found[-1].first, max(found[-1].last, range_.last, key=rank))
        else:
            found.append(range_)
    return tuple(found)
