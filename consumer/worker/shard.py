"""The shard machine: poll, fold, commit, for one shard under one lease. It names calls and is told their replies.

At most one read and one commit are under way; that is the look-ahead. Nothing here does I/O or knows a clock:
`now` is monotonic seconds, given with every step.
"""

from dataclasses import dataclass
from enum import StrEnum
from math import inf

from consumer.domain.errors import Trouble, TroubleKind
from consumer.domain.leaderboard import Unit
from consumer.domain.leases import Lease, LeaseRow, Shard
from consumer.domain.outcomes import Children, Committed, Done, Lost, Refused
from consumer.domain.ports import Backoff
from consumer.domain.position import TRIM_HORIZON
from consumer.domain.records import Poison
from consumer.worker import events
from consumer.worker.attempt import Attempt
from consumer.worker.calls import (
    Commit,
    EndShard,
    Examine,
    FindChildren,
    Open,
    Read,
    RecordGap,
    Release,
    Reply,
    ShardCall,
)
from consumer.worker.errand import Errand
from consumer.worker.reader import Reader


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
        self._created = row.created
        self._tuning = tuning
        self._backoff = backoff
        self._reader = Reader(row, floor, tuning.poll_interval_seconds, tuning.lookahead_bytes)
        self._committing = Errand()
        self._attempt = Attempt()
        self._children: Children | None = None
        self._existing: frozenset[str] = frozenset()

    # --- what to do next ---

    def ready(self, now: float, *, vouched: bool = True) -> list[ShardCall]:
        """The calls to start now; the caller owes a reply for each. Without a written beat nothing is committed."""
        calls: list[ShardCall] = []
        if self.state in (State.HALTED, State.GONE):
            return calls
        if self._reads and self._reader.errand.ready(now):
            self._reader.errand.send(now)
            calls.append(self._reader.next_call(self.lease, self.checkpoint, self._unix(now)))
        if vouched and self._committing.ready(now) and now >= self._commit_due():
            self._committing.send(now)
            calls.append(self._next_commit(now))
        return calls

    def wake_at(self, *, vouched: bool = True) -> float:
        """When to ask `ready` again if no reply comes before."""
        if self.state in (State.HALTED, State.GONE):
            return inf
        reads = self._reader.errand.wake_at if self._reads else inf
        commits = max(self._committing.wake_at, self._commit_due()) if vouched else inf
        return min(reads, commits)

    def drain(self) -> None:
        """Reads no more, settles the commit under way, then releases the lease."""
        if self.state in (State.RUNNING, State.ENDING):
            self.state = State.DRAINING

    def lag_seconds(self, unix_now: float) -> float | None:
        """Age of the oldest record known and not committed; 0 after two empty pages running; None: not known yet."""
        oldest = self._reader.buffer.oldest_created
        if oldest is None and self._reader.caught_up:
            return 0.0
        created = self._created if oldest is None else oldest
        return max(0.0, unix_now - created) if created is not None else None

    def troubles(self) -> set[str]:
        """What has failed for a while."""
        return {errand.trouble for errand in (self._reader.errand, self._committing) if errand.trouble}

    @property
    def _reads(self) -> bool:
        return self.state is State.RUNNING and self._reader.wants_page

    def _commit_due(self) -> float:
        """From when on there is something to commit, to end or to release; inf while there is nothing."""
        reader, buffer = self._reader, self._reader.buffer
        if self.state is State.DRAINING or self._attempt.unit is not None:
            return 0.0
        if not buffer:
            return 0.0 if reader.ended else inf
        if reader.ended or reader.trimmed or reader.full:
            return 0.0
        tuning = self._tuning
        return buffer.since + (tuning.ignored_window_seconds if buffer.idle else tuning.batch_window_seconds)

    def _next_commit(self, now: float) -> ShardCall:
        attempt, reader = self._attempt, self._reader
        if self.state is State.DRAINING and not attempt.open_ended:
            return Release(self.lease)
        if reader.buffer:
            return attempt.next_call(self.lease, reader.buffer, self.checkpoint, reader.gap, now, self._unix(now))
        if self.state is State.RUNNING:
            self.state = State.ENDING
        return FindChildren(self.lease) if self._children is None else self._end(self._children)

    def _end(self, children: Children) -> EndShard:
        """A new row's epoch starts at the seconds since 1970, so that a row made again is above all before it."""
        shard = self.lease.shard
        rows = tuple(
            LeaseRow(
                Shard(shard.stream_arn, child), self.lease.owner, int(children.served_at), TRIM_HORIZON, shard.shard_id
            )
            for child in children.shard_ids
            if child not in self._existing
        )
        return EndShard(self.lease, self.checkpoint, children.shard_ids, rows)

    def _unix(self, now: float) -> float:
        return now + self._tuning.wall_offset_seconds

    # --- what an answer means ---

    def take(self, call: ShardCall, reply: Reply, now: float) -> list[events.Event]:
        """Learns what became of a call it named."""
        reads = isinstance(call, Open | Read | RecordGap)
        errand = self._reader.errand if reads else self._committing
        errand.land()
        if self.state in (State.HALTED, State.GONE):
            return []
        if isinstance(reply, Trouble):
            self._attempt.open_ended |= isinstance(call, Commit | EndShard)
            if isinstance(call, Examine):
                self._attempt.doubt()
            return [self._retry(errand, call, reply.kind, reply.detail, now)]
        match call, reply:
            case ((Open() | Read() | RecordGap()), _):
                return self._reader.take(call, reply, now)
            case Commit(), Committed():
                return self._settle(call.unit, now, settled=False)
            case Commit(), Lost(LeaseRow() as row) if self._is_mine(row) and row.checkpoint == call.unit.last:
                return self._settle(call.unit, now, settled=True)
            case ((Commit() | EndShard()), Lost()):
                return self._lose(reply.row, now)
            case Commit(), Refused():
                kind = self._attempt.refuse(call.unit, reply, self._reader.buffer)
                return self._refused(call, reply, kind, now)
            case Examine(), Poison() | Done():
                self._attempt.judge(reply if isinstance(reply, Poison) else None, self._reader.buffer)
                errand.at = now
            case FindChildren(), Children():
                self._take_children(reply, now)
            case EndShard(), Committed():
                self.state = State.GONE
                return [events.ShardEnded(self.lease, call.children, call.rows)]
            case EndShard(), Refused():
                self._existing |= reply.existing
                kind = TroubleKind.CONFLICT if reply.conflict else TroubleKind.REJECTED if reply.invalid else None
                return self._refused(call, reply, kind, now)
            case Release(), Done():
                self.state = State.GONE
                return [events.LeaseReleased(self.lease)]
            case _:
                raise AssertionError(f"{type(reply).__name__} is no answer to {type(call).__name__}")
        return []

    def _settle(self, unit: Unit, now: float, *, settled: bool) -> list[events.Event]:
        """The unit is in, by this attempt or by an earlier one whose answer was lost."""
        seconds = now - self._attempt.sent_at
        self.checkpoint = unit.last
        self._created = unit.created
        self._reader.buffer.drop(unit.records)
        self._reader.gap = None
        self._attempt.settle(unit)
        self._committing.succeed(now)
        return [events.UnitCommitted(self.lease, unit, seconds, settled)]

    def _is_mine(self, row: LeaseRow) -> bool:
        return row.owner == self.lease.owner and row.epoch == self.lease.epoch

    def _lose(self, row: LeaseRow | None, now: float) -> list[events.Event]:
        """The row stands elsewhere than we thought: with nobody, with somebody else, at its end, or further on."""
        if row is None:
            self.state = State.HALTED
            return [events.ShardHalted(self.lease.shard, self.checkpoint)]
        if not self._is_mine(row):
            self.state = State.GONE
            return [events.LeaseLost(self.lease, row.owner)]
        if row.finished:
            self.state = State.GONE
            return [events.ShardEnded(self.lease, row.children, ())]
        self.checkpoint = row.checkpoint
        self._created = row.created
        self._children = None
        if self.state is State.ENDING:
            self.state = State.RUNNING
        self._attempt.forget()
        self._reader.rewind(row.checkpoint, now)
        self._committing.succeed(now)
        return [events.ShardRewound(self.lease, row.checkpoint)]

    def _refused(
        self, call: Commit | EndShard, reply: Refused, kind: TroubleKind | None, now: float
    ) -> list[events.Event]:
        """Cancelled for a reason that the lease has no part in: at once again, changed, or the same after a while."""
        if kind is None:
            self._committing.at = now
            return []
        return [self._retry(self._committing, call, kind, reply.invalid or "a row is held by another write", now)]

    def _take_children(self, children: Children, now: float) -> None:
        """None visible yet: look again soon."""
        if children.shard_ids or children.leaf:
            self._children = children
            self._committing.succeed(now)
        else:
            self._committing.fail(now, self._backoff.delay(min(self._committing.failures + 1, 4)))

    def _retry(
        self, errand: Errand, call: ShardCall, kind: TroubleKind, detail: str, now: float
    ) -> events.RetryScheduled:
        delay = self._backoff.delay(errand.failures + 1)
        errand.fail(now, delay, f"{type(call).__name__} fails: {kind}: {detail}")
        return events.RetryScheduled(type(call).__name__, kind, detail, errand.failures, delay, self.lease)
