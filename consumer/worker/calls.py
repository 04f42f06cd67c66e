"""Calls as values: the arguments of each, its port, its priority, and the replies that it may have.

A machine returns calls and takes their replies; `execute` is the one place where a call reaches its port.
"""

from dataclasses import dataclass
from enum import Enum, StrEnum
from typing import ClassVar, Final

from consumer.domain.breaker import Symptom
from consumer.domain.errors import CallFailed, DataTrimmed, FailureKind, IteratorExpired
from consumer.domain.fold import Unit
from consumer.domain.leases import TRIM_HORIZON, Adoption, Lease, LeaseRow, Ledger, Origin, Shard, StreamStart
from consumer.domain.membership import HeartbeatReport, Members
from consumer.domain.ports import Commits, Ledgers, Membership, Streams
from consumer.domain.records import Game, Poison, Rules, Verdict, poison
from consumer.domain.replies import Children, Committed, Done, HeartbeatRemoved, Lost, Page, Refused, StreamListing

PAGE_RECORDS: Final = 1000
"""The highest limit of one GetRecords. Source: its API reference."""

Reply = (
    Page | Poison | str | bool | Children | Committed | Lost | Refused | Done | HeartbeatRemoved | Members | Origin
    | StreamListing | Ledger | LeaseRow | CallFailed | IteratorExpired | DataTrimmed
)  # fmt: skip


class Operation(StrEnum):
    """The name of a call in metrics, logs and readiness: the label `operation`."""

    GET_SHARD_ITERATOR = "get_shard_iterator"
    GET_RECORDS = "get_records"
    RECORD_GAP = "record_gap"
    COMMIT = "commit"
    EXAMINE = "examine"
    HALT = "halt"
    FIND_CHILDREN = "find_children"
    END_SHARD = "end_shard"
    RELEASE = "release"
    HEARTBEAT = "heartbeat"
    READ_MEMBERS = "read_members"
    EVICT_MEMBER = "evict_member"
    LEAVE = "leave"
    READ_ORIGIN = "read_origin"
    LIST_SHARDS = "list_shards"
    RECORD_STREAM_START = "record_stream_start"
    CREATE_ROOT_ROWS = "create_root_rows"
    COMPLETE_STREAM_START = "complete_stream_start"
    LOAD_LEDGER = "load_ledger"
    CLAIM = "claim"
    FIND_STREAM = "find_stream"
    FIND_LATE_CHILDREN = "find_late_children"
    PROBE_SHARD = "probe_shard"
    RECORD_LOSS = "record_loss"
    ADOPT = "adopt"
    MARK_UNLISTED = "mark_unlisted"
    FORGET = "forget"


class CallPriority(Enum):
    """Which threads run a call, and in which order: commits run before reads.

    Heartbeats never wait for other calls. Listings, which AWS limits to a slow rate, have a thread of their own, and so
    have loads of the ledger, which is large.
    """

    DATA = "data"
    READ = "read"
    HEARTBEAT = "heartbeat"
    LISTING = "listing"
    LEDGER = "ledger"


@dataclass(frozen=True, slots=True)
class Ports:
    """The ports of a worker, and what a game looks like."""

    streams: Streams
    ledgers: Ledgers
    membership: Membership
    commits: Commits
    rules: Rules


class _Call:
    """What every call has besides its own fields."""

    __slots__ = ()
    operation: ClassVar[Operation]
    priority: ClassVar[CallPriority] = CallPriority.DATA


@dataclass(frozen=True, slots=True)
class Open(_Call):
    """Opens an iterator that begins after the position `after`."""

    operation = Operation.GET_SHARD_ITERATOR
    priority = CallPriority.READ
    lease: Lease
    after: str

    def execute(self, ports: Ports) -> Reply:
        """The iterator, or DataTrimmed."""
        return ports.streams.open(self.lease.shard, self.after)


@dataclass(frozen=True, slots=True)
class Read(_Call):
    """Reads the page that follows the position `after`; `start_time`: the stream's start position (unix seconds)."""

    operation = Operation.GET_RECORDS
    priority = CallPriority.READ
    lease: Lease
    iterator: str
    after: str
    start_time: float | None
    limit: int = PAGE_RECORDS

    def execute(self, ports: Ports) -> Reply:
        """The page, decoded here on a thread of the pool; IteratorExpired or DataTrimmed."""
        return ports.streams.poll(self.iterator, self.limit, ports.rules, self.start_time)


@dataclass(frozen=True, slots=True)
class RecordGap(_Call):
    """Writes a durable row: records after `checkpoint` may be lost (`found_at` in unix seconds)."""

    operation = Operation.RECORD_GAP
    lease: Lease
    checkpoint: str
    found_at: float

    def execute(self, ports: Ports) -> Reply:
        """Whether the row is new; Lost when the lease does not hold the shard at this checkpoint any more."""
        return ports.commits.record_gap(self.lease.shard, self.checkpoint, self.found_at, self.lease)


@dataclass(frozen=True, slots=True)
class Commit(_Call):
    """Commits a unit in one transaction. Players in `later` keep their stored date."""

    operation = Operation.COMMIT
    lease: Lease
    unit: Unit
    later: frozenset[str]
    fills_gap: bool

    def execute(self, ports: Ports) -> Reply:
        """Committed, Lost or Refused."""
        return ports.commits.commit(self.lease, self.unit, self.later, fills_gap=self.fills_gap)


@dataclass(frozen=True, slots=True)
class Examine(_Call):
    """Asks why `game` was refused alone. `otherwise`: the verdict when the tables show no reason."""

    operation = Operation.EXAMINE
    lease: Lease
    game: Game
    otherwise: Verdict | None = None

    def execute(self, ports: Ports) -> Reply:
        """The record as Poison; Done without a verdict."""
        verdict = ports.commits.examine(self.game) or self.otherwise
        return poison(dict(self.game.wire), *verdict, ports.rules) if verdict else Done()


@dataclass(frozen=True, slots=True)
class Halt(_Call):
    """Halts the shard: the breaker trips at the record after `previous`. `resumes` and `symptom`: see Circuit."""

    operation = Operation.HALT
    lease: Lease
    previous: str
    resumes: int
    halted_at: float
    symptom: Symptom

    def execute(self, ports: Ports) -> Reply:
        """Done or Lost."""
        return ports.commits.halt(self.lease, self.previous, self.resumes, self.halted_at, self.symptom)


@dataclass(frozen=True, slots=True)
class FindChildren(_Call):
    """Asks for the children of a shard that has ended."""

    operation = Operation.FIND_CHILDREN
    priority = CallPriority.LISTING
    lease: Lease

    def execute(self, ports: Ports) -> Reply:
        """Children."""
        return ports.streams.find_children(self.lease.shard)


@dataclass(frozen=True, slots=True)
class EndShard(_Call):
    """Sets the row to SHARD_END with all `children`, and creates `rows` for those that have none yet."""

    operation = Operation.END_SHARD
    lease: Lease
    previous: str
    children: tuple[str, ...]
    rows: tuple[LeaseRow, ...]

    def execute(self, ports: Ports) -> Reply:
        """Committed, Lost or Refused."""
        return ports.commits.end(self.lease, self.previous, self.children, self.rows)


@dataclass(frozen=True, slots=True)
class Release(_Call):
    """Gives the lease back."""

    operation = Operation.RELEASE
    lease: Lease

    def execute(self, ports: Ports) -> Reply:
        """Done."""
        return ports.ledgers.release(self.lease)


@dataclass(frozen=True, slots=True)
class SendHeartbeat(_Call):
    """Writes a heartbeat to `members`. Only a joining one adds the owner; `bump` makes the others read the ledger."""

    operation = Operation.HEARTBEAT
    priority = CallPriority.HEARTBEAT
    owner: str
    report: HeartbeatReport
    joining: bool
    bump: bool

    def execute(self, ports: Ports) -> Reply:
        """Done, or HeartbeatRemoved."""
        return ports.membership.send_heartbeat(self.owner, self.report, joining=self.joining, bump=self.bump)


@dataclass(frozen=True, slots=True)
class ReadMembers(_Call):
    """Reads `members`."""

    operation = Operation.READ_MEMBERS
    priority = CallPriority.HEARTBEAT

    def execute(self, ports: Ports) -> Reply:
        """Members."""
        return ports.membership.read_members()


@dataclass(frozen=True, slots=True)
class EvictMember(_Call):
    """Removes a dead owner from `members`, unless it has sent another heartbeat than number `heartbeat`."""

    operation = Operation.EVICT_MEMBER
    priority = CallPriority.HEARTBEAT
    owner: str
    heartbeat: int

    def execute(self, ports: Ports) -> Reply:
        """Done."""
        return ports.membership.evict(self.owner, self.heartbeat)


@dataclass(frozen=True, slots=True)
class Leave(_Call):
    """Removes this worker from `members`."""

    operation = Operation.LEAVE
    priority = CallPriority.HEARTBEAT
    owner: str

    def execute(self, ports: Ports) -> Reply:
        """Done."""
        return ports.membership.leave(self.owner)


@dataclass(frozen=True, slots=True)
class ReadOrigin(_Call):
    """Reads the row of a stream's start and its table binding, at one moment."""

    operation = Operation.READ_ORIGIN
    stream_arn: str

    def execute(self, ports: Ports) -> Reply:
        """Origin."""
        return ports.ledgers.read_origin(self.stream_arn)


@dataclass(frozen=True, slots=True)
class ListShards(_Call):
    """Lists all shards that the stream shows now."""

    operation = Operation.LIST_SHARDS
    priority = CallPriority.LISTING
    stream_arn: str

    def execute(self, ports: Ports) -> Reply:
        """StreamListing."""
        return ports.streams.list_shards(self.stream_arn)


@dataclass(frozen=True, slots=True)
class RecordStreamStart(_Call):
    """Writes the start of a stream. Between the end of its `predecessor` and this start there may be a gap."""

    operation = Operation.RECORD_STREAM_START
    start: StreamStart
    predecessor: str | None
    found_at: float

    def execute(self, ports: Ports) -> Reply:
        """Done or Lost."""
        return ports.ledgers.record_stream_start(self.start, self.predecessor, self.found_at)


@dataclass(frozen=True, slots=True)
class CreateRootRows(_Call):
    """Creates root rows while the stream's start is incomplete."""

    operation = Operation.CREATE_ROOT_ROWS
    stream_arn: str
    rows: tuple[LeaseRow, ...]

    def execute(self, ports: Ports) -> Reply:
        """Done, Lost or Refused."""
        return ports.ledgers.create_root_rows(self.stream_arn, self.rows)


@dataclass(frozen=True, slots=True)
class CompleteStreamStart(_Call):
    """Marks the stream's start complete: from then on a root without a row is a lost row."""

    operation = Operation.COMPLETE_STREAM_START
    stream_arn: str

    def execute(self, ports: Ports) -> Reply:
        """Done."""
        return ports.ledgers.complete_stream_start(self.stream_arn)


@dataclass(frozen=True, slots=True)
class Load(_Call):
    """Loads every row of the ledger."""

    operation = Operation.LOAD_LEDGER
    priority = CallPriority.LEDGER

    def execute(self, ports: Ports) -> Reply:
        """Ledger."""
        return ports.ledgers.load()


@dataclass(frozen=True, slots=True)
class Claim(_Call):
    """Makes `lease` the holder if the row is still as it was read."""

    operation = Operation.CLAIM
    row: LeaseRow
    lease: Lease

    def execute(self, ports: Ports) -> Reply:
        """The row as it is afterwards, or Lost."""
        return ports.ledgers.claim(self.row, self.lease)


@dataclass(frozen=True, slots=True)
class FindStream(_Call):
    """Asks which stream the source table has now."""

    operation = Operation.FIND_STREAM
    priority = CallPriority.LISTING

    def execute(self, ports: Ports) -> Reply:
        """Its ARN."""
        return ports.streams.find_stream()


@dataclass(frozen=True, slots=True)
class FindLate(_Call):
    """Asks whether a finished shard has more children than its row lists."""

    operation = Operation.FIND_LATE_CHILDREN
    priority = CallPriority.LISTING
    parent: LeaseRow

    def execute(self, ports: Ports) -> Reply:
        """Children."""
        return ports.streams.find_children(self.parent.shard)


@dataclass(frozen=True, slots=True)
class Probe(_Call):
    """Asks whether a shard can be read that no listing shows, or that only a listing shows."""

    operation = Operation.PROBE_SHARD
    shard: Shard

    def execute(self, ports: Ports) -> Reply:
        """Whether it can be read, whatever listings show."""
        try:
            ports.streams.open(self.shard, TRIM_HORIZON)
        except DataTrimmed:
            return True
        except CallFailed as failure:
            if failure.kind is FailureKind.MISSING:
                return False
            raise
        return True


@dataclass(frozen=True, slots=True)
class RecordLoss(_Call):
    """Records the gap of a shard that no worker owns: it was gone before any worker knew it."""

    operation = Operation.RECORD_LOSS
    shard: Shard
    found_at: float

    def execute(self, ports: Ports) -> Reply:
        """Whether the row is new."""
        return ports.commits.record_gap(self.shard, TRIM_HORIZON, self.found_at)


@dataclass(frozen=True, slots=True)
class Adopt(_Call):
    """Adds shards found late to the list they belong to, and creates their rows."""

    operation = Operation.ADOPT
    adoption: Adoption

    def execute(self, ports: Ports) -> Reply:
        """Done or Lost."""
        return ports.ledgers.adopt(self.adoption)


@dataclass(frozen=True, slots=True)
class Mark(_Call):
    """Records since when listings have not shown a finished shard; None: they show it."""

    operation = Operation.MARK_UNLISTED
    row: LeaseRow
    unlisted_since: float | None

    def execute(self, ports: Ports) -> Reply:
        """Done."""
        return ports.ledgers.mark_unlisted(self.row, self.unlisted_since)


@dataclass(frozen=True, slots=True)
class Forget(_Call):
    """Deletes a finished row, and takes it out of the roots of its stream's start."""

    operation = Operation.FORGET
    row: LeaseRow
    start: StreamStart | None

    def execute(self, ports: Ports) -> Reply:
        """Done or Lost."""
        return ports.ledgers.forget(self.row, self.start)


ShardCall = Open | Read | RecordGap | Commit | Halt | Examine | FindChildren | EndShard | Release
MemberCall = SendHeartbeat | ReadMembers | EvictMember | Leave
StreamStartCall = ReadOrigin | ListShards | Probe | RecordStreamStart | CreateRootRows | CompleteStreamStart
CoordinatorCall = MemberCall | StreamStartCall | Load | Claim
SyncCall = FindStream | FindLate | RecordLoss | Adopt | Mark | Forget | StreamStartCall
Call = ShardCall | CoordinatorCall | SyncCall


def execute(call: Call, ports: Ports) -> Reply:
    """Runs one call. A failed call is a reply too; any other exception is a defect."""
    try:
        return call.execute(ports)
    except (CallFailed, IteratorExpired, DataTrimmed) as failure:
        return failure
    except RecursionError:
        return CallFailed(FailureKind.MALFORMED, "a record is nested deeper than it can be written down")
