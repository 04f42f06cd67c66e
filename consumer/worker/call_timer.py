"""Due times: of a call (is it in flight, how often did it fail), and of shards in a queue. A retry is a due time."""

import heapq
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count
from math import inf
from typing import Final

from consumer.domain.errors import CallFailed
from consumer.domain.leases import Lease, Shard
from consumer.domain.ports import Backoff
from consumer.worker.calls import Call
from consumer.worker.events import RetryScheduled

LASTING_FAILURES: Final = 3
"""Consecutive failures after which a call is named in readiness."""


@dataclass(slots=True)
class CallTimer:
    """When the next call of one kind is due (`at`). At most one is in flight. Times are monotonic seconds."""

    at: float = 0.0
    in_flight: bool = False
    sent_at: float = 0.0
    failures: int = 0
    _failure_text: str = ""

    def ready(self, now: float) -> bool:
        """Whether a call may start now."""
        return not self.in_flight and now >= self.at

    def send(self, now: float) -> None:
        """The call starts now."""
        self.in_flight = True
        self.sent_at = now

    def answered(self) -> None:
        """The reply has come, whatever it says."""
        self.in_flight = False

    def succeed(self, next_at: float) -> None:
        """The next call is due at `next_at`; earlier failures are forgotten."""
        self.failures = 0
        self.at = next_at

    def fail(self, now: float, delay: float, failure: str = "") -> None:
        """The same call is due again after `delay` seconds. `failure` is the reason, for the operator."""
        self.failures += 1
        self.at = now + delay
        self._failure_text = failure

    def retry(
        self, call: Call, failure: CallFailed, backoff: Backoff, now: float, lease: Lease | None = None
    ) -> RetryScheduled:
        """The same call is due again after a jittered wait; returns the event for logs and metrics."""
        delay = backoff.delay(self.failures + 1)
        self.fail(now, delay, f"{call.operation} fails: {failure}")
        return RetryScheduled(call.operation, failure.kind, failure.detail, self.failures, delay, lease)

    @property
    def failure(self) -> str | None:
        """Why the call has failed for a while; None while the failure may be a passing one."""
        return self._failure_text or None if self.failures >= LASTING_FAILURES else None

    @property
    def wake_at(self) -> float:
        """When `ready` may be true; inf while a call is in flight, since its reply wakes the worker."""
        return inf if self.in_flight else self.at


class TimerQueue:
    """Shards by due time (monotonic seconds). A shard has one due time: an older entry of it is skipped."""

    def __init__(self) -> None:
        self._entries: list[tuple[float, int, Shard]] = []
        self._due: dict[Shard, float] = {}
        self._tie = count()

    def put(self, shard: Shard, at: float) -> None:
        """The shard is due at `at`, and not at a time given before; inf: not until it is put again."""
        if at == self._due.get(shard, inf):
            return
        self._due[shard] = at
        if at < inf:
            heapq.heappush(self._entries, (at, next(self._tie), shard))

    def forget(self, shard: Shard) -> None:
        """The shard is not due any more."""
        self._due.pop(shard, None)

    def due(self, now: float) -> Iterator[Shard]:
        """All shards that are due, the earliest first; the caller puts each of them again."""
        while self._entries and self._entries[0][0] <= now:
            at, _, shard = heapq.heappop(self._entries)
            if self._due.get(shard) == at:
                yield shard

    @property
    def next_at(self) -> float:
        """The earliest due time; a skipped entry may make it too early."""
        return self._entries[0][0] if self._entries else inf
