"""The one place where a call meets the ports."""

from collections.abc import Callable
from dataclasses import dataclass

from consumer.domain.errors import DataTrimmed, IteratorExpired, Trouble, TroubleKind
from consumer.domain.leases import Shard
from consumer.domain.outcomes import Done
from consumer.domain.ports import Commits, Ledgers, Membership, Streams
from consumer.domain.position import TRIM_HORIZON
from consumer.domain.records import Reason, Rules, poison
from consumer.worker.calls import (
    Adopt,
    Beat,
    Bury,
    Call,
    Claim,
    Commit,
    CompletePin,
    EndShard,
    Examine,
    FindChildren,
    FindLate,
    FindOrigin,
    FindStream,
    Forget,
    Halt,
    Leave,
    LedgerCall,
    ListShards,
    Load,
    Look,
    Mark,
    MemberCall,
    Open,
    PinStream,
    Plant,
    Probe,
    Read,
    RecordGap,
    RecordLoss,
    Release,
    Reply,
    ShardCall,
)


@dataclass(frozen=True, slots=True)
class World:
    """The ports a worker's calls go to, and what a game looks like."""

    streams: Streams
    ledgers: Ledgers
    membership: Membership
    commits: Commits
    rules: Rules


def perform(call: Call, world: World) -> Reply:
    """Runs one call. Trouble and its kin are replies too; anything else that is raised is a defect."""
    try:
        return _perform(call, world)
    except (Trouble, IteratorExpired, DataTrimmed) as failure:
        return failure
    except RecursionError:
        return Trouble(TroubleKind.MALFORMED, "a record is nested deeper than it can be written down")


def _perform(call: Call, world: World) -> Reply:
    if isinstance(call, ShardCall):
        return _of_shard(call, world)
    if isinstance(call, MemberCall):
        return _of_member(call, world.membership)
    return _of_ledger(call, world)


def _of_shard(call: ShardCall, world: World) -> Reply:
    """Decoding happens here, on the pool's thread."""
    match call:
        case Read(_, iterator, _, floor, limit):
            return world.streams.poll(iterator, limit, world.rules, floor)
        case Commit(lease, unit, later, fills_gap):
            return world.commits.commit(lease, unit, later, fills_gap=fills_gap)
        case Halt(lease, previous, resumes, halted_at):
            return world.commits.halt(lease, previous, resumes, halted_at)
        case Open(lease, after):
            return world.streams.open(lease.shard, after)
        case RecordGap(lease, checkpoint, found_at):
            return world.commits.record_gap(lease.shard, checkpoint, found_at, lease)
        case Examine(_, game, detail, final):
            verdict = world.commits.examine(game) or ((Reason.REFUSED, detail) if final else None)
            return poison(dict(game.wire), *verdict, world.rules) if verdict else Done()
        case FindChildren(lease):
            return world.streams.find_children(lease.shard)
        case EndShard(lease, previous, children, rows):
            return world.commits.end(lease, previous, children, rows)
        case Release(lease):
            return world.ledgers.release(lease)


def _of_member(call: MemberCall, membership: Membership) -> Reply:
    match call:
        case Beat(owner, vouch, joining, bump):
            return membership.beat(owner, vouch, joining=joining, bump=bump)
        case Look():
            return membership.look()
        case Bury(owner, beat):
            return membership.bury(owner, beat)
        case Leave(owner):
            return membership.leave(owner)


def _of_ledger(call: LedgerCall, world: World) -> Reply:
    """What is asked of the stream and the ledger as a whole."""
    match call:
        case FindStream():
            return world.streams.find_stream()
        case ListShards(stream_arn):
            return world.streams.list_shards(stream_arn)
        case FindLate(parent):
            return world.streams.find_children(parent.shard)
        case Probe(shard):
            return _is_there(shard, world.streams)
        case RecordLoss(shard, found_at):
            return world.commits.record_gap(shard, TRIM_HORIZON, found_at)
        case FindOrigin(stream_arn):
            return world.ledgers.origin(stream_arn)
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
