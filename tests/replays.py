"""A replay over the fakes, for tests of its machines: what is in the stream, the quarantine and the ledger is given."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from decimal import Decimal
from itertools import count
from typing import Any

from consumer.domain.leaderboard import Delta
from consumer.domain.leases import Pin
from consumer.domain.position import TRIM_HORIZON
from consumer.domain.quarantine import Settled, State
from consumer.domain.records import Poison, Rules, decode
from consumer.domain.replay import LATEST, Mode
from consumer.operations.acts import perform as perform_act
from consumer.operations.replay.calls import Call, Count, Reply, World, perform
from consumer.operations.replay.desk import Desk, Planned
from consumer.operations.replay.plan import Wish
from consumer.operations.replay.recount import Recount
from consumer.operations.ward import Ward
from tests.builders import ARN, CREATED, ME, row, shard
from tests.fakes import FakeOperators, FakeReplays, FakeStreams, FakeTables
from tests.fakes.tables import Quarantined
from tests.talks import Steady

BOARD = "Leaderboards"
ID = "shard-0"


class Scene:
    """One shard, its checkpoint at the newest record. `waited`: how long was waited before which call."""

    def __init__(self, page_records: int = 1000) -> None:
        self.streams = FakeStreams(lambda: CREATED, ARN, page_records)
        self.streams.add_shard(ID)
        self.tables = FakeTables()
        self.tables.pins[ARN] = Pin(ARN, None, (ID,), complete=True)
        self.replays = FakeReplays(self.tables)
        self.operators = FakeOperators(self.tables)
        self.rules = Rules()
        self.calls: list[Call] = []
        self.waited: list[float] = []
        self.world = World(lambda _: self.streams, self.replays, self.operators, self.tables)
        self._tokens = count()
        self._now = count(int(CREATED))

    def write(self, *images: Mapping[str, Any], event: str = "INSERT") -> list[str]:
        """Records that the ledger has committed; poison ones are pending. Their sequence numbers."""
        numbers = [self.streams.write(ID, image, event) for image in images]
        self.tables.rows[shard()] = row(owner=ME, checkpoint=numbers[-1])
        for wire in self.streams.shards[ID].records[-len(images) :]:
            entry = decode(wire, self.rules, None)
            if isinstance(entry, Poison):
                self.operators.tables.quarantine[ID, entry.sequence_number] = quarantined(entry)
        return numbers

    def settle(self, number: str, state: State, **repairs: str) -> None:
        """A quarantined record has this state by now."""
        self.tables.quarantine[ID, number].state = state.value
        self.operators.acts[ID, number] = ("somebody", Settled("me", "", repairs))

    def ask(self, call: Call) -> Reply:
        """Every call is answered at once."""
        self.calls.append(call)
        return perform(call, self.world)

    @property
    def desk(self) -> Desk:
        """Where a person works."""
        ward = Ward(
            self.operators,
            lambda call: perform_act(call, self.operators, self.tables),
            shards=lambda: [shard()],
            who=lambda: "me",
            now=lambda: float(next(self._now)),
            token=lambda: f"token-{next(self._tokens)}",
            rules=self.rules,
        )
        return Desk(ward, self.ask, self.waited.append, self.tables.load, self.tables.births.get, Steady())

    def plan(self, first: str = TRIM_HORIZON, last: str = LATEST, **more: Any) -> Planned:
        """The one shard's, to be counted again."""
        return self.desk.plan(wish(first, last, **more)).planned[0]

    def begin(self, first: str = TRIM_HORIZON, last: str = LATEST, **more: Any) -> Recount:
        """The machine, which has made no call yet."""
        planned = self.plan(first, last, **more)
        return self.desk.recount(planned, self.desk.scout(planned))

    def recount(self, first: str = TRIM_HORIZON, last: str = LATEST, **more: Any) -> Recount:
        """The machine, run to its end."""
        machine = self.begin(first, last, **more)
        for _ in self.desk.steps(machine):
            pass
        return machine

    @property
    def board(self) -> dict[str, Delta]:
        """By player."""
        return {player: Delta(row.games, row.total, str(row.date)) for player, row in self.tables.board.items()}


def wish(first: str = TRIM_HORIZON, last: str = LATEST, mode: Mode = Mode.RECOUNT, **more: Any) -> Wish:
    """Of the one shard."""
    return replace(Wish(ID, first, last, mode, BOARD), **more)


def image(player: str = "foo", score: object = "1", day: str = "2026-01-31") -> dict[str, Any]:
    """A game's new image; the score's text, or an attribute as it is."""
    told = {"N": score} if isinstance(score, str) else score
    return {"playerId": {"S": player}, "score": told, "timestamp": {"S": day}}


def images(players: Sequence[str]) -> Iterator[dict[str, Any]]:
    """One game of each."""
    return (image(player) for player in players)


def quarantined(poison: Poison) -> Quarantined:
    """A pending row of the fake quarantine."""
    return Quarantined(poison, "pending", CREATED, ARN)


def delta(games: int, total: str, day: str = "2026-01-31") -> Delta:
    """What a player gets."""
    return Delta(games, Decimal(total), day)


def due_count(scene: Scene, machine: Recount) -> Count:
    """Answers all calls up to the next count, which is not made yet."""
    while (due := machine.due()) is not None and not isinstance(due.call, Count):
        machine.take(scene.ask(due.call))
    assert due is not None
    assert isinstance(due.call, Count)
    return due.call
