"""The nemesis injects faults: it decides what becomes of each call, and which faults make sense for which calls."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum
from random import Random
from typing import Final, NamedTuple

from consumer.domain.errors import CallFailed, FailureKind, IteratorExpired
from consumer.domain.replies import Refused
from consumer.operations.steps import OperatorCall
from consumer.worker.calls import Call, Operation, Reply
from consumer.worker.ledger_calls import Probe
from consumer.worker.shard_calls import Commit, EndShard
from tests.simulation.dice import Dice


class Fault(Enum):
    """What becomes of a call."""

    NONE = "none"
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


FAULTS: Final = tuple(fault for fault in Fault if fault is not Fault.NONE)
_OF_WRITES: Final = frozenset((Fault.LOST_REPLY, Fault.LATE, Fault.DUPLICATE, Fault.CONFLICT, Fault.CRASH_AFTER))
"""For a call without effect these are the same as other faults, or cannot be."""
_READS: Final = frozenset(
    (
        Operation.GET_SHARD_ITERATOR,
        Operation.GET_RECORDS,
        Operation.EXAMINE,
        Operation.READ_MEMBERS,
        Operation.LOAD_LEDGER,
        Operation.READ_ORIGIN,
        Operation.FIND_STREAM,
        Operation.LIST_SHARDS,
        Operation.FIND_CHILDREN,
        Operation.FIND_LATE_CHILDREN,
        Operation.PROBE_SHARD,
        Operation.READ_ROWS,
        Operation.READ_ITEMS,
        Operation.LOOK_UP_SHARD,
        OperatorCall.LOAD_LEDGER,
        OperatorCall.READ_MEMBERS,
        OperatorCall.READ_BINDINGS,
        OperatorCall.LIST_ENTRIES,
        OperatorCall.READ_ENTRIES,
        OperatorCall.READ_RECORD,
        OperatorCall.READ_ITEMS,
        OperatorCall.READ_CLOCK,
        OperatorCall.GET_SHARD_ITERATOR,
        OperatorCall.GET_ITERATOR_AT,
        OperatorCall.GET_RECORDS,
        OperatorCall.EXAMINE,
    )
)


def why_not(fault: Fault, operation: Operation | OperatorCall) -> str | None:
    """Why a fault makes no sense for a call; None: it does."""
    if fault in _OF_WRITES and operation in _READS:
        return "reads have no effect"
    if isinstance(operation, OperatorCall):
        if fault is Fault.PAUSE:
            return "for a command a pause is a late reply"
        return "workers meet it often enough" if fault in (Fault.EXPIRED, Fault.MISSING) else None
    if fault is Fault.EXPIRED and operation is not Operation.GET_RECORDS:
        return "only reading takes an iterator"
    if fault is Fault.MISSING and operation not in (Operation.GET_SHARD_ITERATOR, Operation.PROBE_SHARD):
        return "only a shard that is asked for can be missing"
    return None


FAULTS_OF: Final[Mapping[Operation | OperatorCall, tuple[Fault, ...]]] = {
    operation: tuple(fault for fault in FAULTS if why_not(fault, operation) is None)
    for operation in (*Operation, *OperatorCall)
}
"""The faults that make sense, by the name of the call."""
_FREQUENT: Final[Mapping[Operation, float]] = {
    Operation.READ_MEMBERS: 0.35,
    Operation.HEARTBEAT: 1.2,
    Operation.LOAD_LEDGER: 1.6,
    Operation.GET_RECORDS: 2.5,
    Operation.COMMIT: 5.0,
    Operation.MOVE_CHECKPOINT: 5.0,
    Operation.GET_SHARD_ITERATOR: 6.0,
    Operation.READ_ORIGIN: 4.0,
    Operation.FIND_STREAM: 4.0,
    Operation.LIST_SHARDS: 4.0,
    Operation.READ_ROWS: 1.5,
    Operation.READ_ITEMS: 2.0,
    Operation.WRITE_ROWS: 5.0,
    Operation.LOOK_UP_SHARD: 3.0,
    Operation.UPGRADE_STREAM: 3.0,
}
"""By how much the fault rate of an operation exceeds the schedule's."""
_RARE: Final = 3.0
"""The same for all other operations."""
_TARGETED_RUNS: Final[Mapping[Operation, float]] = {
    Operation.CLAIM: 0.2,
    Operation.EVICT_MEMBER: 0.2,
    Operation.RECORD_GAP: 0.3,
    Operation.CREATE_ROOT_ROWS: 0.6,
    Operation.END_SHARD: 1.0,
    Operation.RELEASE: 1.0,
    Operation.ADOPT: 1.0,
    Operation.PROBE_SHARD: 1.0,
    Operation.MARK_UNLISTED: 1.0,
    Operation.FORGET: 1.0,
}
"""The share of runs in which a rare operation is targeted."""
_MOST_TARGETED_RUNS: Final = 0.85
"""The same for all other rare operations."""
_TARGETED: Final = 0.75
"""The fault rate of a targeted operation, in the first _TARGETED_CALLS of each worker's start, by any fault."""
_TARGETED_CALLS: Final = 6
_OPERATOR_RATES: Final[Mapping[OperatorCall, float]] = {
    OperatorCall.LIST_ENTRIES: 0.5,
    OperatorCall.LOAD_LEDGER: 0.3,
    OperatorCall.READ_MEMBERS: 0.5,
    OperatorCall.APPLY: 1.2,
    OperatorCall.DISCARD: 1.6,
    OperatorCall.RESTORE: 1.6,
    OperatorCall.RESUME: 2.0,
    OperatorCall.SET_CHECKPOINT: 2.5,
    OperatorCall.CHANGE_BINDING: 2.5,
    OperatorCall.EXAMINE: 2.0,
    OperatorCall.COUNT_BATCH: 2.0,
    OperatorCall.PUT_PROGRESS: 1.2,
}
"""By how much the fault rate of an operator's call exceeds the command's."""
_MOST_OPERATOR_FAULTS: Final = 0.8
_STOPPING: Final = frozenset((Fault.CRASH_BEFORE, Fault.CRASH_AFTER, Fault.PAUSE))


class Delivery(NamedTuple):
    """The fault of one call, how long its request and its reply travel, and `late`, from 0 to 1."""

    fault: Fault
    there_seconds: float
    back_seconds: float
    late: float


@dataclass(frozen=True)
class Schedule:
    """Which faults a run has and how often: every run has only some of them, so that rare pairs meet.

    `slow_pages`: the share of pages that also come late, so that a lease can be lost and claimed again before.
    """

    faults: frozenset[Fault]
    chance: float
    targeted: frozenset[Operation] = frozenset()
    slow_pages: float = 0.0

    @classmethod
    def draw(cls, random: Random) -> "Schedule":
        """A schedule for one run."""
        faults = frozenset(fault for fault in FAULTS if random.random() < 0.6)
        chance = random.choice((0.02, 0.05, 0.1, 0.2))
        targeted = frozenset(
            operation
            for operation in Operation
            if operation not in _FREQUENT and random.random() < _TARGETED_RUNS.get(operation, _MOST_TARGETED_RUNS)
        )
        return cls(faults, chance, targeted, slow_pages=random.choice((0.0, 0.0, 0.0, 0.2)))


NO_FAULTS = Schedule(frozenset(), 0.0)


class Nemesis:
    """Draws for each kind of call of each worker and each command from a source of its own (see Dice)."""

    def __init__(self, dice: Dice) -> None:
        self.schedule = Schedule.draw(dice.source("schedule"))
        self._dice = dice
        self._counts: dict[str, int] = {}

    def deliver(self, owner: str, operation: Operation) -> Delivery:
        """What becomes of a worker's next call of an operation."""

        def choose(fault: Fault, number: int, hit: float, stops: float) -> Fault:
            return self._scheduled(fault, operation, number, hit, stops)

        return self._deliver(owner, operation, choose)

    def deliver_to_operator(self, command: str, call: OperatorCall, chance: float) -> Delivery:
        """What becomes of a command's next call of a kind, by the command's fault rate."""
        rate = min(_MOST_OPERATOR_FAULTS, chance * _OPERATOR_RATES.get(call, 1.0))
        return self._deliver(command, call, lambda fault, _, hit, __: fault if hit < rate else Fault.NONE)

    def _deliver(
        self, sender: str, call: Operation | OperatorCall, choose: Callable[[Fault, int, float, float], Fault]
    ) -> Delivery:
        name = f"{sender} {call}"
        random = self._dice.source(name).random
        hit, which, there, back, late, stops = random(), random(), random(), random(), random(), random()
        number = self._counts[name] = self._counts.get(name, 0) + 1
        faults = FAULTS_OF[call]
        fault = choose(faults[int(which * len(faults))], number, hit, stops)
        if fault is not Fault.NONE and not self._dice.takes_place(f"{name} {number}: {fault.value}"):
            fault = Fault.NONE
        return Delivery(fault, 0.002 + 0.018 * there, 0.002 + 0.018 * back, late)

    def _scheduled(self, fault: Fault, operation: Operation, number: int, hit: float, stops: float) -> Fault:
        schedule = self.schedule
        if operation in schedule.targeted and number <= _TARGETED_CALLS and hit < _TARGETED:
            return fault
        if operation is Operation.GET_RECORDS and stops < schedule.slow_pages:
            return Fault.SLOW
        if hit >= schedule.chance * _FREQUENT.get(operation, _RARE) or fault not in schedule.faults:
            return Fault.NONE
        return Fault.NONE if fault in _STOPPING and stops < 0.5 else fault


def failed_reply(fault: Fault, call: Call) -> Reply:
    """The reply to a call that a fault kept from taking effect."""
    match fault:
        case Fault.THROTTLED:
            return CallFailed(FailureKind.THROTTLED, "simulated")
        case Fault.CONFLICT if isinstance(call, Commit | EndShard):
            return Refused(conflict=True)
        case Fault.CONFLICT:
            return CallFailed(FailureKind.CONFLICT, "simulated")
        case Fault.MISSING if isinstance(call, Probe):
            return False
        case Fault.MISSING:
            return CallFailed(FailureKind.MISSING, "simulated: no such shard")
        case Fault.EXPIRED:
            return IteratorExpired()
        case _:
            return CallFailed(FailureKind.NETWORK, "simulated")
