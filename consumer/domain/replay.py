"""A replay's nouns: a range of one shard, its progress row, and the batch that one transaction counts."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final, NamedTuple

from consumer.domain.leaderboard import Unit
from consumer.domain.leases import Shard
from consumer.domain.position import TRIM_HORIZON, rank

LATEST: Final = "LATEST"
"""As the end of a range: the checkpoint of the moment at which the replay begins."""


class Mode(StrEnum):
    """What a replay counts."""

    PENDING = "pending"
    """What is not counted yet: pending quarantine rows."""
    RECOUNT = "recount"
    """All of the range that counts, by the word of the quarantine rows."""


class Range(NamedTuple):
    """A shard's records from `first` (TRIM_HORIZON: its oldest) to `last` (SHARD_END: its newest), both among them."""

    first: str
    last: str

    def overlaps(self, other: "Range") -> bool:
        """Whether a record can be in both."""
        return rank(self.first) <= rank(other.last) and rank(other.first) <= rank(self.last)

    def holds(self, sequence_number: str) -> bool:
        """Whether the record is one of them."""
        return rank(self.first) <= rank(sequence_number) <= rank(self.last)

    def __str__(self) -> str:
        return f"{self.first}..{self.last}"


@dataclass(frozen=True, slots=True)
class Progress:
    """The progress row: one a shard and target (a leaderboard table).

    `range.last` is fixed; `asked` is what it was asked as. All up to `position` is counted (TRIM_HORIZON: nothing yet),
    which were `games`; `skipped` could not be. `runner` is like no other: whoever takes the row over brings a new one,
    and fences the one before. `act` is the same over all runners. `done`: ranges that were counted before.
    """

    shard: Shard
    target: str
    mode: Mode
    range: Range
    asked: str
    position: str
    act: str
    runner: str
    who: str
    started_at: float
    running: bool = True
    games: int = 0
    skipped: int = 0
    done: tuple[Range, ...] = ()

    @property
    def counted(self) -> Range | None:
        """What of its range was counted again, None: nothing."""
        if self.mode is not Mode.RECOUNT or self.position == TRIM_HORIZON:
            return None
        return Range(self.range.first, self.position if self.running else self.range.last)

    @property
    def history(self) -> tuple[Range, ...]:
        """All that was counted again, by this replay and those before."""
        return self.done if self.counted is None else (*self.done, self.counted)

    def after(self, batch: "Batch") -> "Progress":
        """When the batch is counted."""
        unit = batch.unit
        games = sum(delta.games for delta in unit.deltas.values())
        return replace(self, position=unit.last, games=self.games + games, skipped=self.skipped + len(batch.skipped))


@dataclass(frozen=True, slots=True)
class Batch:
    """A run of records that one transaction counts: the unit's deltas, and by what states of quarantine rows.

    `states`: by sequence number, of the unit's records that have such a row. `skipped`: records that count by right and
    cannot, and why.
    """

    unit: Unit
    states: Mapping[str, str]
    skipped: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Overtaken:
    """The progress row is not as it was known; `row` is what it says now, None: there is none."""

    row: Progress | None


@dataclass(frozen=True, slots=True)
class Changed:
    """Quarantine rows have other states by now: those of these sequence numbers."""

    sequence_numbers: frozenset[str]


def merged(ranges: Iterable[Range]) -> tuple[Range, ...]:
    """The same records in as few ranges as can be, in order."""
    found: list[Range] = []
    for each in sorted(ranges, key=lambda each: rank(each.first)):
        if found and found[-1].overlaps(each):
            found[-1] = Range(found[-1].first, max(found[-1].last, each.last, key=rank))
        else:
            found.append(each)
    return tuple(found)
