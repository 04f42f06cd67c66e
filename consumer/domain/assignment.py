"""The planner: from the ledger's rows and the living workers to what one of them should claim and hand over.

Pure, and the same in every worker: no leader, no talk between them. Model: harlow/kinesis-consumer's planner.
"""

from collections.abc import Collection, Iterable
from dataclasses import dataclass

from consumer.domain.leases import LeaseRow, Shard


@dataclass(frozen=True, slots=True)
class Plan:
    """What to do now: rows to claim, and shards of mine to hand over."""

    claim: tuple[LeaseRow, ...] = ()
    release: tuple[Shard, ...] = ()


def plan(rows: Iterable[LeaseRow], alive: Collection[str], me: str, working: Collection[Shard]) -> Plan:
    """My part of the fair assignment of all unfinished shards to the workers `alive` (owners; `me` among them).

    Shares differ by at most one. Whoever holds a larger one keeps it, so as few shards as possible move; else the names
    decide, not who happens to hold more at the moment: plans from views in between would leave a shard to nobody.
    A row that names me although I do not work it (the reply to a claim was lost) is claimed anew, also when it is one
    too many: nobody else may take it, and only what is worked can be handed over.
    """
    held: dict[str, list[LeaseRow]] = {owner: [] for owner in sorted(alive)}
    free: list[LeaseRow] = []
    anew: list[LeaseRow] = []
    for row in sorted((row for row in rows if not row.finished), key=lambda row: row.shard):
        if row.owner not in held:
            free.append(row)
            continue
        held[row.owner].append(row)
        if row.owner == me and row.shard not in working:
            anew.append(row)
    total = len(free) + sum(map(len, held.values()))
    share, larger = divmod(total, len(held))
    by_holding = sorted(held, key=lambda owner: (len(held[owner]) <= share, owner))
    quota = {owner: share + (position < larger) for position, owner in enumerate(by_holding)}
    surplus = held[me][quota[me] :]
    release = tuple(row.shard for row in surplus if row.shard in working)
    claim = anew
    for owner in sorted(held):
        wanted = max(0, quota[owner] - len(held[owner]))
        if owner == me:
            claim += free[:wanted]
        free = free[wanted:]
    return Plan(tuple(claim), release)
