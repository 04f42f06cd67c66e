"""The nemesis: decides what becomes of each call, and what befalls workers and the stream."""

from dataclasses import dataclass
from enum import Enum
from random import Random

from consumer.domain.errors import IteratorExpired, Trouble, TroubleKind
from consumer.domain.outcomes import Refused
from consumer.worker.calls import Call, Commit, EndShard, Read, Reply


class Fate(Enum):
    """What becomes of a call."""

    FINE = "fine"
    LOST_REQUEST = "lost request"
    LOST_REPLY = "lost reply"
    LATE = "late request"
    DUPLICATE = "late duplicate"
    THROTTLED = "throttled"
    CONFLICT = "conflict"
    EXPIRED = "iterator expired"
    CRASH_BEFORE = "crash before"
    CRASH_AFTER = "crash after"
    PAUSE = "pause"


FAULTS = tuple(fate for fate in Fate if fate is not Fate.FINE)


@dataclass(frozen=True)
class Schedule:
    """Which faults a run has and how often: every run has some of them, so that rare pairs meet."""

    faults: tuple[Fate, ...]
    chance: float

    @classmethod
    def draw(cls, random: Random) -> "Schedule":
        """A schedule for one run."""
        faults = tuple(fate for fate in FAULTS if random.random() < 0.6)
        return cls(faults, random.choice((0.02, 0.05, 0.1, 0.2)))

    def fate(self, call: Call, random: Random) -> Fate:
        """What becomes of `call`."""
        if not self.faults or random.random() >= self.chance:
            return Fate.FINE
        fate = random.choice(self.faults)
        if fate is Fate.EXPIRED and not isinstance(call, Read):
            return Fate.FINE
        if fate in (Fate.CRASH_BEFORE, Fate.CRASH_AFTER, Fate.PAUSE) and random.random() < 0.7:
            return Fate.FINE
        return fate


CALM = Schedule((), 0.0)


def refusal(fate: Fate, call: Call) -> Reply:
    """The answer of a fate that keeps the call from taking effect."""
    match fate:
        case Fate.THROTTLED:
            return Trouble(TroubleKind.THROTTLED, "simulated")
        case Fate.CONFLICT if isinstance(call, Commit | EndShard):
            return Refused(conflict=True)
        case Fate.CONFLICT:
            return Trouble(TroubleKind.CONFLICT, "simulated")
        case Fate.EXPIRED:
            return IteratorExpired()
        case _:
            return Trouble(TroubleKind.NETWORK, "simulated")
