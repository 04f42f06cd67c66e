"""The calls that the machines name, as values, and the one place where a call meets the ports."""

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum

from consumer.domain.errors import DataTrimmed, IteratorExpired, Trouble, TroubleKind
from consumer.domain.leaderboard import Unit
from consumer.domain.leases import Adoption, Lease, LeaseRow, Members, Origin, Pin, Shard, Vouch
from consumer.domain.outcomes import (
    Children,
    Committed,
    Done,
    Ledger,
    Lost,
    Page,
    Refused,
    Removed,
    StreamListing,
)
from consumer.domain.ports import Commits, Ledgers, Membership, Streams
from consumer.domain.position import TRIM_HORIZON
from consumer.domain.records import Game, Poison, Reason, Rules, decode, poison

PAGE_RECORDS = 1000
"""What one GetRecords may ask for at most. Source: its API reference."""


class Lane(Enum):
    """Who waits for whom: beats for nobody, commits before reads, and listings, which AWS wants slow, aside."""

    DATA = "data"
    READ = "read"
    BEAT = "beat"
    LIST = "list"


@dataclass(frozen=True, slots=True)
class Open:
    lease: Lease
    after: str


@dataclass(frozen=True, slots=True)
class Read:
    """`after` is the position that the page follows; `floor` the stream's start position (unix seconds)."""

    lease: Lease
    iterator: str
    after: str
    floor: float | None
    limit: int = PAGE_RECORDS


@dataclass(frozen=True, slots=True)
class RecordGap:
    lease: Lease
    checkpoint: str
    found_at: float


@dataclass(frozen=True, slots=True)
class Commit:
    lease: Lease
    unit: Unit
    later: frozenset[str]
    fills_gap: bool


@dataclass(frozen=True, slots=True)
class Examine:
    """Why was `game` refused alone? `final`: it was refused again after nothing was found to speak against it."""

    lease: Lease
    game: Game
    detail: str
    final: bool


@dataclass(frozen=True, slots=True)
class Halt:
    """The breaker trips before the record after `previous`. `resumes`: see Circuit."""

    lease: Lease
    previous: str
    resumes: int
    halted_at: float


@dataclass(frozen=True, slots=True)
class FindChildren:
    lease: Lease


@dataclass(frozen=True, slots=True)
class EndShard:
    lease: Lease
    previous: str
    children: tuple[str, ...]
    rows: tuple[LeaseRow, ...]


@dataclass(frozen=True, slots=True)
class Release:
    lease: Lease


ShardCall = Open | Read | RecordGap | Commit | Halt | Examine | FindChildren | EndShard | Release


@dataclass(frozen=True, slots=True)
class Beat:
    owner: str
    vouch: Vouch
    joining: bool
    bump: bool


@dataclass(frozen=True, slots=True)
class Look:
    pass


@dataclass(frozen=True, slots=True)
class Bury:
    owner: str
    beat: int


@dataclass(frozen=True, slots=True)
class Leave:
    owner: str


@dataclass(frozen=True, slots=True)
class FindOrigin:
    stream_arn: str


@dataclass(frozen=True, slots=True)
class ListShards:
    stream_arn: str


@dataclass(frozen=True, slots=True)
class PinStream:
    """`predecessor`: the stream that this one comes after, whose end and this one's start may not meet."""

    pin: Pin
    predecessor: str | None
    found_at: float


@dataclass(frozen=True, slots=True)
class Plant:
    stream_arn: str
    rows: tuple[LeaseRow, ...]


@dataclass(frozen=True, slots=True)
class CompletePin:
    stream_arn: str


@dataclass(frozen=True, slots=True)
class Load:
    pass


@dataclass(frozen=True, slots=True)
class Claim:
    row: LeaseRow
    lease: Lease


@dataclass(frozen=True, slots=True)
class FindStream:
    pass


@dataclass(frozen=True, slots=True)
class FindLate:
    """Has a finished shard got more children than its row tells?"""

    parent: LeaseRow


@dataclass(frozen=True, slots=True)
class Probe:
    """Can the shard be read? Asked of one that no listing shows, or that only a listing shows."""

    shard: Shard


@dataclass(frozen=True, slots=True)
class RecordLoss:
    """A gap of a shard that nobody works: it was gone before it was ever known."""

    shard: Shard
    found_at: float


@dataclass(frozen=True, slots=True)
class Adopt:
    adoption: Adoption


@dataclass(frozen=True, slots=True)
class Mark:
    row: LeaseRow
    unlisted_since: float | None


@dataclass(frozen=True, slots=True)
class Forget:
    row: LeaseRow
    pin: Pin | None


MemberCall = Beat | Look | Bury | Leave
PinCall = FindOrigin | ListShards | Probe | PinStream | Plant | CompletePin
CoordinatorCall = MemberCall | PinCall | Load | Claim
SurveyCall = FindStream | FindLate | RecordLoss | Adopt | Mark | Forget | PinCall
Call = ShardCall | CoordinatorCall | SurveyCall

Reply = (
    Page | Poison | str | bool | Children | Committed | Lost | Refused | Done | Removed | Members | Origin
    | StreamListing | Ledger | LeaseRow | Trouble | IteratorExpired | DataTrimmed
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class World:
    """The ports a worker's calls go to, and what a game looks like."""

    streams: Streams
    ledgers: Ledgers
    membership: Membership
    commits: Commits
    rules: Rules


def lane_of(call: Call) -> Lane:
    """Where the call waits for a thread."""
    match call:
        case Beat() | Look() | Bury() | Leave():
            return Lane.BEAT
        case ListShards() | FindChildren() | FindLate() | FindStream():
            return Lane.LIST
        case Open() | Read():
            return Lane.READ
    return Lane.DATA


def perform(call: Call, world: World) -> Reply:
    """Runs one call. Trouble and its kin are replies too; anything else that is raised is a defect."""
    try:
        return _perform(call, world)
    except (Trouble, IteratorExpired, DataTrimmed) as failure:
        return failure


def _perform(call: Call, world: World) -> Reply:
    """Decoding happens here, on the pool's thread."""
    match call:
        case Read(_, iterator, _, floor, limit):
            raw = world.streams.read(iterator, limit)
            entries = [decode(wire, world.rules, floor) for wire in raw.records]
            return Page(entries, raw.next_iterator, raw.size_bytes)
        case Commit(lease, unit, later, fills_gap):
            return world.commits.commit(lease, unit, later, fills_gap=fills_gap)
        case Halt(lease, previous, resumes, halted_at):
            return world.commits.halt(lease, previous, resumes, halted_at)
        case Open(lease, after):
            return world.streams.open(lease.shard, after)
        case RecordGap(lease, checkpoint, found_at):
            return world.commits.record_gap(lease.shard, checkpoint, found_at)
        case Examine(_, game, detail, final):
            verdict = world.commits.examine(game) or ((Reason.REFUSED, detail) if final else None)
            return poison(game.wire, *verdict, world.rules) if verdict else Done()
        case FindChildren(lease):
            return world.streams.find_children(lease.shard)
        case EndShard(lease, previous, children, rows):
            return world.commits.end(lease, previous, children, rows)
        case Release(lease):
            return world.ledgers.release(lease)
        case Beat(owner, vouch, joining, bump):
            return world.membership.beat(owner, vouch, joining=joining, bump=bump)
        case Look():
            return world.membership.look()
        case Bury(owner, beat):
            return world.membership.bury(owner, beat)
        case Leave(owner):
            return world.membership.leave(owner)
        case FindOrigin(stream_arn):
            return world.ledgers.origin(stream_arn)
        case ListShards(stream_arn):
            return world.streams.list_shards(stream_arn)
        case PinStream(pin, predecessor, found_at):
            return world.ledgers.pin(pin, predecessor, found_at)
        case Plant(stream_arn, rows):
            return world.ledgers.plant(stream_arn, rows)
        case CompletePin(stream_arn):
            return world.ledgers.complete_pin(stream_arn)
        case Load():
            return world.ledgers.load()
        case Claim(row, lease):
            return world.ledgers.claim(row, lease)
        case FindStream():
            return world.streams.find_stream()
        case FindLate(parent):
            return world.streams.find_children(parent.shard)
        case Probe(shard):
            return _is_there(shard, world.streams)
        case RecordLoss(shard, found_at):
            return world.commits.record_gap(shard, TRIM_HORIZON, found_at)
        case Adopt(adoption):
            return world.ledgers.adopt(adoption)
        case Mark(row, unlisted_since):
            return world.ledgers.mark(row, unlisted_since)
        case Forget(row, pin):
            return world.ledgers.forget(row, pin)


def _is_there(shard: Shard, streams: Streams) -> bool:
    """Whether a shard can be read, whatever listings show."""
    try:
        streams.open(shard, TRIM_HORIZON)
    except DataTrimmed:
        return True
    except Trouble as trouble:
        if trouble.kind is TroubleKind.MISSING:
            return False
        raise
    return True


Perform = Callable[[Call], Reply]
