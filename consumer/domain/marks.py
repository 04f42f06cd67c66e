"""Marks: what a row of the leaderboard says of the records that are in it, and what a worker may do with it then.

`route` is the whole table of decisions. Why a plain conditional update is exact stands in docs/protocol.md.
"""

from collections.abc import Iterable, Mapping
from enum import StrEnum
from functools import lru_cache
from typing import Final, NamedTuple

from consumer.domain.fold import Delta
from consumer.domain.leases import PROTOCOL, LeaseRow, Ledger, StreamStart, label_of, table_of

FORGOTTEN_SECONDS: Final = 3_600.0
"""A shard that neither the ledger nor a listing knows is over when its mark is so much older than the next record."""


class Mark(NamedTuple):
    """All records of the row's player in `shard` up to `to`, and all in its ancestors, have been dealt with.

    `shard` is `<stream label>/<shard id>`. `created` is when the record `to` was created (unix seconds).
    """

    shard: str
    to: str
    created: float


class StoredRow(NamedTuple):
    """What is known of a player's row. `date`: its lastPlayedDate; None: it has none, or one that is no date.

    `windows`: the names of those that it has; None: not known.
    """

    exists: bool = True
    mark: Mark | None = None
    date: str | None = None
    windows: frozenset[str] | None = None


NO_WINDOWS: Final = frozenset[str]()
ABSENT: Final = StoredRow(exists=False)
UNKNOWN: Final = StoredRow()


class Route(StrEnum):
    """How a player's records are written, and which mark the row must have then.

    INSERT and FOLLOW are single writes; PLAIN knows no marks, in a transaction; the others are in a transaction too.
    """

    PLAIN = "plain"
    INSERT = "insert"
    FOLLOW = "follow"
    FRESH = "fresh"
    MARKED = "marked"
    TAKE_OVER = "take_over"
    SHARED = "shared"
    CHECKED = "checked"
    DEALT_WITH = "dealt_with"
    UNKNOWN = "unknown"

    @property
    def single(self) -> bool:
        """Whether it is a write of its own, outside of the transaction."""
        return self in (Route.INSERT, Route.FOLLOW)


class RowWrite(NamedTuple):
    """One write of a player's row: on which mark it must find, and which one it leaves (None: it leaves the mark).

    Not `dated`: the stored date is a later one and stays. `drops`: windows that the row loses. `had`: those that it is
    known to have before; None: not known.
    """

    player: str
    delta: Delta
    route: Route = Route.PLAIN
    found: Mark | None = None
    mark: Mark | None = None
    dated: bool = True
    drops: tuple[str, ...] = ()
    had: frozenset[str] | None = None

    def after(self, row: StoredRow | None) -> StoredRow:
        """The row after this write took effect, where `row` is what was known of it."""
        before = row or UNKNOWN
        date = self.delta.date if self.dated and self.delta.date else before.date
        mark = self.mark or (before.mark if self.route is Route.PLAIN else self.found)
        return StoredRow(mark=mark, date=date, windows=self._windows_after(before))

    def _windows_after(self, before: StoredRow) -> frozenset[str] | None:
        had = before.windows if before.exists else NO_WINDOWS
        added = self.delta.names
        if had is None or (not self.drops and had.issuperset(added)):
            return before.windows
        return one_of_many(had.difference(self.drops).union(added))


@lru_cache(maxsize=4096)
def one_of_many(windows: frozenset[str]) -> frozenset[str]:
    """The same windows, as one object for all rows that have them."""
    return windows


class Lineage(NamedTuple):
    """How shards descend from each other. Shards are named as in a mark.

    `parents` has every shard that the ledger, or a listing, knows; `finished` those that the ledger calls finished;
    `gone` those that neither knew when they were looked up.
    """

    parents: Mapping[str, str | None] = {}
    finished: frozenset[str] = frozenset()
    gone: frozenset[str] = frozenset()

    def descends(self, shard: str, ancestor: str) -> bool:
        """Whether `ancestor` is an ancestor of `shard`, as far as all shards between them are known."""
        parent = self.parents.get(shard)
        for _ in range(len(self.parents)):
            if parent is None or parent == ancestor:
                break
            parent = self.parents.get(parent)
        return parent == ancestor

    def knows(self, shard: str) -> bool:
        """Whether the ledger or a listing shows the shard."""
        return shard in self.parents


def lineage_of(ledger: Ledger, listed: Iterable[tuple[str, str | None]] = ()) -> Lineage:
    """The lineage that a ledger shows, and `listed` shards with their parents, which a listing shows besides.

    A shard that must have a row and has none is known too: an operator will make the row again.
    """
    roots = [(f"{label_of(start.stream_arn)}/{root}", None) for start in ledger.stream_starts for root in start.roots]
    children = [(f"{row.shard.label}/{child}", str(row.shard)) for row in ledger.rows for child in row.children]
    rows = [(str(row.shard), parent_of(row)) for row in ledger.rows]
    finished = frozenset(str(row.shard) for row in ledger.rows if row.finished)
    return Lineage(dict([*roots, *listed, *children, *rows]), finished)


def parent_of(row: LeaseRow) -> str | None:
    """The name of a shard's parent, as in a mark; None: it has none, as far as its row says."""
    return None if row.parent is None else f"{row.shard.label}/{row.parent}"


def route(row: StoredRow, shard: str, lineage: Lineage, created: float, *, together: bool = False) -> Route:
    """What to do with the records of one player in `shard` that follow the row's mark.

    `created`: when the first of them was created (unix seconds). `together`: they must be in the transaction, as when
    some of them are poison. UNKNOWN: the mark's shard must be looked up; when that was done, the shard halts.
    """
    mark = row.mark
    if not row.exists:
        return Route.FRESH if together else Route.INSERT
    if mark is None:
        return Route.FRESH
    if mark.shard == shard or lineage.descends(shard, mark.shard):
        return Route.MARKED if together else Route.FOLLOW
    if lineage.descends(mark.shard, shard):
        return Route.DEALT_WITH
    if mark.shard in lineage.finished:
        return Route.TAKE_OVER
    if lineage.knows(mark.shard):
        return Route.SHARED
    if mark.shard in lineage.gone and created - mark.created >= FORGOTTEN_SECONDS:
        return Route.TAKE_OVER
    return Route.UNKNOWN


class WriteMode(StrEnum):
    """Which of the two ways a stream's games are written, as a stable code."""

    MARKED = "marked"
    TRANSACTIONS = "transactions"


class Writes(NamedTuple):
    """How a stream's games are written, and why."""

    mode: WriteMode
    why: str

    def __str__(self) -> str:
        return f"{'marked writes' if self.mode is WriteMode.MARKED else 'transactions'} ({self.why})"


def writes_of(start: StreamStart, partition_key: str | None, player: str | None = None) -> Writes:
    """How the games of a stream are written. `partition_key`: of its table, `player`: the attribute; None: not known.

    What counts is the stream's row: it says what the first worker saw.
    """
    table = table_of(start.stream_arn)
    if start.protocol < PROTOCOL:
        return Writes(WriteMode.TRANSACTIONS, "version 0.1 started it, and no worker of this version has since")
    if start.keyed:
        return Writes(WriteMode.MARKED, f"{table} is keyed by {partition_key or 'the player'}")
    if partition_key is None:
        return Writes(WriteMode.TRANSACTIONS, f"{table} is not keyed by the player")
    if partition_key == player:
        return Writes(WriteMode.TRANSACTIONS, f"{table} was not keyed by {player} when the stream was started")
    reason = ", not by the player" if player is None else f"; marked writes need {player} as its partition key"
    return Writes(WriteMode.TRANSACTIONS, f"{table} is keyed by {partition_key}{reason}")
