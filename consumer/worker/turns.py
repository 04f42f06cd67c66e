"""Turns: units of one process that share a player go one after the other, so that their transactions do not conflict.

A source keyed by match puts a hot player into every shard. First come, first served, for all players of a unit at once:
nobody waits for ever, and nobody holds a player while waiting for another.
"""

from collections import deque
from collections.abc import Collection

from consumer.domain.leases import Lease
from consumer.worker.calls import Commit


class Turns:
    """Commits under way and those that wait for them, in the order in which they came."""

    def __init__(self) -> None:
        self._queues: dict[str, deque[Lease]] = {}
        self._blocked: dict[Lease, int] = {}
        self._commits: dict[Lease, Commit] = {}

    def enter(self, commit: Commit) -> bool:
        """Whether it may be sent now; if not, `leave` or `withdraw` of another one hands it out."""
        blocked = 0
        for player in commit.unit.deltas:
            queue = self._queues.setdefault(player, deque())
            blocked += bool(queue)
            queue.append(commit.lease)
        self._commits[commit.lease] = commit
        self._blocked[commit.lease] = blocked
        return not blocked

    def leave(self, commit: Commit) -> list[Commit]:
        """It was answered: those whose turn it is now."""
        return self._remove(commit.lease) if commit.lease in self._commits else []

    def keep(self, again: Commit) -> None:
        """The same unit is sent once more: it stays where it is."""
        self._commits[again.lease] = again

    def busy(self, lease: Lease) -> Collection[str]:
        """Players whom others have, or wait for, and this one does not."""
        mine = self._commits[lease].unit.deltas
        return self._queues.keys() - mine.keys()

    def widen(self, grown: Commit) -> None:
        """The unit whose turn it is has grown by players who were not busy."""
        for player in grown.unit.deltas.keys() - self._commits[grown.lease].unit.deltas.keys():
            self._queues[player] = deque([grown.lease])
        self._commits[grown.lease] = grown

    def withdraw(self, lease: Lease) -> tuple[Commit | None, list[Commit]]:
        """Takes out a commit that waits, if there is one: it was never sent. Also those whose turn it is now."""
        commit = self._commits.get(lease)
        if commit is None or not self._blocked[lease]:
            return None, []
        return commit, self._remove(lease)

    def _remove(self, lease: Lease) -> list[Commit]:
        commit = self._commits.pop(lease)
        del self._blocked[lease]
        freed = []
        for player in commit.unit.deltas:
            queue = self._queues[player]
            was_first = queue[0] == lease
            queue.remove(lease)
            if not queue:
                del self._queues[player]
            elif was_first:
                self._blocked[queue[0]] -= 1
                if not self._blocked[queue[0]]:
                    freed.append(self._commits[queue[0]])
        return freed
