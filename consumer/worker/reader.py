"""The reading half of a shard: iterators, pages, gaps, and the buffer between poll and commit."""

from typing import Final

from consumer.domain.errors import DataTrimmed, IteratorExpired
from consumer.domain.leases import Lease, LeaseRow
from consumer.domain.outcomes import Page
from consumer.domain.position import TRIM_HORIZON
from consumer.worker import events
from consumer.worker.buffer import Buffer
from consumer.worker.calls import Open, Read, RecordGap, Reply
from consumer.worker.errand import Errand

ReadCall = Open | Read | RecordGap

CAUGHT_UP_PAGES: Final = 2
"""Empty pages running after which a shard counts as caught up: empty pages come before data too."""


class Reader:
    """Reads ahead of the commits, bounded in bytes. `ended`: there are no more records behind the buffered ones."""

    def __init__(self, row: LeaseRow, floor: float | None, poll_interval_seconds: float, lookahead_bytes: int) -> None:
        self.errand = Errand()
        self.buffer = Buffer(row.checkpoint)
        self.ended = False
        self.trimmed = False
        self.gap: str | None = None
        self._floor = floor
        self._poll_interval_seconds = poll_interval_seconds
        self._lookahead_bytes = lookahead_bytes
        self._iterator: str | None = None
        self._open_at = row.checkpoint
        self._empty_pages = 0

    @property
    def full(self) -> bool:
        """Whether the look-ahead is used up: commit before reading on."""
        return self.buffer.size_bytes >= self._lookahead_bytes

    @property
    def caught_up(self) -> bool:
        """Whether the stream had nothing more, some pages running."""
        return self.ended or self._empty_pages >= CAUGHT_UP_PAGES

    @property
    def wants_page(self) -> bool:
        """Whether there is something to ask. A gap is written down only when all before it is committed."""
        if self.trimmed:
            return not self.buffer
        return not self.ended and not self.full

    def next_call(self, lease: Lease, checkpoint: str, unix_now: float) -> ReadCall:
        """The question to ask next."""
        if self.trimmed:
            return RecordGap(lease, checkpoint, unix_now)
        if self._iterator is None:
            return Open(lease, self._open_at)
        return Read(lease, self._iterator, self.buffer.tail, self._floor)

    def rewind(self, checkpoint: str, now: float) -> None:
        """Forgets all that was read: the ledger stands at `checkpoint`."""
        self.buffer = Buffer(checkpoint)
        self._open_at = checkpoint
        self._iterator = self.gap = None
        self.ended = self.trimmed = False
        self._empty_pages = 0
        self.errand.at = now

    def take(self, call: ReadCall, reply: Reply, now: float) -> list[events.Event]:
        """Learns an answer other than Trouble. One to a question of before a rewind is dropped."""
        if not self._still_asked(call):
            self.errand.succeed(now)
            return []
        match call, reply:
            case Read(), Page():
                return self._take_page(call, reply, now)
            case Read(), IteratorExpired():
                self._iterator = None
            case Open(), str():
                self._iterator = reply
            case ((Open() | Read()), DataTrimmed()):
                self._iterator = None
                self.trimmed = True
            case RecordGap(), bool():
                self.trimmed = False
                self.gap = call.checkpoint
                self._open_at = TRIM_HORIZON
                self.errand.succeed(now)
                return [events.GapFound(call.lease, call.checkpoint, reply)]
            case _:
                raise AssertionError(f"{type(reply).__name__} is no answer to {type(call).__name__}")
        self.errand.succeed(now)
        return []

    def _still_asked(self, call: ReadCall) -> bool:
        """A page must follow what is buffered."""
        match call:
            case Open():
                return self._iterator is None and call.after == self._open_at
            case Read():
                return call.iterator == self._iterator and call.after == self.buffer.tail
            case RecordGap():
                return self.trimmed and call.checkpoint == self.buffer.tail

    def _take_page(self, call: Read, page: Page, now: float) -> list[events.Event]:
        self._iterator = page.next_iterator
        self.ended = page.next_iterator is None
        if not page.entries:
            self._empty_pages += 1
            self.errand.succeed(now + self._poll_interval_seconds)
            return [events.CaughtUp(call.lease)]
        self._empty_pages = 0
        self.buffer.extend(page, now)
        self._open_at = self.buffer.tail
        self.errand.succeed(now)
        return []
