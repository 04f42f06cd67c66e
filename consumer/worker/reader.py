"""Reading ahead: a shard's buffer of decoded records, and the reader that fills it while earlier records commit."""

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Final

from consumer.domain.errors import DataTrimmed, FailureKind, IteratorExpired
from consumer.domain.fold import Unit
from consumer.domain.leases import TRIM_HORIZON, Lease, LeaseRow, enabled_at
from consumer.domain.lineage import GoneEvidence, uncommitted_since
from consumer.domain.records import Correction, Entry, Game, Ignored, Poison
from consumer.domain.replies import Page
from consumer.worker import events
from consumer.worker.call_timer import CallTimer
from consumer.worker.calls import Reply
from consumer.worker.shard_calls import PAGE_RECORDS, Open, Read, RecordGap
from consumer.worker.tuning import Tuning

CAUGHT_UP_PAGES: Final = 2
"""Consecutive empty pages after which a shard that is read at its tip has no lag."""
SURE_PAGES: Final = 8
"""Consecutive empty pages that prove something if they also took long enough: empty pages come before data too, and on
a slow stream two of them can be a long time apart.
"""
SCANT_RECORDS: Final = 100
"""The limit of a page while the read-ahead budget is spent: enough to make progress."""


class ReadAheadBudget:
    """The bytes that all shards of a worker together may have read and not committed."""

    def __init__(self, total_bytes: int) -> None:
        self._left_bytes = total_bytes

    def take(self, size_bytes: int) -> None:
        """A page of this size was read."""
        self._left_bytes -= size_bytes

    def give_back(self, size_bytes: int) -> None:
        """A page of this size is committed or dropped."""
        self._left_bytes += size_bytes

    @property
    def spent(self) -> bool:
        """Whether a shard should read only what it needs to make progress."""
        return self._left_bytes <= 0


@dataclass(slots=True)
class _BufferedPage:
    """How many `records` of a page are still in the buffer; its bytes count until none is."""

    records: int
    size_bytes: int
    arrived_at: float


class Buffer:
    """Records that were read and not committed, in order. `tail` is the position that the next page must follow."""

    def __init__(self, position: str, budget: ReadAheadBudget) -> None:
        self.tail = position
        self._budget = budget
        self._entries: deque[Entry] = deque()
        self._pages: deque[_BufferedPage] = deque()
        self._size_bytes = 0
        self._ignored = 0

    def __len__(self) -> int:
        return len(self._entries)

    def __iter__(self) -> Iterator[Entry]:
        return iter(self._entries)

    @property
    def size_bytes(self) -> int:
        """Bytes of the pages whose records are not all committed."""
        return self._size_bytes

    @property
    def only_ignored(self) -> bool:
        """Whether it holds nothing but ignored records."""
        return self._ignored == len(self._entries)

    @property
    def oldest_arrived_at(self) -> float:
        """When the oldest entry arrived (monotonic seconds)."""
        return self._pages[0].arrived_at

    @property
    def oldest_created(self) -> float | None:
        """When the oldest entry was created (unix seconds)."""
        return self._entries[0].created if self._entries else None

    def oldest(self) -> Entry:
        """The oldest entry."""
        return self._entries[0]

    def extend(self, page: Page, now: float) -> None:
        """Adds a page that follows `tail`."""
        if not page.entries:
            return
        self._entries.extend(page.entries)
        self._ignored += _ignored(page.entries)
        self._pages.append(_BufferedPage(len(page.entries), page.size_bytes, now))
        self._size_bytes += page.size_bytes
        self._budget.take(page.size_bytes)
        self.tail = page.entries[-1].sequence_number

    def replace_oldest(self, entry: Game | Correction | Poison) -> None:
        """The oldest entry turned out to be poison, or to be a game all the same."""
        self._entries[0] = entry

    def drop(self, records: int) -> None:
        """Removes the oldest `records` entries: they are committed."""
        if self._ignored:
            self._ignored -= _ignored(islice(self._entries, records))
        for _ in range(records):
            self._entries.popleft()
        while records:
            page = self._pages[0]
            dropped = min(records, page.records)
            page.records -= dropped
            records -= dropped
            if not page.records:
                self._pages.popleft()
                self._size_bytes -= page.size_bytes
                self._budget.give_back(page.size_bytes)

    def clear(self, position: str) -> None:
        """Removes all entries, committed or not; the next page must follow `position`."""
        self._budget.give_back(self._size_bytes)
        self._entries.clear()
        self._pages.clear()
        self._size_bytes = self._ignored = 0
        self.tail = position


def _ignored(entries: Iterable[Entry]) -> int:
    return sum(1 for entry in entries if type(entry) is Ignored)


ReadCall = Open | Read | RecordGap


class Reader:
    """The reading half of a shard: fills the buffer, bounded in bytes.

    `ended`: no records come after the buffered ones. `gap`: the checkpoint of a recorded gap, until the unit that
    follows it is committed. `created_after`: every record that is not committed was created after it (unix seconds), or
    before the stream was first listed. `uncommitted_since`: after it, without exception; None: not known.
    `at_tip`: it is known to read new records as they come. An iterator that is opened again has to prove that again.
    `behind`: the last page was full, so that the next one has records too.
    """

    def __init__(
        self, row: LeaseRow, start_time: float | None, buffer: Buffer, budget: ReadAheadBudget, tuning: Tuning
    ) -> None:
        self.timer = CallTimer()
        self.gone_evidence = GoneEvidence()
        self.ended = False
        self.gap: str | None = None
        self.at_tip = False
        self.behind = False
        self.created_after = row.created
        self.uncommitted_since = uncommitted_since(row, start_time)
        self._first_created_after = row.created
        self._start_time = start_time
        self._buffer = buffer
        self._tuning = tuning
        self._budget = budget
        self._iterator: str | None = None
        self._open_at = row.checkpoint
        self._trimmed = False
        self._found_gap = False
        self._empty_asked_at: deque[float] = deque(maxlen=SURE_PAGES)
        self._asked_at = 0.0
        self._empty_since: float | None = None
        self._proven_empty_at: float | None = None
        self._enabled_at = enabled_at(row.shard.stream_arn)
        self._longest_pause = max(tuning.poll_interval_seconds, tuning.idle_poll_interval_seconds)
        self._longest_silence = self._longest_pause + tuning.caught_up_after_seconds

    @property
    def waits_for_commits(self) -> bool:
        """Whether it cannot go on before buffered records are committed."""
        return self.waits_for_checkpoint or self._full

    @property
    def waits_for_checkpoint(self) -> bool:
        """Whether what comes next, the shard's end or a gap, is written behind its last record."""
        return self.ended or self._trimmed

    @property
    def caught_up(self) -> bool:
        """Whether the stream has nothing more."""
        return self.ended or (self.at_tip and len(self._empty_asked_at) >= CAUGHT_UP_PAGES)

    @property
    def gone(self) -> bool:
        """Whether the stream has no such shard any more."""
        return self.gone_evidence.proven

    @property
    def children_created_after(self) -> float | None:
        """The records of the shard's children were created after it (unix seconds).

        Records lost in a gap may have been older than any that was read, and so may those of the children.
        """
        return self._first_created_after if self._found_gap else self.created_after

    def committed(self, unit: Unit, unix_now: float) -> None:
        """The unit is committed."""
        self.gap = None
        self._created_after(min(unit.created, unix_now))

    @property
    def wants_call(self) -> bool:
        """Whether a call is needed. A gap is recorded only when all records before it are committed."""
        if self._trimmed or self.gone:
            return not self._buffer and not self.ended
        return not self.ended and not self._full

    def next_call(self, lease: Lease, checkpoint: str, unix_now: float) -> ReadCall:
        """The next call of the reading half."""
        self._trimmed |= self.gone or self.may_be_trimmed(unix_now)
        if self._trimmed:
            return RecordGap(lease, checkpoint, unix_now)
        if self._iterator is None:
            return Open(lease, self._open_at)
        limit = SCANT_RECORDS if self._budget.spent else PAGE_RECORDS
        return Read(lease, self._iterator, self._buffer.tail, self._start_time, limit)

    def take(self, call: ReadCall, reply: Reply, now: float) -> list[events.Event]:
        """Takes any reply but CallFailed. A reply to a call made before a rewind is dropped."""
        if not self.is_current(call):
            self.timer.succeed(now)
            return []
        match call, reply:
            case Read(), Page():
                return self._take_page(call, reply, now)
            case Read(), IteratorExpired():
                self._iterator = None
            case Open(), str():
                self._iterator = reply
                self.gone_evidence.found()
                self.forget_tip(self.timer.sent_at)
            case ((Open() | Read()), DataTrimmed()):
                self._iterator = None
                self._trimmed = not self.nothing_trimmed(now + self._tuning.wall_offset_seconds)
                self.timer.succeed(now if self._trimmed else now + self._tuning.poll_interval_seconds)
                return []
            case RecordGap(), bool():
                self.read_on_after_gap(call.checkpoint)
                self.timer.succeed(now)
                return [events.GapFound(call.lease.shard, call.checkpoint, reply)]
            case _:
                raise AssertionError(f"{type(reply).__name__} is no reply to {type(call).__name__}")
        self.timer.succeed(now)
        return []

    def is_current(self, call: ReadCall) -> bool:
        """Whether a reply to `call` is still of use: a page must follow what is buffered."""
        match call:
            case Open():
                return self._iterator is None and call.after == self._open_at
            case Read():
                return call.iterator == self._iterator and call.after == self._buffer.tail
            case RecordGap():
                return self._trimmed and call.checkpoint == self._buffer.tail

    def call_failed(self, kind: FailureKind, now: float) -> None:
        """A refused iterator will always be refused; opening a new one shows whether the shard is gone.

        When calls have failed for long, the shard is not known to be read to its newest record any more.
        """
        if now - self._asked_at > self._longest_silence:
            self.at_tip = False
        if self._iterator is None and kind is FailureKind.MISSING:
            self.gone_evidence.refused()
        if kind in (FailureKind.MISSING, FailureKind.REJECTED):
            self._iterator = None

    def may_be_trimmed(self, unix_now: float) -> bool:
        """Whether a shard that was never read is old enough to have lost records. Opening at the horizon hides that."""
        if self._iterator is not None or self._open_at != TRIM_HORIZON or self.gap is not None:
            return False
        return self.created_after is not None and unix_now - self.created_after >= self._tuning.stale_after_seconds

    def nothing_trimmed(self, unix_now: float) -> bool:
        """Whether no record of the shard can have been trimmed, whatever AWS replies: then it is opened again.

        Only while none was ever read: every record there may be is then younger than the stream, or than the moment at
        which the shard was surely empty. DynamoDB Local calls the iterator of an empty shard trimmed at the first
        record.
        """
        if self._buffer.tail != TRIM_HORIZON or self.gap is not None:
            return False
        empty_at = self._proven_empty_at
        proofs = [self._enabled_at, None if empty_at is None else empty_at + self._tuning.wall_offset_seconds]
        younger_than = max((proof for proof in proofs if proof is not None), default=None)
        return younger_than is not None and unix_now - younger_than < self._tuning.stale_after_seconds

    def read_on_after_gap(self, checkpoint: str) -> None:
        """The gap after `checkpoint` is recorded: reads on from the oldest record there is, if the shard is there."""
        self._trimmed = False
        self._found_gap = True
        self.gap = checkpoint
        self._open_at = TRIM_HORIZON
        self.ended = self.gone

    def rewind(self, row: LeaseRow, now: float) -> None:
        """Drops everything that was read, and starts again from where the row stands."""
        self._buffer.clear(row.checkpoint)
        self.created_after = row.created
        self.uncommitted_since = uncommitted_since(row, self._start_time)
        self._open_at = row.checkpoint
        self._iterator = self.gap = None
        self.ended = self._trimmed = False
        self.forget_tip(now)
        self.timer.at = now

    def forget_tip(self, asked_at: float) -> None:
        """What was read until now does not show whether the next page is at the tip."""
        self.at_tip = False
        self._empty_asked_at.clear()
        self._empty_since = None
        self._asked_at = asked_at

    @property
    def _full(self) -> bool:
        """Whether enough is read ahead."""
        size_bytes, records = self._buffer.size_bytes, len(self._buffer)
        if size_bytes >= self._tuning.lookahead_bytes or (size_bytes > 0 and self._budget.spent):
            return True
        return records >= self._tuning.lookahead_records and not self._buffer.only_ignored

    def _take_page(self, call: Read, page: Page, now: float) -> list[events.Event]:
        """At most one read per poll interval; fewer at the tip when no record has come for a while."""
        tuning, asked_at = self._tuning, self.timer.sent_at
        self._iterator = page.next_iterator
        self.ended = page.next_iterator is None
        self.behind = len(page.entries) >= call.limit
        if asked_at - self._asked_at > self._longest_silence:
            self.forget_tip(asked_at)
        self._asked_at = asked_at
        if page.entries:
            self._take_records(page, now)
            self.timer.succeed(asked_at + tuning.poll_interval_seconds)
            return []
        self._take_empty_page(asked_at)
        idle = self.at_tip and self._empty_since is not None and now - self._empty_since >= tuning.idle_after_seconds
        self.timer.succeed(asked_at + (self._longest_pause if idle else tuning.poll_interval_seconds))
        return [events.CaughtUp(call.lease)]

    def _take_records(self, page: Page, now: float) -> None:
        """A recent record proves that what is read now has just been written."""
        self._empty_asked_at.clear()
        self._empty_since = None
        age_seconds = now + self._tuning.wall_offset_seconds - page.entries[-1].created
        self.at_tip = abs(age_seconds) <= self._tuning.recent_seconds
        self._buffer.extend(page, now)
        self._open_at = self._buffer.tail

    def _take_empty_page(self, asked_at: float) -> None:
        """A long run of empty pages proves what was there that long before the last of them, and nothing later."""
        tuning = self._tuning
        self._empty_asked_at.append(asked_at)
        if self._empty_since is None:
            self._empty_since = asked_at
        if len(self._empty_asked_at) < SURE_PAGES or asked_at - self._empty_since < tuning.caught_up_after_seconds:
            return
        self.at_tip = True
        self._proven_empty_at = min(self._empty_asked_at[0], asked_at - tuning.caught_up_after_seconds)
        if not self.ended and not self._buffer and not self._found_gap:
            self._created_after(self._proven_empty_at + tuning.wall_offset_seconds)

    def _created_after(self, at: float) -> None:
        self.created_after = max(self.created_after or 0.0, at)
        self.uncommitted_since = max(self.uncommitted_since or 0.0, at)
