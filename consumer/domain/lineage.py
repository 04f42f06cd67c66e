"""Which shards the ledger must know: the pins' roots, the children of finished shards, and those found late."""

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from consumer.domain.leases import Adoption, LeaseRow, Pin, Shard
from consumer.domain.outcomes import Ledger, StreamListing
from consumer.domain.position import TRIM_HORIZON

RETENTION_SECONDS: Final = 24 * 3600
"""How long a stream keeps a record. Source: Developer Guide, "Change data capture for DynamoDB Streams"."""
ADOPTED_AT_ONCE: Final = 50
"""Rows that one transaction adopts; it may hold 100 actions."""
FORGET_SECONDS: Final = 48 * 3600
"""For how long listings must not have shown a finished shard: a stale one must not make it start again."""


def roots(listing: StreamListing, hidden: Collection[str] = ()) -> tuple[str, ...]:
    """The shards to begin a stream with: all listed ones without a listed parent.

    A parent that is not listed at first sight lies before the beginning: no gap. One that is only `hidden`, and can be
    read, is a root itself; its children come after it.
    """
    listed = {shard.shard_id for shard in listing.shards}
    tops = {shard.shard_id for shard in listing.shards if shard.parent not in listed and shard.parent not in hidden}
    return tuple(sorted(tops | set(hidden)))


def unlisted_parents(listing: StreamListing) -> tuple[str, ...]:
    """Parents that a listing names and does not show: trimmed, or hidden."""
    listed = {shard.shard_id for shard in listing.shards}
    return tuple(sorted({shard.parent for shard in listing.shards if shard.parent is not None} - listed))


def missing(ledger: Ledger) -> frozenset[Shard]:
    """Shards that must have a row and have none: somebody deleted it, and nobody knows its position (design: G5)."""
    stored = {row.shard for row in ledger.rows}
    expected = {Shard(pin.stream_arn, root) for pin in ledger.pins if pin.complete for root in pin.roots}
    expected.update(Shard(row.shard.stream_arn, child) for row in ledger.rows for child in row.children)
    return frozenset(expected - stored)


@dataclass(frozen=True, slots=True)
class Latecomers:
    """What a listing shows that the ledger does not know.

    `orphans`: shards by their parent's id, whose parent is neither known nor listed. It may be hidden, and then they
    must wait for it; only when it is proven gone are they roots.
    """

    adoptions: tuple[Adoption, ...]
    orphans: dict[str, tuple[str, ...]]


def latecomers(
    listing: StreamListing, ledger: Ledger, unseen: Mapping[str, float], gone: Iterable[str] = ()
) -> Latecomers:
    """Shards that became visible after their parent ended, or after the stream was pinned.

    `unseen`: by shard id, the last listing that did not show it, in the server's unix seconds; `gone`: parents proven
    gone. A shard that pin, lists or children know is never a latecomer, also when its row is missing. Ancestors of
    known shards lie before the beginning.
    """
    arn = listing.stream_arn
    pin = next((pin for pin in ledger.pins if pin.stream_arn == arn), None)
    if pin is None or not pin.complete:
        return Latecomers((), {})
    rows = {row.shard.shard_id: row for row in ledger.rows if row.shard.stream_arn == arn}
    known = {*rows, *pin.roots, *(child for row in rows.values() for child in row.children)}
    parents = {shard.shard_id: shard.parent for shard in listing.shards}
    ancestors = {row.parent for row in rows.values() if row.parent is not None} - known
    above = [*known, *ancestors]
    while above:
        ancestor = parents.get(above.pop())
        if ancestor is not None and ancestor not in known and ancestor not in ancestors:
            ancestors.add(ancestor)
            above.append(ancestor)
    dead = {*gone} - known
    joining: defaultdict[str | None, list[str]] = defaultdict(list)
    orphans: defaultdict[str, list[str]] = defaultdict(list)
    for shard_id, parent in sorted(parents.items()):
        if shard_id in known or shard_id in ancestors:
            continue
        if parent in rows:
            if rows[parent].finished:
                joining[parent].append(shard_id)
        elif parent is None or parent in ancestors or parent in dead:
            joining[None].append(shard_id)
        elif parent not in parents and parent not in known:
            orphans[parent].append(shard_id)
    adoptions = []
    for parent, shard_ids in joining.items():
        into: LeaseRow | Pin = rows[parent] if parent is not None else pin
        born = into.created or 0.0 if isinstance(into, LeaseRow) else 0.0
        found = (
            new_row(Shard(arn, each), parent, listing.served_at, max(born, unseen.get(each, 0.0)))
            for each in shard_ids[:ADOPTED_AT_ONCE]
        )
        adoptions.append(Adoption(into, tuple(found)))
    return Latecomers(tuple(adoptions), {parent: tuple(shard_ids) for parent, shard_ids in orphans.items()})


def new_row(shard: Shard, parent: str | None, served_at: float, created: float | None = None) -> LeaseRow:
    """The row of a shard found late at `served_at`. When nobody knows since when it may have been there, its oldest
    records may be trimmed already.
    """
    created = created or served_at - RETENTION_SECONDS
    return LeaseRow(shard, None, int(served_at), TRIM_HORIZON, parent, created=created)


def marks(listing: StreamListing, ledger: Ledger) -> list[tuple[LeaseRow, float | None]]:
    """Finished rows whose note of when listings stopped showing them is to be written, or taken away (None)."""
    listed = {shard.shard_id for shard in listing.shards}
    found: list[tuple[LeaseRow, float | None]] = []
    for row in ledger.rows:
        if row.shard.stream_arn == listing.stream_arn and row.finished:
            shown = row.shard.shard_id in listed
            if shown and row.unlisted_since is not None:
                found.append((row, None))
            elif not shown and row.unlisted_since is None:
                found.append((row, listing.served_at))
    return found


def forgettable(listing: StreamListing, ledger: Ledger) -> list[LeaseRow]:
    """Finished rows that may go, the oldest of each line: nothing that is left refers to them, nobody shows them."""
    arn = listing.stream_arn
    rows = {row.shard.shard_id: row for row in ledger.rows if row.shard.stream_arn == arn}
    listed = {shard.shard_id for shard in listing.shards}
    found = []
    for shard_id, row in rows.items():
        if not row.finished or row.unlisted_since is None or shard_id in listed or row.parent in rows:
            continue
        children = [rows.get(child) for child in row.children]
        followed = all(child is not None and child.finished for child in children)
        if followed and listing.served_at - row.unlisted_since >= FORGET_SECONDS:
            found.append(row)
    return found
