"""A shard under a lease as a machine without I/O: it reads, commits, ends, halts, and gives the lease back.

Reading goes on while a unit commits: the reader fills a buffer, the writer commits what is in it.
"""

from collections.abc import Collection
from dataclasses import replace
from enum import StrEnum
from math import inf
from typing import Final

from consumer.domain.breaker import Circuit
from consumer.domain.errors import CallFailed, FailureKind
from consumer.domain.fold import Unit
from consumer.domain.leases import TRIM_HORIZON, Lease, LeaseRow, Shard
from consumer.domain.lineage import RETENTION_SECONDS
from consumer.domain.ports import Backoff
from consumer.domain.records import Poison
from consumer.domain.replies import Children, Committed, Done, Lost, Refused, StreamListing
from consumer.worker import events
from consumer.worker.call_timer import CallTimer
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
    Open,
    Read,
    RecordGap,
    Release,
    RowCall,
    ShardCall,
)
from consumer.worker.tuning import Tuning

MOST_CHILDREN_FAILURES: Final = 4
"""The wait for children that are not visible yet grows no longer than after this many failures."""


class ShardState(StrEnum):
    """The state of a shard that a worker owns, as metrics and `status` show it."""

    RUNNING = "running"
    ENDING = "ending"
    DRAINING = "draining"
    HALTED = "halted"
    GONE = "gone"


class ShardEnd:
    """The end of a shard: its children are found, then their rows are written together with the shard's SHARD_END.

    `children` is None while none are visible and it is not known that there will be none.
    """

    def __init__(self, shard: Shard) -> None:
        self.children: Children | None = None
        self._shard = shard
        self._existing: frozenset[str] = frozenset()

    def next_call(
        self, lease: Lease, checkpoint: str, created_after: float | None, circuit: Circuit
    ) -> FindChildren | EndShard:
        """`created_after`: the children's records were created after it (unix seconds). `circuit` is the shard's."""
        children = self.children
        if children is None:
            return FindChildren(lease)
        missing = (child for child in children.shard_ids if child not in self._existing)
        rows = tuple(child_row(lease, child, children.served_at, created_after, circuit) for child in missing)
        return EndShard(lease, checkpoint, children.shard_ids, rows)

    def on_listing(self, listing: StreamListing) -> bool:
        """Whether the listing is the first to show children of the shard."""
        if self.children is not None:
            return False
        shard_ids = tuple(sorted(each.shard_id for each in listing.shards if each.parent == self._shard.shard_id))
        if shard_ids:
            self.children = Children(shard_ids, leaf=False, served_at=listing.served_at)
        return bool(shard_ids)

    def found(self, children: Children, *, gone: bool) -> bool:
        """Whether the children are known now. A shard that is gone has no others than those that are visible."""
        if self.children is None and (children.shard_ids or children.leaf or gone):
            self.children = children
        return self.children is not None

    def skip_rows(self, existing: frozenset[str]) -> None:
        """These children have their rows already."""
        self._existing |= existing

    def forget(self) -> None:
        """The shard does not end here: its children will be asked for again."""
        self.children = None


def child_row(lease: Lease, child: str, served_at: float, created_after: float | None, circuit: Circuit) -> LeaseRow:
    """The new row of a child, owned by the worker that ended its parent.

    Its epoch starts at the seconds since 1970: above every epoch that an earlier row of the child may have had.
    """
    shard = lease.shard
    name = Shard(shard.stream_arn, child)
    row = LeaseRow(name, lease.owner, int(served_at), TRIM_HORIZON, shard.shard_id, created=created_after)
    return replace(row, circuit=circuit.inherited)


WriteCall = Commit | Examine | Halt | FindChildren | EndShard | Release


class Writer:
    """The writing half of a shard: commits what the reader has buffered, then ends the shard or gives the lease back.

    All records up to `checkpoint` are committed. `releasing`: the lease is given back as soon as no write is left that
    may yet take effect.
    """

    def __init__(
        self, row: LeaseRow, lease: Lease, reader: Reader, attempt: CommitAttempt, tuning: Tuning, backoff: Backoff
    ) -> None:
        self.lease = lease
        self.reader = reader
        self.attempt = attempt
        self.timer = CallTimer()
        self.checkpoint = row.checkpoint
        self.releasing = False
        self._buffer = attempt.buffer
        self._end = ShardEnd(lease.shard)
        self._outcome_unknown = False
        self._tuning = tuning
        self._backoff = backoff

    @property
    def due_at(self) -> float:
        """From when on there is something to commit, to end or to release; inf while there is nothing."""
        buffer, tuning = self._buffer, self._tuning
        if self.releasing or self.attempt.unit is not None or not self.attempt.row_writes.idle:
            return 0.0
        if not buffer:
            return 0.0 if self.reader.ended else inf
        if self.reader.waits_for_commits:
            return 0.0
        window_seconds = tuning.ignored_window_seconds if buffer.only_ignored else tuning.batch_window_seconds
        return buffer.oldest_arrived_at + window_seconds

    def row_calls(self, now: float) -> list[RowCall]:
        """The calls for single rows that are due. While releasing, those of a unit that is begun."""
        if self._releases_now:
            return []
        return self.attempt.row_calls(self.checkpoint, now, self._unix(now))

    @property
    def ready(self) -> bool:
        """Whether the next call may be made: no single write must come before it."""
        return self._releases_now or self.attempt.rows_settled

    @property
    def wake_at(self) -> float:
        """When there is something to do if no reply comes before."""
        if self.ready:
            return max(self.timer.wake_at, self.due_at)
        if self.attempt.row_writes.idle:
            return self.due_at
        return self.attempt.row_writes.wake_at()

    @property
    def _releases_now(self) -> bool:
        return self.releasing and not self._outcome_unknown and not self.attempt.row_writes.begun

    def next_call(self, now: float) -> WriteCall:
        """The next call of the writing half."""
        if self._releases_now:
            return Release(self.lease)
        if self._buffer:
            return self.attempt.next_call(self.lease, self.checkpoint, self.reader.gap, now, self._unix(now))
        return self.next_end()

    def next_end(self) -> FindChildren | EndShard:
        """The next call when all records are committed and the shard has no more."""
        created_after, circuit = self.reader.children_created_after, self.attempt.circuit
        return self._end.next_call(self.lease, self.checkpoint, created_after, circuit)

    def grow(self, held: Collection[str], now: float) -> None:
        """A unit that waited for locks takes in what has come since, but no record of a player in `held`."""
        if not self._outcome_unknown:
            self.attempt.grow(held, self._unix(now))

    def not_sent(self) -> None:
        """The last call was withdrawn before it was sent."""
        self.timer.answered()
        self.timer.at = 0.0

    def outcome_unknown(self, call: object) -> None:
        """The call got no clear reply: it may yet take effect."""
        if isinstance(call, Commit | EndShard):
            self._outcome_unknown = True
        elif isinstance(call, Examine):
            self.attempt.examination_failed()

    def take_row(self, call: RowCall, reply: Reply, now: float) -> list[events.Event]:
        """Takes the reply to a call for rows. While releasing, a unit that does not go through at once is left."""
        reported = self.attempt.take_row(call, reply, now)
        if self.releasing and not self._outcome_unknown and (reported or self.attempt.row_writes.stale):
            self.attempt.forget()
        return reported

    def settle(self, unit: Unit, now: float) -> Unit:
        """The unit is committed, by this attempt or by an earlier one whose reply was lost. Returns it as it ended."""
        self.checkpoint = unit.last
        self._outcome_unknown = False
        self._buffer.drop(unit.records)
        self.reader.committed(unit, self._unix(now))
        self.timer.succeed(now)
        return self.attempt.settle(unit)

    def rewind(self, row: LeaseRow, now: float) -> None:
        """The row of this lease stands elsewhere than expected: the shard is read again from there."""
        self.checkpoint = row.checkpoint
        self._outcome_unknown = False
        self.attempt.rewind(row.circuit)
        self._end.forget()
        self.reader.rewind(row, now)
        self.timer.succeed(now)

    def refuse(self, call: Commit | EndShard, reply: Refused, now: float) -> list[events.Event]:
        """Cancelled although the lease holds: made again at once with a change, or unchanged after a wait."""
        if isinstance(call, Commit):
            kind = self.attempt.refuse(call.unit, reply)
            if self.releasing and not self._outcome_unknown:
                self.attempt.forget()
        else:
            self._end.skip_rows(reply.existing)
            kind = FailureKind.CONFLICT if reply.conflict else FailureKind.REJECTED if reply.invalid else None
        if kind is None:
            self.timer.at = now
            return []
        failure = CallFailed(kind, reply.invalid or "a row is held by another write")
        return [self.timer.retry(call, failure, self._backoff, now, self.lease)]

    def examined(self, poison: Poison | None, now: float) -> None:
        """The examination of a refused record has a result; None: no reason was found."""
        self.attempt.examined(poison)
        self.timer.at = now

    @property
    def waits_for_children(self) -> bool:
        """Whether the children were asked for, and none are visible yet."""
        return self._end.children is None and self.timer.failures > 0

    def on_listing(self, listing: StreamListing, now: float) -> None:
        """A listing may show children that FindChildren did not."""
        if self._end.on_listing(listing):
            self.timer.succeed(now)

    def children_found(self, children: Children, now: float) -> None:
        """While none are visible the call is retried soon; a listing may show them before that."""
        if self._end.found(children, gone=self.reader.gone):
            self.timer.succeed(now)
        else:
            self.timer.fail(now, self._backoff.delay(min(self.timer.failures + 1, MOST_CHILDREN_FAILURES)))

    def _unix(self, now: float) -> float:
        return now + self._tuning.wall_offset_seconds


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
        self._tuning = tuning
        self._backoff = backoff
        self._buffer = Buffer(row.checkpoint, budget)
        row_writes = RowWrites(lease, known, backoff)
        self._attempt = CommitAttempt(self._buffer, known, row_writes, tuning.breaker, row.circuit, keyed=keyed)
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
        if may_commit and now >= writer.due_at:
            calls += writer.row_calls(now)
            if writer.ready and writer.timer.ready(now):
                writer.timer.send(now)
                calls.append(self._next_write(now))
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
        self._writer.grow(held, now)
        grown = self._next_write(now)
        return grown if isinstance(grown, Commit) else commit

    def resend(self, commit: Commit, now: float) -> Commit | None:
        """The same unit again, if its reply says that it is to be sent at once: it keeps its player locks."""
        timer = self._writer.timer
        if self.state is not ShardState.RUNNING or self._attempt.unit is not commit.unit or not timer.ready(now):
            return None
        if not self._writer.ready:
            return None  # a row has another mark: the unit is cut again
        call = self._next_write(now)
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
            since = self._reader.created_after
        return max(0.0, unix_now - since) if since is not None else float(RETENTION_SECONDS)

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
        return self.state is ShardState.RUNNING and self._reader.wants_call

    def _next_write(self, now: float) -> ShardCall:
        call = self._writer.next_call(now)
        if self.state is ShardState.RUNNING and isinstance(call, FindChildren | EndShard):
            self.state = ShardState.ENDING
        return call

    def take(self, call: ShardCall, reply: Reply, now: float) -> list[events.Event]:
        """Takes the reply to a call of `ready`; returns what is to be reported."""
        # In one piece: the table of what each reply means.
        reader, writer = self._reader, self._writer
        if isinstance(call, RowCall):
            return [] if self.state in (ShardState.HALTED, ShardState.GONE) else writer.take_row(call, reply, now)
        reads = isinstance(call, Open | Read | RecordGap)
        timer = reader.timer if reads else writer.timer
        timer.answered()
        if self.state in (ShardState.HALTED, ShardState.GONE):
            return []
        if isinstance(reply, CallFailed):
            if reads:
                reader.call_failed(reply.kind)
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
            case ((Commit() | Halt() | EndShard()), Lost()):
                return self._lose(reply.row, now)
            case Halt(), Done() if call.resumes < self.circuit.resumes:
                timer.at = now  # an operator closed the circuit before this reply came
            case Halt(), Done():
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
                return [events.ShardEnded(self.lease, call.children, call.rows)]
            case Release(), Done():
                self.state = ShardState.GONE
                return [events.LeaseReleased(self.lease)]
            case _:
                raise AssertionError(f"{type(reply).__name__} is no reply to {type(call).__name__}")
        return []

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
            return [events.ShardEnded(self.lease, row.children, ())]
        if self.state is not ShardState.DRAINING:
            self.state = ShardState.RUNNING if row.circuit.halted_at is None else ShardState.HALTED
        self._writer.rewind(row, now)
        return [events.ShardRewound(self.lease, row.checkpoint)]
