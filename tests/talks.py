"""Machines that are talked to call by call: a test says what is answered, and when."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Generic, TypeVar

from consumer.domain.breaker import CLOSED, Circuit
from consumer.domain.errors import Trouble, TroubleKind
from consumer.domain.leases import Lease, LeaseRow, Members, Pin, Shard, Vouch
from consumer.domain.outcomes import Done, Ledger
from consumer.domain.position import TRIM_HORIZON
from consumer.domain.records import Rules
from consumer.worker import events
from consumer.worker.calls import Beat, Call, CoordinatorCall, Load, Look, Open, Read, Reply, ShardCall
from consumer.worker.common import Common
from consumer.worker.coordinator import Coordinator
from consumer.worker.identity import Identity
from consumer.worker.perform import World, perform
from consumer.worker.pinning import Pinning
from consumer.worker.shard import ShardMachine
from consumer.worker.tuning import Tuning
from consumer.worker.worker import Worker
from tests.builders import ARN, CREATED, ME, build_shards, row, shard
from tests.fakes import FakeStreams, FakeTables

Kind = TypeVar("Kind", bound=Call)
Spoken = TypeVar("Spoken", bound=Call)

TTL = 4.0


class Steady:
    """A back-off without jitter: as many seconds as there were failures."""

    def delay(self, attempt: int) -> float:
        """See domain.ports.Backoff."""
        return float(attempt)


class Conversation(ABC, Generic[Spoken]):
    """Calls under way are kept until they are taken up; `now` is monotonic seconds."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.under_way: list[Spoken] = []

    @abstractmethod
    def look(self) -> list[Spoken]:
        """All calls under way, after those that are due now have been started."""

    @abstractmethod
    def tell(self, call: Spoken, reply: Reply) -> list[events.Event]:
        """A reply arrives."""

    def call(self, kind: type[Kind]) -> Kind:
        """The call of this kind, which must be due by now."""
        found = [each for each in self.look() if isinstance(each, kind)]
        assert len(found) == 1, f"{kind.__name__} wanted, there is {self.under_way}"
        self.under_way = [each for each in self.under_way if each is not found[0]]
        return found[0]

    def asks(self, kind: type[Call]) -> bool:
        """Whether a call of this kind is under way or due by now."""
        return any(isinstance(each, kind) for each in self.look())

    def answer(self, kind: type[Spoken], reply: Reply) -> list[events.Event]:
        """The call of this kind is answered."""
        return self.tell(self.call(kind), reply)


class Talk(Conversation[ShardCall]):
    """With a shard machine under the lease of `start`."""

    def __init__(self, start: LeaseRow | None = None, tuning: Tuning | None = None) -> None:
        super().__init__()
        self.row = start or row(owner=ME)
        self.lease = Lease(self.row.shard, ME, self.row.epoch)
        self.vouched = True
        self.tuning = tuning or Tuning(wall_offset_seconds=CREATED)
        self.common = Common(self.tuning.total_lookahead_bytes)
        self.machine = ShardMachine(self.row, self.lease, None, self.tuning, self.common, Steady())

    def look(self) -> list[ShardCall]:
        """All calls under way, after those that are due now have been started."""
        self.under_way += self.machine.ready(self.now, vouched=self.vouched)
        assert self.machine.wake_at(vouched=self.vouched) > self.now, "what is due now was not started"
        return self.under_way

    def tell(self, call: ShardCall, reply: Reply) -> list[events.Event]:
        """A reply arrives."""
        return self.machine.take(call, reply, self.now)

    def call(self, kind: type[Kind]) -> Kind:
        """As ever; a read may have to wait for the poll interval."""
        if kind is Read and not self.asks(Read):
            self.now += self.tuning.poll_interval_seconds
        return super().call(kind)

    def wait(self, seconds: float) -> "Talk":
        """Time passes."""
        self.now += seconds
        return self


def opened(tuning: Tuning | None = None, checkpoint: str = TRIM_HORIZON) -> Talk:
    """A talk whose shard has its first iterator."""
    talk = Talk(row(owner=ME, checkpoint=checkpoint), tuning)
    talk.answer(Open, "first")
    return talk


def members(changes: int = 0, **beats: int) -> Members:
    """The `members` item; a keyword `w2_b` is the owner w2/b."""
    return Members(changes, {owner.replace("_", "/"): Vouch(beat) for owner, beat in beats.items()})


@dataclass
class Worked:
    """A shard that the worker works."""

    lease: Lease
    leaving: bool = False
    circuit: Circuit = CLOSED


class Council(Conversation[CoordinatorCall]):
    """With a coordinator whose stream is pinned already, unless a pinning is given."""

    def __init__(self, owner: str = ME, *, stable: bool = False, pinning: Pinning | None = None) -> None:
        super().__init__()
        self.working: dict[Shard, Worked] = {}
        if pinning is None:
            pinning = Pinning(ARN, TRIM_HORIZON, 1, ("consumer-leases", "Leaderboards"))
            pinning.pin = Pin(ARN, None, (), complete=True)
        self.machine = Coordinator(Identity(owner, stable), pinning, TTL, self.working, Steady())
        self.told: list[events.Event] = []

    def look(self) -> list[CoordinatorCall]:
        """All calls under way, after those that are due now have been started."""
        self.under_way += self.machine.ready(self.now)
        assert self.machine.wake_at() > self.now, "what is due now was not started"
        return self.under_way

    def tell(self, call: CoordinatorCall, reply: Reply) -> list[events.Event]:
        """A reply arrives."""
        told = self.machine.take(call, reply, self.now)
        self.told += told
        return told

    def works(self, number: int, epoch: int = 7) -> None:
        """The worker works this shard from now on."""
        self.working[shard(number)] = Worked(Lease(shard(number), self.machine.identity.owner, epoch))

    def join(self) -> "Council":
        """The first beat is written."""
        self.answer(Beat, Done())
        return self

    def plan(self, rows: Iterable[LeaseRow], seen: Members) -> list[events.Event]:
        """A load, and looks until one was asked for after it: what comes of the plan."""
        load = self.call(Load)
        self.now += 0.01
        told = self.tell(load, Ledger(tuple(rows), ()))
        for _ in range(2):  # the first may have been asked for before the load was answered
            self.now += TTL / 8
            told += self.answer(Look, seen)
        return told

    def settle(self, rows: Iterable[LeaseRow], seen: Members) -> None:
        """Plans until nothing is left to be read."""
        for _ in range(3):
            if self.asks(Load):
                self.plan(rows, seen)
        assert not self.asks(Load)

    def observe(self, seconds: float, beats: Mapping[str, int], changes: int = 0) -> None:
        """Time passes; looks see these beats, and our own as it is written."""
        mine = self.machine.identity.owner.replace("/", "_")
        until = self.now + seconds
        while self.now < until:
            for call in list(self.look()):
                if isinstance(call, Look):
                    self.answer(Look, members(changes, **{**beats, mine: self.machine.pulse.vouch.beat}))
                elif isinstance(call, Beat):
                    self.answer(Beat, Done())
            self.now = min(until, self.now + TTL / 8)


class Shift(Conversation[Call]):
    """With a whole worker, over a stream and tables in memory."""

    def __init__(self, owner: str = ME, tables: FakeTables | None = None, streams: FakeStreams | None = None) -> None:
        super().__init__()
        self.tables = tables or FakeTables()
        self.streams = streams or FakeStreams(lambda: CREATED, ARN)
        self.world = World(self.streams, self.tables, self.tables, self.tables, Rules())
        tuning = Tuning(wall_offset_seconds=CREATED - self.now)
        self.machine = Worker(Identity(owner, stable=False), ARN, self._begin, TTL, tuning, Steady())
        self.told: list[events.Event] = []

    def look(self) -> list[Call]:
        """All calls under way, after those that are due now have been started."""
        self.under_way += self.machine.ready(self.now)
        assert self.machine.wake_at() > self.now, "what is due now was not started"
        return self.under_way

    def tell(self, call: Call, reply: Reply) -> list[events.Event]:
        """A reply arrives."""
        told = self.machine.take(call, reply, self.now)
        self.told += told
        return told

    def _begin(self, stream_arn: str) -> Pinning:
        return Pinning(stream_arn, TRIM_HORIZON, 1, (self.tables.names.leases, self.tables.names.leaderboard))

    def serve(self, seconds: float = 1.0, *, but: type[Call] | None = None) -> "Shift":
        """Time passes; every call takes effect and is answered at once, but those of one kind, which stay under way."""
        until = self.now + seconds
        while self.now < until and not self.machine.done:
            while served := [call for call in self.look() if but is None or not isinstance(call, but)]:
                self.under_way = [call for call in self.under_way if call not in served]
                for call in served:
                    self.tell(call, perform(call, self.world))
                self.now += 0.001
            self.now = max(self.now, min(until, self.machine.wake_at()))
        return self


def stream(size: int = 1, children: Mapping[int, int | Sequence[int]] | None = None) -> FakeStreams:
    """A stream in memory with the shards of `build_shards`."""
    made = FakeStreams(lambda: CREATED, ARN)
    for listed in build_shards(size, children or {}).shards:
        made.add_shard(listed.shard_id, listed.parent)
    return made


def kinds(calls: Iterable[object]) -> list[str]:
    """The names of the calls or events."""
    return [type(each).__name__ for each in calls]


IMAGE = {"playerId": {"S": "foo"}, "score": {"N": "150"}, "timestamp": {"S": "2026-01-31"}}
NO_ANSWER = Trouble(TroubleKind.NETWORK, "no answer")


def reading() -> Shift:
    """A worker whose one shard is read and has nothing to commit."""
    shift = Shift(streams=stream())
    shift.serve(2.0)
    assert list(shift.machine.shards) == [shard(0)]
    return shift


def done(shift: Shift) -> bool:
    return shift.machine.done


def total(shift: Shift) -> Decimal:
    return shift.tables.board["foo"].total
