"""Finding a shard, or its row, by the name that an operator gives."""

from collections.abc import Collection
from difflib import get_close_matches
from typing import Final

from consumer.domain import lineage
from consumer.domain.errors import NotFound
from consumer.domain.leases import LeaseRow, Shard
from consumer.domain.replies import Ledger

MOST_OFFERED: Final = 3
"""Names of similar shards in an error."""


def find_shard(name: str, known: Collection[Shard]) -> Shard:
    """The shard of that name: a shard id, or label/id. Raises NotFound, with the nearest names that there are."""
    exact = [shard for shard in known if name in (shard.shard_id, str(shard))]
    if len(exact) == 1:
        return exact[0]
    if exact:
        names = " or ".join(sorted(map(str, exact)))
        raise NotFound(f"{name!r} is a shard of {len(exact)} streams: name {names}")
    near = get_close_matches(
        name, sorted({shard.shard_id for shard in known} | set(map(str, known))), n=MOST_OFFERED, cutoff=0.3
    )
    hint = f": the nearest ones are {', '.join(near)}" if near else ", and no similar one is known"
    raise NotFound(f"there is no shard {name!r}{hint}")


def find_in_ledger(ledger: Ledger, name: str) -> tuple[Shard, LeaseRow | None]:
    """The shard of that name, and its row unless that is missing. Raises NotFound."""
    known = lineage.known_shards(ledger)
    if not known:
        raise NotFound("the lease table knows no shard: no worker has run with it yet")
    shard = find_shard(name, known)
    return shard, ledger.row(shard)


def find_row(ledger: Ledger, name: str) -> LeaseRow:
    """The row of the shard of that name. Raises NotFound, also when the row is missing."""
    shard, row = find_in_ledger(ledger, name)
    if row is None:
        raise NotFound(
            f"the row of shard {shard} is missing from the lease table, and with it how far the shard was counted. The "
            "worker has logged the last position that it knew, in the event shard.halted. Next: "
            f"`consumer checkpoint set {shard} POSITION`"
        )
    return row
