"""The planner: which shards a worker should claim and which it should hand over, from rows and living workers.

It is pure and the same in every worker, so they need no leader and no messages. Model: harlow/kinesis-consumer.
"""

from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from heapq import heapify, heapreplace

from consumer.domain.leases import LeaseRow, Shard


@dataclass(frozen=True, slots=True)
class Plan:
    """What a worker should do now: rows to claim, and shards of its own to hand over."""

    claim: tuple[LeaseRow, ...] = ()
    release: tuple[Shard, ...] = ()


def plan(
    rows: Iterable[LeaseRow],
    numbers: Mapping[str, int],
    me: str,
    working: Collection[Shard],
    held_back: Collection[Shard] = (),
) -> Plan:
    """The part of `me` in a fair assignment of all unfinished shards to the living owners (`me` is one of them).

    `numbers` are those of the rules by which the owners read. A shard goes only to owners whose number is that of its
    row or a higher one. So the rows with the highest number are shared out first: the fewest owners may have them.

    Shares differ by at most one, among those that may have a shard. A worker that owns a larger share keeps it, so as
    few shards as possible move. Else the owners' names decide, not how many shards each owns now: workers that plan
    from different intermediate snapshots would leave a shard without an owner.

    A row that names `me` although its shard is not in `working` (the reply to a
    claim was lost) is claimed again, even if that is one too many: no other worker may claim it, and only a shard in
    `working` can be handed over.

    Shards that are `held_back` (see Ledger) go to no owner, and who has one hands it over: an older stream had a shard
    that was found late.
    """
    unfinished = sorted(
        (row for row in rows if not row.finished and row.shard not in held_back), key=lambda row: row.shard
    )
    load = dict.fromkeys(sorted(numbers), 0)
    claim: list[LeaseRow] = []
    release: list[Shard] = sorted(set(held_back) & set(working))
    for level in sorted({row.rules for row in unfinished}, reverse=True):
        here = [row for row in unfinished if row.rules == level]
        able = [owner for owner in load if numbers[owner] >= level]
        held = Counter(row.owner for row in here)
        part = _parts(len(here), able, held, load)
        free = [row for row in here if row.owner not in load]
        mine = [row for row in here if row.owner == me]
        if numbers[me] >= level:
            claim += [row for row in mine if row.shard not in working]
        release += [row.shard for row in mine[part[me] :] if row.shard in working]
        for owner in able:
            wanted = max(0, part[owner] - held[owner])
            if owner == me:
                claim += free[:wanted]
            free = free[wanted:]
    return Plan(tuple(claim), tuple(release))


def _parts(shards: int, able: list[str], held: Counter[str | None], load: dict[str, int]) -> Counter[str]:
    """How many of so many shards each owner gets, which joins its `load`.

    Each shard goes to the owner that is loaded least; among equals to one that holds more than it has got, then by
    name.
    """
    part: Counter[str] = Counter()
    queue = [(load[owner], held[owner] <= 0, owner) for owner in able]
    heapify(queue)
    for _ in range(shards if able else 0):
        owner = queue[0][2]
        load[owner] += 1
        part[owner] += 1
        heapreplace(queue, (load[owner], held[owner] <= part[owner], owner))
    return part


def waiting(rows: Iterable[LeaseRow], numbers: Iterable[int]) -> list[LeaseRow]:
    """The unfinished rows that no worker with one of these numbers may claim: they wait for one of newer rules."""
    highest = max(numbers, default=0)
    return [row for row in rows if not row.finished and row.rules > highest]
