"""What the event log remembers between its lines: calls that fail, and the poison records of a flood."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, NamedTuple

from consumer.domain.errors import CallFailed
from consumer.domain.leases import Lease
from consumer.domain.records import Poison, Reason
from consumer.worker.calls import Call, Operation, Reply
from consumer.worker.events import RetryScheduled
from consumer.worker.shard_calls import ShardCall

REPORTED_FAILURES: Final = 2
"""Consecutive failures of a call after which its recovery is worth a line: one alone says by itself that it passed."""
LINES_PER_REASON: Final = 5
"""Poison records of one reason that have lines of their own, between two summaries."""


@dataclass
class Outage:
    """A call that fails since `since` (unix seconds), so many times in a row; `reason`: of the last failure."""

    since: float
    attempts: int
    reason: str


class Outages:
    """The calls that fail now: by the operation, and by the lease of a shard's call."""

    def __init__(self) -> None:
        self._failing: dict[tuple[Operation, Lease | None], Outage] = {}

    def failed(self, event: RetryScheduled, unix_now: float) -> None:
        """The call of the event has failed."""
        key = event.operation, event.lease
        since = self._failing[key].since if key in self._failing else unix_now
        self._failing[key] = Outage(since, event.attempt, event.kind.value)

    def ended_by(self, call: Call, reply: Reply) -> tuple[Lease | None, Outage] | None:
        """The outage that ends with this reply, if it was worth a line."""
        if not self._failing or _has_failed(reply):
            return None
        lease = call.lease if isinstance(call, ShardCall) else None
        outage = self._failing.pop((call.operation, lease), None)
        return (lease, outage) if outage is not None and outage.attempts >= REPORTED_FAILURES else None

    def forget(self, lease: Lease) -> None:
        """The lease is gone: its calls are not made again."""
        for key in [key for key in self._failing if key[1] == lease]:
            del self._failing[key]


def _has_failed(reply: Reply) -> bool:
    replies = reply if isinstance(reply, list) else [reply]
    return any(isinstance(each, CallFailed) for each in replies)


class Example(NamedTuple):
    """A poison record that has no line of its own."""

    shard: str
    sequence_number: str


class Flood(NamedTuple):
    """Poison records of one reason that have no lines of their own: how many, and the newest one."""

    reason: Reason
    records: int
    example: Example


class Floods:
    """The poison records since the last summary."""

    def __init__(self) -> None:
        self.quarantined = 0
        self._counts: Counter[Reason] = Counter()
        self._examples: dict[Reason, Example] = {}

    def apart(self, lease: Lease, records: Iterable[Poison]) -> list[Poison]:
        """Those of these records that get lines of their own; the others are counted."""
        lines = []
        for poison in records:
            self.quarantined += 1
            self._counts[poison.reason] += 1
            if self._counts[poison.reason] <= LINES_PER_REASON:
                lines.append(poison)
            else:
                self._examples[poison.reason] = Example(str(lease.shard), poison.sequence_number)
        return lines

    def take(self) -> list[Flood]:
        """What has no lines of its own, and it is forgotten: the next records have lines again."""
        floods = [
            Flood(reason, self._counts[reason] - LINES_PER_REASON, example)
            for reason, example in self._examples.items()
        ]
        self.quarantined = 0
        self._counts.clear()
        self._examples.clear()
        return floods
