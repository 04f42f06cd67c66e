"""Player locks: commits of one worker that share a player run one after the other, so that they do not conflict.

A source keyed by match puts a hot player into every shard. A commit acquires the locks of all its players at once, and
each lock is granted in order of arrival: no commit waits for ever, and none holds a lock while it waits for another.
"""

from collections.abc import Collection

from consumer.domain.leases import Lease
from consumer.worker.shard_calls import Commit


class PlayerLocks:
    """Per player the leases whose commits hold the lock (the first) or wait for it. A lease has one commit."""

    def __init__(self) -> None:
        self._queues: dict[str, list[Lease]] = {}
        self._blocked: dict[Lease, int] = {}
        self._commits: dict[Lease, Commit] = {}
        self._granted: list[Commit] = []

    def acquire(self, commit: Commit) -> bool:
        """Whether the commit may be sent now. If not, `take_granted` returns it when it may."""
        blocked = 0
        for player in commit.players:
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
    def has_granted(self) -> bool:
        """Whether `take_granted` has a commit to return."""
        return bool(self._granted)

    def take_granted(self) -> list[Commit]:
        """The commits that waited and may be sent now, each once."""
        granted, self._granted = self._granted, []
        return granted

    def release(self, commit: Commit) -> None:
        """The commit was answered: its locks pass to those that wait for them."""
        if commit.lease in self._commits:
            self._remove(commit.lease)

    def renew(self, commit: Commit) -> None:
        """The same unit is to be sent again: it keeps its locks."""
        self._commits[commit.lease] = commit
        self._granted.append(commit)

    def held_by_others(self, lease: Lease) -> Collection[str]:
        """Players whose locks only other commits hold or wait for."""
        return self._queues.keys() - set(self._commits[lease].players)

    def extend(self, grown: Commit) -> None:
        """The unit has grown by players whose locks no other commit held: it holds them too."""
        for player in set(grown.players).difference(self._commits[grown.lease].players):
            self._queues[player] = [grown.lease]
        self._commits[grown.lease] = grown

    def cancel(self, lease: Lease) -> bool:
        """Withdraws the lease's commit if it has not been sent yet; whether there was one."""
        granted = any(commit.lease == lease for commit in self._granted)
        if not granted and not self._blocked.get(lease):
            return False
        self._granted = [commit for commit in self._granted if commit.lease != lease]
        self._remove(lease)
        return True

    def _remove(self, lease: Lease) -> None:
        commit = self._commits.pop(lease)
        del self._blocked[lease]
        for player in commit.players:
            queue = self._queues[player]
            if len(queue) == 1:
                del self._queues[player]
                continue
            was_first = queue[0] == lease
            queue.remove(lease)
            if was_first:
                self._blocked[queue[0]] -= 1
                if not self._blocked[queue[0]]:
                    self._granted.append(self._commits[queue[0]])
