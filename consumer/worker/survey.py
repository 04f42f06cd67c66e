"""The survey: now and then, which streams and shards there are, and what the ledger does not know of them yet.

Children that became visible late join their parent's list, a re-enabled stream gets its pin, finished rows that nobody
shows any more go. Every step is conditional, so all workers may survey; the more there are, the more rarely each does.
"""

import heapq
from collections import deque
from collections.abc import Callable
from itertools import count
from math import inf
from typing import Final

from consumer.domain import lineage
from consumer.domain.errors import Trouble, TroubleKind
from consumer.domain.leases import Adoption, LeaseRow, Pin, Shard
from consumer.domain.outcomes import Children, Done, Ledger, Lost, StreamListing
from consumer.domain.ports import Backoff
from consumer.domain.position import SHARD_END
from consumer.worker import events
from consumer.worker.calls import (
    Adopt,
    FindLate,
    FindStream,
    Forget,
    ListShards,
    PinCall,
    Probe,
    RecordLoss,
    Reply,
    SurveyCall,
)
from consumer.worker.census import Census
from consumer.worker.errand import Errand
from consumer.worker.pinning import Pinning

SURVEY_SECONDS: Final = 60.0
"""Between two surveys of all workers together."""
SOONEST_SECONDS: Final = 1.0
"""Between two surveys of this worker, when a shard waits for its children."""
PATIENCE: Final = 3
"""Failures of a step after which the survey goes on without it; the next one asks again."""
OLD_SECONDS: Final = 3_600.0
"""What a survey found is acted on for this long; a worker that was paused for longer looks again. Well within
`lineage.FORGET_SECONDS`, after which a shard that it would adopt may have been worked, ended and forgotten."""
RECHECK_SECONDS: Final = (3.0, 15.0, 60.0)
"""After a shard has ended its children are asked for again: one may have been hidden when its sibling was seen."""
YOUNG_SECONDS: Final = 180.0


class Surveyor:
    """Names one call at a time. `begin` makes the pinning of a stream that is new to the ledger."""

    def __init__(self, begin: Callable[[str], Pinning], backoff: Backoff) -> None:
        self._begin = begin
        self._backoff = backoff
        self._errand = Errand()
        self._steps: deque[SurveyCall] = deque()
        self._call: SurveyCall | None = None
        self._pinning: Pinning | None = None
        self._began_at = self._since = -inf
        self._survey_at = 0.0
        self._rechecks: list[tuple[float, int, LeaseRow]] = []
        self._tie = count()
        self._rechecked: deque[Shard] = deque(maxlen=1000)
        self._ledger = Ledger((), ())
        self._pins: dict[str, Pin] = {}
        self._workers = 1
        self._newest: str | None = None
        self._gone_streams: set[str] = set()
        self._census = Census()

    def ready(self, now: float, ledger: Ledger, workers: int) -> list[SurveyCall]:
        """The call to start now, if any. `ledger` is the last one read, `workers` how many there are."""
        if not self._errand.ready(now):
            return []
        self._ledger, self._workers = ledger, workers
        if not self._steps and self._pinning is None:
            if now >= self._survey_at:
                self._began_at = now
                self._survey_at = now + SURVEY_SECONDS * self._workers
                self._steps.append(FindStream())
            while self._rechecks and self._rechecks[0][0] <= now:
                self._steps.append(FindLate(heapq.heappop(self._rechecks)[2]))
            if not self._steps:
                return []
            self._since = now
        self._errand.send(now)
        self._call = self._next_step() if self._steps else self._pinning_call()
        return [self._call]

    def asked(self, call: SurveyCall) -> bool:
        """Whether the call is this machine's: the coordinator names some of the same kinds."""
        return call is self._call

    def wake_at(self) -> float:
        """When to ask `ready` again if no reply comes before."""
        at = self._errand.wake_at
        if self._steps or self._pinning is not None:
            return at
        return max(at, min(self._survey_at, self._rechecks[0][0] if self._rechecks else inf))

    def soon(self, now: float) -> None:
        """A shard waits for what a listing may show."""
        self._survey_at = min(self._survey_at, max(now, self._began_at + SOONEST_SECONDS))

    def ended(self, shard: Shard, children: tuple[str, ...], since: float | None, now: float) -> None:
        """A shard ended with these children as far as was visible; they were born after `since` (unix seconds)."""
        self._recheck(LeaseRow(shard, None, 0, SHARD_END, children=children, created=since), now)
        if not children:
            self.soon(now)  # a leaf: the stream may have been switched on again

    def claimed(self, row: LeaseRow, ledger: Ledger, now: float, unix_now: float) -> None:
        """Whoever takes a shard over that was born just now looks after its parent: who ended that may be gone.

        A new row's epoch is the moment it was made, and each claim raises it by one.
        """
        if row.parent is None or unix_now - row.epoch > YOUNG_SECONDS:
            return
        parent = Shard(row.shard.stream_arn, row.parent)
        if parent not in self._rechecked:
            found = next((each for each in ledger.rows if each.shard == parent and each.finished), None)
            if found is not None:
                self._recheck(found, now)

    def _recheck(self, parent: LeaseRow, now: float) -> None:
        self._rechecked.append(parent.shard)
        for delay in RECHECK_SECONDS:
            heapq.heappush(self._rechecks, (now + delay, next(self._tie), parent))

    def troubles(self) -> set[str]:
        """What has failed for a while."""
        return {self._errand.trouble} if self._errand.trouble else set()

    def take(self, call: SurveyCall, reply: Reply, now: float) -> list[events.Event]:
        """Learns what became of a call it named. Raises UnsafeRefused, see Pinning."""
        self._errand.land()
        self._call = None
        if now - self._since > OLD_SECONDS:
            self._steps.clear()  # what is left of them the next survey finds again
            self._pinning = None
            self._errand.succeed(now)
            self.soon(now)
            return []
        refused = isinstance(reply, Trouble) and reply.kind is TroubleKind.MISSING
        if isinstance(reply, Trouble) and not refused and self._errand.failures < PATIENCE:
            return [self._errand.retry(call, reply, self._backoff, now)]
        if self._steps:
            self._steps.popleft()
            told = self._learn(call, reply, now)
        else:
            told = self._pin(call, reply, now)
        self._errand.succeed(now)
        return told

    def _learn(self, call: SurveyCall, reply: Reply, now: float) -> list[events.Event]:
        match call, reply:
            case FindStream(), _:
                self._find(reply if isinstance(reply, str) else None)
            case FindLate(parent), Children():
                if not reply.shard_ids or not set(parent.children) <= set(reply.shard_ids):
                    self.soon(now)  # the engine may not serve the filter, or only on a page of its list
                late = [child for child in reply.shard_ids if child not in parent.children]
                rows = [
                    lineage.new_row(
                        Shard(parent.shard.stream_arn, child), parent.shard.shard_id, reply.served_at, parent.created
                    )
                    for child in late
                ]
                if rows:
                    self._steps.append(Adopt(Adoption(parent, tuple(rows))))
            case ListShards(), StreamListing():
                self._steps.extend(self._census.compare(reply, self._ledger, now))
                return [events.StreamListed(reply)]
            case ListShards(arn), Trouble(kind=TroubleKind.MISSING) if self._newest not in (None, arn):
                self._gone_streams.add(arn)
                return [events.StreamGone(arn)]
            case Probe(shard), bool():
                self._census.probed(shard, there=reply)
                if reply:
                    self.soon(now)
            case RecordLoss(shard), bool():
                return [events.GapFound(shard, "TRIM_HORIZON", reply)]
            case Adopt(adoption), Done():
                self._census.adopted(adoption.rows)
                return [events.ShardsAdopted(adoption)]
            case Forget(row), Done():
                if pin := self._pins.get(row.shard.stream_arn):
                    self._pins[pin.stream_arn] = pin.without(row.shard.shard_id)
                return [events.RowForgotten(row.shard)]
            case ((Adopt() | Forget()), Lost()):
                return [events.LedgerSurprised()]
            case _:
                pass  # trouble that lasts, or a mark: the next survey sees
        return []

    def _find(self, newest: str | None) -> None:
        """The streams to look at: the newest one, and older ones until they are gone, a day after their end."""
        pinned = {pin.stream_arn: pin for pin in self._ledger.pins}
        self._pins = pinned
        begun = [arn for arn, pin in sorted(pinned.items()) if not pin.complete]
        if newest is not None and all(arn.rpartition("/")[2] < newest.rpartition("/")[2] for arn in pinned):
            begun.append(newest)  # an old answer may name a stream of before
        if begun:
            self._pinning = self._begin(begun[0])
        self._newest = newest
        unread = {row.shard.stream_arn for row in self._ledger.rows if not row.finished}
        self._steps.extend(ListShards(arn) for arn in sorted(pinned.keys() - (self._gone_streams - unread)))

    def _next_step(self) -> SurveyCall:
        """A row is forgotten together with its place among the roots as they are then."""
        step = self._steps[0]
        return Forget(step.row, self._root_of(step.row)) if isinstance(step, Forget) else step

    def _root_of(self, row: LeaseRow) -> Pin | None:
        pin = self._pins.get(row.shard.stream_arn)
        return pin if pin is not None and row.shard.shard_id in pin.roots else None

    def _pinning_call(self) -> SurveyCall:
        assert self._pinning is not None
        return self._pinning.next_call()

    def _pin(self, call: SurveyCall, reply: Reply, now: float) -> list[events.Event]:
        """A step of a new stream's pinning; one that fails for long is left to the next survey."""
        pinning = self._pinning
        assert pinning is not None
        if isinstance(reply, Trouble):
            self._pinning = None
            self.soon(now)
            return []
        assert isinstance(call, PinCall)
        told = pinning.take(call, reply)
        if pinning.complete:
            self._pinning = None
            told.append(events.LedgerSurprised())
        return told
