"""The nemesis: decides what becomes of each call."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from random import Random
from typing import Final, NamedTuple

from consumer.domain.errors import IteratorExpired, Trouble, TroubleKind
from consumer.domain.outcomes import Refused
from consumer.worker.calls import Call, Commit, EndShard, Probe, Reply
from tests.simulation.dice import Dice


class Fate(Enum):
    """What becomes of a call."""

    FINE = "fine"
    LOST_REQUEST = "lost request"
    LOST_REPLY = "lost reply"
    LATE = "late request"
    DUPLICATE = "late duplicate"
    SLOW = "late reply"
    THROTTLED = "throttled"
    CONFLICT = "conflict"
    EXPIRED = "iterator expired"
    MISSING = "not found"
    CRASH_BEFORE = "crash before"
    CRASH_AFTER = "crash after"
    PAUSE = "pause"


FAULTS = tuple(fate for fate in Fate if fate is not Fate.FINE)
READS: Final = frozenset(
    ("Open", "Read", "Look", "Load", "FindOrigin", "FindStream", "ListShards", "FindChildren", "FindLate", "Probe")
) | {"Examine"}
PERSONS_READS: Final = frozenset(
    ("Fetch", "Examine", "AskMoment", "Open", "OpenAt", "Read", "Load", "Look", "Heads", "FindRows", "Births")
)
OPERATOR: Final = "op "
"""Before the kinds of people's calls."""
_OF_WRITES: Final = frozenset((Fate.LOST_REPLY, Fate.LATE, Fate.DUPLICATE, Fate.CONFLICT, Fate.CRASH_AFTER))
"""To a call without effect these are the same as others, or cannot be."""


def why_not(fate: Fate, kind: str) -> str | None:
    """Why a fate makes no sense for calls of a kind; None: it does."""
    if kind.startswith(OPERATOR):
        return _why_no_person(fate, kind.removeprefix(OPERATOR))
    if fate in _OF_WRITES and kind in READS:
        return "reads have no effect"
    if fate is Fate.EXPIRED and kind != "Read":
        return "only reading takes an iterator"
    if fate is Fate.MISSING and kind not in ("Open", "Probe"):
        return "only a shard that is asked for is missing"
    return None


def _why_no_person(fate: Fate, kind: str) -> str | None:
    """Iterators of people expire too, but nobody draws it."""
    if fate is Fate.PAUSE:
        return "to a person a pause is a late reply"
    if fate in _OF_WRITES and kind in PERSONS_READS:
        return "reads have no effect"
    if fate in (Fate.EXPIRED, Fate.MISSING):
        return "workers meet it often enough"
    return None


_WRITES: Final = frozenset(
    ("Beat", "Bury", "Leave", "PinStream", "Plant", "CompletePin", "Claim", "Release", "Commit", "RecordGap")
) | {"EndShard", "RecordLoss", "Adopt", "Mark", "Forget", "Halt"}
_FATES: Final = {
    kind: tuple(fate for fate in FAULTS if why_not(fate, kind) is None) for kind in sorted(READS | _WRITES)
}
_FREQUENT: Final[Mapping[str, float]] = {
    "Look": 0.35,
    "Beat": 1.2,
    "Load": 1.6,
    "Read": 2.5,
    "Commit": 5.0,
    "Open": 6.0,
    "FindOrigin": 4.0,
    "FindStream": 4.0,
    "ListShards": 4.0,
}
"""How much oftener than the schedule says a kind of call is struck."""
_RARE: Final = 3.0
"""The same for other kinds."""
_HAUNTED_RUNS: Final[Mapping[str, float]] = {
    "Claim": 0.2,
    "Bury": 0.2,
    "RecordGap": 0.3,
    "Plant": 0.6,
    "EndShard": 1.0,
    "Release": 1.0,
    "Adopt": 1.0,
    "Probe": 1.0,
    "Mark": 1.0,
    "Forget": 1.0,
}
_MOST_HAUNTED_RUNS: Final = 0.85
_HAUNTED: Final = 0.75
"""Every kind of rare call is haunted in some runs: struck as often as not, by any fate, in each worker's life."""
_HAUNTED_CALLS: Final = 6
_STOPPING: Final = frozenset((Fate.CRASH_BEFORE, Fate.CRASH_AFTER, Fate.PAUSE))


class Doom(NamedTuple):
    """What becomes of one call, how long it takes to arrive and to be answered, and `late`, from 0 to 1."""

    fate: Fate
    there_seconds: float
    back_seconds: float
    late: float


@dataclass(frozen=True)
class Schedule:
    """Which faults a run has and how often: every run has some of them, so that rare pairs meet.

    `slow_pages`: how many pages come late besides, so that a lease can be lost and claimed again before.
    """

    faults: frozenset[Fate]
    chance: float
    haunted: frozenset[str] = frozenset()
    slow_pages: float = 0.0

    @classmethod
    def draw(cls, random: Random) -> "Schedule":
        """A schedule for one run."""
        faults = frozenset(fate for fate in FAULTS if random.random() < 0.6)
        chance = random.choice((0.02, 0.05, 0.1, 0.2))
        rare = [kind for kind in _FATES if kind not in _FREQUENT and kind != "Halt"]
        haunted = frozenset(kind for kind in rare if random.random() < _HAUNTED_RUNS.get(kind, _MOST_HAUNTED_RUNS))
        slow_pages = random.choice((0.0, 0.0, 0.0, 0.2))
        halting = {"Halt"} if random.random() < _MOST_HAUNTED_RUNS else set()
        return cls(faults, chance, haunted | halting, slow_pages)


CALM = Schedule(frozenset(), 0.0)


class Nemesis:
    """Every kind of call of every worker has a source of its own: see Dice."""

    def __init__(self, dice: Dice) -> None:
        self.schedule = Schedule.draw(dice.source("schedule"))
        self._dice = dice
        self._counts: dict[str, int] = {}

    def doom(self, owner: str, kind: str) -> Doom:
        """What becomes of this worker's next call of a kind."""
        name = f"{owner} {kind}"
        random = self._dice.source(name).random
        struck, which, there, back, late, stops = random(), random(), random(), random(), random(), random()
        number = self._counts[name] = self._counts.get(name, 0) + 1
        fate = self._fate(kind, number, struck, which, stops)
        if fate is not Fate.FINE and not self._dice.takes_place(f"{name} {number}: {fate.value}"):
            fate = Fate.FINE
        return Doom(fate, 0.002 + 0.018 * there, 0.002 + 0.018 * back, late)

    def _fate(self, kind: str, number: int, struck: float, which: float, stops: float) -> Fate:
        schedule, fates = self.schedule, _FATES[kind]
        fate = fates[int(which * len(fates))]
        if kind in schedule.haunted and number <= _HAUNTED_CALLS and struck < _HAUNTED:
            return fate
        if kind == "Read" and stops < schedule.slow_pages:
            return Fate.SLOW
        if struck >= schedule.chance * _FREQUENT.get(kind, _RARE) or fate not in schedule.faults:
            return Fate.FINE
        return Fate.FINE if fate in _STOPPING and stops < 0.5 else fate


def refusal(fate: Fate, call: Call) -> Reply:
    """The answer of a fate that keeps the call from taking effect."""
    match fate:
        case Fate.THROTTLED:
            return Trouble(TroubleKind.THROTTLED, "simulated")
        case Fate.CONFLICT if isinstance(call, Commit | EndShard):
            return Refused(conflict=True)
        case Fate.CONFLICT:
            return Trouble(TroubleKind.CONFLICT, "simulated")
        case Fate.MISSING if isinstance(call, Probe):
            return False
        case Fate.MISSING:
            return Trouble(TroubleKind.MISSING, "simulated: no such shard")
        case Fate.EXPIRED:
            return IteratorExpired()
        case _:
            return Trouble(TroubleKind.NETWORK, "simulated")
