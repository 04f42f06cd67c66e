"""How things stand, from outside: the shards, the workers, the lag of it all, and the verdict as an exit code."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum, StrEnum

from consumer.domain.leases import Birth, Shard, Vouch
from consumer.domain.lineage import RETENTION_SECONDS
from consumer.domain.overview import Gap


class State(StrEnum):
    """What an operator is shown of a shard."""

    RUNNING = "running"
    UNOWNED = "unowned"
    """Nobody owns it, or its owner does not beat."""
    WAITING = "waiting"
    """It has no row yet: its parent is not finished, or no worker has seen it."""
    HALTED = "halted"
    MISSING = "missing"
    """Its row was deleted: nobody knows its position, so it is halted."""
    FINISHED = "finished"


class Verdict(IntEnum):
    """The exit code of `status`."""

    HEALTHY = 0
    BEHIND = 10
    DATA_LOSS_NEAR = 11
    HALTED = 12


@dataclass(frozen=True, slots=True)
class Limits:
    """From when on it is called behind, and data loss near."""

    behind_seconds: float = 60.0
    headroom_seconds: float = 4 * 3600.0


@dataclass(frozen=True, slots=True)
class ShardStatus:
    """`lag_seconds` None: not known, and `at_most_seconds` at most (None: that is not known either)."""

    shard: Shard
    state: State
    owner: str | None = None
    epoch: int | None = None
    checkpoint: str | None = None
    lag_seconds: float | None = None
    at_most_seconds: float | None = None
    parent: str | None = None
    children: tuple[str, ...] = ()
    halted_at: float | None = None

    @property
    def worst_seconds(self) -> float:
        """What it must be taken for."""
        return self.lag_seconds if self.lag_seconds is not None else self.at_most_seconds or 0.0


@dataclass(frozen=True, slots=True)
class WorkerStatus:
    """`owns`: unfinished shards by their rows. `silent_seconds`: since its beat; None: it has only joined yet."""

    owner: str
    vouch: Vouch
    owns: int
    silent_seconds: float | None
    fresh: bool


@dataclass(frozen=True, slots=True)
class Status:
    """`now` is the server's, in unix seconds. `unread`: streams (ARNs) that no worker has begun with.

    `strange`: streams that were begun, and of which this lease table knows nothing: it was emptied, or is another one.
    """

    now: float
    shards: tuple[ShardStatus, ...]
    workers: tuple[WorkerStatus, ...]
    gaps: tuple[Gap, ...]
    pending: int
    replays: tuple[Mapping[str, str], ...]
    unread: tuple[str, ...] = ()
    strange: tuple[Birth, ...] = ()

    @property
    def halted(self) -> tuple[ShardStatus, ...]:
        """Shards that go on only when a person acts."""
        return tuple(each for each in self.shards if each.state in (State.HALTED, State.MISSING))

    @property
    def at_most_seconds(self) -> float:
        """The stream's lag, at most. Where the ledger is lost, nothing that the stream has is known to be committed."""
        if self.strange:
            return float(RETENTION_SECONDS)
        return max((each.worst_seconds for each in self.shards), default=0.0)

    @property
    def lag_seconds(self) -> float | None:
        """The stream's lag; None while that of a shard is not known. Who waits for its parent is not older than it."""
        unknown = [each for each in self.shards if each.lag_seconds is None]
        known = all(each.state is State.WAITING and each.at_most_seconds is None for each in unknown)
        if not known or self.unread or self.strange:
            return None
        return max((each.lag_seconds or 0.0 for each in self.shards), default=0.0)

    @property
    def headroom_seconds(self) -> float:
        """Time until data loss: how long a record stays, less the lag at most."""
        return RETENTION_SECONDS - self.at_most_seconds

    def verdict(self, limits: Limits) -> Verdict:
        """The worst that is true."""
        if self.halted or self.strange:
            return Verdict.HALTED
        if self.headroom_seconds < limits.headroom_seconds:
            return Verdict.DATA_LOSS_NEAR
        if self.unread or self.at_most_seconds > limits.behind_seconds:
            return Verdict.BEHIND
        return Verdict.HEALTHY
