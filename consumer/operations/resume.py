"""Resume: closes a shard's circuit; with `quarantine_all` it lets everything pass that the shard holds at this moment.

A machine that finds the newest record by reading the shard from its checkpoint, then closes the circuit.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from consumer.domain.audit import Trace
from consumer.domain.errors import DataTrimmed, IteratorExpired, NotFound, UnsafeRefused
from consumer.domain.leases import LeaseRow, Shard
from consumer.domain.operator_ports import Circuits
from consumer.domain.outcomes import Done, Ledger, Lost, RawPage
from consumer.domain.ports import Streams
from consumer.domain.position import TRIM_HORIZON
from consumer.operations.address import find_shard

PAGE_RECORDS: Final = 1000
EMPTY_PAGES: Final = 2
"""Empty pages running after which nothing more is there: empty ones come before data too."""


@dataclass(frozen=True, slots=True)
class AskMoment:
    """What time it is at the stream's server: what is created later is not of this moment."""

    stream_arn: str


@dataclass(frozen=True, slots=True)
class Open:
    """An iterator behind a checkpoint."""

    shard: Shard
    after: str


@dataclass(frozen=True, slots=True)
class Read:
    """A page."""

    stream_arn: str
    iterator: str


@dataclass(frozen=True, slots=True)
class Close:
    """The transaction."""

    row: LeaseRow
    free_to: str | None
    token: str
    trace: Trace


@dataclass(frozen=True, slots=True)
class Moment:
    """Unix seconds, by the server's clock."""

    at: float


@dataclass(frozen=True, slots=True)
class Opened:
    """An iterator."""

    iterator: str


@dataclass(frozen=True, slots=True)
class Expired:
    """The iterator is too old."""


@dataclass(frozen=True, slots=True)
class Trimmed:
    """The position lies before what the stream still has."""


Call = AskMoment | Open | Read | Close
Reply = Moment | Opened | RawPage | Expired | Trimmed | Done | Lost
Ask = Callable[[Call], Reply]
Agree = Callable[[LeaseRow], None]
"""Asks the person; raises UnsafeRefused when he does not agree."""
Watch = Callable[[Iterator[int], int], Iterable[int]]
"""Hands the steps through, and may show that it goes on; the number is 0: not known."""


class Resume:
    """The machine. `read` counts the records found so far; `free_to` is the newest of them.

    `lost`: somebody was faster, and what the row says now.
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
        self._moment: float | None = None
        self._after = row.checkpoint
        self._iterator: str | None = None
        self._empty_pages = 0

    def due(self) -> Call | None:
        """The next call, the same one until it is answered; None: the circuit is closed, or is not ours to close."""
        if self.done or self.lost is not None:
            return None
        if not self._reading:
            return Close(self._row, self.free_to, self._token, self._trace())
        if self._moment is None:
            return AskMoment(self._row.shard.stream_arn)
        shard = self._row.shard
        return Open(shard, self._after) if self._iterator is None else Read(shard.stream_arn, self._iterator)

    def take(self, reply: Reply) -> None:
        """The reply to the call that is due."""
        match reply:
            case Moment(at):
                self._moment = at
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
        assert self._moment is not None
        for record in page.records:
            created = record["dynamodb"].get("ApproximateCreationDateTime")
            if isinstance(created, int | float) and created > self._moment:
                self._reading = False  # a busy shard never ends
                return
            self.free_to = self._after = record["dynamodb"]["SequenceNumber"]
            self.read += 1
        self._empty_pages = 0 if page.records else self._empty_pages + 1
        self._iterator = page.next_iterator
        self._reading = page.next_iterator is not None and self._empty_pages < EMPTY_PAGES

    def _trace(self) -> Trace:
        told = {"outcome": "resumed", "checkpoint": self._row.checkpoint}
        if self.free_to is not None:
            told["freeTo"] = self.free_to
        return Trace(self._who, self._at, "resume", str(self._row.shard), told)


def perform(call: Call, circuits: Circuits, streams: Callable[[str], Streams]) -> Reply:
    """Makes one call; `streams` by the stream's ARN. Raises Trouble: make the same one again."""
    try:
        match call:
            case AskMoment(stream_arn):
                return Moment(streams(stream_arn).list_shards(stream_arn).served_at)
            case Open(shard, after):
                return Opened(streams(shard.stream_arn).open(shard, after))
            case Read(stream_arn, iterator):
                return streams(stream_arn).read(iterator, PAGE_RECORDS)
            case Close(row, free_to, token, trace):
                return circuits.resume(row, free_to, token, trace)
    except IteratorExpired:
        return Expired()
    except DataTrimmed:
        return Trimmed()


def drive(machine: Resume, ask: Ask, watch: Watch) -> None:
    """Makes the machine's calls until it has ended. Raises UnsafeRefused when somebody was faster."""
    for _ in watch(_steps(machine, ask), 0):
        pass
    if machine.lost is not None:
        row = machine.lost.row
        now = "its row is gone" if row is None else f"it was resumed {row.circuit.resumes} times by now"
        raise UnsafeRefused(f"somebody was faster: {now}; nothing was changed")


def _steps(machine: Resume, ask: Ask) -> Iterator[int]:
    """How many records are found, after each reply."""
    while (call := machine.due()) is not None:
        machine.take(ask(call))
        yield machine.read


def find_halted(name: str, ledger: Ledger) -> LeaseRow:
    """The row of a halted shard. Raises NotFound for one nobody knows, UnsafeRefused for one that is not halted."""
    rows = {row.shard: row for row in ledger.rows}
    roots = {Shard(pin.stream_arn, root) for pin in ledger.pins for root in pin.roots}
    children = {Shard(row.shard.stream_arn, child) for row in ledger.rows for child in row.children}
    known = rows.keys() | roots | children
    if not known:
        raise NotFound("the lease table knows no shard yet: no worker has run with it")
    row = rows.get(shard := find_shard(name, known))
    if row is None:
        raise UnsafeRefused(
            f"shard {shard} has no row in the lease table: `resume` is for a circuit that opened. If the row was lost, "
            "`consumer checkpoint set` makes it again"
        )
    if row.circuit.halted_at is None:
        raise UnsafeRefused(f"shard {shard} is {'finished' if row.finished else 'not halted'}: nothing to resume")
    return row
