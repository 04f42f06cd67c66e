"""This worker's entry in `members`: it joins, sends heartbeats, may be evicted and join again, and leaves."""

from collections.abc import Collection
from dataclasses import replace
from math import inf

from consumer.domain.errors import CallFailed
from consumer.domain.membership import HeartbeatReport, LateShard, latest
from consumer.domain.ports import Backoff
from consumer.domain.replies import HeartbeatRemoved
from consumer.worker import events
from consumer.worker.call_timer import CallTimer
from consumer.worker.calls import Reply
from consumer.worker.ledger_calls import Leave, SendHeartbeat


class Heartbeat:
    """Names SendHeartbeat and Leave. `report` is what heartbeats say. Nothing is sent before the first `send_soon`.

    `may_commit_until`: a TTL after the last written heartbeat was sent (monotonic seconds). `rules`: the number of
    those by which this worker reads.
    """

    def __init__(self, owner: str, lease_ttl_seconds: float, backoff: Backoff) -> None:
        self.joined = self.left = False
        self.report = HeartbeatReport(0)
        self._owner = owner
        self._ttl = lease_ttl_seconds
        self._backoff = backoff
        self._sending, self._leaving = CallTimer(at=inf), CallTimer(at=inf)
        self._leave_wanted = False
        self._bump = True
        self.rules = 0
        self.may_commit_until = -inf

    def ready(self, now: float) -> list[SendHeartbeat | Leave]:
        """The calls to start now; the caller owes a reply for each.

        Leave waits for a heartbeat in flight, which could put this worker into `members` again.
        """
        calls: list[SendHeartbeat | Leave] = []
        if self._sending.ready(now):
            self._sending.send(now)
            self.report = replace(self.report, number=self.report.number + 1, rules=self.rules)
            calls.append(SendHeartbeat(self._owner, self.report, joining=not self.joined, bump=self._bump))
            self._bump = False
        if not self._sending.in_flight and self._leaving.ready(now):
            self._leaving.send(now)
            calls.append(Leave(self._owner))
        return calls

    def wake_at(self) -> float:
        """When to ask `ready` again if no reply comes before."""
        return min(self._sending.wake_at, inf if self._sending.in_flight else self._leaving.wake_at)

    def describe(self, shards: Collection[LateShard], as_of: float) -> None:
        """Sets what the next heartbeat says of this worker's shards (`as_of` in unix seconds)."""
        lags = [shard.lag_seconds for shard in shards]
        self.report = HeartbeatReport(
            self.report.number,
            len(lags),
            sum(lag > 0 for lag in lags),
            max(lags, default=0.0),
            as_of,
            sum(not shard.known for shard in shards),
            late=latest(shard for shard in shards if shard.lag_seconds > 0 or not shard.known),
        )

    def bump(self) -> None:
        """The next heartbeat raises the counter of changes, so that the others read the ledger."""
        self._bump = True

    def send_soon(self, now: float) -> None:
        """The next heartbeat is due now, unless the worker is leaving."""
        if not self._leave_wanted:
            self._sending.at = min(self._sending.at, now)

    def leave(self, now: float) -> None:
        """Sends no heartbeat any more, and leaves `members`."""
        if not self._leave_wanted:
            self._leave_wanted = True
            self._sending.at = inf
            self._leaving.at = now

    def lasting_failures(self) -> set[str]:
        """The failure of heartbeats, if they have failed for a while."""
        return {self._sending.failure} if self._sending.failure else set()

    def take(self, call: SendHeartbeat | Leave, reply: Reply, now: float) -> list[events.Event]:
        """Takes the reply to a call."""
        if isinstance(call, Leave):
            return self._take_leave(call, reply, now)
        timer = self._sending
        timer.answered()
        if isinstance(reply, CallFailed):
            self._bump |= call.bump
            retry = timer.retry(call, reply, self._backoff, now)
            timer.at = inf if self._leave_wanted else min(timer.at, now + self._ttl / 4)
            return [retry]
        if isinstance(reply, HeartbeatRemoved):
            self.joined = False
            self._bump = True
            timer.succeed(inf if self._leave_wanted else now)
            return [events.Removed(self._owner)]
        self.may_commit_until = timer.sent_at + self._ttl
        next_at = now if self._bump else timer.sent_at + self._ttl / 4
        timer.succeed(inf if self._leave_wanted else next_at)
        if self.joined:
            return []
        self.joined = True
        return [events.Joined(self._owner)]

    def _take_leave(self, call: Leave, reply: Reply, now: float) -> list[events.Event]:
        self._leaving.answered()
        if isinstance(reply, CallFailed):
            return [self._leaving.retry(call, reply, self._backoff, now)]
        self.left = True
        self._leaving.at = inf
        return []
