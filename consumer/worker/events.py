"""Events that the machines report: plain values that the event log turns into log lines and metrics."""

from dataclasses import dataclass

from consumer.domain.accepted_rules import UNNUMBERED, Reading
from consumer.domain.breaker import Circuit
from consumer.domain.errors import FailureKind
from consumer.domain.fold import Unit
from consumer.domain.leases import Adoption, Lease, LeaseRow, Shard, StreamStart
from consumer.domain.replies import StreamListing
from consumer.worker.calls import Operation


@dataclass(frozen=True, slots=True)
class UnitCommitted:
    """`seconds` from the first attempt to the reply; `settled`: by an earlier attempt whose reply was lost."""

    lease: Lease
    unit: Unit
    seconds: float
    settled: bool


@dataclass(frozen=True, slots=True)
class CaughtUp:
    """A page was empty: the shard has nothing new now."""

    lease: Lease


@dataclass(frozen=True, slots=True)
class RetryScheduled:
    """A call failed and is retried after `delay_seconds`; `attempt`: consecutive failures."""

    operation: Operation
    kind: FailureKind
    detail: str
    attempt: int
    delay_seconds: float
    lease: Lease | None = None


@dataclass(frozen=True, slots=True)
class ShardRewound:
    """The lease's row stands at another checkpoint than this worker thought: the shard is read again from there."""

    lease: Lease
    checkpoint: str


@dataclass(frozen=True, slots=True)
class LeaseClaimed:
    """This worker owns the shard from now on; `previous_owner` did before."""

    row: LeaseRow
    previous_owner: str | None


@dataclass(frozen=True, slots=True)
class LeaseLost:
    """Another worker owns the shard, or none (`owner`): this worker drops it."""

    lease: Lease
    owner: str | None


@dataclass(frozen=True, slots=True)
class HandOverDecided:
    """The planner gives this shard to another worker."""

    shard: Shard


@dataclass(frozen=True, slots=True)
class LeaseReleased:
    """The lease is given back."""

    lease: Lease


@dataclass(frozen=True, slots=True)
class ShardEnded:
    """The shard is finished; `rows` are the new rows of its children, which this worker owns.

    All children are read as it was: `reading`.
    """

    lease: Lease
    children: tuple[str, ...]
    rows: tuple[LeaseRow, ...]
    reading: Reading = UNNUMBERED


@dataclass(frozen=True, slots=True)
class ShardHalted:
    """Nothing more is committed until an operator acts. `checkpoint` is the last one this worker knew.

    `circuit`: the breaker has tripped; None: the shard's row is missing, so its position is not known any more.
    """

    shard: Shard
    checkpoint: str | None
    circuit: Circuit | None = None


@dataclass(frozen=True, slots=True)
class ResumeFound:
    """An operator has closed the shard's circuit, as `row` shows."""

    row: LeaseRow


@dataclass(frozen=True, slots=True)
class GapFound:
    """Data after `checkpoint` was trimmed before it was read; `new`: no row recorded it before."""

    shard: Shard
    checkpoint: str
    new: bool


@dataclass(frozen=True, slots=True)
class StreamStarted:
    """The start of a stream is recorded. What was written between it and its `predecessor` is in neither stream."""

    stream_arn: str
    start_time: float | None
    roots: tuple[str, ...]
    predecessor: str | None = None


@dataclass(frozen=True, slots=True)
class StreamListed:
    """A listing came in: shards may wait for what it shows. `start`: its stream's row in the ledger, if any."""

    listing: StreamListing
    start: StreamStart | None = None


@dataclass(frozen=True, slots=True)
class StreamGone:
    """The stream does not exist any more, and the table has a later one."""

    stream_arn: str


@dataclass(frozen=True, slots=True)
class ShardsAdopted:
    """Shards that became visible late have their rows now."""

    adoption: Adoption


@dataclass(frozen=True, slots=True)
class RowForgotten:
    """The row of a finished shard that nothing refers to any more was deleted."""

    shard: Shard


@dataclass(frozen=True, slots=True)
class LedgerChanged:
    """The ledger is not as it was last read."""


@dataclass(frozen=True, slots=True)
class Joined:
    """This worker is in `members`."""

    owner: str


@dataclass(frozen=True, slots=True)
class MemberEvicted:
    """A dead worker was taken out of `members`."""

    owner: str


@dataclass(frozen=True, slots=True)
class Removed:
    """Another worker evicted this one; it joins again."""

    owner: str


Event = (
    UnitCommitted | CaughtUp | RetryScheduled | ShardRewound | LeaseClaimed | LeaseLost | HandOverDecided
    | LeaseReleased | ShardEnded | ShardHalted | ResumeFound | GapFound | StreamStarted | StreamListed | StreamGone
    | ShardsAdopted | RowForgotten | LedgerChanged | Joined | MemberEvicted | Removed
)  # fmt: skip
