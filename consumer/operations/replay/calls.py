"""A replay's calls and replies as values; `perform` makes them over the ports, `drive` runs a machine."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import NamedTuple, Protocol, TypeVar

from consumer.domain.audit import Trace
from consumer.domain.errors import DataTrimmed, IteratorExpired, Trouble, TroubleKind
from consumer.domain.leases import Shard
from consumer.domain.operator_ports import Quarantine, Replays
from consumer.domain.outcomes import Committed, Done, RawPage, Refused
from consumer.domain.ports import Commits, Streams
from consumer.domain.quarantine import Head, Taken
from consumer.domain.replay import Batch, Changed, Overtaken, Progress
from consumer.operations import acts
from consumer.operations.acts import Apply, Examine, Examined, Fetch, Fetched
from consumer.operations.resume import PAGE_RECORDS, Expired, Open, Opened, Read, Trimmed

T_co = TypeVar("T_co", covariant=True)


@dataclass(frozen=True, slots=True)
class Look:
    """The progress row."""

    shard: Shard
    target: str


@dataclass(frozen=True, slots=True)
class FindRows:
    """The heads of the shard's quarantined records."""

    shard: Shard


@dataclass(frozen=True, slots=True)
class OpenAt:
    """An iterator that begins with a record."""

    shard: Shard
    first: str


@dataclass(frozen=True, slots=True)
class Put:
    """The progress row, with a trace."""

    before: Progress | None
    after: Progress
    trace: Trace


@dataclass(frozen=True, slots=True)
class Count:
    """A batch."""

    progress: Progress
    batch: Batch
    later: frozenset[str]


@dataclass(frozen=True, slots=True)
class Seen:
    """The progress row; None: there is none."""

    progress: Progress | None


@dataclass(frozen=True, slots=True)
class Rows:
    """Heads by sequence number."""

    heads: Mapping[str, Head]


@dataclass(frozen=True, slots=True)
class Throttled:
    """The stream wants to be asked less often."""


@dataclass(frozen=True, slots=True)
class Gone:
    """The stream has no such shard any more."""


@dataclass(frozen=True, slots=True)
class Strange:
    """The stream takes it for no sequence number of the shard."""

    detail: str


Call = Look | FindRows | OpenAt | Open | Read | Put | Count | Examine | Fetch | Apply
ReadReply = Opened | RawPage | Expired | Trimmed | Throttled | Gone | Strange
Reply = Seen | Rows | ReadReply | Done | Overtaken | Committed | Changed | Refused | Examined | Fetched | Taken
Ask = Callable[[Call], Reply]


class Due(NamedTuple):
    """A call, and how long to wait before it is made."""

    call: Call
    after_seconds: float = 0.0


class Machine(Protocol[T_co]):
    """Names its next call, the same one until it is told the reply; None: it has ended."""

    def due(self) -> Due | None:
        """The call to be made."""
        ...

    def take(self, reply: Reply) -> T_co | None:
        """The reply to the call that is due; what came of it, if a person should hear of it."""
        ...


@dataclass(frozen=True)
class World:
    """The ports; `streams` by the stream's ARN. `commits` examines what the replay's own board refuses."""

    streams: Callable[[str], Streams]
    replays: Replays
    quarantine: Quarantine
    commits: Commits


def perform(call: Call, world: World) -> Reply:
    """Makes one call. Raises Trouble, which leaves open whether it took effect: make the same one again."""
    match call:
        case Look(shard, target):
            return Seen(world.replays.progress(shard, target))
        case FindRows(shard):
            heads = world.quarantine.heads(shard.shard_id)
            return Rows({head.sequence_number: head for head in heads if head.shard == shard})
        case Put(before, after, trace):
            return world.replays.put(before, after, trace)
        case Count(progress, batch, later):
            return world.replays.count(progress, batch, later)
        case OpenAt() | Open() | Read():
            return _read(call, world)
        case Examine() | Fetch() | Apply():
            return acts.perform(call, world.quarantine, world.commits)


def _read(call: OpenAt | Open | Read, world: World) -> ReadReply:
    try:
        match call:
            case OpenAt(shard, first):
                return Opened(world.streams(shard.stream_arn).open_at(shard, first))
            case Open(shard, after):
                return Opened(world.streams(shard.stream_arn).open(shard, after))
            case Read(stream_arn, iterator):
                return world.streams(stream_arn).read(iterator, PAGE_RECORDS)
    except IteratorExpired:
        return Expired()
    except DataTrimmed:
        return Trimmed()
    except Trouble as trouble:
        if trouble.kind is TroubleKind.THROTTLED:
            return Throttled()
        if trouble.kind is TroubleKind.MISSING:
            return Gone()
        if trouble.kind is TroubleKind.REJECTED and isinstance(call, OpenAt):
            return Strange(trouble.detail)
        raise


def drive(machine: Machine[T_co], ask: Ask, wait: Callable[[float], object]) -> Iterator[T_co]:
    """Makes a machine's calls until it has ended, and hands on what comes of them."""
    while (due := machine.due()) is not None:
        if due.after_seconds > 0:
            wait(due.after_seconds)
        told = machine.take(ask(due.call))
        if told is not None:
            yield told
