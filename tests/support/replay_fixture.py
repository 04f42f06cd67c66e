"""Replays over the fakes, for tests of their machines: a stream, a quarantine and a lease table with one shard."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from decimal import Decimal
from itertools import count
from typing import Any

from consumer.domain.fold import Delta
from consumer.domain.leases import StreamStart
from consumer.domain.position import TRIM_HORIZON
from consumer.domain.quarantine import EntryState, Resolution
from consumer.domain.records import Poison, Rules, decode
from consumer.domain.replay import LATEST, Mode
from consumer.operations.quarantine import QuarantineService
from consumer.operations.quarantine import execute as execute_quarantine_call
from consumer.operations.replay.calls import Call, Count, ReplayPorts, Reply, execute
from consumer.operations.replay.plan import ReplayRequest
from consumer.operations.replay.recount import Recount
from consumer.operations.replay.service import PlannedReplay, ReplayService
from tests.support.builders import ARN, CREATED, ME, row, shard
from tests.support.drivers import LinearBackoff
from tests.support.fakes import FakeQuarantine, FakeReplays, FakeStreams, FakeTables
from tests.support.fakes.tables import Quarantined

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
        self.calls: list[Call] = []
        self.waited: list[float] = []
        self.ports = ReplayPorts(lambda _: self.streams, self.replays, self.quarantine, self.tables)
        self._tokens = count()
        self._now = count(int(CREATED))

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

    def ask(self, call: Call) -> Reply:
        """Makes every call at once."""
        self.calls.append(call)
        return execute(call, self.ports)

    @property
    def service(self) -> ReplayService:
        """The service that the command uses."""
        service = QuarantineService(
            self.quarantine,
            lambda call: execute_quarantine_call(call, self.quarantine, self.tables),
            shards=lambda: [shard()],
            who=lambda: "me",
            now=lambda: float(next(self._now)),
            token=lambda: f"token-{next(self._tokens)}",
            rules=self.rules,
        )
        return ReplayService(
            service, self.ask, self.waited.append, self.tables.load, self.tables.bindings.get, LinearBackoff()
        )

    def plan(self, first: str = TRIM_HORIZON, last: str = LATEST, **more: Any) -> PlannedReplay:
        """The plan to count the shard again."""
        return self.service.plan(request(first, last, **more)).planned[0]

    def begin(self, first: str = TRIM_HORIZON, last: str = LATEST, **more: Any) -> Recount:
        """The machine, before its first call."""
        planned = self.plan(first, last, **more)
        return self.service.recount(planned, self.service.open_reader(planned))

    def recount(self, first: str = TRIM_HORIZON, last: str = LATEST, **more: Any) -> Recount:
        """The machine, run to its end."""
        machine = self.begin(first, last, **more)
        for _ in self.service.steps(machine):
            pass
        return machine

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


def due_count(fixture: ReplayFixture, machine: Recount) -> Count:
    """Makes all calls up to the next Count, and returns that."""
    while (due := machine.due()) is not None and not isinstance(due.call, Count):
        machine.take(fixture.ask(due.call))
    assert due is not None
    assert isinstance(due.call, Count)
    return due.call
