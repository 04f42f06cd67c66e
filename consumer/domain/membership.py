"""Who is dead: judged by the observer's own looks on its own monotonic clock. No wall clocks are compared."""

from collections.abc import Mapping
from dataclasses import dataclass

from consumer.domain.leases import Members, Vouch


@dataclass(slots=True)
class _Watch:
    beat: int
    since: float


class Observer:
    """Remembers since when each worker has shown the same beat, in looks without holes."""

    def __init__(self, lease_ttl_seconds: float) -> None:
        self._ttl = lease_ttl_seconds
        self._watches: dict[str, _Watch] = {}
        self._asked_at: float | None = None
        self.members: Mapping[str, Vouch] = {}

    def see(self, members: Members, asked_at: float, answered_at: float) -> None:
        """Takes a successful look, asked for and answered at these moments (monotonic seconds).

        After a hole of more than half a TTL (this worker was paused, or the table was away) it starts anew.
        """
        if self._asked_at is not None and answered_at - self._asked_at > self._ttl / 2:
            self._watches.clear()
        self._asked_at = asked_at
        self.members = members.workers
        for owner in self._watches.keys() - members.workers.keys():
            del self._watches[owner]
        for owner, vouch in members.workers.items():
            watch = self._watches.get(owner)
            if watch is None or watch.beat != vouch.beat:
                self._watches[owner] = _Watch(vouch.beat, answered_at)

    def dead(self) -> frozenset[str]:
        """Members whose beat has stood still for a TTL of looks."""
        now = self._asked_at or 0.0
        return frozenset(owner for owner, watch in self._watches.items() if now - watch.since >= self._ttl)
