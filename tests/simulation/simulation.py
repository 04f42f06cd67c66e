"""One simulated run: a stream that splits, tables, workers that start and stop, and a clock that only events move."""

import heapq
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from functools import partial
from itertools import count

from consumer.domain.errors import CallFailed, FailureKind
from consumer.domain.leases import TRIM_HORIZON, Shard, TableNames
from consumer.domain.records import Rules
from consumer.domain.replies import Refused, RowReply
from consumer.operations.steps import OperatorCall
from consumer.worker.calls import Call, Operation, Ports, Reply, execute
from consumer.worker.ledger_calls import Adopt, Mark, Probe
from consumer.worker.shard_calls import PAGE_RECORDS, Commit, MoveCheckpoint, Open, Read, RecordGap, WriteRows
from consumer.worker.stream_start import StartPosition
from tests.simulation.changing import LAST, SOON, Changing
from tests.simulation.correcting import RULES, Correcting
from tests.simulation.correction_invariants import CorrectionLedger, CorrectionMarks
from tests.simulation.dice import Dice
from tests.simulation.interventions import Interventions
from tests.simulation.keyed import Keyed
from tests.simulation.ledger_invariants import LedgerInvariants, Violation, WrittenRecords
from tests.simulation.mark_invariants import LENIENT, MarkInvariants
from tests.simulation.nemesis import NO_FAULTS, Fault, Nemesis, failed_reply
from tests.simulation.operators import Operators
from tests.simulation.row_fates import TAKES_EFFECT, RowFate, draw_fates
from tests.simulation.rule_invariants import number_of
from tests.simulation.scale import (
    EPOCH_SECONDS,
    FAULT_SECONDS,
    GROWING_SECONDS,
    HEALING_SECONDS,
    LATEST_AGAIN_SECONDS,
    LATEST_NEW_ROW_SECONDS,
    LATEST_SECONDS,
    REFUSED_SECONDS,
    scaled,
)
from tests.simulation.stream_events import ARN, StreamEvents
from tests.simulation.trace import describe
from tests.simulation.verifying import Verifying
from tests.simulation.worker import SimulatedWorker
from tests.simulation.worker_invariants import WorkerInvariants
from tests.support.fakes import FakeStreams, FakeTables

MOST_ACTIONS = 200_000
REFUSING_SECONDS = 20.0
TIMEOUT_SECONDS = 2.0
SETTLED_SECONDS = 12.0
"""In this time every worker reads the ledger again, and plans."""
MOST_WAITS = 6
"""After so many of them some shard has not moved in one, or shards move for ever."""
SLOWEST_SECONDS = 12.0
"""A slow page is not timed out."""


class Simulation:
    """A run from a seed. `off`: conditions that the tables do not check (see FakeTables); `only`: see Dice.

    `keyed`: the source's partition key is the player, so that rows have marks (see Keyed). `changing`: days pass, and
    rules change (see Changing). `verifying`: boards are verified (see Verifying). `correcting`: items are corrected
    (see Correcting).
    """

    def __init__(
        self,
        seed: int,
        off: Collection[str] = (),
        only: Collection[str] | None = None,
        *,
        keyed: bool = False,
        changing: bool = False,
        verifying: bool = False,
        correcting: bool = False,
    ) -> None:
        self.dice = Dice(seed, only)
        random = self.dice.source("simulation")
        self.now = 0.0
        self.steps: Counter[tuple[Operation | OperatorCall, Fault]] = Counter()
        self.happened: Counter[str] = Counter()
        self.tables = FakeTables(TableNames(), off)
        self.corrects = correcting
        self.rules = RULES if correcting else Rules()
        self.changing = Changing(self) if changing else None
        self.streams = FakeStreams(self.unix_now, ARN, page_records=random.choice((1, 3, 10, 1000)))
        lenient = LENIENT if keyed and not correcting else self.rules
        records = WrittenRecords(self.streams, self.tables, self.rules, lenient)
        self.ledger_invariants = _invariants(keyed, correcting)(records, self.tables)
        self.keyed: Keyed | None = None
        if isinstance(self.ledger_invariants, MarkInvariants):
            self.keyed = Keyed(self, self.ledger_invariants)
        self.nemesis = Nemesis(self.dice)
        self.stable = random.random() < 0.5
        self.worker_invariants = WorkerInvariants(self.tables, lambda: self.now, stable=self.stable)
        self.start: StartPosition = random.choice(("TRIM_HORIZON", "TRIM_HORIZON", "LATEST"))
        if self.keyed is not None and self.keyed.views.chosen:
            self.start = TRIM_HORIZON
            self.nemesis.schedule = replace(self.nemesis.schedule, chance=0.02, targeted=frozenset())
        self._lock_seconds = random.choice((0.0, 0.0, 0.005, 0.02))
        self._locked: dict[object, float] = {}
        self.ports = Ports(self.streams, self.tables, self.tables, self.tables, self.rules)
        self._trace: list[tuple[float, str, object, str]] = []
        self._actions = 0
        self.refused_since: dict[Shard, float] = {}
        self._queue: list[tuple[float, int, Callable[[], object]]] = []
        self._tie = count()
        self._starts: Counter[str] = Counter()
        self._stopping = False
        self.verifying = Verifying(self) if verifying else None
        self.correcting: Correcting | None = None
        if isinstance(self.ledger_invariants, CorrectionLedger | CorrectionMarks):
            self.correcting = Correcting(self, self.ledger_invariants)
        self.stream_events = StreamEvents(self, self.streams)
        self.interventions = Interventions(self)
        self.operators = Operators(self)
        self.workers: list[SimulatedWorker] = []
        if self.changing is not None:
            self.changing.watch()
        if self.verifying is not None:
            self.verifying.watch()

    # --- running ---

    def unix_now(self) -> float:
        """The server's clock, in unix seconds."""
        return EPOCH_SECONDS + self.now + (self.changing.jumped if self.changing is not None else 0.0)

    def run(self) -> "Simulation":
        """Faults, then none; then everything must drain. Raises Violation."""
        with scaled(self.streams.page_records if self.keyed is not None else PAGE_RECORDS):
            self._begin()
            self.run_until(lambda: self.now >= FAULT_SECONDS)
            self._heal()
            if self.interventions.ledger_lost and not self.operators.adopts:
                self._check_refusal()
            else:
                self._drain()
                if self.changing is not None:
                    self._end_waiting(self.changing)
                if self.verifying is not None:
                    self.verifying.end()
                if self.correcting is not None:
                    self.correcting.end()
                self._stop_all()
                if self.keyed is not None:
                    self.run_until(self.keyed.all_arrived)
        return self

    def at(self, time: float, action: Callable[[], object]) -> None:
        """Plans an action for a time."""
        heapq.heappush(self._queue, (time, next(self._tie), action))

    def note(self, source: str, what: object, remark: str = "") -> None:
        """Adds a line to the trace."""
        self._trace.append((self.now, source, what, remark))

    def trace(self, *, brief: bool = False) -> list[str]:
        """All calls, replies and events; a brief one leaves out heartbeats and reads of members without a fault."""
        return [
            f"{when:8.3f} {source:5} {remark:16} {describe(what)}"
            for when, source, what, remark in self._trace
            if not (brief and _is_routine(what, remark))
        ]

    def send(self, worker: SimulatedWorker, call: Call) -> None:
        """A worker sends a call; the nemesis decides what becomes of it."""
        fault, there, back, late = self.nemesis.deliver(worker.owner, call.operation)
        if fault is Fault.MISSING and not self._may_be_missing(call):
            fault = Fault.NONE
        fates: list[RowFate] = []
        if self.keyed is not None and isinstance(call, WriteRows):
            fault = self.keyed.fault(worker.owner, call.lease.shard) if fault is Fault.NONE else fault
            fates = draw_fates(self.keyed, worker.owner, fault, len(call.writes))
        elif self.keyed is not None and isinstance(call, MoveCheckpoint) and fault is Fault.NONE:
            fault = self.keyed.fault(worker.owner, call.lease.shard, "move")
        self.steps[call.operation, fault] += 1
        self.note(worker.owner, call, "" if fault is Fault.NONE else fault.value)
        self.worker_invariants.sent(worker.owner, call)
        sent_at = self.now
        arrives = self.now + there
        answers = arrives + back
        if self.keyed is not None:
            answers += self.keyed.views.seconds_more(worker.owner, call)
        later = (LATEST_NEW_ROW_SECONDS if isinstance(call, Adopt) else LATEST_SECONDS) * late

        if (self.keyed is not None and isinstance(call, Mark)) or (
            self.changing is not None and isinstance(call, SOON)
        ):
            later = LATEST_AGAIN_SECONDS * late
        if self.changing is not None:
            self.changing.sends(worker.owner, call, arrives + 0.1 + later)

        def effect() -> Reply:
            return self._take_effect(call, worker.ports, fates)

        late_effect: Callable[[], object] = effect
        if self.keyed is not None and isinstance(call, WriteRows):
            late_effect = lambda: None  # noqa: E731  each row has a time of its own
            if self._send_late_rows(self.keyed, call, worker.ports, fates, arrives) and self.keyed.dies(worker.owner):
                self.at(arrives, lambda: self._crash(worker))
        match fault:
            case Fault.LOST_REPLY:
                self.at(arrives, effect)
                self._fail(worker, call, fault, answers + TIMEOUT_SECONDS * late)
            case Fault.LATE:
                self.at(arrives + later, late_effect)
                self._fail(worker, call, fault, answers + 1.0)
            case Fault.CRASH_BEFORE:
                self.at(arrives, lambda: self._crash(worker))
            case Fault.LOST_REQUEST | Fault.THROTTLED | Fault.CONFLICT | Fault.EXPIRED | Fault.MISSING:
                self._fail(worker, call, fault, answers)
            case _:
                if fault is Fault.DUPLICATE:
                    self.at(arrives + 0.1 + later, late_effect)
                elif fault is Fault.SLOW:
                    answers += (SLOWEST_SECONDS if isinstance(call, Read) else TIMEOUT_SECONDS) * late
                self.at(arrives, lambda: self._arrive(worker, call, effect, sent_at, answers, fault))

    def _send_late_rows(
        self, keyed: Keyed, call: WriteRows, ports: Ports, fates: Sequence[RowFate], arrives: float
    ) -> bool:
        """The rows that take effect late, or once more then, do so one by one. Whether there are such rows."""
        late = [(write, fate) for write, fate in zip(call.writes, fates, strict=True) if fate.comes_late]
        for write, fate in late:
            single = WriteRows(call.lease, (write,))
            effect = keyed.watch(partial(self._take_effect, single, ports))
            self.at(arrives + 0.1 * (fate.fault is Fault.DUPLICATE) + keyed.latest(fate.late), effect)
        return bool(late)

    def _arrive(
        self,
        worker: SimulatedWorker,
        call: Call,
        effect: Callable[[], Reply],
        sent_at: float,
        answers: float,
        fault: Fault,
    ) -> None:
        reply = effect()

        def answer() -> None:
            self.worker_invariants.answered(worker.owner, call, reply, sent_at)
            if self.changing is not None:
                self.changing.answered(worker.owner, call)
            worker.take(call, reply if self.keyed is None else self.keyed.views.as_scanned(call, reply))

        if fault is Fault.CRASH_AFTER:
            self._crash(worker)
        elif fault is Fault.PAUSE:
            worker.paused_until = self.now + worker.random.choice((1.0, 3.0, 16.0)) * worker.random.uniform(0.3, 1)
        self.at(answers, answer)

    def _take_effect(self, call: Call, ports: Ports, fates: Sequence[RowFate] = ()) -> Reply:
        reply: Reply
        if self.changing is not None:
            self.changing.acts(call)
        if self.correcting is not None:
            self.correcting.acts(call)
        if isinstance(call, WriteRows):
            reply = self._write_rows(call, ports, fates or [TAKES_EFFECT] * len(call.writes))
        elif self._is_locked(call):
            locked = CallFailed(FailureKind.CONFLICT, "simulated: a transaction has the row")
            reply = Refused(conflict=True) if isinstance(call, Commit) else locked
        else:
            reply = execute(call, ports)
        self.note("  =>", reply, call.operation)
        if self.keyed is not None:
            self.keyed.note(call, reply)
        if isinstance(call, Read):
            self.worker_invariants.read(call, reply)
        elif isinstance(call, Commit | MoveCheckpoint | RecordGap):
            self.ledger_invariants.check_gaps()
        return reply

    def _write_rows(self, call: WriteRows, ports: Ports, fates: Sequence[RowFate]) -> Reply:
        """Each row is written, or is not, and has a reply of its own."""
        replies: list[RowReply] = []
        for write, fate in zip(call.writes, fates, strict=True):
            if self._any_locked((write.player,)):
                replies.append(CallFailed(FailureKind.CONFLICT, "simulated: a transaction has the row"))
                continue
            reply: RowReply | None = None
            if fate.takes_effect:
                (reply,) = ports.commits.write_rows((write,))
                self.note("  =>", reply, f"row of {write.player}")
            replies.append(fate.failure or reply or CallFailed(FailureKind.NETWORK, "simulated"))
        return replies

    def _is_locked(self, call: Call) -> bool:
        """A transaction locks its rows for a while; another one that needs any of them then is cancelled."""
        if not isinstance(call, Commit | MoveCheckpoint):
            return False
        rows = (call.lease.shard, *(call.players if isinstance(call, Commit) else ()))
        if self._any_locked(rows):
            return True
        if isinstance(call, Commit) and self._lock_seconds:
            self._locked.update(dict.fromkeys(rows, self.now + self._lock_seconds))
        return False

    def _any_locked(self, rows: Collection[object]) -> bool:
        if not any(self._locked.get(row, 0.0) > self.now for row in rows):
            return False
        self.happened["a row is locked"] += 1
        return True

    def _may_be_missing(self, call: Call) -> bool:
        """An existing shard is reported missing for a while at most; not at a stream's start, when one reply counts."""
        assert isinstance(call, Open | Probe)
        shard = call.shard if isinstance(call, Probe) else call.lease.shard
        if shard.stream_arn not in self.tables.stream_starts:
            return False
        return self.now - self.refused_since.setdefault(shard, self.now) < REFUSED_SECONDS

    def _fail(self, worker: SimulatedWorker, call: Call, fault: Fault, when: float) -> None:
        self.at(when, lambda: worker.take(call, failed_reply(fault, call)))

    def run_until(self, done: Callable[[], bool]) -> None:
        """Takes the planned actions one after the other."""
        queue = self._queue
        while queue and not done():
            self.now, _, action = heapq.heappop(queue)
            action()
            self._actions += 1
            if self._actions > MOST_ACTIONS:
                raise Violation("a run is bounded", f"{MOST_ACTIONS} actions, and it is {self.now:.1f} s")

    # --- workers ---

    def has_left(self, worker: SimulatedWorker) -> None:
        """A worker has left after SIGTERM, while faults happen or at the end."""
        owned = [
            row.shard.shard_id for row in self.tables.rows.values() if row.owner == worker.owner and not row.finished
        ]
        if owned:
            raise Violation("SIGTERM releases all leases", f"{worker.owner} has left, and owns {owned}")
        if not self._stopping:
            self.at(self.now + worker.random.uniform(0.1, 3), lambda: self.start_again(worker.name))

    def _begin(self) -> None:
        random = self.dice.source("workers")
        together = self.keyed is not None and self.keyed.views.chosen
        for number in range(random.choice((2, 2, 3, 3) if together else (1, 1, 2, 2, 3, 5))):
            name, at = f"w{number}", random.choice((random.uniform(0, 3), random.uniform(0, 8)))
            if not number or self.dice.takes_place(f"worker {name}"):
                self.at(at, lambda name=name: self._start(name))  # type: ignore[misc]
        self.stream_events.plan(GROWING_SECONDS)
        self.interventions.plan()
        self.operators.plan()
        if self.keyed is not None:
            self.keyed.plan()
        if self.changing is not None:
            self.changing.plan()
        if self.verifying is not None:
            self.verifying.plan()
        if self.correcting is not None:
            self.correcting.plan()

    def _start(self, name: str) -> SimulatedWorker:
        self._starts[name] += 1
        worker = SimulatedWorker(self, name, self._starts[name])
        self.note(worker.owner, "starts")
        self.workers.append(worker)
        worker.run_due()
        return worker

    def start_again(self, name: str) -> None:
        """Unless it was started already: no two workers share a stable id at once."""
        if not any(worker.alive and worker.name == name for worker in self.workers):
            self._start(name)

    def start_refused(self) -> None:
        """Starts workers that refused to run, after the cause is repaired."""
        living = {worker.name for worker in self.workers if worker.alive}
        for name in sorted({worker.name for worker in self.workers if worker.refused} - living):
            self._start(name)

    def _crash(self, worker: SimulatedWorker) -> None:
        if worker.alive:
            worker.alive = False
            self.note(worker.owner, "!! crashed")
            self.at(self.now + worker.random.uniform(0.1, 3), lambda: self.start_again(worker.name))

    def _heal(self) -> None:
        self.nemesis.schedule = NO_FAULTS
        self.note("", "faults stop")
        self.stream_events.heal()
        self.interventions.heal()
        self.operators.heal()
        if self.correcting is not None:
            self.correcting.heal()
            if self.correcting.needs_newer():
                self._start(LAST)
        if self.changing is not None:
            self.changing.heal()
        if not any(worker.alive for worker in self.workers):
            self._start("w0")

    # --- after faults ---

    def _drain(self) -> None:
        """Everything is read and committed, and every worker has a fair share."""
        until = self.now + HEALING_SECONDS
        self.run_until(lambda: self.ledger_invariants.is_done() or self.now > until)
        if undone := self.ledger_invariants.undone():
            raise Violation("after faults everything drains", f"left: {undone[:5]} of {len(undone)}")
        if self.ledger_invariants.deleted:
            return
        until, next_check = self.now + HEALING_SECONDS, 0.0

        def shared() -> bool:
            nonlocal next_check
            if self.now < next_check:
                return False
            next_check = self.now + 0.2
            return self._shares() is None or self.now > until

        self.run_until(shared)
        if unfair := self._shares():
            raise Violation("after faults shares differ by at most one", unfair)

    def _end_waiting(self, changing: Changing) -> None:
        """Shards have come to rest. Those that wait for a worker of newer rules are read when one starts."""
        moves = 0
        for _ in range(MOST_WAITS):  # a shard that ends meanwhile, a leaf say, may move others
            moves, until = changing.numbers.claims, self.now + SETTLED_SECONDS
            self.run_until(lambda until=until: self.now > until)  # type: ignore[misc]
            if changing.numbers.claims == moves:
                break
        else:
            if not self.ledger_invariants.deleted:
                raise Violation("after faults shards stay", f"{changing.numbers.claims - moves} claims later")
        if waiting := changing.waiting():
            changing.check_shown(waiting)
            self.happened["shards waited"] += len(waiting)
            self._start(LAST)
        self._drain()  # also what waited until a worker of these rules was started again
        if not self.ledger_invariants.deleted:
            changing.play_last()
            self._drain()
            changing.check_last()

    def _shares(self) -> str | None:
        accepted = self.tables.accepted
        living = {worker.owner: number_of(accepted, worker.rules) for worker in self.workers if worker.alive}
        return self.worker_invariants.shares(living) if living else "no worker lives"

    def _check_refusal(self) -> None:
        """The ledger was lost: a worker that starts now refuses to run."""
        self.run_until(lambda: self.now > FAULT_SECONDS + REFUSING_SECONDS)
        late = self._start("late")
        until = self.now + REFUSING_SECONDS
        self.run_until(lambda: self.now > until or late.refused)
        if not late.refused:
            raise Violation("a lost ledger is refused", f"{late.owner} runs")

    def _stop_all(self) -> None:
        """SIGTERM to all workers: every lease is released."""
        self._stopping = True
        self.note("", "all workers are stopped")
        living = [worker for worker in self.workers if worker.alive]
        for worker in living:
            worker.paused_until = 0.0
            worker.worker.drain()
            worker.run_due()
        until = self.now + 60
        self.run_until(lambda: self.now > until or not any(worker.alive for worker in living))
        stuck = [worker.owner for worker in living if worker.alive and not worker.worker.done]
        if stuck:
            raise Violation("SIGTERM releases all leases", f"still running: {stuck}")


def _invariants(keyed: bool, correcting: bool) -> type[LedgerInvariants]:
    if correcting:
        return CorrectionMarks if keyed else CorrectionLedger
    return MarkInvariants if keyed else LedgerInvariants


def _is_routine(what: object, remark: str) -> bool:
    """A heartbeat or a read of members that has no fault, or the reply to one."""
    operation = remark or getattr(what, "operation", None)
    return operation in (Operation.HEARTBEAT, Operation.READ_MEMBERS)
