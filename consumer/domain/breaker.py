"""The circuit breaker: a flood of poison is the producer's fault, so the shard halts before it."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final, NamedTuple

from consumer.domain.records import Entry, Poison, Reason
from consumer.domain.text import quoted


class HaltReason(StrEnum):
    """Why a shard halts besides a flood of poison, as a stable code."""

    MARK_UNKNOWN = "mark_unknown"


class Symptom(NamedTuple):
    """Why a shard halts: a poison record as the example of what most of a flood suffers from, or the record before
    which it cannot go on. `player`: whose row has a mark that is not known.
    """

    reason: Reason | HaltReason
    detail: str
    sequence_number: str
    player: str | None = None


def symptom_of(flood: Sequence[Symptom]) -> Symptom:
    """The first record with the commonest reason: it is in quarantine. `flood` has at least one, in order."""
    ((reason, _),) = Counter(each.reason for each in flood).most_common(1)
    return next(each for each in flood if each.reason == reason)


@dataclass(frozen=True, slots=True)
class Circuit:
    """The breaker's state in a shard's row.

    `recent` is a bit mask of the last records, one bit per record: the lowest bit is the newest record, 1 means poison;
    ignored records have no bit. `halted_at` is when the circuit opened (unix seconds), None while it is closed;
    `symptom` says why. An operator who resumes the shard may let all records up to `free_to` pass. `resumes` counts how
    often operators closed the circuit, so that a halt decided before the last resume has no effect. `had_game`: the
    shard, or an ancestor, has had a good record. `ignored`: a change or a removal of an item was ignored by rule in the
    shard or an ancestor, so that the board rightly differs from the source table.
    """

    recent: int = 0
    halted_at: float | None = None
    free_to: str | None = None
    resumes: int = 0
    had_game: bool = False
    symptom: Symptom | None = None
    ignored: bool = False

    @property
    def inherited(self) -> "Circuit":
        """The circuit in the new row of a child."""
        return Circuit(had_game=self.had_game, ignored=self.ignored)

    @property
    def cause(self) -> str:
        """Why the shard halts here, as a part of a sentence."""
        if self.unknown_mark is not None:
            return self.unknown_mark.detail
        cause = "most of its last records are poison"
        if not self.had_game:
            cause = "it has had no good record yet, and too much poison"
        if self.symptom is not None:
            reason, detail, sequence_number, _ = self.symptom
            cause += f", most often {reason}: {detail} (record {sequence_number})"
        return cause

    @property
    def unknown_mark(self) -> Symptom | None:
        """Why the shard halts before a row's mark; None: it does not halt for that reason."""
        symptom = self.symptom
        return symptom if symptom is not None and symptom.reason is HaltReason.MARK_UNKNOWN else None

    @property
    def resume_options(self) -> str:
        """What `consumer resume` needs besides the shard, to close this circuit for good."""
        symptom = self.unknown_mark
        return "" if symptom is None else f" --accept-mark {quoted(symptom.player or '')}"

    def lets_pass(self, entry: Entry) -> bool:
        """Whether an operator lets this record pass."""
        return self.free_to is not None and int(entry.sequence_number) <= int(self.free_to)

    def after(self, recent: int, last: str, *, had_game: bool, ignored: bool = False) -> "Circuit":
        """The circuit when all records up to `last` are committed: behind `free_to` the breaker works again."""
        ignored |= self.ignored
        if (recent, had_game, ignored) == (self.recent, self.had_game, self.ignored) and self.free_to is None:
            return self
        passed = self.free_to is not None and int(last) >= int(self.free_to)
        free_to = None if passed else self.free_to
        return replace(self, recent=recent, had_game=had_game, ignored=ignored, free_to=free_to)


CLOSED: Final = Circuit()


@dataclass(frozen=True, slots=True)
class Breaker:
    """Trips when at least `poison` of a shard's last `window` records are poison.

    Where no record was ever good, `first` are enough: what is wrong is then the settings or the source, not a record.
    """

    poison: int = 100
    window: int = 200
    first: int = 20

    def after(self, recent: int, *, poison: bool) -> int:
        """The bit mask `recent` with one more record."""
        return ((recent << 1) | poison) & ((1 << self.window) - 1)

    def trips(self, recent: int, *, had_game: bool) -> bool:
        """Whether these records are a flood of poison."""
        return recent.bit_count() >= (self.poison if had_game else min(self.first, self.poison))

    def stops(self, poison: Poison, circuit: Circuit) -> bool:
        """Whether `poison`, the next record, must not be committed: it would complete a flood."""
        if circuit.lets_pass(poison):
            return False
        return self.trips(self.after(circuit.recent, poison=True), had_game=circuit.had_game)
