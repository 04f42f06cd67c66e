"""A shard under a lease as a machine without I/O: it reads, commits, ends, halts, and gives the lease back.

Reading goes on while a unit commits: the reader fills a buffer, the writer commits what is in it.
"""

from collections.abc import Collection
from dataclasses import replace
from enum import StrEnum
from math import inf

from consumer.domain.accepted_rules import Reading
from consumer.domain.breaker import Circuit
from consumer.domain.errors import CallFailed
from consumer.domain.fold import Unit
from consumer.domain.leases import Lease, LeaseRow
from consumer.domain.lineage import lag_bound
from consumer.domain.ports import Backoff
from consumer.domain.records import Poison
from consumer.domain.replies import Children, Committed, Done, Lost, Refused, StreamListing
from consumer.worker import events
from consumer.worker.calls import Reply
from consumer.worker.commit_attempt import CommitAttempt
from consumer.worker.known_rows import KnownRows
from consumer.worker.reader import Buffer, ReadAheadBudget, Reader
from consumer.worker.row_writes import RowWrites
from consumer.worker.shard_calls import (
    Commit,
    EndShard,
    Examine,
    FindChildren,
    Halt,
    MoveCheckpoint,
    Open,
    Read,
    RecordGap,
    Release,
    RowCall,
    ShardCall,
)
from consumer.worker.tuning import Tuning
from consumer.worker.writer import Writer


class ShardState(StrEnum):
    """The state of a shard that a worker owns, as metrics and `status` show it."""

    RUNNING = "running"
    ENDING = "ending"
    DRAINING = "draining"
    HALTED = "halted"
    GONE = "gone"


class ShardMachine:
    """One shard under one lease. `ready` returns calls; the reply of each must be passed to `take`."""

    def __init__(
        self,
        row: LeaseRow,
        lease: Lease,
        start_time: float | None,
        tuning: Tuning,
        budget: ReadAheadBudget,
        known: KnownRows,
        backoff: Backoff,
        *,
        keyed: bool,
    ) -> None:
        """`budget` and `known` are shared by all shards of the worker. `keyed`: see CommitAttempt."""
        self.lease = lease
        self.state = ShardState.RUNNING if row.circuit.halted_at is None else ShardState.HALTED
        self.row_missing = False
        self._reading = row.reading
        self._tuning = tuning
        self._backoff = backoff
        self._buffer = Buffer(row.checkpoint, budget)
        row_writes = RowWrites(lease, known, backoff, tuning.writes_per_call)
        self._attempt = CommitAttempt(
            self._buffer, known, row_writes, tuning.breaker, row.circuit, row.shard.shard_id, keyed=keyed
        )
        self._reader = Reader(row, start_time, self._buffer, budget, tuning)
        self._writer = Writer(row, lease, self._reader, self._attempt, tuning, backoff)

    def ready(self, now: float, *, may_commit: bool = True) -> list[ShardCall]:
        """The calls to make now. Without `may_commit` (no heartbeat could be written) nothing is written."""
        calls: list[ShardCall] = []
        if self.state in (ShardState.HALTED, ShardState.GONE):
            return calls
        if self._reads and self._reader.timer.ready(now):
            self._reader.timer.send(now)
            calls.append(self._reader.next_call(self.lease, self.checkpoint, now + self._tuning.wall_offset_seconds))
        writer = self._writer
        if may_commit:
            calls += writer.calls(now)
            if self.state is ShardState.RUNNING and any(isinstance(call, FindChildren | EndShard) for call in calls):
                self.state = ShardState.ENDING
        return calls

    def wake_at(self, *, may_commit: bool = True) -> float:
        """When to call `ready` again if no reply comes before."""
        if self.state in (ShardState.HALTED, ShardState.GONE):
            return inf
        reads = self._reader.timer.wake_at if self._reads else inf
        writes = self._writer.wake_at if may_commit else inf
        return min(reads, writes)

    def drain(self) -> None:
        """Stops reading, settles the commit in flight, then releases the lease."""
        if self.state in (ShardState.RUNNING, ShardState.ENDING) or (
            self.state is ShardState.HALTED and not self.row_missing
        ):
            self.state = ShardState.DRAINING
            self._writer.releasing = True

    def resume(self, row: LeaseRow) -> None:
        """An operator has closed the circuit."""
        self._attempt.resume(row.circuit)
        self._writer.timer.at = 0.0
        if self.state is ShardState.HALTED and not self.row_missing:
            self.state = ShardState.RUNNING

    def grow(self, commit: Commit, held: Collection[str], now: float) -> Commit:
        """The commit to send instead of one that waited for its player locks; see Writer.grow."""
        grown = self._writer.grow(held, now)
        return grown if isinstance(grown, Commit) else commit

    def resend(self, commit: Commit, now: float) -> Commit | None:
        """The same unit again, if its reply says that it is to be sent at once: it keeps its player locks."""
        timer = self._writer.timer
        if self.state is not ShardState.RUNNING or self._attempt.unit is not commit.unit or not timer.ready(now):
            return None
        if not self._writer.ready:
            return None  # a row has another mark: the unit is cut again
        call = self._writer.next_call(now)
        if not isinstance(call, Commit):
            return None
        timer.send(now)
        return call

    def not_sent(self) -> None:
        """The commit that `ready` returned last was withdrawn before it was sent."""
        self._writer.not_sent()

    def on_listing(self, listing: StreamListing | None, now: float) -> None:
        """The stream answers. A listing may show children; None: the stream is gone, and its successor answers."""
        self._reader.gone_evidence.stream_answered(now)
        if listing is not None and self.state is ShardState.ENDING:
            self._writer.on_listing(listing, now)

    def close(self) -> None:
        """The worker does not own the shard any more."""
        self._buffer.clear(self.checkpoint)

    @property
    def checkpoint(self) -> str:
        """All records up to it are committed, as far as this worker knows."""
        return self._writer.checkpoint

    @property
    def _passed_on(self) -> Reading:
        """What children that are found late get from this shard."""
        return self._reading._replace(ignored=self.circuit.ignored)

    @property
    def circuit(self) -> Circuit:
        """The breaker's circuit, as far as this worker knows it."""
        return self._attempt.circuit

    @property
    def releasing(self) -> bool:
        """Whether the lease is being given back."""
        return self.state is ShardState.DRAINING

    @property
    def waits_for_children(self) -> bool:
        """Whether the shard has ended and none of its children is visible yet."""
        return self.state is ShardState.ENDING and self._writer.waits_for_children

    def lag_seconds(self, unix_now: float) -> float:
        """Age of the oldest record read and not committed; 0 when caught up. Not `lag_known`: an upper bound."""
        since = self._buffer.oldest_created
        if since is None:
            if self._reader.caught_up and self.state is not ShardState.HALTED:
                return 0.0
            return lag_bound(self._reader.uncommitted_since, unix_now)
        return max(0.0, unix_now - since)

    @property
    def lag_known(self) -> bool:
        """Whether it is certain that there are no older records than those that were read."""
        reader = self._reader
        return bool(self._buffer) or (self.state is not ShardState.HALTED and (reader.at_tip or reader.ended))

    def lasting_failures(self) -> set[str]:
        """Calls that have failed for a while, and why."""
        failures = {timer.failure for timer in (self._reader.timer, self._writer.timer) if timer.failure}
        return failures | self._attempt.row_writes.lasting_failures()

    @property
    def _reads(self) -> bool:
        reader = self._reader
        may_read = self._writer.unsaved is None or not (reader.waits_for_checkpoint or reader.gone)
        return self.state is ShardState.RUNNING and reader.wants_call and may_read

    def take(self, call: ShardCall, reply: Reply, now: float) -> list[events.Event]:
        """Takes the reply to a call of `ready`; returns what is to be reported."""
        # In one piece: the table of what each reply means.
        reader, writer = self._reader, self._writer
        if isinstance(call, RowCall):
            return self._take_row(call, reply, now)
        reads = isinstance(call, Open | Read | RecordGap)
        timer = reader.timer if reads else writer.timer
        timer.answered()
        if self.state in (ShardState.HALTED, ShardState.GONE):
            return []
        if isinstance(reply, CallFailed):
            if reads:
                reader.call_failed(reply.kind, now)
            else:
                writer.outcome_unknown(call)
            return [timer.retry(call, reply, self._backoff, now, self.lease)]
        match call, reply:
            case RecordGap(), Lost():
                return self._lose(reply.row, now)
            case ((Open() | Read() | RecordGap()), _):
                return reader.take(call, reply, now)
            case Commit(), Committed():
                return self._settle(call.unit, now, settled=False)
            case Commit(), Lost(LeaseRow() as row) if self._is_mine(row) and row.checkpoint == call.unit.last:
                return self._settle(call.unit, now, settled=True)
            case MoveCheckpoint(), Committed():
                writer.moved(call.unit, now)
            case MoveCheckpoint(), Lost(LeaseRow() as row) if self._is_mine(row) and row.checkpoint == call.unit.last:
                writer.moved(call.unit, now)
            case ((Commit() | MoveCheckpoint() | Halt() | EndShard()), Lost()):
                return self._lose(reply.row, now)
            case Halt(), Done() if call.resumes < self.circuit.resumes:
                timer.at = now  # an operator closed the circuit before this reply came
            case Halt(), Done():
                writer.halted()
                self._attempt.circuit = replace(self.circuit, symptom=call.symptom)
                if self.state is not ShardState.DRAINING:
                    self.state = ShardState.HALTED
                return [events.ShardHalted(self.lease.shard, self.checkpoint, self.circuit)]
            case ((Commit() | EndShard()), Refused()):
                return writer.refuse(call, reply, now)
            case Examine(), Poison() | Done():
                writer.examined(reply if isinstance(reply, Poison) else None, now)
            case FindChildren(), Children():
                writer.children_found(reply, now)
            case EndShard(), Committed():
                self.state = ShardState.GONE
                return [events.ShardEnded(self.lease, call.children, call.rows, self._passed_on)]
            case Release(), Done():
                self.state = ShardState.GONE
                return [events.LeaseReleased(self.lease)]
            case _:
                raise AssertionError(f"{type(reply).__name__} is no reply to {type(call).__name__}")
        return []

    def _take_row(self, call: RowCall, reply: Reply, now: float) -> list[events.Event]:
        """Takes the reply to a call for rows: it may be the last one that the unit needs."""
        if self.state in (ShardState.HALTED, ShardState.GONE):
            return []
        seconds = now - self._attempt.first_sent_at
        reported, ended = self._writer.take_row(call, reply, now)
        if ended is not None:
            reported.append(events.UnitCommitted(self.lease, ended, seconds, settled=False))
        return reported

    def _settle(self, unit: Unit, now: float, *, settled: bool) -> list[events.Event]:
        """`settled`: an earlier attempt took effect, and its reply was lost."""
        seconds = now - self._attempt.first_sent_at
        ended = self._writer.settle(unit, now)
        return [events.UnitCommitted(self.lease, ended, seconds, settled)]

    def _is_mine(self, row: LeaseRow) -> bool:
        return row.owner == self.lease.owner and row.epoch == self.lease.epoch

    def _lose(self, row: LeaseRow | None, now: float) -> list[events.Event]:
        """A condition failed: the row is missing, has another owner, is finished, or stands at another checkpoint."""
        if row is None:
            self.state = ShardState.HALTED
            self.row_missing = True
            return [events.ShardHalted(self.lease.shard, self.checkpoint)]
        if not self._is_mine(row):
            self.state = ShardState.GONE
            return [events.LeaseLost(self.lease, row.owner)]
        if row.finished:
            self.state = ShardState.GONE
            return [events.ShardEnded(self.lease, row.children, (), self._passed_on)]
        if self.state is not ShardState.DRAINING:
            self.state = ShardState.RUNNING if row.circuit.halted_at is None else ShardState.HALTED
        self._writer.rewind(row, now)
        return [events.ShardRewound(self.lease, row.checkpoint)]
