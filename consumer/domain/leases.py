"""Rows of the lease table: shards, their leases and checkpoints, and where each stream started."""

from collections.abc import Collection
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import NamedTuple

from consumer.domain.breaker import CLOSED, Circuit
from consumer.domain.errors import UnsafeRefused
from consumer.domain.position import SHARD_END


class TableNames(NamedTuple):
    """The names of the tables that belong together."""

    leases: str = "consumer-leases"
    leaderboard: str = "Leaderboards"
    quarantine: str = "consumer-quarantine"


class Shard(NamedTuple):
    """A shard of one stream. Shard ids are unique only within a stream, so the stream is part of its identity."""

    stream_arn: str
    shard_id: str

    @property
    def label(self) -> str:
        """The stream's label: the last part of its ARN."""
        return label_of(self.stream_arn)

    def __str__(self) -> str:
        return f"{self.label}/{self.shard_id}"


def label_of(stream_arn: str) -> str:
    """The stream's label: its creation time as AWS writes it, the last part of the ARN."""
    return stream_arn.rpartition("/")[2]


def table_arn_of(stream_arn: str) -> str:
    """The ARN of a stream's table: its region, account and name."""
    return stream_arn.rpartition("/stream/")[0]


def table_of(stream_arn: str) -> str:
    """The name of a stream's table."""
    return table_arn_of(stream_arn).rpartition("/")[2]


def enabled_at(stream_arn: str) -> float | None:
    """When a stream was switched on (unix seconds): its label is that time in UTC. None: the label is no time."""
    try:
        return datetime.fromisoformat(label_of(stream_arn)).replace(tzinfo=UTC).timestamp()
    except ValueError:
        return None


class Lease(NamedTuple):
    """The right to commit for a shard. `epoch` fences: it grows with each claim, and a commit states its own.

    `owner` is worker id + "/" + an id that is new at each start of the worker.
    """

    shard: Shard
    owner: str
    epoch: int


@dataclass(frozen=True, slots=True)
class LeaseRow:
    """One shard's row of the lease table. `owner` is None while no worker owns the shard.

    Records that are not committed yet were created after `created` (unix seconds). It is the creation time of the last
    committed record; in a new row that of its parent, or the time when the row was written. `unlisted_since` is since
    when, by the server's clock, listings have not shown the finished shard.
    """

    shard: Shard
    owner: str | None
    epoch: int
    checkpoint: str
    parent: str | None = None
    children: tuple[str, ...] = ()
    created: float | None = None
    unlisted_since: float | None = None
    circuit: Circuit = CLOSED

    @property
    def finished(self) -> bool:
        """Whether every record of the shard is committed and its children have their rows."""
        return self.checkpoint == SHARD_END


@dataclass(frozen=True, slots=True)
class StreamStart:
    """Where a stream started when the first worker saw it: the start time and the root shards.

    Records from before `start_time` (unix seconds; None: the trim horizon) do not count. Until `complete`, a root shard
    without a row has none yet; afterwards its row was lost. `started_at` is the server's time at which the stream
    started, in unix seconds; None: not known.
    """

    stream_arn: str
    start_time: float | None
    roots: tuple[str, ...]
    complete: bool
    started_at: float | None = field(default=None, compare=False)

    def without(self, root: str) -> "StreamStart":
        """The same start without one of its root shards, whose row is forgotten."""
        return replace(self, roots=tuple(shard_id for shard_id in self.roots if shard_id != root))


@dataclass(frozen=True, slots=True)
class TableBinding:
    """Which lease table and leaderboard count a stream, as the quarantine table says.

    It outlives a lease table that was emptied, and contradicts a mistyped name.
    """

    stream_arn: str
    lease_table: str
    leaderboard_table: str


@dataclass(frozen=True, slots=True)
class Origin:
    """What the tables know of one stream's start, read in one transaction.

    While the stream is `starting`, also what they know of the others: `others` are the bindings and starts of the other
    streams, `source_tables` the ARNs of the source tables that the lease table names.
    """

    stream_start: StreamStart | None
    binding: TableBinding | None
    others: tuple[tuple[TableBinding, StreamStart | None], ...] = ()
    source_tables: frozenset[str] = field(default=frozenset(), compare=False)

    @property
    def sources(self) -> frozenset[str]:
        """The ARNs of all source tables that the tables know."""
        bindings = [self.binding, *(binding for binding, _ in self.others)]
        known = [self.stream_start, *bindings, *(start for _, start in self.others)]
        return self.source_tables | {table_arn_of(each.stream_arn) for each in known if each is not None}

    @property
    def starting(self) -> bool:
        """Whether nothing is known of the stream, or its root shards do not have their rows yet."""
        if self.stream_start is None:
            return self.binding is None
        return self.binding is not None and not self.stream_start.complete


def refuse_foreign_source(known: Collection[str], stream_arn: str) -> None:
    """Raises UnsafeRefused when source tables are known (by their ARNs), and the stream is of none of them."""
    if known and table_arn_of(stream_arn) not in known:
        raise UnsafeRefused(
            f"stream {stream_arn} is of the table {table_arn_of(stream_arn)}, but the lease table counts the source "
            f"table {', '.join(sorted(known))}. Check CONSUMER_SOURCE_TABLE (or CONSUMER_STREAM_ARN) and "
            "CONSUMER_LEASE_TABLE. Another source needs its own leaderboard, lease and quarantine tables: name them "
            "with CONSUMER_LEADERBOARD_TABLE, CONSUMER_LEASE_TABLE and CONSUMER_QUARANTINE_TABLE, and create them with "
            "`consumer init`. Nothing was written: with these tables its games would land on the first one's board."
        )


@dataclass(frozen=True, slots=True)
class Adoption:
    """Shards found late get rows and join a list: a finished parent's children, or the stream's root shards."""

    into: LeaseRow | StreamStart
    rows: tuple[LeaseRow, ...]

    @property
    def before(self) -> tuple[str, ...]:
        """The list as it was read."""
        return self.into.roots if isinstance(self.into, StreamStart) else self.into.children

    @property
    def after(self) -> tuple[str, ...]:
        """The list with the new shards."""
        return tuple(sorted({*self.before, *(row.shard.shard_id for row in self.rows)}))


@dataclass(frozen=True, slots=True)
class BindingChange:
    """How an operator changes a stream's table binding from `before` to `after`; None: there is none.

    `has_stream_start`: whether the lease table has the stream's row.
    """

    stream_arn: str
    before: TableBinding | None
    after: TableBinding | None
    has_stream_start: bool
