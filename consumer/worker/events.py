"""What machines report: plain values that the narrator turns into logs and metrics."""

from dataclasses import dataclass

from consumer.domain.errors import TroubleKind
from consumer.domain.leaderboard import Unit
from consumer.domain.leases import Adoption, Lease, LeaseRow, Shard
from consumer.domain.outcomes import StreamListing


@dataclass(frozen=True, slots=True)
class UnitCommitted:
    """`seconds` from the first attempt to the answer; `settled`: an earlier attempt had gone through unnoticed."""

    lease: Lease
    unit: Unit
    seconds: float
    settled: bool


@dataclass(frozen=True, slots=True)
class CaughtUp:
    """A page was empty: the shard has nothing for us now."""

    lease: Lease


@dataclass(frozen=True, slots=True)
class RetryScheduled:
    """A call failed and is made again after `delay_seconds`; `attempt` failures running."""

    operation: str
    kind: TroubleKind
    detail: str
    attempt: int
    delay_seconds: float
    lease: Lease | None = None


@dataclass(frozen=True, slots=True)
class ShardRewound:
    """Our own ledger row stands elsewhere than we thought: read again from there."""

    lease: Lease
    checkpoint: str


@dataclass(frozen=True, slots=True)
class LeaseClaimed:
    """The shard is ours from now on; it was `previous_owner`'s."""

    row: LeaseRow
    previous_owner: str | None


@dataclass(frozen=True, slots=True)
class LeaseLost:
    """Somebody else's by now: dropped quietly."""

    lease: Lease
    owner: str | None


@dataclass(frozen=True, slots=True)
class HandOverDecided:
    """The planner gives this shard of ours to another worker."""

    shard: Shard


@dataclass(frozen=True, slots=True)
class LeaseReleased:
    """The lease is given back."""

    lease: Lease


@dataclass(frozen=True, slots=True)
class ShardEnded:
    """Finished; `rows` are those of the children that got one now and are ours."""

    lease: Lease
    children: tuple[str, ...]
    rows: tuple[LeaseRow, ...]


@dataclass(frozen=True, slots=True)
class ShardHalted:
    """Nothing more is committed until a person acts. `checkpoint` is the last one this worker knew.

    `row_missing`: nobody guesses its position; else the breaker has tripped.
    """

    shard: Shard
    checkpoint: str | None
    row_missing: bool = True


@dataclass(frozen=True, slots=True)
class ResumeFound:
    """A person has closed the shard's circuit; `row` tells."""

    row: LeaseRow


@dataclass(frozen=True, slots=True)
class GapFound:
    """Data after `checkpoint` was trimmed before it was read; `new` when no row told of it yet."""

    shard: Shard
    checkpoint: str
    new: bool


@dataclass(frozen=True, slots=True)
class StreamPinned:
    """A stream is begun. After a `predecessor` what was written in between is in neither."""

    stream_arn: str
    floor: float | None
    roots: tuple[str, ...]
    predecessor: str | None = None


@dataclass(frozen=True, slots=True)
class StreamListed:
    """A listing, for whoever waits for what it shows."""

    listing: StreamListing


@dataclass(frozen=True, slots=True)
class StreamGone:
    """There is no such stream any more, and the table has a later one."""

    stream_arn: str


@dataclass(frozen=True, slots=True)
class ShardsAdopted:
    """They became visible late; now the ledger knows them."""

    adoption: Adoption


@dataclass(frozen=True, slots=True)
class RowForgotten:
    """The row of a finished shard that nothing refers to any more was deleted."""

    shard: Shard


@dataclass(frozen=True, slots=True)
class LedgerSurprised:
    """The ledger is not what it was when it was last read."""


@dataclass(frozen=True, slots=True)
class Joined:
    """This worker is in `members`."""

    owner: str


@dataclass(frozen=True, slots=True)
class MemberBuried:
    """A dead worker was taken out of `members`."""

    owner: str


@dataclass(frozen=True, slots=True)
class Removed:
    """Somebody took this worker for dead; it joins again."""

    owner: str


Event = (
    UnitCommitted | CaughtUp | RetryScheduled | ShardRewound | LeaseClaimed | LeaseLost | HandOverDecided
    | LeaseReleased | ShardEnded | ShardHalted | ResumeFound | GapFound | StreamPinned | StreamListed | StreamGone
    | ShardsAdopted | RowForgotten | LedgerSurprised | Joined | MemberBuried | Removed
)  # fmt: skip
