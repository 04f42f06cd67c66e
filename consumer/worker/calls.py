"""The calls that the machines name, as values, and the one place where a call meets the ports."""

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum

from consumer.domain.errors import DataTrimmed, IteratorExpired, Trouble
from consumer.domain.leaderboard import Unit
from consumer.domain.leases import Lease, LeaseRow, Members, Origin, Pin, Vouch
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
from consumer.domain.records import Game, Poison, Reason, Rules, decode, poison

PAGE_RECORDS = 1000
"""What one GetRecords may ask for at most. Source: its API reference."""


class Lane(Enum):
    """Beats and looks have a lane of their own, so that a thousand slow shards cannot starve them."""

    DATA = "data"
    BEAT = "beat"


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


ShardCall = Open | Read | RecordGap | Commit | Examine | FindChildren | EndShard | Release


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
    pin: Pin


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


MemberCall = Beat | Look | Bury | Leave
PinCall = FindOrigin | ListShards | PinStream | Plant | CompletePin
CoordinatorCall = MemberCall | PinCall | Load | Claim
Call = ShardCall | CoordinatorCall

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
    """Which pool runs the call."""
    return Lane.BEAT if isinstance(call, Beat | Look | Bury | Leave) else Lane.DATA


def perform(call: Call, world: World) -> Reply:
    """Runs one call. Trouble and its kin are replies too; anything else that is raised is a defect."""
    try:
        return _perform(call, world)
    except (Trouble, IteratorExpired, DataTrimmed) as failure:
        return failure


def _perform(call: Call, world: World) -> Reply:
    """Decoding happens here, on the pool's thread."""
    match call:
        case Read(_, iterator, _, floor):
            raw = world.streams.read(iterator, PAGE_RECORDS)
            entries = [decode(wire, world.rules, floor) for wire in raw.records]
            return Page(entries, raw.next_iterator, raw.size_bytes)
        case Commit(lease, unit, later, fills_gap):
            return world.commits.commit(lease, unit, later, fills_gap=fills_gap)
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
        case PinStream(pin):
            return world.ledgers.pin(pin)
        case Plant(stream_arn, rows):
            return world.ledgers.plant(stream_arn, rows)
        case CompletePin(stream_arn):
            return world.ledgers.complete_pin(stream_arn)
        case Load():
            return world.ledgers.load()
        case Claim(row, lease):
            return world.ledgers.claim(row, lease)


Perform = Callable[[Call], Reply]
