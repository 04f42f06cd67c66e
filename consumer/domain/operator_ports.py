"""Ports of the operators' commands: what they read, and the transactions that they write.

Every call may raise CallFailed, after which the outcome of a write is unknown. It is safe to send the same write again.
Each operator action is one transaction and leaves an audit entry.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, NamedTuple, Protocol

from consumer.domain.accepted_rules import AcceptedRules
from consumer.domain.audit import AuditEntry
from consumer.domain.corrections import IndexRow, RecordKey
from consumer.domain.leases import BindingChange, LeaseRow, Ledger, Shard, TableBinding, label_of
from consumer.domain.marks import Mark, StoredRow
from consumer.domain.membership import Members
from consumer.domain.quarantine import Application, OperatorAction, QuarantineEntry, Unsettled
from consumer.domain.records import Image, Rules
from consumer.domain.replay import Batch, Changed, Overtaken, Progress
from consumer.domain.replies import Committed, Done, Lost, RawPage, Refused, RowRefused, StreamListing


class BoardRow(NamedTuple):
    """One player's row of the leaderboard, with every digit. None: the attribute is missing or has another type.

    Of a window, `games` and `total` are those of the window.
    """

    player: str
    games: Decimal | None
    total: Decimal | None
    date: str | None


class BoardState(NamedTuple):
    """One player's row of the leaderboard with its windows (games and score), as `verify` compares it.

    None: the attribute is missing or has another type. Rows with the same `digest` are the same in every attribute.
    """

    player: str
    games: Decimal | None
    total: Decimal | None
    date: str | None
    windows: Mapping[str, tuple[Decimal | None, Decimal | None]]
    digest: bytes


class BoardPage(NamedTuple):
    """Rows of the leaderboard, read consistently. `after`: where the next page begins; None: there is none.

    `units` are the read units that it took.
    """

    rows: Sequence[BoardState]
    after: Mapping[str, Any] | None
    units: float


class ItemPage(NamedTuple):
    """Items of the source table in DynamoDB JSON, read consistently at `served_at` (the server's unix seconds)."""

    items: Sequence[Mapping[str, Any]]
    after: Mapping[str, Any] | None
    units: float
    served_at: float


class LifeOver(NamedTuple):
    """What a record's head row in the quarantine says of an item that is gone: `counted` still counts; None: nothing.

    `state` is an EntryState, `token` that of the action that changed the row last, `parts` how many parts the record
    has.
    """

    record: RecordKey
    item: str
    state: str
    token: str | None
    counted: Image | None
    parts: int


class CountedPage(NamedTuple):
    """What the quarantine says of items, read consistently, where corrections count."""

    rows: Sequence[IndexRow | LifeOver]
    after: Mapping[str, Any] | None
    units: float


@dataclass(frozen=True, slots=True)
class TableFacts:
    """What DescribeTable says of a table. `items` and `size_bytes` are counted about every six hours.

    `keys` are the names of its key's attributes, the partition key first. `stream_arn` None: its stream is off.
    """

    name: str
    keys: tuple[str, ...]
    items: int = 0
    size_bytes: int = 0
    created_at: float | None = None
    stream_arn: str | None = None


@dataclass(frozen=True, slots=True)
class LeaseTable:
    """One scan of the lease table. Each row is read consistently, but not all at one time.

    `replays` are the progress rows of replays, with all their attributes as text.
    """

    ledger: Ledger
    members: Members
    replays: tuple[Mapping[str, str], ...] = ()


class Acknowledgement(NamedTuple):
    """An operator has looked into a gap: who, when (an ISO time), and what came of it."""

    by: str
    at: str
    why: str


@dataclass(frozen=True, slots=True)
class Gap:
    """Where data may be lost: of a shard after its checkpoint `start`, or between two streams.

    Of a shard, `end` is the first record that was read after the gap; None: none was yet. Between two streams,
    `shard_id` is None, and `start` and `end` are their labels. `found_at` is an ISO time.
    """

    stream_arn: str
    shard_id: str | None
    start: str
    end: str | None
    loss: str
    found_at: str
    acknowledged: Acknowledgement | None = None

    @property
    def name(self) -> str:
        """How operators name it: its key in the quarantine table."""
        where = label_of(self.stream_arn) if self.shard_id is None else Shard(self.stream_arn, self.shard_id)
        return f"{where}/{self.start}"


@dataclass(frozen=True, slots=True)
class GapChanged:
    """A gap is not as it was read: it is acknowledged already, or (None) its row is gone."""

    now: Gap | None


class Boards(Protocol):
    """The leaderboard, as `top` reads it."""

    def rows(self, window: str | None = None) -> Iterator[BoardRow]:
        """The whole leaderboard, or a window of it by its name, in no order, each page as it is when it is read.

        Rows without games are left out: such a row only has the mark of a player whose records were all poison, or its
        player has no game in the window.
        """
        ...

    def about(self) -> int:
        """About how many rows it has: the table's own count, which DynamoDB updates every six hours or so."""
        ...


class Scans(Protocol):
    """Source table and leaderboard as `verify` reads them: page by page, each one call, consistently."""

    def source(self) -> TableFacts:
        """The source table, as it is described now."""
        ...

    def board(self) -> TableFacts:
        """The leaderboard, as it is described now."""
        ...

    def ledger(self) -> tuple[Ledger, float]:
        """Every row of the lease table, and the server's unix seconds before it was read."""
        ...

    def items(self, after: Mapping[str, Any] | None) -> ItemPage:
        """A page of the source table."""
        ...

    def items_of(self, player: str, after: Mapping[str, Any] | None) -> ItemPage:
        """A page of the items of one player, whose id is the source table's partition key."""
        ...

    def counted_items(self, after: Mapping[str, Any] | None) -> CountedPage:
        """A page of the quarantine: its index rows, and what it says of items that are gone."""
        ...

    def board_rows(self, after: Mapping[str, Any] | None) -> BoardPage:
        """A page of the leaderboard. Rows without games are in it."""
        ...

    def rows_of(self, players: Sequence[str]) -> BoardPage:
        """The rows of at most 100 players; those without a row are left out."""
        ...


class Tips(Protocol):
    """A stream, as `verify` looks behind the checkpoints of its shards. See ports.Streams."""

    def list_shards(self, stream_arn: str) -> StreamListing:
        """All shards that the stream shows now."""
        ...

    def open(self, shard: Shard, after: str) -> str:
        """A shard iterator just after a checkpoint. Raises DataTrimmed."""
        ...

    def read(self, iterator: str, limit: int) -> RawPage:
        """The next page in wire form. Raises IteratorExpired, DataTrimmed."""
        ...


class Quarantine(Protocol):
    """The quarantine table, as operators read and resolve its records."""

    def entries(self, shard_id: str | None = None) -> Iterator[QuarantineEntry]:
        """All quarantine entries, or those of one shard id, in no order."""
        ...

    def entry(self, shard_id: str, sequence_number: str) -> QuarantineEntry | None:
        """One record's entry, if it is in quarantine."""
        ...

    def records(self, entries: Sequence[QuarantineEntry]) -> list[Mapping[str, Any] | ValueError]:
        """The whole records in wire form, in order; ValueError where a part is missing or damaged."""
        ...

    def apply(self, applications: Sequence[Application]) -> Done | Unsettled | Refused:
        """Counts the records and marks them applied, if all are pending: all or nothing.

        Done also when these very actions did so before.
        """
        ...

    def discard(self, actions: Sequence[OperatorAction], why: str) -> Done | Unsettled:
        """Marks the records discarded, if all are pending. Done also when these very actions did so before."""
        ...

    def restore(self, actions: Sequence[OperatorAction]) -> Done | Unsettled | Refused:
        """Makes discarded records pending again, if all are discarded, by the actions that the entries name.

        Refused: a record's parts have expired. Done also when these very actions did so before.
        """
        ...


class AcceptedMark(NamedTuple):
    """An operator takes `mark` off the row of `player`: then it is a row without a mark."""

    player: str
    mark: Mark


class Circuits(Protocol):
    """The circuits of halted shards, and the row because of whose mark a shard may halt."""

    def read_row(self, player: str) -> StoredRow:
        """A player's row of the leaderboard, read consistently."""
        ...

    def resume(
        self, row: LeaseRow, free_to: str | None, token: str, audit_entry: AuditEntry, mark: AcceptedMark | None = None
    ) -> Done | Lost | RowRefused:
        """Closes the circuit and lets all records up to `free_to` pass; it also raises the counter of changes.

        Lost when the circuit is not open, or was closed since `row` was read; RowRefused when the player's row does not
        have this `mark` any more. Done also when this very action (`token`) closed it.
        """
        ...


class TableReader(Protocol):
    """The lease and quarantine tables, as `status` reads them. No method makes a call per shard."""

    def lease_table(self) -> LeaseTable:
        """Every row of the lease table."""
        ...

    def gaps(self) -> tuple[Gap, ...]:
        """Every gap row."""
        ...

    def bindings(self) -> tuple[TableBinding, ...]:
        """The table binding of every stream."""
        ...

    def pending(self) -> int | None:
        """How many quarantine rows are pending. None: not known, the quarantine table lacks its index."""
        ...


class LeaseAdmin(Protocol):
    """`checkpoint set`: an operator changes how far a shard is committed."""

    def read_members(self) -> tuple[Members, float]:
        """The `members` item, read consistently, and the server's time in unix seconds."""
        ...

    def place(self, before: LeaseRow | None, after: LeaseRow, audit_entry: AuditEntry) -> Done | Lost:
        """Makes `before` (None: no row) into `after`, which has no owner; it also raises the counter of changes.

        Lost when owner, epoch or checkpoint are not those of `before` any more. Without `before`: Lost when the shard
        has a row, or the lease table does not have its stream's row.
        """
        ...


class Gaps(Protocol):
    """`gaps acknowledge`: an operator says what came of a gap."""

    def acknowledge(self, gap: Gap, why: str, token: str, audit_entry: AuditEntry) -> Done | GapChanged:
        """Marks the gap as acknowledged, once. Done also when this very action (`token`) did so before."""
        ...


class TableBindings(Protocol):
    """`init --adopt`: an operator changes which tables belong together."""

    def change_binding(self, change: BindingChange, audit_entry: AuditEntry) -> Done | Lost:
        """Makes the change. Lost when the binding, or whether the stream has a row, is not as it was read."""
        ...


class RuleList(Protocol):
    """`init --accept-rules`: the list of accepted rules."""

    def accept(self, before: AcceptedRules, rules: Rules, audit_entry: AuditEntry) -> Done | Lost:
        """Appends `rules`, if the list is `before`; it also raises the counter of changes.

        Lost when it is another one. Done also when it ends with these very rules already, right behind `before`.
        """
        ...


class Replays(Protocol):
    """The progress row of a replay, and the transactions that count. Its runner and position are the row's version."""

    def progress(self, shard: Shard, target: str) -> Progress | None:
        """The progress row, read consistently."""
        ...

    def put(self, before: Progress | None, after: Progress, audit_entry: AuditEntry) -> Done | Overtaken:
        """Makes `before` (None: no row) into `after`.

        Overtaken when the row is another one now. Done also when this very write took effect before.
        """
        ...

    def count(
        self, progress: Progress, batch: Batch, later: frozenset[str]
    ) -> Committed | Overtaken | Changed | Refused:
        """Moves the row on to the batch's last record and adds the batch's deltas, all or nothing.

        Changed when quarantine rows do not have the batch's states any more. Players in `later` keep their stored date.
        """
        ...
