"""Drivers of the machines, call by call: a test says which reply arrives, and when."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Generic, Protocol, Self, TypeVar

from consumer.domain.accepted_rules import AcceptedRules
from consumer.domain.breaker import CLOSED, Circuit
from consumer.domain.errors import CallFailed, FailureKind
from consumer.domain.leases import TRIM_HORIZON, Lease, LeaseRow, Ledger, Shard, StreamStart, TableNames
from consumer.domain.membership import HeartbeatReport, Identity, Members
from consumer.domain.records import Rules
from consumer.domain.replies import Done
from consumer.domain.windows import Calendar
from consumer.worker import events
from consumer.worker.calls import Call, Ports, Reply, execute
from consumer.worker.coordinator import Coordinator
from consumer.worker.known_rows import NO_CALENDAR, KnownRows
from consumer.worker.ledger_calls import Claim, CoordinatorCall, Load, ReadMembers, SendHeartbeat
from consumer.worker.reader import ReadAheadBudget
from consumer.worker.shard import ShardMachine
from consumer.worker.shard_calls import EndShard, Open, Read, ShardCall
from consumer.worker.stream_start import DEFAULT_RULES, StreamStarter
from consumer.worker.tuning import Tuning
from consumer.worker.worker import Worker
from tests.support.builders import ARN, CREATED, ME, build_shards, row, shard
from tests.support.fakes import FakeStreams, FakeTables

Kind = TypeVar("Kind", bound=Call)
MachineCall = TypeVar("MachineCall", bound=Call)
TakenCall = TypeVar("TakenCall", bound=Call, contravariant=True)

TTL = 4.0


class LinearBackoff:
    """A back-off without jitter: as many seconds as there were failures."""

    def delay(self, attempt: int) -> float:
        """See domain.ports.Backoff."""
        return float(attempt)


class Machine(Protocol[TakenCall]):
    """What all machines have."""

    def take(self, call: TakenCall, reply: Reply, now: float) -> list[events.Event]:
        """Takes the reply to a call."""
        ...

    def wake_at(self) -> float:
        """When to ask for calls again."""
        ...


class MachineDriver(ABC, Generic[MachineCall]):
    """Keeps the calls in flight until a test takes them. `now` is monotonic seconds, `reported` all events so far."""

    machine: Machine[MachineCall]

    def __init__(self) -> None:
        self.now = 1000.0
        self.in_flight: list[MachineCall] = []
        self.reported: list[events.Event] = []

    @abstractmethod
    def ready(self) -> Iterable[MachineCall]:
        """The calls that the machine names now."""

    def wake_at(self) -> float:
        """When `ready` is due again without a reply."""
        return self.machine.wake_at()

    def start_due(self) -> list[MachineCall]:
        """All calls in flight, after those that are due now have been started."""
        self.in_flight += self.ready()
        assert self.wake_at() > self.now, "what is due now was not started"
        return self.in_flight

    def call(self, kind: type[Kind]) -> Kind:
        """Takes the call of this kind, which must be in flight or due by now."""
        found = [call for call in self.start_due() if isinstance(call, kind)]
        assert len(found) == 1, f"{kind.__name__} wanted, there is {self.in_flight}"
        self.in_flight = [call for call in self.in_flight if call is not found[0]]
        return found[0]

    def has_call(self, kind: type[Call]) -> bool:
        """Whether a call of this kind is in flight or due by now."""
        return any(isinstance(call, kind) for call in self.start_due())

    def deliver(self, call: MachineCall, reply: Reply) -> list[events.Event]:
        """A reply arrives."""
        reported = self.machine.take(call, reply, self.now)
        self.reported += reported
        return reported

    def answer(self, kind: type[MachineCall], reply: Reply) -> list[events.Event]:
        """The reply to the call of this kind arrives."""
        return self.deliver(self.call(kind), reply)

    def wait(self, seconds: float) -> Self:
        """Time passes."""
        self.now += seconds
        return self


class ShardDriver(MachineDriver[ShardCall]):
    """Drives a shard machine that owns the shard of `start`."""

    machine: ShardMachine

    def __init__(
        self,
        start: LeaseRow | None = None,
        tuning: Tuning | None = None,
        start_time: float | None = None,
        *,
        keyed: bool = False,
        calendar: Calendar = NO_CALENDAR,
        corrects: bool = False,
    ) -> None:
        super().__init__()
        self.row = start or row(owner=ME)
        self.lease = Lease(self.row.shard, ME, self.row.epoch)
        self.may_commit = True
        self.tuning = tuning or Tuning(wall_offset_seconds=CREATED)
        self.budget = ReadAheadBudget(self.tuning.total_lookahead_bytes)
        self.known = KnownRows(self.tuning.remembered_rows, calendar, corrects=corrects)
        self.machine = ShardMachine(
            self.row, self.lease, start_time, self.tuning, self.budget, self.known, LinearBackoff(), keyed=keyed
        )

    def ready(self) -> list[ShardCall]:
        """The calls that the machine names now."""
        return self.machine.ready(self.now, may_commit=self.may_commit)

    def wake_at(self) -> float:
        """When `ready` is due again without a reply."""
        return self.machine.wake_at(may_commit=self.may_commit)

    def call(self, kind: type[Kind]) -> Kind:
        """As for every driver, but before a read the poll interval may pass."""
        if kind is Read and not self.has_call(Read):
            self.now += self.tuning.poll_interval_seconds
        return super().call(kind)


def opened_shard(
    tuning: Tuning | None = None, checkpoint: str = TRIM_HORIZON, *, keyed: bool = False, corrects: bool = False
) -> ShardDriver:
    """A shard that has its first iterator."""
    driver = ShardDriver(row(owner=ME, checkpoint=checkpoint), tuning, keyed=keyed, corrects=corrects)
    driver.answer(Open, "first")
    return driver


def members(changes: int = 0, **heartbeats: int) -> Members:
    """The `members` item with these heartbeat numbers; a keyword `w2_b` is the owner w2/b."""
    return Members(changes, {owner.replace("_", "/"): HeartbeatReport(number) for owner, number in heartbeats.items()})


@dataclass
class FakeOwnedShard:
    """See OwnedShard."""

    lease: Lease
    releasing: bool = False
    circuit: Circuit = CLOSED
    checkpoint: str = TRIM_HORIZON


class CoordinatorDriver(MachineDriver[CoordinatorCall]):
    """Drives a coordinator whose stream is started already, unless a starter is given."""

    machine: Coordinator

    def __init__(
        self,
        owner: str = ME,
        *,
        stable: bool = False,
        starter: StreamStarter | None = None,
        rules: Rules = DEFAULT_RULES,
    ) -> None:
        super().__init__()
        self.owned: dict[Shard, FakeOwnedShard] = {}
        if starter is None:
            starter = StreamStarter(ARN, TRIM_HORIZON, 1, TableNames(), rules)
            starter.stream_start = StreamStart(ARN, None, (), complete=True)
            starter.accepted = AcceptedRules((starter.rules,))
        self.accepted = AcceptedRules()
        self.machine = Coordinator(Identity(owner, stable), starter, TTL, self.owned, LinearBackoff())

    def ready(self) -> list[CoordinatorCall]:
        """The calls that the machine names now."""
        return self.machine.ready(self.now)

    def own_shard(self, number: int, epoch: int = 7) -> None:
        """The worker owns this shard from now on."""
        self.owned[shard(number)] = self.owned_shard(shard(number), epoch)

    def owned_shard(self, owned: Shard, epoch: int = 7) -> FakeOwnedShard:
        """A shard under a lease of this worker."""
        return FakeOwnedShard(Lease(owned, self.machine.identity.owner, epoch))

    def join(self) -> "CoordinatorDriver":
        """The first heartbeat is written."""
        self.answer(SendHeartbeat, Done())
        return self

    def claims(self) -> list[int]:
        """The numbers of the shards that are being claimed."""
        return sorted(int(call.row.shard.shard_id[-1]) for call in self.start_due() if isinstance(call, Claim))

    def plan(self, rows: Iterable[LeaseRow], seen: Members) -> list[events.Event]:
        """Answers a load, and reads of the members until one was sent after it: the events of the plan."""
        load = self.call(Load)
        self.now += 0.01
        reported = self.deliver(load, Ledger(tuple(rows), (), self.accepted))
        for _ in range(2):  # the first may have been sent before the reply to the load
            self.now += TTL / 8
            reported += self.answer(ReadMembers, seen)
        return reported

    def plan_until_quiet(self, rows: Iterable[LeaseRow], seen: Members) -> None:
        """Plans until the ledger is not to be read again."""
        for _ in range(3):
            if self.has_call(Load):
                self.plan(rows, seen)
        assert not self.has_call(Load)

    def pass_time(self, seconds: float, heartbeats: Mapping[str, int], changes: int = 0) -> None:
        """Time passes; reads of the members show these heartbeats, and this worker's own as it is written."""
        mine = self.machine.identity.owner.replace("/", "_")
        until = self.now + seconds
        while self.now < until:
            for call in list(self.start_due()):
                if isinstance(call, ReadMembers):
                    own = {mine: self.machine.heartbeat.report.number}
                    self.answer(ReadMembers, members(changes, **{**heartbeats, **own}))
                elif isinstance(call, SendHeartbeat):
                    self.answer(SendHeartbeat, Done())
            self.now = min(until, self.now + TTL / 8)


class WorkerDriver(MachineDriver[Call]):
    """Drives a whole worker, over a stream and tables in memory."""

    machine: Worker

    def __init__(self, owner: str = ME, tables: FakeTables | None = None, streams: FakeStreams | None = None) -> None:
        super().__init__()
        self.tables = tables or FakeTables()
        self.streams = streams or FakeStreams(lambda: CREATED, ARN)
        self.ports = Ports(self.streams, self.tables, self.tables, self.tables, Rules())
        tuning = Tuning(wall_offset_seconds=CREATED - self.now)
        self.machine = Worker(Identity(owner, stable=False), ARN, self.new_starter, TTL, tuning, LinearBackoff())

    def new_starter(self, stream_arn: str) -> StreamStarter:
        """A StreamStarter of the stream."""
        return StreamStarter(stream_arn, TRIM_HORIZON, 1, self.tables.names)

    def ready(self) -> list[Call]:
        """The calls that the machine names now."""
        return self.machine.ready(self.now)

    def serve(self, seconds: float = 1.0, *, hold: type[Call] | None = None) -> "WorkerDriver":
        """Time passes; calls take effect and are answered at once, but calls of the kind `hold` stay in flight."""
        until = self.now + seconds
        while self.now < until and not self.machine.done:
            while served := [call for call in self.start_due() if hold is None or not isinstance(call, hold)]:
                self.in_flight = [call for call in self.in_flight if call not in served]
                for call in served:
                    self.deliver(call, execute(call, self.ports))
                self.now += 0.001
            self.now = max(self.now, min(until, self.machine.wake_at()))
        return self


def stream(size: int = 1, children: Mapping[int, int | Sequence[int]] | None = None) -> FakeStreams:
    """A stream in memory with the shards of `build_shards`."""
    made = FakeStreams(lambda: CREATED, ARN)
    for listed in build_shards(size, children or {}).shards:
        made.add_shard(listed.shard_id, listed.parent)
    return made


def kinds(values: Iterable[object]) -> list[str]:
    """The class names of calls or events."""
    return [type(value).__name__ for value in values]


IMAGE = {"playerId": {"S": "foo"}, "score": {"N": "150"}, "timestamp": {"S": "2026-01-31"}}
NO_ANSWER = CallFailed(FailureKind.NETWORK, "no answer")


def reading_worker() -> WorkerDriver:
    """A worker that reads its one shard and has nothing to commit."""
    driver = WorkerDriver(streams=stream())
    driver.serve(2.0)
    assert list(driver.machine.shards) == [shard(0)]
    return driver


def ending_worker() -> tuple[WorkerDriver, EndShard]:
    """A worker whose EndShard, of a shard with one child, is in flight."""
    driver = WorkerDriver(streams=stream(2, {0: 1}))
    driver.streams.close("shard-0")
    driver.serve(2.0, hold=EndShard)
    return driver, driver.call(EndShard)


def done(driver: WorkerDriver) -> bool:
    """Whether the worker has left."""
    return driver.machine.done


def total(driver: WorkerDriver) -> Decimal:
    """The player's total on the board."""
    return driver.tables.board["foo"].total
