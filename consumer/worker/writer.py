"""The writing half of a shard: it commits what the reader has buffered, then ends the shard or releases the lease."""

from collections.abc import Collection
from dataclasses import replace
from math import inf
from typing import Final

from consumer.domain.accepted_rules import Reading
from consumer.domain.breaker import Circuit
from consumer.domain.errors import CallFailed, FailureKind
from consumer.domain.fold import Unit
from consumer.domain.leases import TRIM_HORIZON, Lease, LeaseRow, Shard
from consumer.domain.ports import Backoff
from consumer.domain.records import Poison
from consumer.domain.replies import Children, Refused, StreamListing
from consumer.worker import events
from consumer.worker.call_timer import CallTimer
from consumer.worker.calls import Reply
from consumer.worker.commit_attempt import CommitAttempt
from consumer.worker.reader import Reader
from consumer.worker.shard_calls import (
    Commit,
    EndShard,
    Examine,
    FindChildren,
    Halt,
    MoveCheckpoint,
    Release,
    RowCall,
)
from consumer.worker.tuning import Tuning

MOST_CHILDREN_FAILURES: Final = 4
"""The wait for children that are not visible yet grows no longer than after this many failures."""


class ShardEnd:
    """The end of a shard: its children are found, then their rows are written together with the shard's SHARD_END.

    `children` is None while none are visible and it is not known that there will be none.
    """

    def __init__(self, shard: Shard, reading: Reading) -> None:
        self.children: Children | None = None
        self._shard = shard
        self._reading = reading
        self._existing: frozenset[str] = frozenset()

    def next_call(
        self, lease: Lease, checkpoint: str, created_after: float | None, circuit: Circuit
    ) -> FindChildren | EndShard:
        """`created_after`: the children's records were created after it (unix seconds). `circuit` is the shard's."""
        children = self.children
        if children is None:
            return FindChildren(lease)
        missing = (child for child in children.shard_ids if child not in self._existing)
        rows = tuple(
            child_row(lease, child, children.served_at, created_after, circuit, self._reading) for child in missing
        )
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


def child_row(
    lease: Lease, child: str, served_at: float, created_after: float | None, circuit: Circuit, reading: Reading
) -> LeaseRow:
    """The new row of a child, owned by the worker that ended its parent, and read as the parent was.

    Its epoch starts at the seconds since 1970: above every epoch that an earlier row of the child may have had.
    """
    shard = lease.shard
    name = Shard(shard.stream_arn, child)
    row = LeaseRow(name, lease.owner, int(served_at), TRIM_HORIZON, shard.shard_id, created=created_after)
    return replace(row, circuit=circuit.inherited).read_as(reading)


WriteCall = Commit | MoveCheckpoint | Examine | Halt | FindChildren | EndShard | Release


class Writer:
    """The writing half of a shard: commits what the reader has buffered, then ends the shard or gives the lease back.

    `checkpoint` is that of the lease row, as far as it is known. With marks more records may have ended: `unsaved` says
    how far the checkpoint is to move. `releasing`: the lease is given back as soon as no write is left that may yet
    take effect.
    """

    def __init__(
        self, row: LeaseRow, lease: Lease, reader: Reader, attempt: CommitAttempt, tuning: Tuning, backoff: Backoff
    ) -> None:
        self.lease = lease
        self.reader = reader
        self.attempt = attempt
        self.timer = CallTimer()
        self.checkpoint = row.checkpoint
        self.unsaved: Unit | None = None
        self.releasing = False
        self._moving: Unit | None = None
        self._moved_at = -inf
        self._buffer = attempt.buffer
        self._end = ShardEnd(lease.shard, row.reading)
        self._outcome_unknown = False
        self._tuning = tuning
        self._backoff = backoff

    @property
    def wake_at(self) -> float:
        """When there is something to do if no reply comes before."""
        rows = self.attempt.row_writes
        step_at = max(self.timer.wake_at, self._step_at)
        if self.attempt.rows_settled or self._releases_now:
            return step_at
        return min(step_at, self._unit_at if rows.idle else rows.wake_at())

    def calls(self, now: float) -> list[WriteCall | RowCall]:
        """The calls to make now: those for single rows, and one that writes to the shard's own row."""
        calls: list[WriteCall | RowCall] = []
        if now >= self._unit_at and not self._releases_now:
            calls += self.attempt.row_calls(self.checkpoint, now, self._unix(now))
        if now >= self._step_at and self.timer.ready(now):
            self.timer.send(now)
            calls.append(self.next_call(now))
        return calls

    @property
    def ready(self) -> bool:
        """Whether a unit may be committed: no single write must come before it."""
        return self._moving is None and self.attempt.rows_settled

    def next_call(self, now: float) -> WriteCall:
        """The next call of the writing half."""
        if self._moving is not None:
            return MoveCheckpoint(self.lease, self._moving)
        if self._saves_first and self.unsaved is not None:
            self._moving = replace(self.unsaved, previous=self.checkpoint, circuit=self.attempt.circuit)
            self._moved_at = now
            return MoveCheckpoint(self.lease, self._moving)
        if self._releases_now:
            return Release(self.lease)
        return self._commit(now) if self._buffer else self.next_end()

    def _commit(self, now: float) -> WriteCall:
        return self.attempt.next_call(self.lease, self.checkpoint, self.reader.gap, now, self._unix(now))

    @property
    def _releases_now(self) -> bool:
        return self.releasing and not self._outcome_unknown and not self.attempt.row_writes.begun

    @property
    def _unit_at(self) -> float:
        """From when on there is a unit to write; inf while there is none."""
        buffer, tuning = self._buffer, self._tuning
        if self.attempt.unit is not None or not self.attempt.row_writes.idle:
            return 0.0
        if not buffer:
            return 0.0 if self.reader.ended else inf
        if self.reader.waits_for_commits:
            return 0.0
        window_seconds = tuning.ignored_window_seconds if buffer.only_ignored else tuning.batch_window_seconds
        if self.attempt.keyed and self.reader.behind:
            window_seconds = max(window_seconds, tuning.checkpoint_interval_seconds)
        return buffer.oldest_arrived_at + window_seconds

    @property
    def _step_at(self) -> float:
        """From when on there is something to write to the shard's row; inf while there is nothing."""
        if self._releases_now:
            return 0.0
        unit_at = self._unit_at if self.attempt.rows_settled else inf
        return min(unit_at, self._save_at)

    @property
    def _save_at(self) -> float:
        """From when on the checkpoint may move by a write of its own; inf: it need not, or may not."""
        if not self._may_save:
            return inf
        if self.releasing or self.reader.waits_for_checkpoint:
            return 0.0
        return self._moved_at + self._tuning.checkpoint_interval_seconds

    @property
    def _may_save(self) -> bool:
        """Whether the checkpoint may move alone: not while a unit that takes it along is to be sent again unchanged."""
        return self.unsaved is not None and not (self._outcome_unknown and self.attempt.unit is not None)

    @property
    def _saves_first(self) -> bool:
        """Whether the checkpoint moves alone: no unit that is committed now takes it along."""
        if not self._may_save:
            return False
        return self._releases_now or self.attempt.unit is None or not self.attempt.rows_settled

    def next_end(self) -> FindChildren | EndShard:
        """The next call when all records are committed and the shard has no more."""
        created_after, circuit = self.reader.children_created_after, self.attempt.circuit
        return self._end.next_call(self.lease, self.checkpoint, created_after, circuit)

    def grow(self, held: Collection[str], now: float) -> WriteCall:
        """A unit that waited for locks takes in what has come since, but no record of a player in `held`."""
        if not self._outcome_unknown:
            self.attempt.grow(held, self._unix(now))
        return self._commit(now)

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

    @property
    def may_end(self) -> bool:
        """Whether a reply to a call for rows may end the unit.

        Not one that is in a transaction (the call is from before a rewind then), or may be, or must fill a gap.
        """
        return not (self.attempt.rows_settled or self._outcome_unknown or self.reader.gap is not None)

    def take_row(self, call: RowCall, reply: Reply, now: float) -> tuple[list[events.Event], Unit | None]:
        """Takes the reply to a call for rows; also returns the unit that has ended by it, if nothing else is in it.

        While releasing, a unit that does not go through at once is left.
        """
        may_end = self.may_end
        reported = self.attempt.take_row(call, reply, now)
        if self.releasing and not self._outcome_unknown and (reported or self.attempt.row_writes.stale):
            self.attempt.forget()
        unit = self.attempt.unit
        if unit is None or not may_end or not self.attempt.only_rows:
            return reported, None
        self.unsaved = Unit(self.checkpoint, "", unit.last, 0, {}, (), {}, unit.created, unit.cut_at)
        return reported, self._end_unit(unit, now)

    def settle(self, unit: Unit, now: float) -> Unit:
        """The unit is committed, by this attempt or by an earlier one whose reply was lost. Returns it as it ended."""
        self.checkpoint = unit.last
        self.unsaved = None
        self._outcome_unknown = False
        self._moved_at = now
        self.timer.succeed(now)
        return self._end_unit(unit, now)

    def moved(self, unit: Unit, now: float) -> None:
        """The checkpoint has moved alone, by this attempt or by an earlier one whose reply was lost."""
        self.checkpoint = unit.last
        self._moving = None
        self._outcome_unknown = False  # a commit that followed the checkpoint before fails from now on
        if self.unsaved is not None and self.unsaved.last == unit.last:
            self.unsaved = None
        self.attempt.follow(self.checkpoint)
        self.timer.succeed(now)

    def halted(self) -> None:
        """The shard halts before its next record: there is no unit to send again, and a late one meets the fence."""
        self._outcome_unknown = False

    def _end_unit(self, unit: Unit, now: float) -> Unit:
        self._buffer.drop(unit.records)
        self.reader.committed(unit, self._unix(now))
        return self.attempt.settle(unit)

    def rewind(self, row: LeaseRow, now: float) -> None:
        """The row of this lease stands elsewhere than expected: the shard is read again from there."""
        self.checkpoint = row.checkpoint
        self.unsaved = self._moving = None
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
