"""Replays whose calls are lost, late, doubled and refused, that crash and are begun twice: each record counts once.

A small nemesis over the fakes, from a seed: it decides whose call comes next and what becomes of it.
"""

from collections import Counter
from collections.abc import Callable, Generator
from decimal import Decimal
from functools import partial
from random import Random
from typing import Any

import pytest

from consumer.domain.errors import ConsumerError
from consumer.domain.outcomes import Refused
from consumer.domain.position import TRIM_HORIZON, rank
from consumer.domain.quarantine import State
from consumer.domain.replay import Batch, Progress
from consumer.operations.replay.calls import Call, Count, Machine, Reply, Throttled
from consumer.operations.replay.claim import Claim
from consumer.operations.replay.desk import Planned
from consumer.operations.replay.plan import order, progress_of
from consumer.operations.replay.reader import Reader
from consumer.operations.resume import Read
from tests.builders import shard
from tests.fakes import FakeTables
from tests.replays import BOARD, ID, Scene, image, wish
from tests.talks import Steady

RECORDS = 40
COMMANDS = 3
STEPS = 400
SEEDS = 90
Talk = Generator[Call, Reply, None]


class Wrong(AssertionError):
    """A record did not count as often as it should."""


class World:
    """The scene, and an oracle of its own that sees each count when it takes effect."""

    def __init__(self, seed: int, off: frozenset[str]) -> None:
        self.random = random = Random(seed)
        self.scene = Scene(page_records=random.choice((3, 7, 1000)))
        self.scores = [random.randrange(1, 1000) for _ in range(RECORDS)]
        self.bad = {place for place in range(RECORDS) if random.random() < 0.2}
        images = [
            image(f"p{random.randrange(6)}", {"S": "x"} if place in self.bad else str(score))
            for place, score in enumerate(self.scores)
        ]
        self.numbers = self.scene.write(*images)
        self.board = FakeTables()
        self.scene.replays.boards[BOARD] = self.board
        self.scene.tables.off = off
        self.scene.replays.on_count = self._counted
        self.counts: dict[str, Counter[str]] = {}
        self.due: list[Callable[[], object]] = []
        self._repairs: dict[str, int] = {}

    def deal(self) -> None:
        """Somebody redrives or discards a record that is pending."""
        number = self.numbers[self.random.choice(sorted(self.bad) or [0])]
        row = self.scene.tables.quarantine.get((ID, number))
        if row is not None and row.state == State.PENDING:
            self._repairs[number] = score = self.random.randrange(1, 1000)
            state = self.random.choice((State.APPLIED, State.APPLIED, State.DISCARDED))
            self.scene.settle(number, state, score=str(score))

    def command(self) -> Talk:
        """As the real one does it; now and then another range, with --again."""
        first = self.random.choice((TRIM_HORIZON, TRIM_HORIZON, self.numbers[RECORDS // 3]))
        asked = wish(first, again=self.random.random() < 0.4)
        desk, scene = self.scene.desk, self.scene
        what = order(scene.tables.load(), asked)
        claim = Claim(shard(), BOARD)
        yield from drive(claim)
        claim.refuse_busy()
        token, who = desk.ward.token, "me"
        progress = progress_of(what, claim.found, token(), token(), who, 0.0)
        reader = Reader(shard(), progress.range, progress.position, Steady())
        yield from drive(reader)
        yield from drive(desk.recount(Planned(what, claim.found, progress), reader))

    def strike(self, call: Call) -> Reply | None:
        """What becomes of a call; None: it is made again."""
        effect = partial(self.scene.ask, call)
        match self.random.randrange(12):
            case 0:
                return None
            case 1:
                effect()
                return None
            case 2:
                self.due.append(effect)
                return None
            case 3:
                self.due.append(effect)
            case 4 if isinstance(call, Count):
                return Refused(conflict=True)
            case 4 if isinstance(call, Read):
                return Throttled()
        return effect()

    def check(self, act: str, progress: Progress) -> None:
        """A finished replay has counted each record of its range once, and no other."""
        held = [number for number in self.numbers if progress.range.holds(number)]
        if self.counts.get(act, Counter()) != Counter(held):
            raise Wrong(f"{act} has counted {self.counts.get(act)}")

    def _counted(self, progress: Progress, batch: Batch) -> None:
        run = [
            (place, number)
            for place, number in enumerate(self.numbers)
            if rank(progress.position) < rank(number) <= rank(batch.unit.last) and progress.range.holds(number)
        ]
        self.counts.setdefault(progress.act, Counter()).update(number for _, number in run)
        total = sum((delta.total for delta in batch.unit.deltas.values()), Decimal(0))
        if total != sum(self._word(place, number) for place, number in run):
            raise Wrong("a batch does not count what the rows say")

    def _word(self, place: int, number: str) -> int:
        if place not in self.bad:
            return self.scores[place]
        applied = self.scene.tables.quarantine[ID, number].state == State.APPLIED
        return self._repairs[number] if applied else 0


def drive(machine: Machine[Any]) -> Talk:
    while (due := machine.due()) is not None:
        machine.take((yield due.call))


class Runner:
    """A command that is typed again when it crashes, or is refused."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._talk = world.command()
        self._call: Call | None = None
        self.ended = False

    def step(self) -> None:
        """The next call, or the same one again."""
        world = self._world
        try:
            if self._call is None:
                self._call = next(self._talk)
            if world.random.random() < 0.02:
                raise ConsumerError("it is killed")
            reply = world.strike(self._call)
            if reply is not None:
                self._call = self._talk.send(reply)
        except StopIteration:
            self.ended = True
        except ConsumerError:
            self._talk, self._call = world.command(), None


def run(seed: int, off: frozenset[str] = frozenset()) -> World:
    """Raises Wrong."""
    world = World(seed, off)
    runners = [Runner(world) for _ in range(COMMANDS)]
    for _ in range(STEPS):
        if world.random.random() < 0.05:
            world.deal()
        if world.due and world.random.random() < 0.1:
            world.due.pop(world.random.randrange(len(world.due)))()
        world.random.choice(runners).step()
        row = world.scene.replays.rows.get((shard(), BOARD))
        if row is not None and not row.running:
            world.check(row.act, row)
    for effect in world.due:
        effect()
    row = world.scene.replays.rows[shard(), BOARD]
    if row.running:
        for _ in world.scene.desk.steps(finish(world, row)):
            pass
        row = world.scene.replays.rows[shard(), BOARD]
    world.check(row.act, row)
    most = max(times for counts in world.counts.values() for times in counts.values())
    if most > 1:
        raise Wrong("a replay has counted a record twice")
    return world


def finish(world: World, row: Progress) -> Machine[Batch]:
    """What was interrupted goes on, in peace."""
    desk = world.scene.desk
    planned = desk.plan(wish(row.range.first)).planned[0]
    return desk.recount(planned, desk.scout(planned))


@pytest.mark.parametrize("base", range(3))
def test_each_record_counts_once_by_its_rows_word(base: int) -> None:
    finished = 0
    for seed in range(base * SEEDS // 3, (base + 1) * SEEDS // 3):
        world = run(seed)
        finished += sum(sum(counts.values()) > 0 for counts in world.counts.values())
    assert finished >= SEEDS // 3


@pytest.mark.parametrize("guard", ["replay_position", "replay_runner", "replay_state", "replay_put"])
def test_each_clause_is_needed(guard: str) -> None:
    for seed in range(1000):
        try:
            run(seed, frozenset([guard]))
        except Wrong:
            return
    raise AssertionError(f"no seed needs {guard}")
