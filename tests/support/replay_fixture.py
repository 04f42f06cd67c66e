"""Replays over the fakes: a stream, a quarantine and a lease table with one shard."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from decimal import Decimal
from functools import partial
from itertools import count
from typing import Any, TypeVar

from consumer.domain.fold import Delta
from consumer.domain.leases import TRIM_HORIZON, StreamStart
from consumer.domain.quarantine import EntryState, Resolution
from consumer.domain.records import Poison, Rules, decode
from consumer.domain.replay import LATEST, Batch, Mode
from consumer.operations.quarantine import QuarantineService
from consumer.operations.replay import PendingReplay, Recount, ReplayService
from consumer.operations.replay_plan import PlannedReplay, Reader, ReplayRequest
from consumer.operations.steps import Command, OperatorCall, Step
from tests.support.builders import ARN, CREATED, ME, row, shard
from tests.support.commands import CommandDriver, finish
from tests.support.drivers import LinearBackoff
from tests.support.fakes import FakeQuarantine, FakeReplays, FakeStreams, FakeTables
from tests.support.fakes.tables import Quarantined

T = TypeVar("T")
BOARD = "Leaderboards"
ID = "shard-0"


class ReplayFixture:
    """One shard whose checkpoint is its newest record. `waited` are the seconds waited before calls."""

    def __init__(self, page_records: int = 1000) -> None:
        self.streams = FakeStreams(lambda: CREATED, ARN, page_records)
        self.streams.add_shard(ID)
        self.tables = FakeTables()
        self.tables.stream_starts[ARN] = StreamStart(ARN, None, (ID,), complete=True)
        self.replays = FakeReplays(self.tables)
        self.quarantine = FakeQuarantine(self.tables)
        self.rules = Rules()
        self.calls: list[OperatorCall] = []
        self.waited: list[float] = []
        self._tokens = count()
        self.now = CREATED

    def write(self, *images: Mapping[str, Any], event: str = "INSERT") -> list[str]:
        """Writes records that are committed; poison ones are pending. Returns their sequence numbers."""
        numbers = [self.streams.write(ID, image, event) for image in images]
        self.tables.rows[shard()] = row(owner=ME, checkpoint=numbers[-1])
        for wire in self.streams.shards[ID].records[-len(images) :]:
            entry = decode(wire, self.rules, None)
            if isinstance(entry, Poison):
                self.quarantine.tables.quarantine[ID, entry.sequence_number] = quarantined(entry)
        return numbers

    def resolve(self, number: str, state: EntryState, **repairs: str) -> None:
        """Another operator resolves a quarantined record."""
        self.tables.quarantine[ID, number].state = state.value
        self.quarantine.actions[ID, number] = ("another", Resolution("me", "", repairs))

    def run(self, command: Command[T]) -> T:
        """Makes every call at once."""

        def make(step: Step) -> object:
            self.calls.append(step.call)
            return step.effect()

        return finish(command, make, self.waited.append)

    def _tick(self) -> float:
        """The operator's clock: a second later each time."""
        self.now += 1
        return self.now - 1

    @property
    def service(self) -> ReplayService:
        """The service that the command uses."""
        service = QuarantineService(
            self.quarantine,
            self.tables,
            shards=lambda: [shard()],
            who=lambda: "me",
            now=self._tick,
            token=lambda: f"token-{next(self._tokens)}",
            rules=self.rules,
        )
        return ReplayService(
            service,
            lambda _: self.streams,
            self.replays,
            self.tables,
            self.tables.load,
            self.tables.bindings.get,
            LinearBackoff(),
        )

    def plan(self, first: str = TRIM_HORIZON, last: str = LATEST, **more: Any) -> PlannedReplay:
        """The plan to count the shard again."""
        return self.run(self.service.plan(request(first, last, **more))).planned[0]

    def open_reader(self, planned: PlannedReplay) -> Reader:
        """A reader that has found the first records."""
        return self.run(self.service.open_reader(planned))

    def begin(self, first: str = TRIM_HORIZON, last: str = LATEST, **more: Any) -> Recount:
        """A recount, before its first call."""
        planned = self.plan(first, last, **more)
        return Recount(self.service, planned, self.open_reader(planned))

    def recount(self, first: str = TRIM_HORIZON, last: str = LATEST, **more: Any) -> Recount:
        """A recount, run to its end."""
        recount = self.begin(first, last, **more)
        self.run(recount.run())
        return recount

    def batches(self, recount: Recount) -> list[Batch]:
        """Runs a recount to its end; the batches that it counts."""
        batches: list[Batch] = []
        self.run(recount.run(batches.append))
        return batches

    def begin_pending(self, first: str = TRIM_HORIZON, last: str = LATEST) -> PendingReplay:
        """A replay of the pending entries, before its first call."""
        planned = self.plan(first, last, mode=Mode.PENDING)
        return PendingReplay(self.service, planned, self.run(self.service.pending(planned)))

    @property
    def board(self) -> dict[str, Delta]:
        """The leaderboard, by player."""
        return {player: Delta(row.games, row.total, str(row.date)) for player, row in self.tables.board.items()}


def request(first: str = TRIM_HORIZON, last: str = LATEST, mode: Mode = Mode.RECOUNT, **more: Any) -> ReplayRequest:
    """A request for the shard."""
    return replace(ReplayRequest(ID, first, last, mode, BOARD), **more)


def image(player: str = "foo", score: object = "1", day: str = "2026-01-31") -> dict[str, Any]:
    """A game's new image. `score` is a number's text, or an attribute as it is."""
    attribute = {"N": score} if isinstance(score, str) else score
    return {"playerId": {"S": player}, "score": attribute, "timestamp": {"S": day}}


def images(players: Sequence[str]) -> Iterator[dict[str, Any]]:
    """One game of each player."""
    return (image(player) for player in players)


def quarantined(poison: Poison) -> Quarantined:
    """A pending row of the fake quarantine table."""
    return Quarantined(poison, "pending", CREATED, ARN)


def delta(games: int, total: str, day: str = "2026-01-31") -> Delta:
    """A delta, from text."""
    return Delta(games, Decimal(total), day)


def before_count(recount: Recount) -> CommandDriver[None]:
    """A recount that stands before its first count."""
    return CommandDriver(recount.run()).answer_until(OperatorCall.COUNT_BATCH)


def due_batch(driver: CommandDriver[None]) -> Batch:
    """The batch that is to be counted next."""
    driver.answer_until(OperatorCall.COUNT_BATCH)
    assert driver.step is not None
    assert isinstance(driver.step.effect, partial)
    batch = driver.step.effect.args[1]
    assert isinstance(batch, Batch)
    return batch
