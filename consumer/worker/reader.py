"""The reading half of a shard: iterators, pages, gaps, and the buffer between poll and commit."""

from collections import deque
from typing import Final

from consumer.domain.errors import DataTrimmed, IteratorExpired, TroubleKind
from consumer.domain.leases import Lease, LeaseRow
from consumer.domain.outcomes import Page
from consumer.domain.position import TRIM_HORIZON
from consumer.worker import events
from consumer.worker.absence import Absence
from consumer.worker.buffer import Buffer
from consumer.worker.calls import PAGE_RECORDS, Open, Read, RecordGap, Reply
from consumer.worker.common import Allowance
from consumer.worker.errand import Errand
from consumer.worker.tuning import Tuning

ReadCall = Open | Read | RecordGap

CAUGHT_UP_PAGES: Final = 2
"""Empty pages running after which a shard counts as caught up: empty pages come before data too."""
SURE_PAGES: Final = 8
"""Empty pages running after which nothing was there when the first of them was asked for: what comes after that may
still be hidden behind the others, and a slow stream can be idle for long in two.
"""
SCANT_RECORDS: Final = 100
"""What a page holds at most while the memory for reading ahead is used up: enough to get on."""


class Reader:
    """Reads ahead of the commits, bounded in bytes. `ended`: there are no more records behind the buffered ones.

    `since` (unix seconds): all that is not committed was created after it. `lossy`: a gap was found in this life.
    """

    def __init__(self, row: LeaseRow, floor: float | None, tuning: Tuning, allowance: Allowance) -> None:
        self.errand = Errand()
        self.absence = Absence()
        self.buffer = Buffer(row.checkpoint)
        self.since = row.created
        self.ended = False
        self.trimmed = False
        self.lossy = False
        self.gap: str | None = None
        self._floor = floor
        self._tuning = tuning
        self._allowance = allowance
        self._iterator: str | None = None
        self._open_at = row.checkpoint
        self._empty_asked_at: deque[float] = deque(maxlen=SURE_PAGES)
        self._idle_since: float | None = None
        self._idle = False

    @property
    def full(self) -> bool:
        """Whether the look-ahead is used up: commit before reading on."""
        size_bytes = self.buffer.size_bytes
        if size_bytes >= self._tuning.lookahead_bytes or (size_bytes > 0 and self._allowance.spent):
            return True
        return len(self.buffer) >= self._tuning.lookahead_records and not self.buffer.idle

    @property
    def caught_up(self) -> bool:
        """Whether the stream had nothing more, some pages running."""
        return self.ended or len(self._empty_asked_at) >= CAUGHT_UP_PAGES

    @property
    def gone(self) -> bool:
        """Whether the stream has no such shard any more."""
        return self.absence.proven

    @property
    def wants_page(self) -> bool:
        """Whether there is something to ask. A gap is written down only when all before it is committed."""
        if self.trimmed or self.gone:
            return not self.buffer and not self.ended
        return not self.ended and not self.full

    def next_call(self, lease: Lease, checkpoint: str, unix_now: float) -> ReadCall:
        """The question to ask next."""
        self.trimmed |= self.gone or self._too_old(unix_now)
        if self.trimmed:
            return RecordGap(lease, checkpoint, unix_now)
        if self._iterator is None:
            return Open(lease, self._open_at)
        limit = SCANT_RECORDS if self._allowance.spent else PAGE_RECORDS
        return Read(lease, self._iterator, self.buffer.tail, self._floor, limit)

    def rewind(self, checkpoint: str, now: float) -> None:
        """Forgets all that was read: the ledger stands at `checkpoint`."""
        self.close()
        self.buffer = Buffer(checkpoint)
        self._open_at = checkpoint
        self._iterator = self.gap = None
        self.ended = self.trimmed = False
        self._empty_asked_at.clear()
        self.errand.at = now

    def close(self) -> None:
        """Gives back the room that the buffer takes."""
        self._allowance.take(-self.buffer.size_bytes)

    def drop(self, records: int) -> None:
        """The oldest records are committed."""
        before = self.buffer.size_bytes
        self.buffer.drop(records)
        self._allowance.take(self.buffer.size_bytes - before)
        self.gap = None

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
                self.absence.found()
            case ((Open() | Read()), DataTrimmed()):
                self._iterator = None
                self.trimmed = True
            case RecordGap(), bool():
                self.trimmed = False
                self.lossy = True
                self.gap = call.checkpoint
                self._open_at = TRIM_HORIZON
                self.ended = self.gone
                self.errand.succeed(now)
                return [events.GapFound(call.lease.shard, call.checkpoint, reply)]
            case _:
                raise AssertionError(f"{type(reply).__name__} is no answer to {type(call).__name__}")
        self.errand.succeed(now)
        return []

    def doubt(self, kind: TroubleKind) -> None:
        """A call failed. An iterator that is refused will always be; a new one tells whether the shard is gone."""
        if self._iterator is None and kind is TroubleKind.MISSING:
            self.absence.refused()
        if kind in (TroubleKind.MISSING, TroubleKind.REJECTED):
            self._iterator = None

    def _still_asked(self, call: ReadCall) -> bool:
        """A page must follow what is buffered."""
        match call:
            case Open():
                return self._iterator is None and call.after == self._open_at
            case Read():
                return call.iterator == self._iterator and call.after == self.buffer.tail
            case RecordGap():
                return self.trimmed and call.checkpoint == self.buffer.tail

    def _too_old(self, unix_now: float) -> bool:
        """Whether a shard never read before may have lost its oldest records: opening at the horizon tells nothing."""
        if self._iterator is not None or self._open_at != TRIM_HORIZON or self.gap is not None or self.since is None:
            return False
        return unix_now - self.since >= self._tuning.stale_after_seconds

    def _take_page(self, call: Read, page: Page, now: float) -> list[events.Event]:
        self._iterator = page.next_iterator
        self.ended = page.next_iterator is None
        self.errand.succeed(self.errand.sent_at + self._pause(page, now))
        if page.entries:
            self._empty_asked_at.clear()
            self.buffer.extend(page, now)
            self._allowance.take(page.size_bytes)
            self._open_at = self.buffer.tail
            return []
        self._empty_asked_at.append(self.errand.sent_at)
        sure = self._idle and len(self._empty_asked_at) == SURE_PAGES
        if sure and not self.ended and not self.buffer and not self.lossy:
            self.since = max(self.since or 0.0, self._empty_asked_at[0] + self._tuning.wall_offset_seconds)
        return [events.CaughtUp(call.lease)]

    def _pause(self, page: Page, now: float) -> float:
        """At most one read a poll interval; rarely when no record has come for a while."""
        tuning = self._tuning
        if page.entries:
            self._idle_since = None
        elif self._idle_since is None:
            self._idle_since = now
        self._idle = self._idle_since is not None and now - self._idle_since >= tuning.idle_after_seconds
        return max(tuning.poll_interval_seconds, tuning.idle_poll_interval_seconds if self._idle else 0.0)
