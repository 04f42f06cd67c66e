"""The circuit breaker: a flood of poison is the producer's fault; the shard halts before the flood is quarantined."""

from dataclasses import dataclass, replace
from typing import Final

from consumer.domain.records import Entry, Poison


@dataclass(frozen=True, slots=True)
class Circuit:
    """What a shard's row keeps for the breaker.

    `recent`: the last records, a bit each, the newest last, 1 for poison; ignored ones are left out. `halted_at`: since
    when the circuit is open (unix seconds). `free_to`: a person lets all records up to this one through. `resumes`: how
    often a person has closed it, so that a late halt of before does not count.
    """

    recent: int = 0
    halted_at: float | None = None
    free_to: str | None = None
    resumes: int = 0

    def frees(self, entry: Entry) -> bool:
        """Whether a person lets this record through."""
        return self.free_to is not None and int(entry.sequence_number) <= int(self.free_to)

    def after(self, recent: int, last: str) -> "Circuit":
        """The circuit when all up to `last` is committed: behind what was let through the breaker is armed again."""
        armed = self.free_to is not None and int(last) >= int(self.free_to)
        return replace(self, recent=recent, free_to=None if armed else self.free_to)


CLOSED: Final = Circuit()


@dataclass(frozen=True, slots=True)
class Breaker:
    """Trips when `poison` of a shard's last `window` records are poison; never before."""

    poison: int = 100
    window: int = 200

    def after(self, recent: int, *, poison: bool) -> int:
        """The window when one more record has come."""
        return ((recent << 1) | poison) & ((1 << self.window) - 1)

    def trips(self, recent: int) -> bool:
        """Whether a window is a flood."""
        return recent.bit_count() >= self.poison

    def stops(self, entry: Entry, circuit: Circuit) -> bool:
        """Whether this record, the next one, must not be committed any more."""
        if not isinstance(entry, Poison) or circuit.frees(entry):
            return False
        return self.trips(self.after(circuit.recent, poison=True))
