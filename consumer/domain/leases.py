"""The lease table: shards, their leases and checkpoints, where each stream started, and the ledger of them all."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from enum import StrEnum
from typing import Final, NamedTuple, TypeVar

from consumer.domain.accepted_rules import AcceptedRules, Reading
from consumer.domain.breaker import CLOSED, Circuit
from consumer.domain.errors import UnsafeRefused
from consumer.domain.records import Corrections
from consumer.domain.windows import KeptSince

TRIM_HORIZON: Final = "TRIM_HORIZON"
"""Checkpoint of a shard of which no record is committed yet."""
SHARD_END: Final = "SHARD_END"
"""Checkpoint of a finished shard: every record is committed and its children have their rows."""


def is_sequence_number(text: object) -> bool:
    """Whether `text` is a sequence number: 1 to 40 decimal digits.

    DynamoDB Streams promises 21 to 40; a shorter one does no harm. Source: its API reference, StreamRecord.
    """
    return isinstance(text, str) and 0 < len(text) <= 40 and text.isascii() and text.isdigit()


def rank(checkpoint: str) -> tuple[int, int]:
    """Sort key of checkpoints of ONE shard. Sequence numbers have gaps and different lengths: they compare as integers.

    ValueError when `checkpoint` is none of the three.
    """
    if checkpoint == TRIM_HORIZON:
        return (0, 0)
    if checkpoint == SHARD_END:
        return (2, 0)
    if not is_sequence_number(checkpoint):
        raise ValueError(f"{checkpoint!r} is not a checkpoint: it must be TRIM_HORIZON, a sequence number or SHARD_END")
    return (1, int(checkpoint))


class TableNames(NamedTuple):
    """The names of the tables that belong together."""

    leases: str = "consumer-leases"
    leaderboard: str = "Leaderboards"
    quarantine: str = "consumer-quarantine"


class OwnTable(StrEnum):
    """One of these tables, as metrics name it."""

    LEADERBOARD = "leaderboard"
    LEASE = "lease"
    QUARANTINE = "quarantine"


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


def stream_arn_of(stream_arn: str, label: str) -> str:
    """The ARN of the stream with this label, of the same table as another stream."""
    return f"{table_arn_of(stream_arn)}/stream/{label}"


def enabled_at(stream_arn: str) -> float | None:
    """When a stream was switched on (unix seconds): its label is that time in UTC. None: the label is no time."""
    try:
        return datetime.fromisoformat(label_of(stream_arn)).replace(tzinfo=UTC).timestamp()
    except ValueError:
        return None


PROTOCOL: Final = 2
"""How workers share the tables. Version 0.1 had protocol 1, and did not write it down; 2 has marked writes."""


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
    when, by the server's clock, listings have not shown the finished shard. `rules`: the number of those by which its
    records are read; 0: a version without numbers wrote the row. `windows`: those that its games are counted in.
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
    rules: int = 0
    windows: KeptSince = field(default_factory=dict, hash=False)

    @property
    def reading(self) -> Reading:
        """How the shard is read."""
        return Reading(self.rules, self.windows, self.circuit.ignored)

    def read_as(self, reading: Reading) -> "LeaseRow":
        """The same row, read so."""
        circuit = replace(self.circuit, ignored=self.circuit.ignored or reading.ignored)
        return replace(self, rules=reading.rules, windows=reading.windows, circuit=circuit)

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

    `keyed`: the source table's partition key is the player, so rows of the leaderboard have marks. `protocol`: of the
    workers that may read the stream; workers of an older one cannot parse its row.
    """

    stream_arn: str
    start_time: float | None
    roots: tuple[str, ...]
    complete: bool
    started_at: float | None = field(default=None, compare=False)
    keyed: bool = False
    protocol: int = PROTOCOL

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
    streams, `source_tables` the ARNs of the source tables that the lease table names, `readings` how the shards of the
    ledger are read. `accepted` are the ledger's rules.
    """

    stream_start: StreamStart | None
    binding: TableBinding | None
    others: tuple[tuple[TableBinding, StreamStart | None], ...] = ()
    source_tables: frozenset[str] = field(default=frozenset(), compare=False)
    accepted: AcceptedRules = AcceptedRules()  # noqa: RUF009  it is frozen
    readings: tuple[Reading, ...] = field(default=(), compare=False)

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


@dataclass(frozen=True, slots=True)
class Ledger:
    """All rows of shards and streams in the lease table. Each row is read consistently, but not all at one time."""

    rows: tuple[LeaseRow, ...]
    stream_starts: tuple[StreamStart, ...]
    accepted: AcceptedRules = AcceptedRules()  # noqa: RUF009  it is frozen

    @property
    def read_to_the_end(self) -> bool:
        """Whether streams were started and nothing of them is left to read."""
        return bool(self.stream_starts) and all(row.finished for row in self.rows)

    def reading_of_root(self, at: float) -> Reading:
        """How a shard is read that has no parent's row, and gets its row at `at` (unix seconds)."""
        return self.accepted.reading_of_root([row.reading for row in self.rows], at)

    def row(self, shard: Shard) -> LeaseRow | None:
        """The shard's row, if it has one."""
        return next((row for row in self.rows if row.shard == shard), None)

    def stream_start(self, stream_arn: str) -> StreamStart | None:
        """Where the stream started, if it has."""
        return next((start for start in self.stream_starts if start.stream_arn == stream_arn), None)

    @property
    def known_shards(self) -> set[Shard]:
        """Every shard that has a row, is a root shard, or is in a parent's list of children."""
        return self._expected(self.stream_starts) | {row.shard for row in self.rows}

    @property
    def missing(self) -> frozenset[Shard]:
        """Shards that must have a row and have none: it was deleted, so no worker knows their position (design: G5)."""
        complete = (start for start in self.stream_starts if start.complete)
        return frozenset(self._expected(complete) - {row.shard for row in self.rows})

    @property
    def held_back(self) -> frozenset[Shard]:
        """Where corrections count, the unfinished shards that come after a stream which is not read to its end.

        Such a stream may have an earlier record of their items: they wait until each of its shards is finished.
        """
        if self.accepted.corrections is Corrections.IGNORE:
            return frozenset()
        unfinished = {row.shard for row in self.rows if not row.finished}
        unread = unfinished | self._expected(self.stream_starts) - {row.shard for row in self.rows}
        first = min((label_of(shard.stream_arn) for shard in unread), default="")
        return frozenset(shard for shard in unfinished if label_of(shard.stream_arn) > first)

    @property
    def in_order(self) -> "Ledger":
        """Where corrections count, shards of a later stream have at least the highest number of the earlier ones.

        Who reads them must decode what was counted of their items: a child has its parent's number for that.
        """
        labels = {row.shard.label for row in self.rows}
        if self.accepted.corrections is Corrections.IGNORE or len(labels) < 2:
            return self
        highest, before = 0, dict[str, int]()
        for label in sorted(labels):
            before[label] = highest
            highest = max([highest, *(row.rules for row in self.rows if row.shard.label == label)])
        rows = (replace(row, rules=max(row.rules, before[row.shard.label])) for row in self.rows)
        return replace(self, rows=tuple(rows))

    def _expected(self, starts: Iterable[StreamStart]) -> set[Shard]:
        """Root shards of `starts`, and children of all rows."""
        roots = {Shard(start.stream_arn, root) for start in starts for root in start.roots}
        return roots | {Shard(row.shard.stream_arn, child) for row in self.rows for child in row.children}


K = TypeVar("K")


def ancestors(shards: Collection[K], parents: Mapping[K, K | None]) -> set[K]:
    """The ancestors of `shards`, without `shards` themselves. They lie before the start and are never read."""
    found: set[K] = set()
    above = list(shards)
    while above:
        parent = parents.get(above.pop())
        if parent is not None and parent not in shards and parent not in found:
            found.add(parent)
            above.append(parent)
    return found
