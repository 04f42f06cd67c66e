"""The planner: which shards a worker should claim and which it should hand over, from rows and living workers.

It is pure and the same in every worker, so they need no leader and no messages. Model: harlow/kinesis-consumer.
"""

from collections.abc import Collection, Iterable
from dataclasses import dataclass

from consumer.domain.leases import LeaseRow, Shard


@dataclass(frozen=True, slots=True)
class Plan:
    """What a worker should do now: rows to claim, and shards of its own to hand over."""

    claim: tuple[LeaseRow, ...] = ()
    release: tuple[Shard, ...] = ()


def plan(rows: Iterable[LeaseRow], alive: Collection[str], me: str, working: Collection[Shard]) -> Plan:
    """The part of `me` in a fair assignment of all unfinished shards to the owners `alive` (`me` is one of them).

    Shares differ by at most one. A worker that owns a larger share keeps it, so as few shards as possible move. Else
    the owners' names decide, not how many shards each owns now: workers that plan from different intermediate snapshots
    would leave a shard without an owner.

    A row that names `me` although its shard is not in `working` (the reply to a
    claim was lost) is claimed again, even if that is one too many: no other worker may claim it, and only a shard in
    `working` can be handed over.
    """
    held: dict[str, list[LeaseRow]] = {owner: [] for owner in sorted(alive)}
    free: list[LeaseRow] = []
    reclaimed: list[LeaseRow] = []
    for row in sorted((row for row in rows if not row.finished), key=lambda row: row.shard):
        if row.owner not in held:
            free.append(row)
            continue
        held[row.owner].append(row)
        if row.owner == me and row.shard not in working:
            reclaimed.append(row)
    total = len(free) + sum(map(len, held.values()))
    share, larger = divmod(total, len(held))
    by_holding = sorted(held, key=lambda owner: (len(held[owner]) <= share, owner))
    quota = {owner: share + (position < larger) for position, owner in enumerate(by_holding)}
    surplus = held[me][quota[me] :]
    release = tuple(row.shard for row in surplus if row.shard in working)
    claim = reclaimed
    for owner in sorted(held):
        wanted = max(0, quota[owner] - len(held[owner]))
        if owner == me:
            claim += free[:wanted]
        free = free[wanted:]
    return Plan(tuple(claim), release)
