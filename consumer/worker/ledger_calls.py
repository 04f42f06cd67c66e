"""The calls about members, claims, the start of a stream, and shards that are found late or forgotten."""

from dataclasses import dataclass, field

from consumer.domain.accepted_rules import UNNUMBERED, Reading
from consumer.domain.errors import CallFailed, DataTrimmed, FailureKind
from consumer.domain.leases import (
    TRIM_HORIZON,
    Adoption,
    Lease,
    LeaseRow,
    Shard,
    StreamStart,
)
from consumer.domain.membership import HeartbeatReport
from consumer.domain.records import Rules
from consumer.worker.calls import Call, CallPriority, Operation, Ports, Reply


@dataclass(frozen=True, slots=True)
class SendHeartbeat(Call):
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
class ReadMembers(Call):
    """Reads `members`."""

    operation = Operation.READ_MEMBERS
    priority = CallPriority.HEARTBEAT

    def execute(self, ports: Ports) -> Reply:
        """Members."""
        return ports.membership.read_members()


@dataclass(frozen=True, slots=True)
class EvictMember(Call):
    """Removes a dead owner from `members`, unless it has sent another heartbeat than number `heartbeat`."""

    operation = Operation.EVICT_MEMBER
    priority = CallPriority.HEARTBEAT
    owner: str
    heartbeat: int

    def execute(self, ports: Ports) -> Reply:
        """Done."""
        return ports.membership.evict(self.owner, self.heartbeat)


@dataclass(frozen=True, slots=True)
class Leave(Call):
    """Removes this worker from `members`."""

    operation = Operation.LEAVE
    priority = CallPriority.HEARTBEAT
    owner: str

    def execute(self, ports: Ports) -> Reply:
        """Done."""
        return ports.membership.leave(self.owner)


@dataclass(frozen=True, slots=True)
class ReadOrigin(Call):
    """Reads the row of a stream's start and its table binding, at one moment."""

    operation = Operation.READ_ORIGIN
    stream_arn: str

    def execute(self, ports: Ports) -> Reply:
        """Origin."""
        return ports.ledgers.read_origin(self.stream_arn)


@dataclass(frozen=True, slots=True)
class ListShards(Call):
    """Lists all shards that the stream shows now."""

    operation = Operation.LIST_SHARDS
    priority = CallPriority.LISTING
    stream_arn: str

    def execute(self, ports: Ports) -> Reply:
        """StreamListing."""
        return ports.streams.list_shards(self.stream_arn)


@dataclass(frozen=True, slots=True)
class RecordStreamStart(Call):
    """Writes the start of a stream. Between the end of its `predecessor` and this start there may be a gap.

    `rules`: the first of the ledger; None: it has some.
    """

    operation = Operation.RECORD_STREAM_START
    start: StreamStart
    predecessor: str | None
    found_at: float
    rules: Rules | None = None

    def execute(self, ports: Ports) -> Reply:
        """Done or Lost."""
        return ports.ledgers.record_stream_start(self.start, self.predecessor, self.found_at, self.rules)


@dataclass(frozen=True, slots=True)
class CreateRootRows(Call):
    """Creates root rows while the stream's start is incomplete."""

    operation = Operation.CREATE_ROOT_ROWS
    stream_arn: str
    rows: tuple[LeaseRow, ...]

    def execute(self, ports: Ports) -> Reply:
        """Done, Lost or Refused."""
        return ports.ledgers.create_root_rows(self.stream_arn, self.rows)


@dataclass(frozen=True, slots=True)
class CompleteStreamStart(Call):
    """Marks the stream's start complete: from then on a root without a row is a lost row."""

    operation = Operation.COMPLETE_STREAM_START
    stream_arn: str

    def execute(self, ports: Ports) -> Reply:
        """Done."""
        return ports.ledgers.complete_stream_start(self.stream_arn)


@dataclass(frozen=True, slots=True)
class UpgradeStream(Call):
    """Makes the row of a stream that version 0.1 started one of this protocol, so that no worker of 0.1 reads it.

    `keyed` None: it is one. `rules`: the first of the ledger; None: it has some.
    """

    operation = Operation.UPGRADE_STREAM
    stream_arn: str
    keyed: bool | None
    rules: Rules | None = None

    def execute(self, ports: Ports) -> Reply:
        """Done or Lost."""
        return ports.ledgers.upgrade_stream(self.stream_arn, keyed=self.keyed, rules=self.rules)


@dataclass(frozen=True, slots=True)
class Load(Call):
    """Loads every row of the ledger."""

    operation = Operation.LOAD_LEDGER
    priority = CallPriority.LEDGER

    def execute(self, ports: Ports) -> Reply:
        """Ledger."""
        return ports.ledgers.load()


@dataclass(frozen=True, slots=True)
class Claim(Call):
    """Makes `lease` the holder, which reads the shard so, if the row is still as it was read."""

    operation = Operation.CLAIM
    row: LeaseRow
    lease: Lease
    reading: Reading = field(default=UNNUMBERED, hash=False)

    def execute(self, ports: Ports) -> Reply:
        """The row as it is afterwards, or Lost."""
        return ports.ledgers.claim(self.row, self.lease, self.reading)


@dataclass(frozen=True, slots=True)
class FindStream(Call):
    """Asks which stream the source table has now."""

    operation = Operation.FIND_STREAM
    priority = CallPriority.LISTING

    def execute(self, ports: Ports) -> Reply:
        """Its ARN."""
        return ports.streams.find_stream()


@dataclass(frozen=True, slots=True)
class FindLate(Call):
    """Asks whether a finished shard has more children than its row lists."""

    operation = Operation.FIND_LATE_CHILDREN
    priority = CallPriority.LISTING
    parent: LeaseRow

    def execute(self, ports: Ports) -> Reply:
        """Children."""
        return ports.streams.find_children(self.parent.shard)


@dataclass(frozen=True, slots=True)
class Probe(Call):
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
class RecordLoss(Call):
    """Records the gap of a shard that no worker owns: it was gone before any worker knew it."""

    operation = Operation.RECORD_LOSS
    shard: Shard
    found_at: float

    def execute(self, ports: Ports) -> Reply:
        """Whether the row is new."""
        return ports.commits.record_gap(self.shard, TRIM_HORIZON, self.found_at)


@dataclass(frozen=True, slots=True)
class Adopt(Call):
    """Adds shards found late to the list they belong to, and creates their rows."""

    operation = Operation.ADOPT
    adoption: Adoption

    def execute(self, ports: Ports) -> Reply:
        """Done or Lost."""
        return ports.ledgers.adopt(self.adoption)


@dataclass(frozen=True, slots=True)
class Mark(Call):
    """Records since when listings have not shown a finished shard; None: they show it."""

    operation = Operation.MARK_UNLISTED
    row: LeaseRow
    unlisted_since: float | None

    def execute(self, ports: Ports) -> Reply:
        """Done."""
        return ports.ledgers.mark_unlisted(self.row, self.unlisted_since)


@dataclass(frozen=True, slots=True)
class Forget(Call):
    """Deletes a finished row, and takes it out of the roots of its stream's start."""

    operation = Operation.FORGET
    row: LeaseRow
    start: StreamStart | None

    def execute(self, ports: Ports) -> Reply:
        """Done or Lost."""
        return ports.ledgers.forget(self.row, self.start)


MemberCall = SendHeartbeat | ReadMembers | EvictMember | Leave
StreamStartCall = (
    ReadOrigin | ListShards | Probe | RecordStreamStart | CreateRootRows | CompleteStreamStart | UpgradeStream
)
CoordinatorCall = MemberCall | StreamStartCall | Load | Claim
SyncCall = FindStream | FindLate | RecordLoss | Adopt | Mark | Forget | StreamStartCall
