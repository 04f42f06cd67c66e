"""`consumer resume`: closes a shard's circuit; with `quarantine_all` it lets everything pass that the shard holds now.

A machine finds the newest record by reading the shard from its checkpoint, then closes the circuit.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from consumer.domain.audit import AuditEntry
from consumer.domain.errors import DataTrimmed, IteratorExpired, UnsafeRefused
from consumer.domain.leases import LeaseRow, Shard
from consumer.domain.operator_ports import Circuits
from consumer.domain.ports import Streams
from consumer.domain.position import TRIM_HORIZON
from consumer.domain.replies import Done, Ledger, Lost, RawPage
from consumer.operations.shards import find_in_ledger

PAGE_RECORDS: Final = 1000
EMPTY_PAGES: Final = 2
"""Consecutive empty pages after which the shard holds no more records: one empty page may come before records."""


@dataclass(frozen=True, slots=True)
class ReadClock:
    """Reads the time of the stream's server: records created later do not belong to "now"."""

    stream_arn: str


@dataclass(frozen=True, slots=True)
class Open:
    """Gets an iterator just after a checkpoint."""

    shard: Shard
    after: str


@dataclass(frozen=True, slots=True)
class Read:
    """Reads a page."""

    stream_arn: str
    iterator: str


@dataclass(frozen=True, slots=True)
class Close:
    """Closes the circuit."""

    row: LeaseRow
    free_to: str | None
    token: str
    audit_entry: AuditEntry


@dataclass(frozen=True, slots=True)
class ServerTime:
    """The time of the stream's server, in unix seconds."""

    at: float


@dataclass(frozen=True, slots=True)
class Opened:
    """A shard iterator."""

    iterator: str


@dataclass(frozen=True, slots=True)
class Expired:
    """The iterator is too old."""


@dataclass(frozen=True, slots=True)
class Trimmed:
    """The position is before what the stream still has."""


Call = ReadClock | Open | Read | Close
Reply = ServerTime | Opened | RawPage | Expired | Trimmed | Done | Lost
Ask = Callable[[Call], Reply]
Agree = Callable[[LeaseRow], None]
"""Asks the operator to confirm. Raises UnsafeRefused unless confirmed."""
Watch = Callable[[Iterator[int], int], Iterable[int]]
"""Passes the counts of records through, and may show progress. The total (the second argument) is 0: not known."""


def find_halted(ledger: Ledger, name: str) -> LeaseRow:
    """The row of a halted shard. Raises NotFound for an unknown shard, UnsafeRefused for one that is not halted."""
    shard, row = find_in_ledger(ledger, name)
    if row is None:
        raise UnsafeRefused(
            f"shard {shard} has no row in the lease table: `resume` is for a shard that its circuit breaker halted. If "
            f"the row was lost, next: `consumer checkpoint set {shard} POSITION`, which writes it again"
        )
    if row.circuit.halted_at is None:
        raise UnsafeRefused(f"shard {shard} is {'finished' if row.finished else 'not halted'}: nothing to resume")
    return row


class Resume:
    """The machine. `read` counts the records found so far, `free_to` is the newest of them.

    It ends as `done`, or `lost`: the row was changed concurrently.
    """

    def __init__(self, row: LeaseRow, who: str, at: float, token: str, *, quarantine_all: bool) -> None:
        self.free_to: str | None = None
        self.read = 0
        self.done = False
        self.shard, self.checkpoint = row.shard, row.checkpoint
        self.lost: Lost | None = None
        self._row = row
        self._who, self._at, self._token = who, at, token
        self._reading = quarantine_all
        self._now: float | None = None
        self._after = row.checkpoint
        self._iterator: str | None = None
        self._empty_pages = 0

    def due(self) -> Call | None:
        """The next call, the same one until its reply is taken. None: the machine has ended."""
        if self.done or self.lost is not None:
            return None
        if not self._reading:
            return Close(self._row, self.free_to, self._token, self._audit_entry())
        if self._now is None:
            return ReadClock(self.shard.stream_arn)
        if self._iterator is None:
            return Open(self.shard, self._after)
        return Read(self.shard.stream_arn, self._iterator)

    def take(self, reply: Reply) -> None:
        """Takes the reply to the call that was due."""
        match reply:
            case ServerTime(at):
                self._now = at
            case Opened(iterator):
                self._iterator = iterator
            case Expired():
                self._iterator = None
            case Trimmed():
                self._after, self._iterator = TRIM_HORIZON, None
            case RawPage():
                self._take_page(reply)
            case Done():
                self.done = True
            case Lost():
                self.lost = reply

    def _take_page(self, page: RawPage) -> None:
        assert self._now is not None
        for record in page.records:
            created = record["dynamodb"].get("ApproximateCreationDateTime")
            if isinstance(created, int | float) and created > self._now:
                self._reading = False  # a busy shard never ends
                return
            self.free_to = self._after = record["dynamodb"]["SequenceNumber"]
            self.read += 1
        self._empty_pages = 0 if page.records else self._empty_pages + 1
        self._iterator = page.next_iterator
        self._reading = page.next_iterator is not None and self._empty_pages < EMPTY_PAGES

    def _audit_entry(self) -> AuditEntry:
        detail = {"outcome": "resumed", "checkpoint": self._row.checkpoint}
        if self.free_to is not None:
            detail["freeTo"] = self.free_to
        return AuditEntry(self._who, self._at, "resume", str(self.shard), detail)


def execute(call: Call, circuits: Circuits, streams: Callable[[str], Streams]) -> Reply:
    """Makes one call; `streams` gives a stream's port by its ARN. After CallFailed the same call can be made again."""
    try:
        match call:
            case ReadClock(stream_arn):
                return ServerTime(streams(stream_arn).list_shards(stream_arn).served_at)
            case Open(shard, after):
                return Opened(streams(shard.stream_arn).open(shard, after))
            case Read(stream_arn, iterator):
                return streams(stream_arn).read(iterator, PAGE_RECORDS)
            case Close(row, free_to, token, audit_entry):
                return circuits.resume(row, free_to, token, audit_entry)
    except IteratorExpired:
        return Expired()
    except DataTrimmed:
        return Trimmed()


def drive(machine: Resume, ask: Ask, watch: Watch) -> None:
    """Makes the machine's calls until it ends. Raises UnsafeRefused when the row was changed concurrently."""
    for _ in watch(_steps(machine, ask), 0):
        pass
    if machine.lost is not None:
        row = machine.lost.row
        now = "its row is gone" if row is None else f"it was resumed {row.circuit.resumes} times by now"
        raise UnsafeRefused(
            f"changed concurrently: another operator or worker changed shard {machine.shard} first, {now}. Nothing was "
            "changed by this command. Next: `consumer status`"
        )


def _steps(machine: Resume, ask: Ask) -> Iterator[int]:
    """How many records are found, after each reply."""
    while (call := machine.due()) is not None:
        machine.take(ask(call))
        yield machine.read
