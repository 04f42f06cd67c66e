"""Replays whose calls are lost, late, doubled and refused, that crash and start twice: each record counts once.

A small nemesis over the fakes decides, from a seed, whose call comes next and what happens to it.
"""

from collections import Counter
from collections.abc import Callable
from decimal import Decimal
from random import Random
from typing import Final

import pytest

from consumer.domain.errors import CallFailed, ConsumerError, FailureKind
from consumer.domain.leases import TRIM_HORIZON, rank
from consumer.domain.quarantine import EntryState
from consumer.domain.replay import Batch, Progress
from consumer.domain.replies import Refused
from consumer.operations.replay import Recount
from consumer.operations.steps import Command, OperatorCall, Step
from tests.support.builders import shard
from tests.support.commands import CommandDriver
from tests.support.fakes import FakeTables
from tests.support.replay_fixture import BOARD, ID, ReplayFixture, image, request

RECORDS = 40
COMMANDS = 3
STEPS = 400
SEEDS = 90
LOST: Final = object()


class Wrong(AssertionError):
    """A record did not count as often as it should."""


class Nemesis:
    """The fixture, the fates of calls, and an oracle that sees each count when it takes effect."""

    def __init__(self, seed: int, off: frozenset[str]) -> None:
        self.random = random = Random(seed)
        self.fixture = ReplayFixture(page_records=random.choice((3, 7, 1000)))
        self.scores = [random.randrange(1, 1000) for _ in range(RECORDS)]
        self.bad = {place for place in range(RECORDS) if random.random() < 0.2}
        images = [
            image(f"p{random.randrange(6)}", {"S": "x"} if place in self.bad else str(score))
            for place, score in enumerate(self.scores)
        ]
        self.numbers = self.fixture.write(*images)
        self.board = FakeTables()
        self.fixture.replays.boards[BOARD] = self.board
        self.fixture.tables.off = off
        self.fixture.replays.on_count = self._counted
        self.counts: dict[str, Counter[str]] = {}
        self.late: list[Callable[[], object]] = []
        self._repairs: dict[str, int] = {}

    def resolve(self) -> None:
        """An operator redrives or discards a record that is pending."""
        number = self.numbers[self.random.choice(sorted(self.bad) or [0])]
        row = self.fixture.tables.quarantine.get((ID, number))
        if row is not None and row.state == EntryState.PENDING:
            self._repairs[number] = score = self.random.randrange(1, 1000)
            state = self.random.choice((EntryState.APPLIED, EntryState.APPLIED, EntryState.DISCARDED))
            self.fixture.resolve(number, state, score=str(score))

    def command(self) -> Command[None]:
        """As the real command does it; now and then with another range, and --again."""
        first = self.random.choice((TRIM_HORIZON, TRIM_HORIZON, self.numbers[RECORDS // 3]))
        service = self.fixture.service
        planned = (yield from service.plan(request(first, again=self.random.random() < 0.4))).planned[0]
        yield from Recount(service, planned, (yield from service.open_reader(planned))).run()

    def strike(self, step: Step) -> object:
        """What happens to a call. LOST: its reply is lost, and it is retried."""
        match self.random.randrange(12):
            case 0:
                return LOST
            case 1:
                step.effect()
                return LOST
            case 2:
                self.late.append(step.effect)
                return LOST
            case 3:
                self.late.append(step.effect)
            case 4 if step.call is OperatorCall.COUNT_BATCH:
                return Refused(conflict=True)
            case 4 if step.call is OperatorCall.GET_RECORDS:
                return CallFailed(FailureKind.THROTTLED, "slow down")
        return step.effect()

    def check(self, action: str, progress: Progress) -> None:
        """A finished replay has counted each record of its range once, and no other."""
        in_range = [number for number in self.numbers if progress.range.contains(number)]
        if self.counts.get(action, Counter()) != Counter(in_range):
            raise Wrong(f"{action} has counted {self.counts.get(action)}")

    def _counted(self, progress: Progress, batch: Batch) -> None:
        run = [
            (place, number)
            for place, number in enumerate(self.numbers)
            if rank(progress.position) < rank(number) <= rank(batch.unit.last) and progress.range.contains(number)
        ]
        self.counts.setdefault(progress.replay_id, Counter()).update(number for _, number in run)
        total = sum((delta.total for delta in batch.unit.deltas.values()), Decimal(0))
        if total != sum(self._score(place, number) for place, number in run):
            raise Wrong("a batch does not count what the entries say")

    def _score(self, place: int, number: str) -> int:
        if place not in self.bad:
            return self.scores[place]
        applied = self.fixture.tables.quarantine[ID, number].state == EntryState.APPLIED
        return self._repairs[number] if applied else 0


class Runner:
    """A command that is run again when it crashes, or is refused."""

    def __init__(self, nemesis: Nemesis) -> None:
        self._nemesis = nemesis
        self._driver: CommandDriver[None] | None = None

    def step(self) -> None:
        """Makes the next call, or the same one again."""
        nemesis = self._nemesis
        try:
            if self._driver is None:
                self._driver = CommandDriver(nemesis.command())
            if self._driver.step is None:
                return
            if nemesis.random.random() < 0.02:
                raise ConsumerError("it is killed")
            reply = nemesis.strike(self._driver.step)
            if reply is not LOST:
                self._driver.answer(reply)
        except ConsumerError:
            self._driver = None


def run(seed: int, off: frozenset[str] = frozenset()) -> Nemesis:
    """Raises Wrong."""
    nemesis = Nemesis(seed, off)
    runners = [Runner(nemesis) for _ in range(COMMANDS)]
    for _ in range(STEPS):
        if nemesis.random.random() < 0.05:
            nemesis.resolve()
        if nemesis.late and nemesis.random.random() < 0.1:
            nemesis.late.pop(nemesis.random.randrange(len(nemesis.late)))()
        nemesis.random.choice(runners).step()
        row = nemesis.fixture.replays.rows.get((shard(), BOARD))
        if row is not None and not row.running:
            nemesis.check(row.replay_id, row)
    for effect in nemesis.late:
        effect()
    row = nemesis.fixture.replays.rows[shard(), BOARD]
    if row.running:
        nemesis.fixture.recount(row.range.first)
        row = nemesis.fixture.replays.rows[shard(), BOARD]
    nemesis.check(row.replay_id, row)
    most = max(times for counts in nemesis.counts.values() for times in counts.values())
    if most > 1:
        raise Wrong("a replay has counted a record twice")
    return nemesis


@pytest.mark.parametrize("base", range(3))
def test_each_record_counts_once_as_its_entry_says(base: int) -> None:
    finished = 0
    for seed in range(base * SEEDS // 3, (base + 1) * SEEDS // 3):
        nemesis = run(seed)
        finished += sum(sum(counts.values()) > 0 for counts in nemesis.counts.values())
    assert finished >= SEEDS // 3


@pytest.mark.parametrize("guard", ["replay_position", "replay_runner", "replay_state", "replay_put"])
def test_each_clause_is_needed(guard: str) -> None:
    for seed in range(1000):
        try:
            run(seed, frozenset([guard]))
        except Wrong:
            return
    raise AssertionError(f"no seed needs {guard}")
