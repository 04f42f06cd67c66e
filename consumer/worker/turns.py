"""Turns: units of one process that share a player go one after the other, so that their transactions do not conflict.

A source keyed by match puts a hot player into every shard. First come, first served, for all players of a unit at once:
nobody waits for ever, and nobody holds a player while waiting for another.
"""

from collections.abc import Collection

from consumer.domain.leases import Lease
from consumer.worker.calls import Commit


class Turns:
    """Commits under way, those that wait for them in the order in which they came, and those whose turn has come."""

    def __init__(self) -> None:
        self._queues: dict[str, list[Lease]] = {}
        self._blocked: dict[Lease, int] = {}
        self._commits: dict[Lease, Commit] = {}
        self._called: list[Commit] = []

    def enter(self, commit: Commit) -> bool:
        """Whether it may be sent now; if not, it is called when others have left."""
        blocked = 0
        for player in commit.unit.deltas:
            queue = self._queues.get(player)
            if queue is None:
                self._queues[player] = [commit.lease]
            else:
                blocked += 1
                queue.append(commit.lease)
        self._commits[commit.lease] = commit
        self._blocked[commit.lease] = blocked
        return not blocked

    @property
    def calls(self) -> bool:
        """Whether somebody's turn has come."""
        return bool(self._called)

    def called(self) -> list[Commit]:
        """Those to send now: their turn has come."""
        called, self._called = self._called, []
        return called

    def leave(self, commit: Commit) -> None:
        """It was answered: others may have their turn."""
        if commit.lease in self._commits:
            self._remove(commit.lease)

    def keep(self, again: Commit) -> None:
        """The same unit is to be sent once more: it keeps its turn."""
        self._commits[again.lease] = again
        self._called.append(again)

    def busy(self, lease: Lease) -> Collection[str]:
        """Players whom others have, or wait for, and this one does not."""
        mine = self._commits[lease].unit.deltas
        return self._queues.keys() - mine.keys()

    def widen(self, grown: Commit) -> None:
        """The unit whose turn it is has grown by players who were not busy."""
        for player in grown.unit.deltas.keys() - self._commits[grown.lease].unit.deltas.keys():
            self._queues[player] = [grown.lease]
        self._commits[grown.lease] = grown

    def withdraw(self, lease: Lease) -> bool:
        """Takes out a commit that has not been sent yet, if there is one."""
        called = [commit for commit in self._called if commit.lease == lease]
        if not called and not self._blocked.get(lease):
            return False
        self._called = [commit for commit in self._called if commit.lease != lease]
        self._remove(lease)
        return True

    def _remove(self, lease: Lease) -> None:
        commit = self._commits.pop(lease)
        del self._blocked[lease]
        for player in commit.unit.deltas:
            queue = self._queues[player]
            if len(queue) == 1:
                del self._queues[player]
                continue
            was_first = queue[0] == lease
            queue.remove(lease)
            if was_first:
                self._blocked[queue[0]] -= 1
                if not self._blocked[queue[0]]:
                    self._called.append(self._commits[queue[0]])
