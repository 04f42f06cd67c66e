"""Ports of the worker: what it needs from DynamoDB, DynamoDB Streams, retries and metrics.

Every call to AWS may raise CallFailed, after which the outcome of a write is unknown. It is safe to send the same
write again.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from consumer.domain.accepted_rules import Reading
from consumer.domain.breaker import Symptom
from consumer.domain.corrections import FoundItem
from consumer.domain.fold import Unit
from consumer.domain.leases import Adoption, Lease, LeaseRow, Ledger, Origin, OwnTable, Shard, StreamStart
from consumer.domain.marks import RowWrite, StoredRow
from consumer.domain.membership import HeartbeatReport, Members
from consumer.domain.records import Correction, Game, Rules, Verdict
from consumer.domain.replies import (
    Children,
    CommitReply,
    Done,
    HeartbeatRemoved,
    Lost,
    Page,
    RawPage,
    Refused,
    RowReply,
    StreamListing,
)
from consumer.domain.stream_halt import StreamHalt
from consumer.domain.text import many


class RulesInUse(NamedTuple):
    """The number of the rules by which this worker reads (0: not known yet), and that of the newest accepted ones.

    `waiting`: shards that no living worker may read, because their rules are newer; the lowest number of such rules is
    `needed`.
    """

    own: int = 0
    newest: int = 0
    waiting: tuple[Shard, ...] = ()
    needed: int = 0


@dataclass(frozen=True, slots=True)
class WorkerStatus:
    """The worker as metrics and readiness show it.

    `shards` counts them by state. `not_ready` has one sentence per reason why the worker is not ready, those of
    `stream_halts` included. Not `lag_known`: `lag_seconds` is an upper bound, and `headroom_seconds` a lower one; both
    None: the worker has not read the ledger yet.
    """

    lag_seconds: float | None
    headroom_seconds: float | None
    shards: Mapping[str, int]
    leases_owned: int
    not_ready: tuple[str, ...]
    stream_halts: tuple[StreamHalt, ...] = ()
    lag_known: bool = True
    rules: RulesInUse = RulesInUse()  # noqa: RUF009  it is frozen

    @property
    def notes(self) -> tuple[str, ...]:
        """What readiness says beside its answer."""
        notes = []
        if not self.lag_known:
            bound = "" if self.lag_seconds is None else f", at most {self.lag_seconds:.0f} s"
            why = "some shards are not known to be read to their newest record"
            notes.append(f"lag unknown{bound}: {why if bound else 'the lease table has not been read yet'}")
        if self.rules.waiting:
            waiting = many(len(self.rules.waiting), "shard")
            notes.append(
                f"rules: {waiting} must wait for a worker of rules {self.rules.needed} or newer, and this one reads by "
                f"{self.rules.own}; next: `consumer status`"
            )
        return tuple(notes)


class Streams(Protocol):
    """DynamoDB Streams, and which stream the source table has now. Times are unix seconds."""

    def find_stream(self) -> str:
        """The ARN of the stream to read: the configured one, or the source table's newest one."""
        ...

    def list_shards(self, stream_arn: str) -> StreamListing:
        """All shards that the stream shows now, over all pages."""
        ...

    def open(self, shard: Shard, after: str) -> str:
        """A shard iterator just after the checkpoint `after`. Raises DataTrimmed."""
        ...

    def open_at(self, shard: Shard, first: str) -> str:
        """A shard iterator at the record `first`. Raises DataTrimmed."""
        ...

    def read(self, iterator: str, limit: int) -> RawPage:
        """The next page in wire form. Raises IteratorExpired, DataTrimmed."""
        ...

    def poll(self, iterator: str, limit: int, rules: Rules, start_time: float | None) -> Page:
        """The next page, with each record decoded by records.decode. Raises IteratorExpired, DataTrimmed."""
        ...

    def find_children(self, shard: Shard) -> Children:
        """The children of a shard that has ended, as far as a listing shows them now."""
        ...


class Ledgers(Protocol):
    """The lease table: rows of streams and shards. Every write is conditional."""

    def read_origin(self, stream_arn: str) -> Origin:
        """What the tables know of the stream's start, read in one transaction."""
        ...

    def record_stream_start(
        self, start: StreamStart, predecessor: str | None, found_at: float, rules: Rules | None = None
    ) -> Done | Lost:
        """Writes the stream's row and its table binding in one transaction. Lost when one of them exists.

        With a `predecessor` (ARN) it also writes a gap row: games written between the two streams are in neither.
        `rules` become the first accepted ones of the ledger; Lost when it has some.
        """
        ...

    def create_root_rows(self, stream_arn: str, rows: tuple[LeaseRow, ...]) -> Done | Lost | Refused:
        """Puts the rows of root shards in one transaction.

        Lost when the stream's start is complete already. Refused, with nothing put, when some of the rows exist.
        """
        ...

    def complete_stream_start(self, stream_arn: str) -> Done:
        """Marks the stream's start complete: from now on a root shard without a row has lost it."""
        ...

    def upgrade_stream(self, stream_arn: str, *, keyed: bool | None, rules: Rules | None = None) -> Done | Lost:
        """Makes the row of a stream that version 0.1 started one of this protocol, unless `keyed` is None.

        `rules` become the first accepted ones of the ledger. Lost when the row is none of 0.1, or there are rules.
        """
        ...

    def adopt(self, adoption: Adoption) -> Done | Lost:
        """Writes the list and the new rows in one transaction. Lost when the list has changed or a row exists."""
        ...

    def mark_unlisted(self, row: LeaseRow, unlisted_since: float | None) -> Done:
        """Sets since when listings have not shown a finished shard; None: they show it."""
        ...

    def forget(self, row: LeaseRow, start: StreamStart | None) -> Done | Lost:
        """Deletes a finished row that is still as `row`, and takes its shard out of the root shards of `start`."""
        ...

    def load(self) -> Ledger:
        """Every row of a shard or stream, and the accepted rules, each read consistently."""
        ...

    def claim(self, row: LeaseRow, lease: Lease, reading: Reading) -> LeaseRow | Lost:
        """Gives the shard to `lease`, to be read so, if owner and epoch are still those of `row`.

        Returns the row as it is then.
        """
        ...

    def release(self, lease: Lease) -> Done:
        """Gives the lease back. No effect when another worker owns the shard."""
        ...


class Membership(Protocol):
    """The `members` item of the lease table."""

    def send_heartbeat(
        self, owner: str, report: HeartbeatReport, *, joining: bool, bump: bool
    ) -> Done | HeartbeatRemoved:
        """Writes the owner's report. Only a `joining` one may add an owner. `bump` raises the counter of changes."""
        ...

    def read_members(self) -> Members:
        """Reads the item consistently."""
        ...

    def leave(self, owner: str) -> Done:
        """Removes the owner and raises the counter of changes."""
        ...

    def evict(self, owner: str, heartbeat: int) -> Done:
        """Removes a dead owner, unless its report has another number than `heartbeat` now."""
        ...


class Commits(Protocol):
    """The writes of a shard's worker to the board, which count each record exactly once."""

    def read_rows(
        self, players: Sequence[str], *, consistent: bool = False, windows: bool = False
    ) -> Mapping[str, StoredRow]:
        """The rows of at most 100 players. It may leave some out; CallFailed when all. `windows`: with theirs."""
        ...

    def read_items(self, items: Sequence[str]) -> Mapping[str, FoundItem | None]:
        """The index rows of at most 100 items, read consistently, with the heads of their records. It may leave some
        out; CallFailed when all.
        """
        ...

    def write_rows(self, writes: Sequence[RowWrite]) -> list[RowReply]:
        """Single writes of different players: each is one conditional update of one row, with a reply of its own.

        Refused when DynamoDB will always refuse it.
        """
        ...

    def probe_statements(self, *, windows: bool = False) -> str | None:
        """Tries whether one call can write many rows, `windows`: that have some. Why it cannot; None: it can."""
        ...

    def commit(self, lease: Lease, unit: Unit, rows: Sequence[RowWrite], *, fills_gap: bool) -> CommitReply:
        """Writes a unit: checkpoint, `rows` and quarantine rows, all or nothing. The unit's other rows are written.

        `fills_gap`: the unit's first record ends a gap, and the gap's row gets its end.
        """
        ...

    def halt(self, lease: Lease, previous: str, resumes: int, halted_at: float, symptom: Symptom) -> Done | Lost:
        """Opens the shard's circuit because of `symptom`, unless operators have closed it more than `resumes` times."""
        ...

    def end(self, lease: Lease, previous: str, children: tuple[str, ...], rows: tuple[LeaseRow, ...]) -> CommitReply:
        """Finishes a shard in one transaction: its row to SHARD_END with `children`, and the children's new `rows`."""
        ...

    def record_gap(self, shard: Shard, checkpoint: str, found_at: float, lease: Lease | None = None) -> bool | Lost:
        """Writes a gap row: data of the shard after `checkpoint` may be lost. True when the row is new.

        Lost, and nothing is written, when `lease` does not own the shard at that checkpoint any more: its owner will
        find the gap. `lease` None: no worker owns the shard.
        """
        ...

    def examine(self, game: Game | Correction) -> Verdict | None:
        """Why `game`, refused in a unit of its own, can never be applied; None when nothing speaks against it.

        None also means that the leaderboard takes writes to other rows now. CallFailed when it does not, when it does
        not answer, or when it is another table now: then no record is to blame.
        """
        ...


class PendingRecords(Protocol):
    """How many quarantined records are pending."""

    def count(self) -> int | None:
        """The number; it costs what is pending, next to nothing. None: the quarantine table lacks its index."""
        ...

    def scan(self) -> Iterator[int]:
        """The number page by page, one call each: it reads the whole quarantine table."""
        ...


class Backoff(Protocol):
    """How long to wait before a retry."""

    def delay(self, attempt: int) -> float:
        """Jittered seconds to wait after attempt number `attempt` failed; the first one is 1."""
        ...


class Meters(Protocol):
    """Metrics of the worker. Times `at` are unix seconds."""

    def records(self, outcome: str, count: int) -> None:
        """`count` records ended in `outcome`."""
        ...

    def committed(self, seconds: float, at: float) -> None:
        """A commit took effect after `seconds`."""
        ...

    def retry(self, operation: str, reason: str) -> None:
        """A call will be retried."""
        ...

    def gap(self) -> None:
        """Data may have been lost to the 24-hour trim."""
        ...

    def credential_failure(self) -> None:
        """New credentials were needed and could not be had."""
        ...

    def progress(self, at: float) -> None:
        """The worker made progress: a commit, or an empty page of a shard that is caught up."""
        ...

    def snapshot(self, status: WorkerStatus, pending: int | None, at: float) -> None:
        """The worker's status now. `pending` counts pending quarantine rows; None: not counted."""
        ...


class UnitMeter(Protocol):
    """Counts what AWS bills, on any thread."""

    def write_units(self, table: OwnTable, units: float) -> None:
        """A call wrote, or was refused to write, so many units of the table."""
        ...

    def read_units(self, table: OwnTable, units: float) -> None:
        """A call read so many units of the table."""
        ...


class CredentialObserver(Protocol):
    """Learns how the credentials fare, on any thread."""

    def credentials_renewed(self) -> None:
        """Calls are signed with other credentials from now on."""
        ...

    def credentials_failed(self, detail: str, *, usable: bool) -> None:
        """New credentials could not be had. `usable`: the present ones have not expired."""
        ...
