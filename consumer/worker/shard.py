"""The shard machine: poll, fold, commit, for one shard under one lease. It names calls and is told their replies.

At most one read and one commit are under way; that is the look-ahead. Nothing here does I/O or knows a clock:
`now` is monotonic seconds, given with every step.
"""

from collections.abc import Collection
from enum import StrEnum
from math import inf

from consumer.domain.breaker import Circuit
from consumer.domain.errors import Trouble, TroubleKind
from consumer.domain.leaderboard import Unit
from consumer.domain.leases import Lease, LeaseRow
from consumer.domain.outcomes import Children, Committed, Done, Lost, Refused, StreamListing
from consumer.domain.ports import Backoff
from consumer.domain.records import Poison
from consumer.worker import events
from consumer.worker.attempt import Attempt
from consumer.worker.calls import (
    Commit,
    EndShard,
    Examine,
    FindChildren,
    Halt,
    Open,
    Read,
    RecordGap,
    Release,
    Reply,
    ShardCall,
)
from consumer.worker.common import Common
from consumer.worker.ending import Ending
from consumer.worker.errand import Errand
from consumer.worker.reader import Reader
from consumer.worker.tuning import Tuning


class State(StrEnum):
    """What an operator is shown of a shard."""

    RUNNING = "running"
    ENDING = "ending"
    DRAINING = "draining"
    HALTED = "halted"
    GONE = "gone"


class ShardMachine:
    """One shard under one lease. `ready` hands out calls, each of which must be answered through `take`."""

    def __init__(
        self, row: LeaseRow, lease: Lease, floor: float | None, tuning: Tuning, common: Common, backoff: Backoff
    ) -> None:
        self.lease = lease
        self.state = State.RUNNING if row.circuit.halted_at is None else State.HALTED
        self.checkpoint = row.checkpoint
        self.row_missing = False
        self._created = row.created
        self._tuning = tuning
        self._backoff = backoff
        self._reader = Reader(row, floor, tuning, common.allowance)
        self._committing = Errand()
        self._attempt = Attempt(common.dates, tuning.breaker, row.circuit)
        self._ending = Ending(lease.shard)

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
        if self.state in (State.RUNNING, State.ENDING) or (self.state is State.HALTED and not self.row_missing):
            self.state = State.DRAINING

    def resume(self, row: LeaseRow) -> None:
        """A person has closed the circuit."""
        self._attempt.circuit = row.circuit
        self._committing.at = 0.0
        if self.state is State.HALTED and not self.row_missing:
            self.state = State.RUNNING

    def its_turn(self, commit: Commit, busy: Collection[str], now: float) -> Commit:
        """A commit that waited is to be sent now: with what has come meanwhile, but nothing of a `busy` player."""
        self._attempt.grow(self._reader.buffer, busy, self._unix(now))
        grown = self._next_commit(now)
        return grown if isinstance(grown, Commit) else commit

    def again(self, commit: Commit, now: float) -> Commit | None:
        """The same unit at once again, after an answer that changed what is sent of it: it keeps its turn."""
        if self.state is not State.RUNNING or self._attempt.unit is not commit.unit or not self._committing.ready(now):
            return None
        call = self._next_commit(now)
        if not isinstance(call, Commit):
            return None
        self._committing.send(now)
        return call

    def recall(self) -> None:
        """A commit that was named was not sent after all."""
        self._committing.land()
        self._committing.at = 0.0

    def hear(self, listing: StreamListing, now: float) -> None:
        """A listing of the stream: it shows children that the filter did not, and that the stream itself answers."""
        self._reader.absence.stream_answered(now)
        if self.state is State.ENDING and self._ending.hear(listing):
            self._committing.succeed(now)

    def miss_stream(self, now: float) -> None:
        """The stream is gone, and a later one answers in its place."""
        self._reader.absence.stream_answered(now)

    def close(self) -> None:
        """It is not worked any more."""
        self._reader.close()

    @property
    def circuit(self) -> Circuit:
        """The breaker's, as this worker knows it."""
        return self._attempt.circuit

    @property
    def leaving(self) -> bool:
        """Whether the lease is being given back."""
        return self.state is State.DRAINING

    @property
    def hides_children(self) -> bool:
        """Whether its end waits for children that nobody has shown yet."""
        return self.state is State.ENDING and self._ending.children is None and self._committing.failures > 0

    def lag_seconds(self, unix_now: float) -> float | None:
        """Age of the oldest record known and not committed; 0 after two empty pages running; None: not known yet."""
        oldest = self._reader.buffer.oldest_created
        if oldest is None and self._reader.caught_up and self.state is not State.HALTED:
            return 0.0
        since = self._reader.since if oldest is None else oldest
        return max(0.0, unix_now - since) if since is not None else None

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
        created = self._created if reader.lossy else reader.since
        return self._ending.next_call(self.lease, self.checkpoint, created)

    def _unix(self, now: float) -> float:
        return now + self._tuning.wall_offset_seconds

    def take(self, call: ShardCall, reply: Reply, now: float) -> list[events.Event]:
        """Learns what became of a call it named."""
        reads = isinstance(call, Open | Read | RecordGap)
        errand = self._reader.errand if reads else self._committing
        errand.land()
        if self.state in (State.HALTED, State.GONE):
            return []
        if isinstance(reply, Trouble):
            if reads:
                self._reader.doubt(reply.kind)
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
            case ((Commit() | Halt() | EndShard()), Lost()):
                return self._lose(reply.row, now)
            case Halt(), Done():
                if self.state is not State.DRAINING:
                    self.state = State.HALTED
                return [events.ShardHalted(self.lease.shard, self.checkpoint, row_missing=False)]
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
                self._ending.leave_out(reply.existing)
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
        self._reader.drop(unit.records)
        self._reader.since = max(self._reader.since or 0.0, min(unit.created, self._unix(now)))
        self._attempt.settle(unit)
        self._committing.succeed(now)
        return [events.UnitCommitted(self.lease, unit, seconds, settled)]

    def _is_mine(self, row: LeaseRow) -> bool:
        return row.owner == self.lease.owner and row.epoch == self.lease.epoch

    def _lose(self, row: LeaseRow | None, now: float) -> list[events.Event]:
        """The row stands elsewhere than we thought: with nobody, with somebody else, at its end, or further on."""
        if row is None:
            self.state = State.HALTED
            self.row_missing = True
            return [events.ShardHalted(self.lease.shard, self.checkpoint)]
        if not self._is_mine(row):
            self.state = State.GONE
            return [events.LeaseLost(self.lease, row.owner)]
        if row.finished:
            self.state = State.GONE
            return [events.ShardEnded(self.lease, row.children, ())]
        self.checkpoint = row.checkpoint
        self._reader.since = row.created
        self._attempt.circuit = row.circuit
        self._ending.children = None
        if self.state is not State.DRAINING:
            self.state = State.RUNNING if row.circuit.halted_at is None else State.HALTED
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
        """None visible yet: look again soon; a listing may show them before that."""
        if self._ending.take(children, gone=self._reader.gone):
            self._committing.succeed(now)
        else:
            self._committing.fail(now, self._backoff.delay(min(self._committing.failures + 1, 4)))

    def _retry(
        self, errand: Errand, call: ShardCall, kind: TroubleKind, detail: str, now: float
    ) -> events.RetryScheduled:
        delay = self._backoff.delay(errand.failures + 1)
        errand.fail(now, delay, f"{type(call).__name__} fails: {kind}: {detail}")
        return events.RetryScheduled(type(call).__name__, kind, detail, errand.failures, delay, self.lease)
