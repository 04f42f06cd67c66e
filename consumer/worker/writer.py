"""The writing half of a shard: the unit under way, then its end; at most one call at a time."""

from collections.abc import Collection
from math import inf

from consumer.domain.errors import Trouble, TroubleKind
from consumer.domain.leaderboard import Unit
from consumer.domain.leases import Lease, LeaseRow
from consumer.domain.outcomes import Children, Refused, StreamListing
from consumer.domain.ports import Backoff
from consumer.worker.attempt import Attempt
from consumer.worker.calls import Commit, EndShard, Examine, FindChildren, Halt, Release
from consumer.worker.common import Common
from consumer.worker.ending import Ending
from consumer.worker.errand import Errand
from consumer.worker.events import Event
from consumer.worker.reader import Reader
from consumer.worker.tuning import Tuning

WriteCall = Commit | Examine | Halt | FindChildren | EndShard | Release


class Writer:
    """`checkpoint`: all records up to it are committed. `releasing`: no more than what is open is settled first."""

    def __init__(
        self, row: LeaseRow, lease: Lease, reader: Reader, tuning: Tuning, common: Common, backoff: Backoff
    ) -> None:
        self.errand = Errand()
        self.checkpoint = row.checkpoint
        self.releasing = False
        self.attempt = Attempt(common.dates, tuning.breaker, row.circuit)
        self._ending = Ending(lease.shard)
        self._created = row.created
        self._lease = lease
        self._reader = reader
        self._tuning = tuning
        self._backoff = backoff

    @property
    def due_at(self) -> float:
        """From when on there is something to commit, to end or to release; inf while there is nothing."""
        reader, buffer = self._reader, self._reader.buffer
        if self.releasing or self.attempt.unit is not None:
            return 0.0
        if not buffer:
            return 0.0 if reader.ended else inf
        if reader.ended or reader.trimmed or reader.full:
            return 0.0
        tuning = self._tuning
        return buffer.since + (tuning.ignored_window_seconds if buffer.idle else tuning.batch_window_seconds)

    def next_call(self, now: float) -> WriteCall:
        """What is to be written next."""
        attempt, reader = self.attempt, self._reader
        if self.releasing and not attempt.open_ended:
            return Release(self._lease)
        if reader.buffer:
            return attempt.next_call(self._lease, reader.buffer, self.checkpoint, reader.gap, now, self._unix(now))
        created = self._created if reader.lossy else reader.since
        return self._ending.next_call(self._lease, self.checkpoint, created)

    def grow(self, busy: Collection[str], now: float) -> None:
        """A unit that waited for its turn takes in what has come meanwhile, but nothing of a `busy` player."""
        self.attempt.grow(self._reader.buffer, busy, self._unix(now))

    def recall(self) -> None:
        """What was named was not sent after all."""
        self.errand.land()
        self.errand.at = 0.0

    def doubt(self, call: object) -> None:
        """The call got no clear answer."""
        self.attempt.open_ended |= isinstance(call, Commit | EndShard)
        if isinstance(call, Examine):
            self.attempt.doubt()

    def settle(self, unit: Unit, now: float) -> None:
        """The unit is in, by this attempt or by an earlier one whose answer was lost."""
        reader = self._reader
        self.checkpoint = unit.last
        reader.drop(unit.records)
        reader.since = max(reader.since or 0.0, min(unit.created, self._unix(now)))
        self.attempt.settle(unit)
        self.errand.succeed(now)

    def rewind(self, row: LeaseRow, now: float) -> None:
        """Our row stands elsewhere than we thought: what is buffered is dropped, and read again from there."""
        self.checkpoint = row.checkpoint
        self._reader.since = row.created
        self.attempt.circuit = row.circuit
        self._ending.children = None
        self.attempt.forget()
        self._reader.rewind(row.checkpoint, now)
        self.errand.succeed(now)

    def refuse(self, call: Commit | EndShard, reply: Refused, now: float) -> list[Event]:
        """Cancelled for a reason that the lease has no part in: at once again, changed, or the same after a while."""
        if isinstance(call, Commit):
            kind = self.attempt.refuse(call.unit, reply, self._reader.buffer)
        else:
            self._ending.leave_out(reply.existing)
            kind = TroubleKind.CONFLICT if reply.conflict else TroubleKind.REJECTED if reply.invalid else None
        if kind is None:
            self.errand.at = now
            return []
        trouble = Trouble(kind, reply.invalid or "a row is held by another write")
        return [self.errand.retry(call, trouble, self._backoff, now, self._lease)]

    # --- the end ---

    @property
    def waits_for_children(self) -> bool:
        """Whether nobody has shown any yet, although they were asked for."""
        return self._ending.children is None and self.errand.failures > 0

    def hear(self, listing: StreamListing, now: float) -> None:
        """A listing may show children that the filter did not."""
        if self._ending.hear(listing):
            self.errand.succeed(now)

    def take_children(self, children: Children, now: float) -> None:
        """None visible yet: look again soon; a listing may show them before that."""
        if self._ending.take(children, gone=self._reader.gone):
            self.errand.succeed(now)
        else:
            self.errand.fail(now, self._backoff.delay(min(self.errand.failures + 1, 4)))

    def _unix(self, now: float) -> float:
        return now + self._tuning.wall_offset_seconds
