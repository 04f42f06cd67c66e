"""A worker's own place in `members`: it joins, beats, may be taken for dead and join again, and leaves."""

from dataclasses import replace
from math import inf

from consumer.domain.errors import Trouble
from consumer.domain.leases import Vouch
from consumer.domain.outcomes import Removed as BeatFoundNobody
from consumer.domain.ports import Backoff
from consumer.worker import events
from consumer.worker.calls import Beat, Leave, Reply
from consumer.worker.errand import Errand


class Pulse:
    """`vouch` is what the last beat said, or the next one will. Nothing is written before the first `soon`."""

    def __init__(self, owner: str, lease_ttl_seconds: float, backoff: Backoff) -> None:
        self.joined = self.left = False
        self.vouch = Vouch(0)
        self._owner = owner
        self._ttl = lease_ttl_seconds
        self._backoff = backoff
        self._beating, self._leaving = Errand(at=inf), Errand(at=inf)
        self._ending = False
        self._bump = True
        self._vouched_until = -inf

    def ready(self, now: float) -> list[Beat | Leave]:
        """The calls to start now; the caller owes a reply for each. A beat under way could put us in after we left."""
        calls: list[Beat | Leave] = []
        if self._beating.ready(now):
            self._beating.send(now)
            self.vouch = replace(self.vouch, beat=self.vouch.beat + 1)
            calls.append(Beat(self._owner, self.vouch, joining=not self.joined, bump=self._bump))
            self._bump = False
        if not self._beating.flying and not self.left and self._leaving.ready(now):
            self._leaving.send(now)
            calls.append(Leave(self._owner))
        return calls

    def wake_at(self) -> float:
        """When to ask `ready` again if no reply comes before."""
        leaves = inf if self.left or self._beating.flying else self._leaving.wake_at
        return min(self._beating.wake_at, leaves)

    def may_commit(self, now: float) -> bool:
        """Whether a beat asked for less than a TTL ago was written: others may take a silent worker for dead."""
        return now < self._vouched_until

    def tell(self, shards: int, behind: int, lag_seconds: float, as_of: float) -> None:
        """What the next beat says of this worker's shards (`as_of` in unix seconds)."""
        self.vouch = Vouch(self.vouch.beat, shards, behind, lag_seconds, as_of)

    def bump(self) -> None:
        """The next beat raises the counter of changes, so that the others look."""
        self._bump = True

    def soon(self, now: float) -> None:
        """The next beat is due now, unless there is to be none."""
        if not self._ending:
            self._beating.at = min(self._beating.at, now)

    def leave(self, now: float) -> None:
        """The last thing: no beat any more, and out of `members`."""
        if not self._ending:
            self._ending = True
            self._beating.at = inf
            self._leaving.at = now

    def troubles(self) -> set[str]:
        """What has failed for a while."""
        return {self._beating.trouble} if self._beating.trouble else set()

    def take(self, call: Beat | Leave, reply: Reply, now: float) -> list[events.Event]:
        """Learns what became of a call it named."""
        if isinstance(call, Leave):
            return self._take_leave(call, reply, now)
        errand = self._beating
        errand.land()
        if isinstance(reply, Trouble):
            self._bump |= call.bump
            retry = errand.retry(call, reply, self._backoff, now)
            errand.at = inf if self._ending else min(errand.at, now + self._ttl / 4)
            return [retry]
        if isinstance(reply, BeatFoundNobody):
            self.joined = False
            self._bump = True
            errand.succeed(inf if self._ending else now)
            return [events.Removed(self._owner)]
        self._vouched_until = errand.sent_at + self._ttl
        next_at = now if self._bump else errand.sent_at + self._ttl / 4
        errand.succeed(inf if self._ending else next_at)
        if self.joined:
            return []
        self.joined = True
        return [events.Joined(self._owner)]

    def _take_leave(self, call: Leave, reply: Reply, now: float) -> list[events.Event]:
        self._leaving.land()
        if isinstance(reply, Trouble):
            return [self._leaving.retry(call, reply, self._backoff, now)]
        self.left = True
        self._leaving.at = inf
        return []
