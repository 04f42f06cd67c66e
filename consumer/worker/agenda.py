"""When each shard is to be asked next: one step costs what is due, not what there is."""

import heapq
from collections.abc import Iterator
from itertools import count
from math import inf

from consumer.domain.leases import Shard


class Agenda:
    """Times are monotonic seconds. A shard has one time; an older entry of it is left behind, to be skipped."""

    def __init__(self) -> None:
        self._entries: list[tuple[float, int, Shard]] = []
        self._due: dict[Shard, float] = {}
        self._tie = count()

    def put(self, shard: Shard, at: float) -> None:
        """The shard is due `at`, not at any time it was put before; inf: not until it is put again."""
        if at == self._due.get(shard, inf):
            return
        self._due[shard] = at
        if at < inf:
            heapq.heappush(self._entries, (at, next(self._tie), shard))

    def forget(self, shard: Shard) -> None:
        """It is not due any more."""
        self._due.pop(shard, None)

    def due(self, now: float) -> Iterator[Shard]:
        """All that are due, the longest first; who asks puts each again."""
        while self._entries and self._entries[0][0] <= now:
            at, _, shard = heapq.heappop(self._entries)
            if self._due.get(shard) == at:
                yield shard

    @property
    def next_at(self) -> float:
        """When to look again; an entry left behind may make it too early."""
        return self._entries[0][0] if self._entries else inf
