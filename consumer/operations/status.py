"""How things stand, judged from outside by the tables and the stream alone: it needs no living worker.

How far a shard is behind is never guessed. Its row tells since when something may be uncommitted, its owner's beat
until when all of the owner's shards were caught up. A beat is believed while it is fresh by the server's clock; for a
shard that nobody vouches for only the most that it can be is known.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace
from typing import Final

from consumer.domain import lineage
from consumer.domain.leases import Birth, LeaseRow, Members, Shard
from consumer.domain.lineage import RETENTION_SECONDS
from consumer.domain.outcomes import Ledger, StreamListing
from consumer.domain.overview import Gap, LeaseTable
from consumer.operations.standing import ShardStatus, State, Status, WorkerStatus

FRESH_SECONDS: Final = 30.0
FRESH_TTLS: Final = 3
"""A beat that is older than both vouches for nothing. Clocks of workers may differ from the server's by less."""


def status(
    table: LeaseTable,
    listings: Iterable[StreamListing],
    gaps: tuple[Gap, ...],
    pending: int,
    now: float,
    lease_ttl_seconds: float,
    births: tuple[Birth, ...] = (),
) -> Status:
    """How things stand at `now`, the server's unix seconds."""
    listings = tuple(listings)
    ledger = table.ledger
    workers = _workers(ledger, table.members, now, lease_ttl_seconds)
    vouching = {worker.owner: worker for worker in workers}
    parents = {
        Shard(listing.stream_arn, shard_id): parent for listing in listings for shard_id, parent in listing.shards
    }
    parents |= {row.shard: row.parent for row in ledger.rows if row.parent is not None}
    shards = [_known(row, vouching.get(row.owner or ""), now) for row in ledger.rows]
    shards += [_lost(shard, ledger, now) for shard in lineage.missing(ledger)]
    shards += _waiting(parents, {each.shard for each in shards}, ledger, now)
    pinned = {pin.stream_arn for pin in ledger.pins}
    born = {birth.stream_arn for birth in births}
    return Status(
        now,
        tuple(sorted(_related(shards, parents), key=lambda each: each.shard)),
        workers,
        gaps,
        pending,
        tuple(replay for replay in table.replays if replay.get("state") == "running"),
        tuple(listing.stream_arn for listing in listings if listing.stream_arn not in pinned | born),
        tuple(birth for birth in births if birth.stream_arn not in pinned),
    )


def _workers(ledger: Ledger, members: Members, now: float, ttl_seconds: float) -> tuple[WorkerStatus, ...]:
    owners = [row.owner for row in ledger.rows if not row.finished]
    limit = max(FRESH_SECONDS, FRESH_TTLS * ttl_seconds)
    found = []
    for owner, vouch in sorted(members.workers.items()):
        silent = max(0.0, now - vouch.as_of) if vouch.as_of else None
        found.append(WorkerStatus(owner, vouch, owners.count(owner), silent, silent is not None and silent <= limit))
    return tuple(found)


def _known(row: LeaseRow, worker: WorkerStatus | None, now: float) -> ShardStatus:
    """A shard with a row. A beat says nothing of shards that its worker has claimed since."""
    if row.finished:
        return ShardStatus(row.shard, State.FINISHED, None, row.epoch, row.checkpoint, 0.0, children=row.children)
    bound = now - row.created if row.created is not None else float(RETENTION_SECONDS)
    covered = worker is not None and worker.silent_seconds is not None and worker.vouch.shards >= worker.owns
    if worker is not None and covered:
        bound = min(bound, worker.vouch.lag_seconds + max(0.0, now - worker.vouch.as_of))
    bound = max(0.0, bound)
    vouched = worker is not None and worker.fresh
    state = State.RUNNING if vouched else State.UNOWNED
    if row.circuit.halted_at is not None:
        state = State.HALTED
    lag: float | None = None
    if worker is not None and vouched and covered:
        lag = 0.0 if worker.vouch.behind == 0 else bound
    at_most = bound if lag is None else None
    return ShardStatus(
        row.shard,
        state,
        row.owner,
        row.epoch,
        row.checkpoint,
        lag,
        at_most,
        children=row.children,
        halted_at=row.circuit.halted_at,
    )


def _lost(shard: Shard, ledger: Ledger, now: float) -> ShardStatus:
    return ShardStatus(shard, State.MISSING, at_most_seconds=_born_after(shard, ledger, now))


def _born_after(shard: Shard, ledger: Ledger, now: float) -> float | None:
    """Age at most of what is in a child of a finished shard: it is younger than its parent's last commit."""
    for row in ledger.rows:
        if row.shard.stream_arn == shard.stream_arn and shard.shard_id in row.children and row.created is not None:
            return max(0.0, now - row.created)
    return None


def _waiting(
    parents: Mapping[Shard, str | None], known: Collection[Shard], ledger: Ledger, now: float
) -> list[ShardStatus]:
    """Listed shards that nobody knows. Ancestors of known ones lie before the beginning."""
    rows = {row.shard: row for row in ledger.rows}
    above = {Shard(shard.stream_arn, parent) for shard in known if (parent := parents.get(shard)) is not None}
    before: set[Shard] = set()
    while above:
        shard = above.pop()
        parent = parents.get(shard)
        if shard not in known and shard not in before:
            before.add(shard)
            if parent is not None:
                above.add(Shard(shard.stream_arn, parent))
    found = []
    for shard, parent in parents.items():
        if shard not in known and shard not in before:
            row = rows.get(Shard(shard.stream_arn, parent)) if parent is not None else None
            late = row is not None and row.finished and row.created is not None
            at_most = max(0.0, now - row.created) if row is not None and row.created is not None and late else None
            found.append(ShardStatus(shard, State.WAITING, at_most_seconds=at_most))
    return found


def _related(shards: Iterable[ShardStatus], parents: Mapping[Shard, str | None]) -> list[ShardStatus]:
    """With parent and children as rows and listings tell them together."""
    shards = list(shards)
    born: dict[Shard, set[str]] = {}
    lists = {Shard(each.shard.stream_arn, child): each.shard.shard_id for each in shards for child in each.children}
    joined = {each.shard: parents.get(each.shard) or lists.get(each.shard) for each in shards}
    for shard, parent in joined.items():
        if parent is not None:
            born.setdefault(Shard(shard.stream_arn, parent), set()).add(shard.shard_id)
    return [
        replace(
            each,
            parent=joined[each.shard],
            children=tuple(sorted({*each.children, *born.get(each.shard, ())})),
        )
        for each in shards
    ]
