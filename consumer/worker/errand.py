"""A call's place in time: when it is due, whether it is under way, how often it failed. A retry is a due time."""

from dataclasses import dataclass
from math import inf
from typing import Final

from consumer.domain.errors import Trouble
from consumer.domain.leases import Lease
from consumer.domain.ports import Backoff
from consumer.worker.events import RetryScheduled

LASTING_FAILURES: Final = 3
"""Failures running after which trouble is shown in readiness."""


@dataclass(slots=True)
class Errand:
    """At most one call of a kind is under way. Times are monotonic seconds."""

    at: float = 0.0
    flying: bool = False
    sent_at: float = 0.0
    failures: int = 0
    _trouble: str = ""

    def ready(self, now: float) -> bool:
        """Whether a call may start now."""
        return not self.flying and now >= self.at

    def send(self, now: float) -> None:
        """The call has been handed to whoever runs it."""
        self.flying = True
        self.sent_at = now

    def land(self) -> None:
        """Its reply is here, whatever it says."""
        self.flying = False

    def succeed(self, next_at: float) -> None:
        """The next call is due at `next_at`, and earlier failures are forgotten."""
        self.failures = 0
        self.at = next_at

    def fail(self, now: float, delay: float, trouble: str = "") -> None:
        """The same again after `delay` seconds. `trouble` says why, for a person."""
        self.failures += 1
        self.at = now + delay
        self._trouble = trouble

    def retry(
        self, call: object, trouble: Trouble, backoff: Backoff, now: float, lease: Lease | None = None
    ) -> RetryScheduled:
        """The same again after a jittered wait, said in logs and metrics."""
        name = type(call).__name__
        delay = backoff.delay(self.failures + 1)
        self.fail(now, delay, f"{name} fails: {trouble}")
        return RetryScheduled(name, trouble.kind, trouble.detail, self.failures, delay, lease)

    @property
    def trouble(self) -> str | None:
        """Why it has failed for a while; None as long as that may be a passing matter."""
        return self._trouble or None if self.failures >= LASTING_FAILURES else None

    @property
    def wake_at(self) -> float:
        """When to ask again; never while a call is under way, since its reply will wake us."""
        return inf if self.flying else self.at
