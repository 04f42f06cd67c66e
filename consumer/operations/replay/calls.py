"""The calls and replies of replays, as values. `execute` makes a call over the ports, `drive` runs a machine."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import NamedTuple, Protocol, TypeVar

from consumer.domain.audit import AuditEntry
from consumer.domain.errors import CallFailed, DataTrimmed, FailureKind, IteratorExpired
from consumer.domain.leases import Shard
from consumer.domain.operator_ports import Quarantine, Replays
from consumer.domain.ports import Commits, Streams
from consumer.domain.quarantine import AlreadyResolved, QuarantineEntry
from consumer.domain.replay import Batch, Changed, Overtaken, Progress
from consumer.domain.replies import Committed, Done, RawPage, Refused
from consumer.operations import quarantine
from consumer.operations.quarantine import Apply, Examine, Examined, Fetch, Fetched
from consumer.operations.resume import PAGE_RECORDS, Expired, Open, Opened, Read, Trimmed

T_co = TypeVar("T_co", covariant=True)


@dataclass(frozen=True, slots=True)
class ReadProgress:
    """Reads the progress row."""

    shard: Shard
    target: str


@dataclass(frozen=True, slots=True)
class ReadEntries:
    """Reads the quarantine entries of the shard."""

    shard: Shard


@dataclass(frozen=True, slots=True)
class OpenAt:
    """Gets an iterator at a record."""

    shard: Shard
    first: str


@dataclass(frozen=True, slots=True)
class Put:
    """Writes the progress row, with an audit entry."""

    before: Progress | None
    after: Progress
    audit_entry: AuditEntry


@dataclass(frozen=True, slots=True)
class Count:
    """Counts a batch. Players in `later` keep their stored date."""

    progress: Progress
    batch: Batch
    later: frozenset[str]


@dataclass(frozen=True, slots=True)
class ProgressFound:
    """The progress row. None: there is none."""

    progress: Progress | None


@dataclass(frozen=True, slots=True)
class EntriesFound:
    """Quarantine entries, by sequence number."""

    entries: Mapping[str, QuarantineEntry]


@dataclass(frozen=True, slots=True)
class Throttled:
    """The stream is read too often."""


@dataclass(frozen=True, slots=True)
class ShardGone:
    """The stream does not have the shard any more."""


@dataclass(frozen=True, slots=True)
class InvalidSequenceNumber:
    """For the stream this is not a sequence number of the shard."""

    detail: str


Call = ReadProgress | ReadEntries | OpenAt | Open | Read | Put | Count | Examine | Fetch | Apply
ReadReply = Opened | RawPage | Expired | Trimmed | Throttled | ShardGone | InvalidSequenceNumber
Reply = (
    ProgressFound
    | EntriesFound
    | ReadReply
    | Done
    | Overtaken
    | Committed
    | Changed
    | Refused
    | Examined
    | Fetched
    | AlreadyResolved
)
Ask = Callable[[Call], Reply]


class Due(NamedTuple):
    """A call, and how long to wait before it."""

    call: Call
    after_seconds: float = 0.0


class Machine(Protocol[T_co]):
    """A machine without I/O: it names its next call and takes the reply."""

    def due(self) -> Due | None:
        """The next call, the same one until its reply is taken. None: the machine has ended."""
        ...

    def take(self, reply: Reply) -> T_co | None:
        """Takes the reply to the call that was due. Returns what the operator should see of it."""
        ...


@dataclass(frozen=True)
class ReplayPorts:
    """The ports of a replay. `streams` gives a stream's port by its ARN; `commits` examines what the target refuses."""

    streams: Callable[[str], Streams]
    replays: Replays
    quarantine: Quarantine
    commits: Commits


def execute(call: Call, ports: ReplayPorts) -> Reply:
    """Makes one call. After CallFailed its outcome is unknown, and the same call can be made again."""
    match call:
        case ReadProgress(shard, target):
            return ProgressFound(ports.replays.progress(shard, target))
        case ReadEntries(shard):
            entries = ports.quarantine.entries(shard.shard_id)
            return EntriesFound({entry.sequence_number: entry for entry in entries if entry.shard == shard})
        case Put(before, after, audit_entry):
            return ports.replays.put(before, after, audit_entry)
        case Count(progress, batch, later):
            return ports.replays.count(progress, batch, later)
        case OpenAt() | Open() | Read():
            return _read(call, ports)
        case Examine() | Fetch() | Apply():
            return quarantine.execute(call, ports.quarantine, ports.commits)


def _read(call: OpenAt | Open | Read, ports: ReplayPorts) -> ReadReply:
    try:
        match call:
            case OpenAt(shard, first):
                return Opened(ports.streams(shard.stream_arn).open_at(shard, first))
            case Open(shard, after):
                return Opened(ports.streams(shard.stream_arn).open(shard, after))
            case Read(stream_arn, iterator):
                return ports.streams(stream_arn).read(iterator, PAGE_RECORDS)
    except IteratorExpired:
        return Expired()
    except DataTrimmed:
        return Trimmed()
    except CallFailed as failure:
        if failure.kind is FailureKind.THROTTLED:
            return Throttled()
        if failure.kind is FailureKind.MISSING:
            return ShardGone()
        if failure.kind is FailureKind.REJECTED and isinstance(call, OpenAt):
            return InvalidSequenceNumber(failure.detail)
        raise


def drive(machine: Machine[T_co], ask: Ask, wait: Callable[[float], object]) -> Iterator[T_co]:
    """Makes the machine's calls until it ends, and yields what it returns."""
    while (due := machine.due()) is not None:
        if due.after_seconds > 0:
            wait(due.after_seconds)
        reported = machine.take(ask(due.call))
        if reported is not None:
            yield reported
