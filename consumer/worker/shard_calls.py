"""The calls of a shard machine: it reads, writes rows, commits, halts, ends and releases."""

from dataclasses import dataclass
from typing import Final

from consumer.domain.breaker import Symptom
from consumer.domain.errors import CallFailed, FailureKind
from consumer.domain.fold import Unit
from consumer.domain.leases import (
    Lease,
    LeaseRow,
    stream_arn_of,
)
from consumer.domain.marks import RowWrite, lineage_of
from consumer.domain.records import Correction, Game, Verdict, poison
from consumer.domain.replies import (
    Done,
)
from consumer.worker.calls import Call, CallPriority, Operation, Ports, Reply

PAGE_RECORDS: Final = 1000
"""The highest limit of one GetRecords. Source: its API reference."""


@dataclass(frozen=True, slots=True)
class Open(Call):
    """Opens an iterator that begins after the position `after`."""

    operation = Operation.GET_SHARD_ITERATOR
    priority = CallPriority.READ
    lease: Lease
    after: str

    def execute(self, ports: Ports) -> Reply:
        """The iterator, or DataTrimmed."""
        return ports.streams.open(self.lease.shard, self.after)


@dataclass(frozen=True, slots=True)
class Read(Call):
    """Reads the page that follows the position `after`; `start_time`: the stream's start position (unix seconds)."""

    operation = Operation.GET_RECORDS
    priority = CallPriority.READ
    lease: Lease
    iterator: str
    after: str
    start_time: float | None
    limit: int = PAGE_RECORDS

    def execute(self, ports: Ports) -> Reply:
        """The page, decoded here on a thread of the pool; IteratorExpired or DataTrimmed."""
        return ports.streams.poll(self.iterator, self.limit, ports.rules, self.start_time)


@dataclass(frozen=True, slots=True)
class RecordGap(Call):
    """Writes a durable row: records after `checkpoint` may be lost (`found_at` in unix seconds)."""

    operation = Operation.RECORD_GAP
    lease: Lease
    checkpoint: str
    found_at: float

    def execute(self, ports: Ports) -> Reply:
        """Whether the row is new; Lost when the lease does not hold the shard at this checkpoint any more."""
        return ports.commits.record_gap(self.lease.shard, self.checkpoint, self.found_at, self.lease)


@dataclass(frozen=True, slots=True)
class ReadRows(Call):
    """Reads the rows of players of which nothing is known; `consistent`: rows before which the shard may halt.

    `windows`: also which windows they have.
    """

    operation = Operation.READ_ROWS
    lease: Lease
    players: tuple[str, ...]
    consistent: bool = False
    windows: bool = False

    def execute(self, ports: Ports) -> Reply:
        """The rows by player, perhaps not all of them."""
        return ports.commits.read_rows(self.players, consistent=self.consistent, windows=self.windows)


@dataclass(frozen=True, slots=True)
class ReadItems(Call):
    """Reads the index rows of items that are corrected, when all earlier records of the shard have ended."""

    operation = Operation.READ_ITEMS
    lease: Lease
    items: tuple[str, ...]

    def execute(self, ports: Ports) -> Reply:
        """What was found by item, perhaps not of all of them."""
        return ports.commits.read_items(self.items)


@dataclass(frozen=True, slots=True)
class WriteRows(Call):
    """Single writes of the rows of different players."""

    operation = Operation.WRITE_ROWS
    lease: Lease
    writes: tuple[RowWrite, ...]

    def execute(self, ports: Ports) -> Reply:
        """A RowReply for each of them."""
        return ports.commits.write_rows(self.writes)


@dataclass(frozen=True, slots=True)
class LookUpShard(Call):
    """Looks for a shard that a mark names in the ledger, and in the listing of its stream."""

    operation = Operation.LOOK_UP_SHARD
    priority = CallPriority.LISTING
    lease: Lease
    shard: str

    def execute(self, ports: Ports) -> Reply:
        """The lineage that both show. A stream that is gone, or that no stream can be called, lists nothing."""
        label = self.shard.partition("/")[0]
        try:
            listed = ports.streams.list_shards(stream_arn_of(self.lease.shard.stream_arn, label)).shards
        except CallFailed as failure:
            if failure.kind not in (FailureKind.MISSING, FailureKind.REJECTED):
                raise
            listed = ()
        return lineage_of(
            ports.ledgers.load(),
            ((f"{label}/{each.shard_id}", each.parent and f"{label}/{each.parent}") for each in listed),
        )


@dataclass(frozen=True, slots=True)
class Commit(Call):
    """Commits a unit in one transaction, with the writes of `rows`; the unit's other rows are written already."""

    operation = Operation.COMMIT
    lease: Lease
    unit: Unit
    rows: tuple[RowWrite, ...]
    fills_gap: bool

    def execute(self, ports: Ports) -> Reply:
        """Committed, Lost or Refused."""
        return ports.commits.commit(self.lease, self.unit, self.rows, fills_gap=self.fills_gap)

    @property
    def players(self) -> tuple[str, ...]:
        """The players whose rows are in the transaction."""
        return tuple(write.player for write in self.rows)


@dataclass(frozen=True, slots=True)
class MoveCheckpoint(Call):
    """Moves the checkpoint alone, over records that have ended. `unit`: from where, to where, and the circuit then."""

    operation = Operation.MOVE_CHECKPOINT
    lease: Lease
    unit: Unit

    def execute(self, ports: Ports) -> Reply:
        """Committed or Lost."""
        return ports.commits.commit(self.lease, self.unit, (), fills_gap=False)


@dataclass(frozen=True, slots=True)
class Examine(Call):
    """Asks why `game` was refused alone. `otherwise`: the verdict when the tables show no reason."""

    operation = Operation.EXAMINE
    lease: Lease
    game: Game | Correction
    otherwise: Verdict | None = None

    def execute(self, ports: Ports) -> Reply:
        """The record as Poison; Done without a verdict."""
        verdict = ports.commits.examine(self.game) or self.otherwise
        return poison(dict(self.game.wire), *verdict, ports.rules) if verdict else Done()


@dataclass(frozen=True, slots=True)
class Halt(Call):
    """Halts the shard: the breaker trips at the record after `previous`. `resumes` and `symptom`: see Circuit."""

    operation = Operation.HALT
    lease: Lease
    previous: str
    resumes: int
    halted_at: float
    symptom: Symptom

    def execute(self, ports: Ports) -> Reply:
        """Done or Lost."""
        return ports.commits.halt(self.lease, self.previous, self.resumes, self.halted_at, self.symptom)


@dataclass(frozen=True, slots=True)
class FindChildren(Call):
    """Asks for the children of a shard that has ended."""

    operation = Operation.FIND_CHILDREN
    priority = CallPriority.LISTING
    lease: Lease

    def execute(self, ports: Ports) -> Reply:
        """Children."""
        return ports.streams.find_children(self.lease.shard)


@dataclass(frozen=True, slots=True)
class EndShard(Call):
    """Sets the row to SHARD_END with all `children`, and creates `rows` for those that have none yet."""

    operation = Operation.END_SHARD
    lease: Lease
    previous: str
    children: tuple[str, ...]
    rows: tuple[LeaseRow, ...]

    def execute(self, ports: Ports) -> Reply:
        """Committed, Lost or Refused."""
        return ports.commits.end(self.lease, self.previous, self.children, self.rows)


@dataclass(frozen=True, slots=True)
class Release(Call):
    """Gives the lease back."""

    operation = Operation.RELEASE
    lease: Lease

    def execute(self, ports: Ports) -> Reply:
        """Done."""
        return ports.ledgers.release(self.lease)


RowCall = ReadRows | ReadItems | WriteRows | LookUpShard
ShardCall = (
    Open | Read | RecordGap | RowCall | Commit | MoveCheckpoint | Halt | Examine | FindChildren | EndShard | Release
)
