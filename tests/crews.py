"""Crews: whole workers over one stream and one set of tables in memory, on one clock that a test moves."""

from consumer.domain.leases import LeaseRow
from consumer.domain.position import TRIM_HORIZON
from consumer.worker import events
from consumer.worker.calls import Call, Reply
from consumer.worker.pinning import Pinning, StartPosition
from tests.builders import ARN, CREATED, shard
from tests.fakes import FakeStreams, FakeTables
from tests.talks import Shift

BEGAN = 1000.0
MOST_CALLS = 5_000
"""That a worker may make between two moments of the clock."""
LATER = ARN.replace("2026-01-01", "2026-02-02")
"""The stream when it was switched off and on."""


class Hand(Shift):
    """One worker of a crew. `held`: calls of this kind stay under way; `paused`: it does nothing at all."""

    def __init__(self, crew: "Crew", owner: str) -> None:
        self._start = crew.start
        super().__init__(owner, crew.tables, crew.streams)
        self.held: type[Call] | None = None
        self.paused = False
        self.answered = 0

    def tell(self, call: Call, reply: Reply) -> list[events.Event]:
        """A reply arrives."""
        self.answered += 1
        assert self.answered < MOST_CALLS, f"it asks without a pause: {call}"
        return super().tell(call, reply)

    def _begin(self, stream_arn: str) -> Pinning:
        return Pinning(stream_arn, self._start, 1, (self.tables.names.leases, self.tables.names.leaderboard))

    @property
    def not_ready(self) -> str:
        """What readiness says."""
        return "\n".join(self.machine.standing(self.now).not_ready)


class Crew:
    """`ahead`: seconds that the servers' clock is ahead of the workers'. The record number n scores 2 ** n points."""

    def __init__(self, *owners: str, streams: type[FakeStreams] = FakeStreams, start: StartPosition = TRIM_HORIZON):
        self.now = BEGAN
        self.ahead = 0.0
        self.start = start
        self.streams = streams(lambda: CREATED + self.now - BEGAN + self.ahead, ARN)
        self.tables = FakeTables()
        self.hands: dict[str, Hand] = {}
        self.written = 0
        for owner in owners:
            self.hire(owner)

    def hire(self, owner: str) -> Hand:
        """A worker starts."""
        self.hands[owner] = hand = Hand(self, owner)
        hand.now = self.now
        return hand

    def kill(self, owner: str) -> Hand:
        """A worker dies; what it had under way does not arrive."""
        return self.hands.pop(owner)

    def serve(self, seconds: float = 2.0, step: float = 0.1) -> "Crew":
        """Time passes; every call takes effect and is answered at once, but those that are held."""
        until = self.now + seconds
        while self.now < until:
            self.now = min(until, self.now + step)
            for hand in self.hands.values():
                hand.answered = 0
                if not hand.paused:
                    hand.now = max(hand.now, self.now - step)
                    hand.serve(self.now - hand.now, but=hand.held)
        return self

    def grow(self, *numbers: int, parent: int | None = None) -> None:
        """Shards open."""
        for number in numbers:
            self.streams.add_shard(f"shard-{number}", None if parent is None else f"shard-{parent}")

    def split(self, parent: int, *children: int) -> None:
        """A shard ends, and its children open."""
        self.streams.close(f"shard-{parent}")
        self.grow(*children, parent=parent)

    def write(self, *numbers: int) -> None:
        """A record into each of these shards."""
        for number in numbers:
            score = {"N": str(2**self.written)}
            image = {"playerId": {"S": "foo"}, "score": score, "timestamp": {"S": "2026-01-31"}}
            self.streams.write(f"shard-{number}", image)
            self.written += 1

    def counted(self) -> list[int]:
        """The numbers of the records on the board, in which none may be twice."""
        score = self.tables.board.get("foo")
        if score is None:
            return []
        total = int(score.total)
        assert score.games == total.bit_count(), f"{score.games} games, and their points are {total:b}"
        return [number for number in range(total.bit_length()) if total >> number & 1]

    @property
    def exact(self) -> bool:
        """Whether every record is on the board, once."""
        return self.counted() == [*range(self.written)]

    def row(self, number: int, arn: str = ARN) -> LeaseRow:
        """A shard's row of the ledger."""
        return self.tables.rows[shard(number)._replace(stream_arn=arn)]

    def owners(self) -> dict[int, str | None]:
        """Who has which unfinished shard of the first stream."""
        rows = [row for row in self.tables.rows.values() if not row.finished and row.shard.stream_arn == ARN]
        return {int(row.shard.shard_id.removeprefix("shard-")): row.owner for row in rows}


def alone(*shards: int, streams: type[FakeStreams] = FakeStreams) -> tuple[Crew, Hand]:
    """A worker that reads these shards, which have no parents."""
    crew = Crew(streams=streams)
    crew.grow(*shards)
    hand = crew.hire("w1/a")
    crew.serve()
    assert len(hand.machine.shards) == len(shards)
    return crew, hand
