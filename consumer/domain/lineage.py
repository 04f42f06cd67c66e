"""Lineage: which shards must have a row, which are found late, and which rows may be forgotten."""

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Final, TypeVar

from consumer.domain.leases import (
    TRIM_HORIZON,
    Adoption,
    LeaseRow,
    Ledger,
    Shard,
    StreamStart,
    ancestors,
    enabled_at,
    label_of,
)
from consumer.domain.replies import StreamListing

RETENTION_SECONDS: Final = 24 * 3600
"""How long a stream keeps a record. Source: Developer Guide, "Change data capture for DynamoDB Streams"."""
ADOPTED_AT_ONCE: Final = 50
"""Rows that one transaction adopts; it may hold 100 actions."""
FORGET_SECONDS: Final = 48 * 3600
"""How long listings must not have shown a finished shard: after a stale listing it must not start again."""
GONE_ANSWERS: Final = 3
GONE_SECONDS: Final = 600.0
"""A shard is gone when it was refused at least this often, and over at least this time."""

K = TypeVar("K")


def roots(listing: StreamListing, hidden: Collection[str] = ()) -> tuple[str, ...]:
    """The shards with which a stream starts: all listed ones without a listed parent.

    A parent that the first listing does not show lies before the start: no gap. A `hidden` parent is not listed but can
    be read: it is a root itself, and its children follow it.
    """
    listed = {shard.shard_id for shard in listing.shards}
    tops = {shard.shard_id for shard in listing.shards if shard.parent not in listed and shard.parent not in hidden}
    return tuple(sorted(tops | set(hidden)))


def unlisted_parents(listing: StreamListing) -> tuple[str, ...]:
    """Parents that a listing names but does not show: trimmed, or hidden."""
    listed = {shard.shard_id for shard in listing.shards}
    return tuple(sorted({shard.parent for shard in listing.shards if shard.parent is not None} - listed))


@dataclass(frozen=True, slots=True)
class LateShards:
    """Listed shards that the lease table does not know.

    `orphans` are those whose parent is neither known nor listed, by the parent's id. The parent may be hidden, and then
    they must wait for it; they become root shards only when the parent is proven gone.
    """

    adoptions: tuple[Adoption, ...]
    orphans: dict[str, tuple[str, ...]]


def late_shards(
    listing: StreamListing, ledger: Ledger, unseen: Mapping[str, float], gone: Iterable[str] = ()
) -> LateShards:
    """Shards that became visible after their parent ended, or after the stream started.

    `unseen` says, by shard id, when a listing last did not show the shard (the server's unix seconds). `gone` are
    parents proven gone. A root shard, or one in a parent's list, is never late, also when its row is missing.
    """
    arn = listing.stream_arn
    start = ledger.stream_start(arn)
    if start is None or not start.complete:
        return LateShards((), {})
    rows = {row.shard.shard_id: row for row in ledger.rows if row.shard.stream_arn == arn}
    known = {*rows, *start.roots, *(child for row in rows.values() for child in row.children)}
    parents = {shard.shard_id: shard.parent for shard in listing.shards}
    older = {row.parent for row in rows.values() if row.parent is not None} - known
    older |= ancestors(known | older, parents)
    dead = {*gone} - known
    joining: defaultdict[str | None, list[str]] = defaultdict(list)
    orphans: defaultdict[str, list[str]] = defaultdict(list)
    for shard_id, parent in sorted(parents.items()):
        if shard_id in known or shard_id in older:
            continue
        if parent in rows:
            if rows[parent].finished:
                joining[parent].append(shard_id)
        elif parent is None or parent in older or parent in dead:
            joining[None].append(shard_id)
        elif parent not in parents and parent not in known:
            orphans[parent].append(shard_id)
    adoptions = []
    for parent, shard_ids in joining.items():
        into: LeaseRow | StreamStart = rows[parent] if parent is not None else start
        since = into.created or 0.0 if isinstance(into, LeaseRow) else 0.0
        new_rows = (
            late_row(
                Shard(arn, shard_id), rows.get(parent or ""), listing.served_at, max(since, unseen.get(shard_id, 0.0))
            )
            for shard_id in shard_ids[:ADOPTED_AT_ONCE]
        )
        if isinstance(into, StreamStart):
            reading = ledger.reading_of_root(listing.served_at)
            new_rows = (row.read_as(reading) for row in tuple(new_rows))
        adoptions.append(Adoption(into, tuple(new_rows)))
    return LateShards(tuple(adoptions), {parent: tuple(shard_ids) for parent, shard_ids in orphans.items()})


def late_row(shard: Shard, parent: LeaseRow | None, served_at: float, created: float | None = None) -> LeaseRow:
    """The row of a shard that was found late, at `served_at`. It is read as its parent was.

    When it is not known since when the shard may have been there, its oldest records may be trimmed already.
    """
    created = created or served_at - RETENTION_SECONDS
    row = LeaseRow(shard, None, int(served_at), TRIM_HORIZON, created=created)
    return (
        row
        if parent is None
        else replace(row, parent=parent.shard.shard_id, circuit=parent.circuit.inherited).read_as(parent.reading)
    )


def uncommitted_since(row: LeaseRow, start_time: float | None) -> float | None:
    """After when the shard's records that are not committed were created (unix seconds); None: not known.

    `created` of a root shard that no worker has read only says when its stream was first listed: it may have older
    ones. `start_time` is the stream's.
    """
    if row.parent is not None or row.checkpoint != TRIM_HORIZON:
        return row.created
    bounds = [at for at in (enabled_at(row.shard.stream_arn), start_time) if at is not None]
    return max(bounds, default=None)


def lag_bound(since: float | None, now: float) -> float:
    """The upper bound of a lag: no record is older than a stream keeps it. `since`: see `uncommitted_since`."""
    return min(max(0.0, now - since), float(RETENTION_SECONDS)) if since is not None else float(RETENTION_SECONDS)


def counted_from(ledger: Ledger) -> float | None:
    """Since when games count (unix seconds): the start time of the first stream, else its trim horizon then.

    None: no stream was started, or its row does not say it.
    """
    first = min(ledger.stream_starts, key=lambda start: label_of(start.stream_arn), default=None)
    if first is None:
        return None
    if first.start_time is not None:
        return first.start_time
    horizon = None if first.started_at is None else first.started_at - RETENTION_SECONDS
    return max((each for each in (enabled_at(first.stream_arn), horizon) if each is not None), default=None)


def unlisted_marks(listing: StreamListing, ledger: Ledger) -> list[tuple[LeaseRow, float | None]]:
    """Finished rows whose `unlisted_since` must change: to the time of this listing, or to None."""
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
    """Finished rows that may be deleted, parents before children.

    Long unlisted, without a parent's row, and with children that are finished too: no row that is left needs them.
    """
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


class GoneEvidence:
    """Evidence that a shard is gone. It counts only while the stream itself answers. Times are monotonic seconds.

    `proven`: the shard was refused often enough, for long enough.
    """

    def __init__(self) -> None:
        self.proven = False
        self._refused = False
        self._answers = 0
        self._first_at = 0.0

    def refused(self) -> None:
        """GetShardIterator replied that there is no such shard."""
        self._refused = True

    def found(self) -> None:
        """The shard is there after all."""
        self.proven = self._refused = False
        self._answers = 0

    def stream_answered(self, now: float) -> None:
        """A listing of the stream came in: a refusal since the last one counts."""
        if not self._refused:
            return
        self._refused = False
        if not self._answers:
            self._first_at = now
        self._answers += 1
        self.proven = self._answers >= GONE_ANSWERS and now - self._first_at >= GONE_SECONDS
