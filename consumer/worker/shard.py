"""The shard machine: poll, fold, commit, for one shard under one lease. It names calls and is told their replies.

At most one read and one commit are under way; that is the look-ahead. Nothing here does I/O or knows a clock:
`now` is monotonic seconds, given with every step.
"""

from collections.abc import Collection
from math import inf

from consumer.domain.breaker import Circuit
from consumer.domain.errors import Trouble
from consumer.domain.leaderboard import Unit
from consumer.domain.leases import Lease, LeaseRow
from consumer.domain.outcomes import Children, Committed, Done, Lost, Refused, StreamListing
from consumer.domain.ports import Backoff
from consumer.domain.records import Poison
from consumer.worker import events
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
from consumer.worker.reader import Reader
from consumer.worker.state import State
from consumer.worker.tuning import Tuning
from consumer.worker.writer import Writer


class ShardMachine:
    """One shard under one lease. `ready` hands out calls, each of which must be answered through `take`."""

    def __init__(
        self, row: LeaseRow, lease: Lease, floor: float | None, tuning: Tuning, common: Common, backoff: Backoff
    ) -> None:
        self.lease = lease
        self.state = State.RUNNING if row.circuit.halted_at is None else State.HALTED
        self.row_missing = False
        self._wall_offset_seconds = tuning.wall_offset_seconds
        self._backoff = backoff
        self._reader = Reader(row, floor, tuning, common.allowance)
        self._writer = Writer(row, lease, self._reader, tuning, common, backoff)

    def ready(self, now: float, *, vouched: bool = True) -> list[ShardCall]:
        """The calls to start now; the caller owes a reply for each. Without a written beat nothing is committed."""
        calls: list[ShardCall] = []
        if self.state in (State.HALTED, State.GONE):
            return calls
        if self._reads and self._reader.errand.ready(now):
            self._reader.errand.send(now)
            calls.append(self._reader.next_call(self.lease, self.checkpoint, now + self._wall_offset_seconds))
        if vouched and self._writer.errand.ready(now) and now >= self._writer.due_at:
            self._writer.errand.send(now)
            calls.append(self._next_write(now))
        return calls

    def wake_at(self, *, vouched: bool = True) -> float:
        """When to ask `ready` again if no reply comes before."""
        if self.state in (State.HALTED, State.GONE):
            return inf
        reads = self._reader.errand.wake_at if self._reads else inf
        writes = max(self._writer.errand.wake_at, self._writer.due_at) if vouched else inf
        return min(reads, writes)

    def drain(self) -> None:
        """Reads no more, settles the commit under way, then releases the lease."""
        if self.state in (State.RUNNING, State.ENDING) or (self.state is State.HALTED and not self.row_missing):
            self.state = State.DRAINING
            self._writer.releasing = True

    def resume(self, row: LeaseRow) -> None:
        """A person has closed the circuit."""
        self._writer.attempt.circuit = row.circuit
        self._writer.errand.at = 0.0
        if self.state is State.HALTED and not self.row_missing:
            self.state = State.RUNNING

    def its_turn(self, commit: Commit, busy: Collection[str], now: float) -> Commit:
        """A commit that waited is to be sent now: with what has come meanwhile, but nothing of a `busy` player."""
        self._writer.grow(busy, now)
        grown = self._next_write(now)
        return grown if isinstance(grown, Commit) else commit

    def again(self, commit: Commit, now: float) -> Commit | None:
        """The same unit at once again, after an answer that changed what is sent of it: it keeps its turn."""
        writer = self._writer
        if self.state is not State.RUNNING or writer.attempt.unit is not commit.unit or not writer.errand.ready(now):
            return None
        call = self._next_write(now)
        if not isinstance(call, Commit):
            return None
        writer.errand.send(now)
        return call

    def recall(self) -> None:
        """A commit that was named was not sent after all."""
        self._writer.recall()

    def hear(self, listing: StreamListing | None, now: float) -> None:
        """The stream answers: a listing may show children that the filter did not. None: a later stream does."""
        self._reader.absence.stream_answered(now)
        if listing is not None and self.state is State.ENDING:
            self._writer.hear(listing, now)

    def close(self) -> None:
        """It is not worked any more."""
        self._reader.close()

    @property
    def checkpoint(self) -> str:
        """All records up to it are committed, as this worker knows."""
        return self._writer.checkpoint

    @property
    def circuit(self) -> Circuit:
        """The breaker's, as this worker knows it."""
        return self._writer.attempt.circuit

    @property
    def leaving(self) -> bool:
        """Whether the lease is being given back."""
        return self.state is State.DRAINING

    @property
    def hides_children(self) -> bool:
        """Whether its end waits for children that nobody has shown yet."""
        return self.state is State.ENDING and self._writer.waits_for_children

    def lag_seconds(self, unix_now: float) -> float | None:
        """Age of the oldest record known and not committed; 0 after two empty pages running; None: not known yet."""
        oldest = self._reader.buffer.oldest_created
        if oldest is None and self._reader.caught_up and self.state is not State.HALTED:
            return 0.0
        since = self._reader.since if oldest is None else oldest
        return max(0.0, unix_now - since) if since is not None else None

    def troubles(self) -> set[str]:
        """What has failed for a while."""
        return {errand.trouble for errand in (self._reader.errand, self._writer.errand) if errand.trouble}

    @property
    def _reads(self) -> bool:
        return self.state is State.RUNNING and self._reader.wants_page

    def _next_write(self, now: float) -> ShardCall:
        call = self._writer.next_call(now)
        if self.state is State.RUNNING and isinstance(call, FindChildren | EndShard):
            self.state = State.ENDING
        return call

    def take(self, call: ShardCall, reply: Reply, now: float) -> list[events.Event]:
        """Learns what became of a call it named."""
        reader, writer = self._reader, self._writer
        reads = isinstance(call, Open | Read | RecordGap)
        errand = reader.errand if reads else writer.errand
        errand.land()
        if self.state in (State.HALTED, State.GONE):
            return []
        if isinstance(reply, Trouble):
            if reads:
                reader.doubt(reply.kind)
            else:
                writer.doubt(call)
            return [errand.retry(call, reply, self._backoff, now, self.lease)]
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
                writer.errand.at = now  # a person has closed it again before the answer came
            case Halt(), Done():
                if self.state is not State.DRAINING:
                    self.state = State.HALTED
                return [events.ShardHalted(self.lease.shard, self.checkpoint, row_missing=False)]
            case ((Commit() | EndShard()), Refused()):
                return writer.refuse(call, reply, now)
            case Examine(), Poison() | Done():
                writer.attempt.judge(reply if isinstance(reply, Poison) else None, reader.buffer)
                errand.at = now
            case FindChildren(), Children():
                writer.take_children(reply, now)
            case EndShard(), Committed():
                self.state = State.GONE
                return [events.ShardEnded(self.lease, call.children, call.rows)]
            case Release(), Done():
                self.state = State.GONE
                return [events.LeaseReleased(self.lease)]
            case _:
                raise AssertionError(f"{type(reply).__name__} is no answer to {type(call).__name__}")
        return []

    def _settle(self, unit: Unit, now: float, *, settled: bool) -> list[events.Event]:
        """`settled`: by an earlier attempt whose answer was lost."""
        seconds = now - self._writer.attempt.sent_at
        self._writer.settle(unit, now)
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
        if self.state is not State.DRAINING:
            self.state = State.RUNNING if row.circuit.halted_at is None else State.HALTED
        self._writer.rewind(row, now)
        return [events.ShardRewound(self.lease, row.checkpoint)]
