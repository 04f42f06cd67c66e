"""One simulated world: a stream that splits, tables, workers that come and go, and time that only events move."""

import heapq
from collections import Counter
from collections.abc import Callable, Collection
from itertools import count
from random import Random

from consumer.domain.leases import Shard
from consumer.domain.outcomes import Refused
from consumer.domain.records import Rules
from consumer.worker.calls import Call, Claim, Commit, Reply, World, perform
from consumer.worker.pinning import StartPosition
from tests.fakes import FakeStreams, FakeTables, Names
from tests.simulation.growth import ARN, Growth
from tests.simulation.nemesis import CALM, Fate, Schedule, refusal
from tests.simulation.oracle import Oracle, Violation
from tests.simulation.worker import UNIX, SimulatedWorker

TROUBLED_SECONDS = 25.0
HEALING_SECONDS = 400.0
GONE_SECONDS = 2_000.0
"""So long it may take to be sure that a shard is gone."""
MOST_ACTIONS = 200_000


class Simulation:
    """A run from a seed. `off` takes guards away (see FakeTables)."""

    def __init__(self, seed: int, off: Collection[str] = ()) -> None:
        self.random = Random(seed)
        self.now = 0.0
        self._trace: list[tuple[float, str, object, str]] = []
        self.steps: Counter[str] = Counter()
        self.tables = FakeTables(Names(), off)
        self.streams = FakeStreams(lambda: UNIX + self.now, ARN, page_records=self.random.choice((1, 3, 10, 1000)))
        self.oracle = Oracle(self.streams, self.tables, Rules())
        self.schedule = Schedule.draw(self.random)
        self.stable = self.random.random() < 0.5
        self.start: StartPosition = self.random.choice(("TRIM_HORIZON", "TRIM_HORIZON", "LATEST"))
        self._hold_seconds = self.random.choice((0.0, 0.0, 0.005, 0.02))
        self._held: dict[object, float] = {}
        self._ports = World(self.streams, self.tables, self.tables, self.tables, Rules())
        self._actions = 0
        self._unclear: set[tuple[str, Shard]] = set()
        """Whose claim of what got no clear answer: such a lease may stay with a worker that has left."""
        self._agenda: list[tuple[float, int, Callable[[], object]]] = []
        self._tie = count()
        self._lives = count(1)
        self.growth = Growth(self, self.streams)
        self.workers = [self._spawn(f"w{number}") for number in range(self.random.choice((1, 1, 2, 2, 3, 5)))]

    # --- running ---

    def run(self) -> "Simulation":
        """Trouble, then healing; raises Violation."""
        for worker in self.workers:
            self.at(self.random.uniform(0, 3), worker.turn)
        self.growth.plan(TROUBLED_SECONDS)
        if self.random.random() < 0.1:
            self.at(self.random.uniform(5, TROUBLED_SECONDS), self._delete_a_row)
        self._turn_until(lambda: self.now >= TROUBLED_SECONDS)
        self._heal()
        patience = GONE_SECONDS if self.growth.happened["gone"] else HEALING_SECONDS
        self._turn_until(lambda: self.oracle.is_done() or self.now > TROUBLED_SECONDS + patience)
        if undone := self.oracle.undone():
            raise Violation("after faults heal, all drains", f"left: {undone[:5]} of {len(undone)}")
        self._stop_all()
        return self

    def at(self, time: float, action: Callable[[], object]) -> None:
        """Plans an action."""
        heapq.heappush(self._agenda, (time, next(self._tie), action))

    def note(self, who: str, what: object, remark: str = "") -> None:
        """A line of the story."""
        self._trace.append((self.now, who, what, remark))

    def story(self) -> list[str]:
        """Who did what when."""
        return [f"{when:9.3f} {who:6} {remark:14} {what}" for when, who, what, remark in self._trace]

    def send(self, worker: SimulatedWorker, call: Call) -> None:
        """A call leaves a worker; the nemesis decides what becomes of it."""
        fate = self.schedule.fate(call, self.random)
        kind = type(call).__name__
        if isinstance(call, Claim) and fate is not Fate.FINE:
            self._unclear.add((worker.owner, call.lease.shard))
        self.steps[f"{kind}/{fate.value}"] += 1
        self.note(worker.owner, call, "" if fate is Fate.FINE else fate.value)
        arrives = self.now + self.random.uniform(0.002, 0.02)
        answers = arrives + self.random.uniform(0.002, 0.02)
        match fate:
            case Fate.FINE | Fate.DUPLICATE | Fate.CRASH_AFTER | Fate.PAUSE:
                self.at(arrives, lambda: self._arrive(worker, call, answers, fate))
                if fate is Fate.DUPLICATE:
                    self.at(arrives + self.random.uniform(0.1, 15), lambda: self._take_effect(call))
            case Fate.LOST_REPLY:
                self.at(arrives, lambda: self._take_effect(call))
                self._fail(worker, call, fate, answers + self.random.uniform(0, 5))
            case Fate.LATE:
                self.at(arrives + self.random.uniform(1, 15), lambda: self._take_effect(call))
                self._fail(worker, call, fate, answers + 1.0)
            case Fate.CRASH_BEFORE:
                self.at(arrives, lambda: self._crash(worker))
            case _:
                self._fail(worker, call, fate, answers)

    def _arrive(self, worker: SimulatedWorker, call: Call, answers: float, fate: Fate) -> None:
        reply = self._take_effect(call)
        if fate is Fate.CRASH_AFTER:
            self._crash(worker)
        elif fate is Fate.PAUSE:
            worker.paused_until = self.now + self.random.uniform(0.5, 16)
        self.at(answers, lambda: worker.take(call, reply))

    def _take_effect(self, call: Call) -> Reply:
        reply = Refused(conflict=True) if self._is_held(call) else perform(call, self._ports)
        self.note("  =>", reply, type(call).__name__)
        return reply

    def _is_held(self, call: Call) -> bool:
        """A transaction holds its rows for a while; one that needs any of them then is cancelled."""
        if not isinstance(call, Commit) or not self._hold_seconds:
            return False
        rows = (call.lease.shard, *call.unit.deltas)
        if any(self._held.get(row, 0.0) > self.now for row in rows):
            self.steps["Commit/held"] += 1
            return True
        self._held.update(dict.fromkeys(rows, self.now + self._hold_seconds))
        return False

    def _fail(self, worker: SimulatedWorker, call: Call, fate: Fate, when: float) -> None:
        self.at(when, lambda: worker.take(call, refusal(fate, call)))

    def _turn_until(self, done: Callable[[], bool]) -> None:
        while self._agenda and not done():
            self.now, _, action = heapq.heappop(self._agenda)
            action()
            self._actions += 1
            if self._actions > MOST_ACTIONS:
                raise Violation("a run is bounded", f"{MOST_ACTIONS} actions, and it is {self.now:.1f} s")

    # --- workers ---

    def _spawn(self, name: str) -> SimulatedWorker:
        return SimulatedWorker(self, name, next(self._lives))

    def _crash(self, worker: SimulatedWorker) -> None:
        if worker.alive:
            worker.alive = False
            self.note(worker.owner, "!! crashed")
            self.at(self.now + self.random.uniform(0.1, 6), lambda: self._restart(worker.name))

    def _restart(self, name: str) -> None:
        worker = self._spawn(name)
        self.note(worker.owner, "starts")
        self.workers.append(worker)
        worker.turn()

    def _heal(self) -> None:
        self.schedule = CALM
        self.note("world", "heals")
        self.growth.heal()
        if not any(worker.alive for worker in self.workers):
            self._restart("w0")

    def _stop_all(self) -> None:
        """SIGTERM for everybody: leases come back, `members` is empty of the living."""
        self.note("world", "stops everybody")
        living = [worker for worker in self.workers if worker.alive]
        for worker in living:
            worker.paused_until = 0.0
            worker.worker.drain()
            worker.turn()
        until = self.now + 60
        self._turn_until(lambda: self.now > until or not any(worker.alive for worker in living))
        owners = {worker.owner for worker in living if worker.worker.done}
        held = [
            row.shard.shard_id
            for row in self.tables.rows.values()
            if row.owner in owners and not row.finished and (row.owner, row.shard) not in self._unclear
        ]
        stuck = [worker.owner for worker in living if worker.alive and not worker.worker.done]
        if held or stuck:
            raise Violation("SIGTERM gives all leases back", f"held: {held}, not gone: {stuck}")

    def _delete_a_row(self) -> None:
        """By hand: nobody knows how far the shard is, so it and what comes after it must stand still."""
        unfinished = sorted(shard for shard, row in self.tables.rows.items() if not row.finished)
        if unfinished:
            shard = self.random.choice(unfinished)
            del self.tables.rows[shard]
            self.oracle.deleted.add(shard)
            self.note("hand", f"deletes the row of {shard}")
