"""The circuit breaker: a flood of poison is the producer's fault, so the shard halts before it."""

from dataclasses import dataclass, replace
from typing import Final

from consumer.domain.records import Entry, Poison


@dataclass(frozen=True, slots=True)
class Circuit:
    """The breaker's state in a shard's row.

    `recent` is a bit mask of the last records, one bit per record: the lowest bit is the newest record, 1 means poison;
    ignored records have no bit. `halted_at` is when the circuit opened (unix seconds), None while it is closed. An
    operator who resumes the shard may let all records up to `free_to` pass. `resumes` counts how often operators closed
    the circuit, so that a halt decided before the last resume has no effect.
    """

    recent: int = 0
    halted_at: float | None = None
    free_to: str | None = None
    resumes: int = 0

    def lets_pass(self, entry: Entry) -> bool:
        """Whether an operator lets this record pass."""
        return self.free_to is not None and int(entry.sequence_number) <= int(self.free_to)

    def after(self, recent: int, last: str) -> "Circuit":
        """The circuit when all records up to `last` are committed: behind `free_to` the breaker works again."""
        passed = self.free_to is not None and int(last) >= int(self.free_to)
        return replace(self, recent=recent, free_to=None if passed else self.free_to)


CLOSED: Final = Circuit()


@dataclass(frozen=True, slots=True)
class Breaker:
    """Trips when at least `poison` of a shard's last `window` records are poison."""

    poison: int = 100
    window: int = 200

    def after(self, recent: int, *, poison: bool) -> int:
        """The bit mask `recent` with one more record."""
        return ((recent << 1) | poison) & ((1 << self.window) - 1)

    def trips(self, recent: int) -> bool:
        """Whether these records are a flood of poison."""
        return recent.bit_count() >= self.poison

    def stops(self, poison: Poison, circuit: Circuit) -> bool:
        """Whether `poison`, the next record, must not be committed: it would complete a flood."""
        return not circuit.lets_pass(poison) and self.trips(self.after(circuit.recent, poison=True))
