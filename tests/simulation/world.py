"""One simulated world: a stream that splits, tables, workers that come and go, and time that only events move."""

import heapq
from collections import Counter
from collections.abc import Callable, Collection
from itertools import count
from random import Random

from consumer.domain.leases import Shard
from consumer.domain.position import TRIM_HORIZON
from consumer.domain.records import Rules
from consumer.retries import JitteredBackoff
from consumer.worker.calls import Call, Claim, Reply, World, perform
from consumer.worker.coordinator import Identity
from consumer.worker.pinning import Pinning, StartPosition
from consumer.worker.shard import Tuning
from consumer.worker.worker import Worker
from tests.fakes import FakeShard, FakeStreams, FakeTables, Names
from tests.simulation.nemesis import CALM, Fate, Schedule, refusal
from tests.simulation.oracle import Oracle, Violation

ARN = "arn:aws:dynamodb:eu-west-1:123456789012:table/GameEvents/stream/2026-01-01T00:00:00.000"
UNIX = 1_800_000_000.0
TTL_SECONDS = 2.0
TROUBLED_SECONDS = 25.0
HEALING_SECONDS = 120.0
RECORDS = 60
SHARDS = 8
MOST_ACTIONS = 50_000


class SimulatedWorker:
    """A worker's life on its own clock; `offset` is how far that is from the world's."""

    def __init__(self, simulation: "Simulation", name: str, life: int) -> None:
        self.owner = f"{name}/{life}"
        self.name = name
        self.offset = simulation.random.uniform(0, 1000)
        self.alive = True
        self.paused_until = 0.0
        self._simulation = simulation
        self._wake_at = float("inf")
        skew = simulation.random.uniform(-30, 30)
        tuning = Tuning(
            poll_interval_seconds=0.7,
            ignored_window_seconds=1.0,
            lookahead_bytes=simulation.random.choice((400, 1500, 100_000)),
            wall_offset_seconds=UNIX - self.offset + skew,
        )
        names = simulation.tables.names
        pinning = Pinning(ARN, simulation.start, 1, (names.leases, names.leaderboard))
        backoff = JitteredBackoff(simulation.random, first_seconds=0.05, most_seconds=2.0)
        self.worker = Worker(Identity(self.owner, stable=simulation.stable), pinning, TTL_SECONDS, tuning, backoff)

    def turn(self) -> None:
        """Starts what is due, and asks to be woken."""
        if not self.alive or self._asleep(self.turn):
            return
        simulation = self._simulation
        for call in self.worker.ready(simulation.now + self.offset):
            simulation.send(self, call)
        if self.worker.done:
            self.alive = False
            simulation.note(self.owner, "left")
            return
        wake_at = max(simulation.now, min(self.worker.wake_at() - self.offset + 1e-6, simulation.now + 5.0))
        if wake_at < self._wake_at or self._wake_at <= simulation.now:
            self._wake_at = wake_at
            simulation.at(wake_at, self.turn)

    def take(self, call: Call, reply: Reply) -> None:
        """A reply arrives."""
        if not self.alive or self._asleep(lambda: self.take(call, reply)):
            return
        simulation = self._simulation
        for event in self.worker.take(call, reply, simulation.now + self.offset):
            simulation.note(self.owner, event)
        self.turn()

    def _asleep(self, then: Callable[[], None]) -> bool:
        """A paused process does nothing; all that waited for it happens when it wakes."""
        if self.paused_until > self._simulation.now:
            self._simulation.at(self.paused_until, then)
            return True
        return False


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
        self._big_games = self.random.choice((0, 0, 0.2))
        self._ports = World(self.streams, self.tables, self.tables, self.tables, Rules())
        self._actions = 0
        self._unclear: set[tuple[str, Shard]] = set()
        """Whose claim of what got no clear answer: such a lease may stay with a worker that has left."""
        self._agenda: list[tuple[float, int, Callable[[], object]]] = []
        self._tie = count()
        self._lives = count(1)
        self._shards = count()
        self.workers = [self._spawn(f"w{number}") for number in range(self.random.choice((1, 1, 2, 3)))]
        self._grow()

    # --- running ---

    def run(self) -> "Simulation":
        """Trouble, then healing; raises Violation."""
        for worker in self.workers:
            self.at(self.random.uniform(0, 3), worker.turn)
        self._plan_stream()
        self._turn_until(lambda: self.now >= TROUBLED_SECONDS)
        self._heal()
        self._turn_until(lambda: not self.oracle.undone() or self.now > TROUBLED_SECONDS + HEALING_SECONDS)
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
        reply = perform(call, self._ports)
        self.note("  =>", reply, type(call).__name__)
        return reply

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
        for shard in self.streams.shards.values():
            shard.hidden = False
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

    # --- the stream ---

    def _grow(self, parent: str | None = None) -> str:
        shard_id = f"shardId-{next(self._shards):020d}-abcdef12"
        self.streams.add_shard(shard_id, parent)
        return shard_id

    def _plan_stream(self) -> None:
        for _ in range(RECORDS):
            self.at(self.random.uniform(0, TROUBLED_SECONDS * 0.9), self._write)
        for _ in range(self.random.choice((0, 1, 2, 3))):
            self.at(self.random.uniform(1, TROUBLED_SECONDS * 0.9), self._split)
        if self.random.random() < 0.25:
            self.at(self.random.uniform(5, TROUBLED_SECONDS), self._trim)
        if self.random.random() < 0.3:
            self.at(self.random.uniform(5, TROUBLED_SECONDS), self.streams.expire_iterators)

    def _open_shards(self) -> list[str]:
        return [shard.shard_id for shard in self.streams.shards.values() if not shard.closed]

    def _visible(self, shard_ids: list[str]) -> list[str]:
        return [shard_id for shard_id in shard_ids if not self.streams.shards[shard_id].hidden]

    def _write(self) -> None:
        random = self.random
        image: dict[str, object] = {
            "playerId": {"S": f"p{random.randrange(4)}"},
            "score": {"N": str(random.randrange(-500, 1000) / 4)},
            "timestamp": {"S": f"2026-0{random.randrange(1, 7)}-1{random.randrange(10)}"},
        }
        if random.random() < 0.1:
            image["score"] = {"S": "many"}
        if random.random() < self._big_games:
            image["playerId"], image["score"] = {"S": "big"}, {"N": random.choice(("9e125", "5e125", "-9e125"))}
        event = "MODIFY" if random.random() < 0.1 else "INSERT"
        self.streams.empty_pages += random.random() < 0.1
        self.streams.write(random.choice(self._open_shards()), image, event)

    def _split(self) -> None:
        """A shard ends; one child or two, sometimes hidden for a while."""
        candidates = self._visible(self._open_shards())
        if len(self.streams.shards) > SHARDS - 2 or not candidates:
            return
        parent = self.random.choice(candidates)
        self.streams.close(parent)
        children = [self.streams.shards[self._grow(parent)] for _ in range(self.random.choice((1, 2, 2)))]
        if self.random.random() < 0.3:
            self._hide(children, True)
            self.at(self.now + self.random.uniform(0.5, 8), lambda: self._hide(children, False))
        self.note("stream", f"{parent} ends")

    def _hide(self, shards: list[FakeShard], hidden: bool) -> None:
        for shard in shards:
            shard.hidden = hidden

    def _trim(self) -> None:
        rows = self.tables.rows
        begun = [row.shard.shard_id for row in rows.values() if row.checkpoint != TRIM_HORIZON]
        if not begun:
            return
        shard = self.random.choice(sorted(begun))
        self.streams.trim(shard, self.random.randrange(1, 6))
        self.note("stream", f"{shard} is trimmed to {self.streams.shards[shard].trimmed}")
