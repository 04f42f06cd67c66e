"""Members and failure detection: each worker judges by its own reads, on its own monotonic clock."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from operator import attrgetter
from typing import Final, NamedTuple
from zlib import crc32

from consumer.domain.leases import PROTOCOL, Shard

MOST_NAMED: Final = 3
"""Shards that a heartbeat names. With more of them a worker's entry in `members` would be larger than 200 bytes."""


class LateShard(NamedTuple):
    """A shard that its worker has not caught up with. Not `known`: `lag_seconds` is an upper bound.

    `code` stands for its name, which is too long for a heartbeat.
    """

    code: str
    lag_seconds: float
    known: bool = True


def code_of(shard: Shard) -> str:
    """How heartbeats name a shard: the CRC-32 of its label and id."""
    return f"{crc32(str(shard).encode()):08x}"


def latest(shards: Iterable[LateShard]) -> tuple[LateShard, ...]:
    """Those that a heartbeat names, the worst first."""
    return tuple(sorted(shards, key=attrgetter("lag_seconds"), reverse=True)[:MOST_NAMED])


@dataclass(frozen=True, slots=True)
class HeartbeatReport:
    """What a heartbeat says of its worker.

    `number` grows with each heartbeat. The worker owns `shards` shards; `behind` of them lag, by `lag_seconds` at most.
    Of those the lag of `unknown` is not known, and lower. All of that was so at `as_of` (unix seconds), when its other
    shards were caught up. `late` are the worst of those that were not. `protocol`: see PROTOCOL. `rules`: the number of
    those by which it reads records; 0: not known.
    """

    number: int
    shards: int = 0
    behind: int = 0
    lag_seconds: float = 0.0
    as_of: float = 0.0
    unknown: int = 0
    protocol: int = PROTOCOL
    late: tuple[LateShard, ...] = ()
    rules: int = 0

    def lag_of(self, shard: Shard) -> LateShard:
        """The lag at `as_of` of a shard that the worker owned then.

        Of a shard that is not named it is 0 if all that were late are named. Else the named ones are later; a version
        that named none only said the worst.
        """
        code = code_of(shard)
        named = [late for late in self.late if late.code == code]
        if named:
            return named[0]
        behind = sum(late.lag_seconds > 0 for late in self.late)
        unknown = sum(not late.known for late in self.late)
        if self.behind <= behind and self.unknown <= unknown:
            return LateShard(code, 0.0)
        return LateShard(code, min((late.lag_seconds for late in self.late), default=self.lag_seconds), known=False)


@dataclass(frozen=True, slots=True)
class Members:
    """The `members` item: the heartbeat report of each worker, by owner.

    `changes` counts joins, leaves, releases and operator actions, so that every worker notices them at once.
    """

    changes: int
    workers: Mapping[str, HeartbeatReport]


@dataclass(slots=True)
class _Watch:
    """The number that a worker shows, and since when (monotonic seconds)."""

    number: int
    since: float


class FailureDetector:
    """Finds dead workers: those whose heartbeat number has not grown for a TTL. No wall clocks are compared.

    It counts only time in which it read the members without a hole.
    """

    def __init__(self, lease_ttl_seconds: float) -> None:
        self._ttl = lease_ttl_seconds
        self._watches: dict[str, _Watch] = {}
        self._sent_at: float | None = None
        self.members: Mapping[str, HeartbeatReport] = {}

    def observe(self, members: Members, sent_at: float, received_at: float) -> None:
        """Takes the members as they were read between `sent_at` and `received_at` (monotonic seconds).

        After a hole of more than half a TTL (this worker was paused, or DynamoDB did not answer) all counting starts
        again.
        """
        if self._sent_at is not None and received_at - self._sent_at > self._ttl / 2:
            self._watches.clear()
        self._sent_at = sent_at
        self.members = members.workers
        for owner in self._watches.keys() - members.workers.keys():
            del self._watches[owner]
        for owner, report in members.workers.items():
            watch = self._watches.get(owner)
            if watch is None or watch.number != report.number:
                self._watches[owner] = _Watch(report.number, received_at)

    def dead(self) -> frozenset[str]:
        """Owners whose heartbeat number has not grown for a TTL."""
        now = self._sent_at or 0.0
        return frozenset(owner for owner, watch in self._watches.items() if now - watch.since >= self._ttl)


@dataclass(frozen=True, slots=True)
class Identity:
    """Who this worker is. `owner` is worker id + "/" + an id that is new at each start.

    `stable`: the operator chose the worker id, so a lease of the same id is from before a restart and the worker
    claims it at once.
    """

    owner: str
    stable: bool

    @property
    def worker_id(self) -> str:
        """The part that stays the same over restarts, if `stable`."""
        return self.owner.rpartition("/")[0]

    def is_earlier_life(self, owner: str) -> bool:
        """Whether `owner` is this worker before a restart."""
        return self.stable and owner != self.owner and owner.rpartition("/")[0] == self.worker_id
