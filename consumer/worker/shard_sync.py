"""Shard sync: lists the streams from time to time, and adopts late shards, marks and forgets finished ones."""

import heapq
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from itertools import count
from math import inf
from typing import Final

from consumer.domain import lineage, stream_halt
from consumer.domain.accepted_rules import UNNUMBERED, Reading
from consumer.domain.errors import CallFailed, FailureKind
from consumer.domain.leases import SHARD_END, TRIM_HORIZON, Adoption, LeaseRow, Ledger, Shard, StreamStart
from consumer.domain.lineage import GoneEvidence
from consumer.domain.ports import Backoff
from consumer.domain.replies import Children, Done, Lost, StreamListing
from consumer.domain.stream_halt import StreamHalt, StreamUnusable
from consumer.worker import events
from consumer.worker.call_timer import CallTimer
from consumer.worker.calls import Reply
from consumer.worker.ledger_calls import (
    Adopt,
    FindLate,
    FindStream,
    Forget,
    ListShards,
    Mark,
    Probe,
    RecordLoss,
    StreamStartCall,
    SyncCall,
)
from consumer.worker.stream_start import StreamStarter

SYNC_INTERVAL_SECONDS: Final = 60.0
"""Between two syncs of all workers together: each worker's own interval is this, times the number of workers."""
MIN_SYNC_INTERVAL_SECONDS: Final = 1.0
"""Between two syncs of this worker while a shard waits for its children."""
MOST_STEP_RETRIES: Final = 3
"""A step that fails more often is left to the next sync."""
FINDINGS_VALID_SECONDS: Final = 3_600.0
"""How long a worker acts on what a sync found; after a longer pause it syncs again. Well within
`lineage.FORGET_SECONDS`, after which a shard that it would adopt may have been read to its end and forgotten."""
RECHECK_DELAYS_SECONDS: Final = (3.0, 15.0, 60.0)
"""When, after a shard has ended, its children are looked up again: a child may be hidden while its sibling is shown."""
NEW_SHARD_SECONDS: Final = 180.0
"""A worker that claims a shard whose row is younger looks up the parent's children again."""
MOST_ROWS_PER_LISTING: Final = 200
"""How many rows one listing marks, and how many it forgets."""

Step = RecordLoss | Adopt | Probe | Mark | Forget


class ShardSync:
    """Names one call at a time. `new_starter` makes the StreamStarter of a stream that is new to the ledger."""

    def __init__(self, new_starter: Callable[[str], StreamStarter], backoff: Backoff) -> None:
        self._new_starter = new_starter
        self._backoff = backoff
        self._timer = CallTimer()
        self._steps: deque[SyncCall] = deque()
        self._call: SyncCall | None = None
        self._starter: StreamStarter | None = None
        self._sync_began_at = self._steps_began_at = -inf
        self._sync_at = 0.0
        self._rechecks: list[tuple[float, int, LeaseRow]] = []
        self._tie = count()
        self._rechecked: deque[Shard] = deque(maxlen=1000)
        self._ledger = Ledger((), ())
        self._stream_starts: dict[str, StreamStart] = {}
        self._workers = 1
        self._newest: str | None = None
        self._off: StreamHalt | None = None
        self._without_images: dict[str, StreamHalt] = {}
        self._gone_streams: set[str] = set()
        self._diff = ListingDiff()

    def ready(self, now: float, ledger: Ledger, workers: int) -> list[SyncCall]:
        """The call to start now, if any. `ledger` is the last one read, `workers` the number of workers."""
        if not self._timer.ready(now):
            return []
        self._ledger, self._workers = ledger, workers
        if not self._steps and self._starter is None:
            if now >= self._sync_at:
                self._sync_began_at = now
                self._sync_at = now + SYNC_INTERVAL_SECONDS * self._workers
                self._steps.append(FindStream())
            while self._rechecks and self._rechecks[0][0] <= now:
                self._steps.append(FindLate(heapq.heappop(self._rechecks)[2]))
            if not self._steps:
                return []
            self._steps_began_at = now
        self._timer.send(now)
        self._call = self._next_call()
        return [self._call]

    def named(self, call: SyncCall) -> bool:
        """Whether the call is this machine's: the coordinator names some of the same kinds."""
        return call is self._call

    def wake_at(self) -> float:
        """When to ask `ready` again if no reply comes before."""
        at = self._timer.wake_at
        if self._steps or self._starter is not None:
            return at
        return max(at, min(self._sync_at, self._rechecks[0][0] if self._rechecks else inf))

    def sync_soon(self, now: float) -> None:
        """The next sync is due now, or soon after the last one: a shard waits for what a listing may show."""
        self._sync_at = min(self._sync_at, max(now, self._sync_began_at + MIN_SYNC_INTERVAL_SECONDS))

    def shard_ended(
        self,
        shard: Shard,
        children: tuple[str, ...],
        created: float | None,
        now: float,
        reading: Reading = UNNUMBERED,
    ) -> None:
        """Schedules rechecks of a shard that was read so and ended with these visible children.

        They were created after `created` (unix seconds).
        """
        ended = LeaseRow(shard, None, 0, SHARD_END, children=children, created=created)
        self._recheck(ended.read_as(reading), now)
        if not children:
            self.sync_soon(now)  # a leaf: the stream may have been switched on again

    def shard_claimed(self, row: LeaseRow, ledger: Ledger, now: float, unix_now: float) -> None:
        """Schedules rechecks of the parent of a shard that is new: the worker that ended the parent may be gone.

        A new row's epoch is the time at which it was made, and each claim raises it by one.
        """
        if row.parent is None or unix_now - row.epoch > NEW_SHARD_SECONDS:
            return
        parent = Shard(row.shard.stream_arn, row.parent)
        if parent not in self._rechecked:
            found = ledger.row(parent)
            if found is not None and found.finished:
                self._recheck(found, now)

    def _recheck(self, parent: LeaseRow, now: float) -> None:
        self._rechecked.append(parent.shard)
        for delay in RECHECK_DELAYS_SECONDS:
            heapq.heappush(self._rechecks, (now + delay, next(self._tie), parent))

    def lasting_failures(self) -> set[str]:
        """The failure of a step that has failed for a while."""
        return {self._timer.failure} if self._timer.failure else set()

    def halts(self, ledger: Ledger) -> tuple[StreamHalt, ...]:
        """Why nothing of the stream to read is read now. One that is off halts when all rows are finished."""
        halts = [halt for arn, halt in self._without_images.items() if arn == self._newest]
        if self._off is not None and ledger.read_to_the_end:
            halts.append(self._off)
        return tuple(halts)

    def take(self, call: SyncCall, reply: Reply, now: float) -> list[events.Event]:
        """Takes the reply to a call. Raises UnsafeRefused when the tables do not belong together."""
        self._timer.answered()
        self._call = None
        if now - self._steps_began_at > FINDINGS_VALID_SECONDS:
            self._steps.clear()  # the next sync finds what is left of them
            self._starter = None
            self._timer.succeed(now)
            self.sync_soon(now)
            return []
        missing = isinstance(reply, CallFailed) and reply.kind is FailureKind.MISSING
        if isinstance(reply, CallFailed) and not missing and self._timer.failures < MOST_STEP_RETRIES:
            return [self._timer.retry(call, reply, self._backoff, now)]
        if self._steps:
            self._steps.popleft()
            reported = self._take_step(call, reply, now)
        else:
            reported = self._take_stream_start(call, reply, now)
        self._timer.succeed(now)
        return reported

    def _take_step(self, call: SyncCall, reply: Reply, now: float) -> list[events.Event]:
        match call, reply:
            case FindStream(), str():
                if reply != self._newest:
                    self._off = None
                self._list_streams(reply)
            case FindStream(), CallFailed():
                self._list_streams(None)
                if reply.kind is FailureKind.MISSING:
                    self._off = stream_halt.off(reply.detail)
            case FindLate(parent), Children():
                self._take_children(parent, reply, now)
            case ListShards(arn), StreamListing():
                if arn == self._newest:
                    self._off = None if reply.enabled else stream_halt.off_for_good(arn, reply.successor)
                if start := self._ledger.stream_start(arn):
                    self._stream_starts[arn] = start  # as the rows that are compared: a shard may be a new root
                self._steps.extend(self._diff.compare(reply, self._ledger, now))
                return [events.StreamListed(reply, self._ledger.stream_start(arn))]
            case ListShards(arn), CallFailed(kind=FailureKind.MISSING, detail=detail) if arn == self._newest:
                self._off = stream_halt.off(detail)
            case ListShards(arn), CallFailed(kind=FailureKind.MISSING) if self._newest is not None:
                self._gone_streams.add(arn)
                return [events.StreamGone(arn)]
            case Probe(shard), bool():
                self._diff.probed(shard, there=reply)
                if reply:
                    self.sync_soon(now)
            case RecordLoss(shard), bool():
                return [events.GapFound(shard, TRIM_HORIZON, reply)]
            case Adopt(adoption), Done():
                self._diff.adopted(adoption.rows)
                return [events.ShardsAdopted(adoption)]
            case Forget(row), Done():
                if start := self._stream_starts.get(row.shard.stream_arn):
                    self._stream_starts[start.stream_arn] = start.without(row.shard.shard_id)
                return [events.RowForgotten(row.shard)]
            case ((Adopt() | Forget()), Lost()):
                return [events.LedgerChanged()]
            case _:
                pass  # a mark, or a call that failed for long: the next sync sees it
        return []

    def _list_streams(self, newest: str | None) -> None:
        """Lists the newest stream, and older ones until they are gone, a day after they were switched off."""
        started = {start.stream_arn: start for start in self._ledger.stream_starts}
        self._stream_starts = started
        to_start = [arn for arn, start in sorted(started.items()) if not start.complete]
        if newest is not None and all(arn.rpartition("/")[2] < newest.rpartition("/")[2] for arn in started):
            to_start.append(newest)  # a stale reply may name an older stream
        to_start = [arn for arn in to_start if arn not in self._without_images]
        if to_start:
            self._starter = self._new_starter(to_start[0])
        self._newest = newest
        unread = {row.shard.stream_arn for row in self._ledger.rows if not row.finished}
        self._steps.extend(ListShards(arn) for arn in sorted(started.keys() - (self._gone_streams - unread)))

    def _take_children(self, parent: LeaseRow, children: Children, now: float) -> None:
        if not children.shard_ids or not set(parent.children) <= set(children.shard_ids):
            self.sync_soon(now)  # the engine may not serve the filter, or only on a page of its list
        rows = tuple(
            lineage.late_row(Shard(parent.shard.stream_arn, child), parent, children.served_at, parent.created)
            for child in children.shard_ids
            if child not in parent.children
        )
        if rows:
            self._steps.append(Adopt(Adoption(parent, rows)))

    def _next_call(self) -> SyncCall:
        if not self._steps:
            assert self._starter is not None
            return self._starter.next_call()
        step = self._steps[0]
        if not isinstance(step, Forget):
            return step
        start = self._stream_starts.get(
            step.row.shard.stream_arn
        )  # as it is by now: an earlier step may have changed it
        return Forget(step.row, start if start is not None and step.row.shard.shard_id in start.roots else None)

    def _take_stream_start(self, call: SyncCall, reply: Reply, now: float) -> list[events.Event]:
        """A step of a new stream's start. One that fails for long is left to the next sync."""
        starter = self._starter
        assert starter is not None
        if isinstance(reply, CallFailed):
            self._starter = None
            self.sync_soon(now)
            return []
        assert isinstance(call, StreamStartCall)
        try:
            reported = starter.take(call, reply)
        except StreamUnusable as unusable:  # the streams that are started are read on
            self._starter = None
            self._without_images[starter.stream_arn] = unusable.halt
            return []
        if starter.complete:
            self._starter = None
            reported.append(events.LedgerChanged())
        return reported


class ListingDiff:
    """The difference between listings and the ledger, with what only several listings together can prove.

    A listing alone never proves that a shard is gone.
    """

    def __init__(self) -> None:
        self._listed_at: dict[str, float] = {}
        self._gone_evidence: dict[Shard, GoneEvidence] = {}
        self._readable: set[Shard] = set()
        self._unlisted_at: dict[str, dict[str, float]] = {}

    def compare(self, listing: StreamListing, ledger: Ledger, now: float) -> list[Step]:
        """The steps that bring the ledger up to date, in order."""
        gone = self._gone(listing, now)
        late = lineage.late_shards(listing, ledger, self._note_unlisted(listing, ledger), gone)
        steps: list[Step] = []
        for adoption in late.adoptions:
            steps += self.adoption_steps(adoption, listing, gone)
        for parent in late.orphans:
            self._gone_evidence.setdefault(Shard(listing.stream_arn, parent), GoneEvidence())
            steps.append(Probe(Shard(listing.stream_arn, parent)))
        steps += (Mark(row, since) for row, since in lineage.unlisted_marks(listing, ledger)[:MOST_ROWS_PER_LISTING])
        steps += (Forget(row, None) for row in lineage.forgettable(listing, ledger)[:MOST_ROWS_PER_LISTING])
        return steps

    def probed(self, shard: Shard, *, there: bool) -> None:
        """A probe has shown whether the shard can be read."""
        if evidence := self._gone_evidence.get(shard):
            (evidence.found if there else evidence.refused)()
        if there:
            self._readable.add(shard)

    def adopted(self, rows: Iterable[LeaseRow]) -> None:
        """The ledger has these rows now."""
        self._readable.difference_update(row.shard for row in rows)

    def _gone(self, listing: StreamListing, now: float) -> list[str]:
        """Shards without a row that are proven gone. A shard that the listing shows needs no evidence any more."""
        arn = listing.stream_arn
        for listed in listing.shards:
            self._gone_evidence.pop(Shard(arn, listed.shard_id), None)
        evidence = {shard.shard_id: found for shard, found in self._gone_evidence.items() if shard.stream_arn == arn}
        for found in evidence.values():
            found.stream_answered(now)
        return [shard_id for shard_id, found in evidence.items() if found.proven]

    def _note_unlisted(self, listing: StreamListing, ledger: Ledger) -> dict[str, float]:
        """When a listing last did not show each unknown shard: it may wait for a probe, or for its parent."""
        arn = listing.stream_arn
        known = {row.shard.shard_id for row in ledger.rows if row.shard.stream_arn == arn}
        before = self._listed_at.get(arn, listing.served_at - lineage.RETENTION_SECONDS)
        noted = self._unlisted_at.get(arn, {})
        ids = {listed.shard_id for listed in listing.shards} | noted.keys()
        self._unlisted_at[arn] = {shard_id: noted.get(shard_id, before) for shard_id in ids - known}
        self._listed_at[arn] = listing.served_at
        return self._unlisted_at[arn]

    def adoption_steps(self, adoption: Adoption, listing: StreamListing, gone: list[str]) -> Iterator[Step]:
        """Adopts children at once, and roots once a probe has found them: a stale listing may show forgotten shards."""
        if not isinstance(adoption.into, StreamStart):
            yield Adopt(adoption)
            return
        rows = tuple(row for row in adoption.rows if row.shard in self._readable)
        ids = {row.shard.shard_id for row in rows}
        lost = {listed.parent for listed in listing.shards if listed.shard_id in ids and listed.parent in gone}
        for parent in sorted(filter(None, lost)):
            yield RecordLoss(Shard(listing.stream_arn, parent), listing.served_at)
        if rows:
            yield Adopt(Adoption(adoption.into, rows))
        for row in adoption.rows:
            if row.shard not in self._readable:
                yield Probe(row.shard)
