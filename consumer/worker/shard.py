"""The shard machine: poll, fold, commit, for one shard under one lease. It names calls and is told their replies.

At most one read and one commit are under way; that is the look-ahead. Nothing here does I/O or knows a clock:
`now` is monotonic seconds, given with every step.
"""

from dataclasses import dataclass
from enum import StrEnum
from math import inf
from typing import Final

from consumer.domain.errors import DataTrimmed, IteratorExpired, Trouble, TroubleKind
from consumer.domain.leaderboard import Limits, Unit, cut
from consumer.domain.leases import Lease, LeaseRow, Shard
from consumer.domain.outcomes import Children, Committed, Done, Lost, Page, Refused
from consumer.domain.ports import Backoff
from consumer.domain.position import TRIM_HORIZON
from consumer.worker import events
from consumer.worker.buffer import Buffer
from consumer.worker.calls import (
    Commit,
    EndShard,
    FindChildren,
    Open,
    Read,
    RecordGap,
    Release,
    Reply,
    ShardCall,
)
from consumer.worker.errand import Errand

PATIENT_CONFLICTS: Final = 2
"""Conflicts in a row after which the unit is halved: fewer rows, fewer fights."""
UNLIMITED_RECORDS: Final = 10_000
"""A unit that has grown back to this many records is not limited any more."""


@dataclass(frozen=True, slots=True)
class Tuning:
    """How a shard is worked. `wall_offset_seconds` added to monotonic time gives unix time, for annotations only."""

    poll_interval_seconds: float = 0.2
    batch_window_seconds: float = 0.0
    ignored_window_seconds: float = 5.0
    lookahead_bytes: int = 4_000_000
    wall_offset_seconds: float = 0.0


class State(StrEnum):
    """What an operator is shown of a shard."""

    RUNNING = "running"
    ENDING = "ending"
    DRAINING = "draining"
    HALTED = "halted"
    GONE = "gone"


class ShardMachine:
    """One shard under one lease. `ready` hands out calls, each of which must be answered through `take`."""

    def __init__(self, row: LeaseRow, lease: Lease, floor: float | None, tuning: Tuning, backoff: Backoff) -> None:
        self.lease = lease
        self.state = State.RUNNING
        self.checkpoint = row.checkpoint
        self.floor = floor
        self._tuning = tuning
        self._backoff = backoff
        self._buffer = Buffer(row.checkpoint)
        self._reading = Errand()
        self._committing = Errand()
        self._iterator: str | None = None
        self._open_at = row.checkpoint
        self._trimmed = False
        self._gap: str | None = None
        self._exhausted = False
        self._children: Children | None = None
        self._existing: frozenset[str] = frozenset()
        self._unit: Unit | None = None
        self._later: frozenset[str] = frozenset()
        self._unit_sent_at: float | None = None
        self._open_ended = False
        self._conflicts = 0
        self._most_records: int | None = None
        self._empty_pages = 0
        self._created = row.created

    # --- what to do next ---

    def ready(self, now: float, *, vouched: bool = True) -> list[ShardCall]:
        """The calls to start now; the caller owes a reply for each. Without a written beat nothing is committed."""
        calls: list[ShardCall] = []
        if self.state in (State.HALTED, State.GONE):
            return calls
        if self._reading.ready(now) and (read := self._next_read(now)):
            self._reading.send(now)
            calls.append(read)
        if vouched and self._committing.ready(now) and (commit := self._next_commit(now)):
            self._committing.send(now)
            calls.append(commit)
        return calls

    def wake_at(self, *, vouched: bool = True) -> float:
        """When to ask `ready` again if no reply comes before."""
        if self.state in (State.HALTED, State.GONE):
            return inf
        reads = self._reading.wake_at if self._wants_page() else inf
        commits = max(self._committing.wake_at, self._commit_due()) if vouched else inf
        return min(reads, commits)

    def drain(self) -> None:
        """Reads no more, settles the commit under way, then releases the lease."""
        if self.state in (State.RUNNING, State.ENDING):
            self.state = State.DRAINING

    def lag_seconds(self, unix_now: float) -> float | None:
        """Age of the oldest record known and not committed; 0 after two empty pages running; None: not known yet."""
        if (oldest := self._buffer.oldest_created) is not None:
            return max(0.0, unix_now - oldest)
        if self._empty_pages >= 2 or self._exhausted:
            return 0.0
        return max(0.0, unix_now - self._created) if self._created is not None else None

    def _wants_page(self) -> bool:
        if self.state is not State.RUNNING or self._exhausted:
            return False
        if self._trimmed:
            return not self._buffer
        return self._buffer.size_bytes < self._tuning.lookahead_bytes

    def _next_read(self, now: float) -> ShardCall | None:
        if not self._wants_page():
            return None
        if self._trimmed:
            return RecordGap(self.lease, self.checkpoint, now + self._tuning.wall_offset_seconds)
        if self._iterator is None:
            return Open(self.lease, self._open_at)
        return Read(self.lease, self._iterator, self._buffer.tail, self.floor)

    def _commit_due(self) -> float:
        """From when on there is something to commit, to end or to release; inf while there is nothing."""
        if self._unit is not None or self.state is State.DRAINING:
            return 0.0
        if not self._buffer:
            return 0.0 if self._exhausted else inf
        if self._exhausted or self._trimmed or self._buffer.size_bytes >= self._tuning.lookahead_bytes:
            return 0.0
        tuning = self._tuning
        window = tuning.ignored_window_seconds if self._buffer.idle else tuning.batch_window_seconds
        return self._buffer.since + window

    def _next_commit(self, now: float) -> ShardCall | None:
        if now < self._commit_due():
            return None
        if self.state is State.DRAINING and not self._open_ended:
            return Release(self.lease)
        if self._unit is None and self._buffer:
            limits = Limits(records=self._most_records)
            self._unit = cut(self._buffer, self.checkpoint, limits, now + self._tuning.wall_offset_seconds)
            self._later = frozenset()
            self._unit_sent_at = now
        if self._unit is not None:
            return Commit(self.lease, self._unit, self._later, self._gap == self._unit.previous)
        if self.state is State.RUNNING:
            self.state = State.ENDING
        if self._children is None:
            return FindChildren(self.lease)
        return self._end(self._children)

    def _end(self, children: Children) -> EndShard:
        """A new row's epoch starts at the seconds since 1970, so that a row made again is above all before it."""
        rows = tuple(
            LeaseRow(
                Shard(self.lease.shard.stream_arn, child),
                self.lease.owner,
                int(children.served_at),
                TRIM_HORIZON,
                parent=self.lease.shard.shard_id,
            )
            for child in children.shard_ids
            if child not in self._existing
        )
        return EndShard(self.lease, self.checkpoint, children.shard_ids, rows)

    # --- what an answer means ---

    def take(self, call: ShardCall, reply: Reply, now: float) -> list[events.Event]:
        """Learns what became of a call it named."""
        reads = isinstance(call, Open | Read | RecordGap)
        errand = self._reading if reads else self._committing
        errand.land()
        if self.state in (State.HALTED, State.GONE):
            return []
        if isinstance(reply, Trouble):
            self._open_ended |= isinstance(call, Commit | EndShard)
            return [self._retry(errand, call, reply.kind, reply.detail, now)]
        if reads and not self._still_asked(call):
            errand.succeed(now)
            return []
        match call, reply:
            case Read(), Page():
                return self._take_page(reply, now)
            case Read(), IteratorExpired():
                self._iterator = None
                errand.succeed(now)
            case Open(), str():
                self._iterator = reply
                errand.succeed(now)
            case ((Open() | Read()), DataTrimmed()):
                self._iterator = None
                self._trimmed = True
                errand.succeed(now)
            case RecordGap(), bool():
                self._trimmed = False
                self._gap = self.checkpoint
                self._open_at = TRIM_HORIZON
                errand.succeed(now)
                return [events.GapFound(self.lease, self.checkpoint, reply)]
            case Commit(), Committed():
                return self._settle(call.unit, now, settled=False)
            case Commit(), Lost() if reply.row and self._is_mine(reply.row) and reply.row.checkpoint == call.unit.last:
                return self._settle(call.unit, now, settled=True)
            case EndShard(), Committed():
                self.state = State.GONE
                return [events.ShardEnded(self.lease, call.children, call.rows)]
            case ((Commit() | EndShard()), Lost()) if reply.row and self._is_mine(reply.row) and reply.row.finished:
                self.state = State.GONE
                return [events.ShardEnded(self.lease, reply.row.children, ())]
            case ((Commit() | EndShard()), Lost()):
                return self._lose(reply, now)
            case ((Commit() | EndShard()), Refused()):
                return self._refused(call, reply, now)
            case FindChildren(), Children():
                return self._take_children(reply, now)
            case Release(), Done():
                self.state = State.GONE
                return [events.LeaseReleased(self.lease)]
            case _:
                raise AssertionError(f"{type(reply).__name__} is no answer to {type(call).__name__}")
        return []

    def _still_asked(self, call: ShardCall) -> bool:
        """Whether a read's question is still ours: not one of before a rewind. A page must follow what is buffered."""
        match call:
            case Open():
                return self._iterator is None and call.after == self._open_at
            case Read():
                return call.iterator == self._iterator and call.after == self._buffer.tail
            case RecordGap():
                return self._trimmed and call.checkpoint == self.checkpoint
            case _:
                return False

    def _take_page(self, page: Page, now: float) -> list[events.Event]:
        self._iterator = page.next_iterator
        self._exhausted = page.next_iterator is None
        self._buffer.extend(page, now)
        self._open_at = self._buffer.tail if page.entries else self._open_at
        self._empty_pages = 0 if page.entries else self._empty_pages + 1
        self._reading.succeed(now if page.entries else now + self._tuning.poll_interval_seconds)
        return [] if page.entries else [events.CaughtUp(self.lease)]

    def _settle(self, unit: Unit, now: float, *, settled: bool) -> list[events.Event]:
        """The unit is in, by this attempt or by an earlier one whose answer was lost."""
        seconds = now - (self._unit_sent_at if self._unit_sent_at is not None else now)
        self.checkpoint = unit.last
        self._created = unit.created
        self._buffer.drop(unit.records)
        self._gap = None
        self._forget_unit()
        self._conflicts = 0
        if self._most_records is not None:
            self._most_records = None if self._most_records >= UNLIMITED_RECORDS else self._most_records * 2
        self._committing.succeed(now)
        return [events.UnitCommitted(self.lease, unit, seconds, settled)]

    def _forget_unit(self) -> None:
        self._unit = None
        self._open_ended = False
        self._unit_sent_at = None

    def _is_mine(self, row: LeaseRow) -> bool:
        return row.owner == self.lease.owner and row.epoch == self.lease.epoch

    def _lose(self, reply: Lost, now: float) -> list[events.Event]:
        row = reply.row
        if row is None:
            self.state = State.HALTED
            return [events.ShardHalted(self.lease.shard, self.checkpoint)]
        if not self._is_mine(row):
            self.state = State.GONE
            return [events.LeaseLost(self.lease, row.owner)]
        self.checkpoint = self._open_at = row.checkpoint
        self._buffer = Buffer(row.checkpoint)
        self._iterator = self._children = self._gap = None
        self._exhausted = self._trimmed = False
        self._created, self._empty_pages = row.created, 0
        if self.state is State.ENDING:
            self.state = State.RUNNING
        self._forget_unit()
        self._reading.at = now
        self._committing.succeed(now)
        return [events.ShardRewound(self.lease, row.checkpoint)]

    def _refused(self, call: Commit | EndShard, reply: Refused, now: float) -> list[events.Event]:
        """Cancelled for a reason that the lease has no part in."""
        if reply.invalid is not None:
            return [self._retry(self._committing, call, TroubleKind.REJECTED, reply.invalid, now)]
        self._existing |= reply.existing
        self._later |= reply.later
        if not reply.conflict:
            self._committing.succeed(now)
            return []
        self._conflicts += 1
        if isinstance(call, Commit) and self._conflicts > PATIENT_CONFLICTS and call.unit.records > 1:
            self._most_records = call.unit.records // 2
            self._unit = None
            self._conflicts = 0
        return [self._retry(self._committing, call, TroubleKind.CONFLICT, "a row is held by another write", now)]

    def _take_children(self, children: Children, now: float) -> list[events.Event]:
        if children.shard_ids or children.leaf:
            self._children = children
            self._committing.succeed(now)
            return []
        self._committing.fail(now, self._backoff.delay(min(self._committing.failures + 1, 4)))
        return []

    def _retry(
        self, errand: Errand, call: ShardCall, kind: TroubleKind, detail: str, now: float
    ) -> events.RetryScheduled:
        delay = self._backoff.delay(errand.failures + 1)
        errand.fail(now, delay)
        return events.RetryScheduled(type(call).__name__, kind, detail, errand.failures, delay, self.lease)
