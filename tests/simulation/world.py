"""One simulated world: a stream that splits, tables, workers that come and go, and time that only events move."""

import heapq
from collections import Counter
from collections.abc import Callable, Collection
from itertools import count

from consumer.domain.leases import Shard
from consumer.domain.outcomes import Refused
from consumer.domain.records import Rules
from consumer.worker.calls import Adopt, Beat, Call, Commit, Look, Open, Probe, Read, RecordGap, Reply
from consumer.worker.perform import World, perform
from consumer.worker.pinning import StartPosition
from tests.fakes import FakeStreams, FakeTables, Names
from tests.simulation.dice import Dice
from tests.simulation.growth import ARN, Growth
from tests.simulation.hands import Hands
from tests.simulation.nemesis import CALM, Fate, Nemesis, refusal
from tests.simulation.operators import Operators
from tests.simulation.oracle import Oracle
from tests.simulation.scale import (
    GROWING_SECONDS,
    HEALING_SECONDS,
    LATEST_NEW_ROW_SECONDS,
    LATEST_SECONDS,
    REFUSED_SECONDS,
    TROUBLED_SECONDS,
    scaled,
)
from tests.simulation.story import told
from tests.simulation.truth import Truth
from tests.simulation.violation import Violation
from tests.simulation.watch import Watch
from tests.simulation.worker import UNIX, SimulatedWorker

MOST_ACTIONS = 200_000
REFUSING_SECONDS = 20.0
TIMEOUT_SECONDS = 2.0
SLOWEST_SECONDS = 12.0
"""A page that drips in is not given up."""


class Simulation:
    """A run from a seed. `off` takes guards away (see FakeTables); `only`: decisions that may happen (see Dice)."""

    def __init__(self, seed: int, off: Collection[str] = (), only: Collection[str] | None = None) -> None:
        self.dice = Dice(seed, only)
        random = self.dice.source("world")
        self.now = 0.0
        self.steps: Counter[str] = Counter()
        self.happened: Counter[str] = Counter()
        self.tables = FakeTables(Names(), off)
        self.streams = FakeStreams(lambda: UNIX + self.now, ARN, page_records=random.choice((1, 3, 10, 1000)))
        self.oracle = Oracle(Truth(self.streams, self.tables, Rules()), self.tables)
        self.nemesis = Nemesis(self.dice)
        self.stable = random.random() < 0.5
        self.watch = Watch(self.tables, lambda: self.now, stable=self.stable)
        self.start: StartPosition = random.choice(("TRIM_HORIZON", "TRIM_HORIZON", "LATEST"))
        self._hold_seconds = random.choice((0.0, 0.0, 0.005, 0.02))
        self._held: dict[object, float] = {}
        self._ports = World(self.streams, self.tables, self.tables, self.tables, Rules())
        self._trace: list[tuple[float, str, object, str]] = []
        self._actions = 0
        self._refused_since: dict[Shard, float] = {}
        self._agenda: list[tuple[float, int, Callable[[], object]]] = []
        self._tie = count()
        self._lives: Counter[str] = Counter()
        self._stopping = False
        self.growth = Growth(self, self.streams)
        self.hands = Hands(self)
        self.operators = Operators(self)
        self.workers: list[SimulatedWorker] = []

    # --- running ---

    def run(self) -> "Simulation":
        """Trouble, then healing; raises Violation."""
        with scaled():
            self._begin()
            self._turn_until(lambda: self.now >= TROUBLED_SECONDS)
            self._heal()
            if self.hands.ruined and not self.operators.adopts:
                self._refuse()
            else:
                self._drain()
                self._stop_all()
        return self

    def at(self, time: float, action: Callable[[], object]) -> None:
        """Plans an action."""
        heapq.heappush(self._agenda, (time, next(self._tie), action))

    def note(self, who: str, what: object, remark: str = "") -> None:
        """A line of the story."""
        self._trace.append((self.now, who, what, remark))

    def story(self, *, brief: bool = False) -> list[str]:
        """Who did what when; a brief one leaves out beats and looks that nothing befell."""
        return [
            f"{when:8.3f} {who:5} {remark:16} {told(what)}"
            for when, who, what, remark in self._trace
            if not (brief and (remark in ("Beat", "Look") or (isinstance(what, Beat | Look) and not remark)))
        ]

    def send(self, worker: SimulatedWorker, call: Call) -> None:
        """A call leaves a worker; the nemesis decides what becomes of it."""
        kind = type(call).__name__
        fate, there, back, late = self.nemesis.doom(worker.owner, kind)
        if fate is Fate.MISSING and not self._may_miss(call):
            fate = Fate.FINE
        self.steps[f"{kind}/{fate.value}"] += 1
        self.note(worker.owner, call, "" if fate is Fate.FINE else fate.value)
        self.watch.sent(worker.owner, call)
        sent_at = self.now
        arrives = self.now + there
        answers = arrives + back
        latest = LATEST_NEW_ROW_SECONDS if isinstance(call, Adopt) else LATEST_SECONDS
        match fate:
            case Fate.LOST_REPLY:
                self.at(arrives, lambda: self._take_effect(call))
                self._fail(worker, call, fate, answers + TIMEOUT_SECONDS * late)
            case Fate.LATE:
                self.at(arrives + latest * late, lambda: self._take_effect(call))
                self._fail(worker, call, fate, answers + 1.0)
            case Fate.CRASH_BEFORE:
                self.at(arrives, lambda: self._crash(worker))
            case Fate.LOST_REQUEST | Fate.THROTTLED | Fate.CONFLICT | Fate.EXPIRED | Fate.MISSING:
                self._fail(worker, call, fate, answers)
            case _:
                if fate is Fate.DUPLICATE:
                    self.at(arrives + 0.1 + latest * late, lambda: self._take_effect(call))
                elif fate is Fate.SLOW:
                    answers += (SLOWEST_SECONDS if isinstance(call, Read) else TIMEOUT_SECONDS) * late
                self.at(arrives, lambda: self._arrive(worker, call, sent_at, answers, fate))

    def _arrive(self, worker: SimulatedWorker, call: Call, sent_at: float, answers: float, fate: Fate) -> None:
        reply = self._take_effect(call)

        def answer() -> None:
            self.watch.told(worker.owner, call, reply, sent_at)
            worker.take(call, reply)

        if fate is Fate.CRASH_AFTER:
            self._crash(worker)
        elif fate is Fate.PAUSE:
            worker.paused_until = self.now + worker.random.choice((1.0, 3.0, 16.0)) * worker.random.uniform(0.3, 1)
        self.at(answers, answer)

    def _take_effect(self, call: Call) -> Reply:
        reply = Refused(conflict=True) if self._is_held(call) else perform(call, self._ports)
        self.note("  =>", reply, type(call).__name__)
        if isinstance(call, Read):
            self.watch.read(call, reply)
        elif isinstance(call, Commit | RecordGap):
            self.oracle.check_gaps()
        return reply

    def _is_held(self, call: Call) -> bool:
        """A transaction holds its rows for a while; one that needs any of them then is cancelled."""
        if not isinstance(call, Commit) or not self._hold_seconds:
            return False
        rows = (call.lease.shard, *call.unit.deltas)
        if any(self._held.get(row, 0.0) > self.now for row in rows):
            self.happened["a row is held"] += 1
            return True
        self._held.update(dict.fromkeys(rows, self.now + self._hold_seconds))
        return False

    def _may_miss(self, call: Call) -> bool:
        """A shard that is there is refused for a while at most; not at first sight, when one answer counts."""
        assert isinstance(call, Open | Probe)
        shard = call.shard if isinstance(call, Probe) else call.lease.shard
        if shard.stream_arn not in self.tables.pins:
            return False
        return self.now - self._refused_since.setdefault(shard, self.now) < REFUSED_SECONDS

    def _fail(self, worker: SimulatedWorker, call: Call, fate: Fate, when: float) -> None:
        self.at(when, lambda: worker.take(call, refusal(fate, call)))

    def _turn_until(self, done: Callable[[], bool]) -> None:
        agenda = self._agenda
        while agenda and not done():
            self.now, _, action = heapq.heappop(agenda)
            action()
            self._actions += 1
            if self._actions > MOST_ACTIONS:
                raise Violation("a run is bounded", f"{MOST_ACTIONS} actions, and it is {self.now:.1f} s")

    # --- workers ---

    def has_left(self, worker: SimulatedWorker) -> None:
        """Stopped by a person, in trouble or at the end."""
        held = [
            row.shard.shard_id for row in self.tables.rows.values() if row.owner == worker.owner and not row.finished
        ]
        if held:
            raise Violation("SIGTERM gives all leases back", f"{worker.owner} has left, and holds {held}")
        if not self._stopping:
            self.at(self.now + worker.random.uniform(0.1, 3), lambda: self._start_again(worker.name))

    def _begin(self) -> None:
        random = self.dice.source("workers")
        for number in range(random.choice((1, 1, 2, 2, 3, 5))):
            name, at = f"w{number}", random.choice((random.uniform(0, 3), random.uniform(0, 8)))
            if not number or self.dice.takes_place(f"worker {name}"):
                self.at(at, lambda name=name: self._start(name))  # type: ignore[misc]
        self.growth.plan(GROWING_SECONDS)
        self.hands.plan()
        self.operators.plan()

    def _start(self, name: str) -> SimulatedWorker:
        self._lives[name] += 1
        worker = SimulatedWorker(self, name, self._lives[name])
        self.note(worker.owner, "starts")
        self.workers.append(worker)
        worker.turn()
        return worker

    def _start_again(self, name: str) -> None:
        """Unless the healing has: no two workers at once share a stable id."""
        if not any(worker.alive and worker.name == name for worker in self.workers):
            self._start(name)

    def start_refused(self) -> None:
        """Those that have refused to go on, after what they refused is mended."""
        living = {worker.name for worker in self.workers if worker.alive}
        for name in sorted({worker.name for worker in self.workers if worker.refused} - living):
            self._start(name)

    def _crash(self, worker: SimulatedWorker) -> None:
        if worker.alive:
            worker.alive = False
            self.note(worker.owner, "!! crashed")
            self.at(self.now + worker.random.uniform(0.1, 3), lambda: self._start_again(worker.name))

    def _heal(self) -> None:
        self.nemesis.schedule = CALM
        self.note("world", "heals")
        self.growth.heal()
        self.operators.tend()
        if not any(worker.alive for worker in self.workers):
            self._start("w0")

    # --- in the end ---

    def _drain(self) -> None:
        """All is read and committed, and everybody has a fair share."""
        until = TROUBLED_SECONDS + HEALING_SECONDS
        self._turn_until(lambda: self.oracle.is_done() or self.now > until)
        if undone := self.oracle.undone():
            raise Violation("after faults heal, all drains", f"left: {undone[:5]} of {len(undone)}")
        if self.oracle.deleted:
            return
        until, looked = self.now + HEALING_SECONDS, 0.0

        def shared() -> bool:
            nonlocal looked
            if self.now < looked:
                return False
            looked = self.now + 0.2
            return self._shares() is None or self.now > until

        self._turn_until(shared)
        if unfair := self._shares():
            raise Violation("after faults heal, shares differ by at most one", unfair)

    def _shares(self) -> str | None:
        living = {worker.owner: len(worker.worker.shards) for worker in self.workers if worker.alive}
        return self.watch.shares(living) if living else "nobody lives"

    def _refuse(self) -> None:
        """The ledger was lost: a worker that starts now says so and goes."""
        self._turn_until(lambda: self.now > TROUBLED_SECONDS + REFUSING_SECONDS)
        late = self._start("late")
        until = self.now + REFUSING_SECONDS
        self._turn_until(lambda: self.now > until or late.refused)
        if not late.refused:
            raise Violation("a lost ledger is refused", f"{late.owner} goes on")

    def _stop_all(self) -> None:
        """SIGTERM for everybody: leases come back, `members` is empty of the living."""
        self._stopping = True
        self.note("world", "stops everybody")
        living = [worker for worker in self.workers if worker.alive]
        for worker in living:
            worker.paused_until = 0.0
            worker.worker.drain()
            worker.turn()
        until = self.now + 60
        self._turn_until(lambda: self.now > until or not any(worker.alive for worker in living))
        stuck = [worker.owner for worker in living if worker.alive and not worker.worker.done]
        if stuck:
            raise Violation("SIGTERM gives all leases back", f"not gone: {stuck}")
