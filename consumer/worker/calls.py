"""The calls that the machines name, as values, what may be answered, and where a call waits for a thread."""

from dataclasses import dataclass
from enum import Enum

from consumer.domain.errors import DataTrimmed, IteratorExpired, Trouble
from consumer.domain.leaderboard import Unit
from consumer.domain.leases import Adoption, Lease, LeaseRow, Members, Origin, Pin, Shard, Vouch
from consumer.domain.outcomes import (
    Children,
    Committed,
    Done,
    Ledger,
    Lost,
    Page,
    Refused,
    Removed,
    StreamListing,
)
from consumer.domain.records import Game, Poison

PAGE_RECORDS = 1000
"""What one GetRecords may ask for at most. Source: its API reference."""


class Lane(Enum):
    """Who waits for whom: beats for nobody, commits before reads; aside are listings, which AWS wants slow, and the
    ledger, which is large.
    """

    DATA = "data"
    READ = "read"
    BEAT = "beat"
    LIST = "list"
    LOAD = "load"


@dataclass(frozen=True, slots=True)
class Open:
    lease: Lease
    after: str


@dataclass(frozen=True, slots=True)
class Read:
    """`after` is the position that the page follows; `floor` the stream's start position (unix seconds)."""

    lease: Lease
    iterator: str
    after: str
    floor: float | None
    limit: int = PAGE_RECORDS


@dataclass(frozen=True, slots=True)
class RecordGap:
    lease: Lease
    checkpoint: str
    found_at: float


@dataclass(frozen=True, slots=True)
class Commit:
    lease: Lease
    unit: Unit
    later: frozenset[str]
    fills_gap: bool


@dataclass(frozen=True, slots=True)
class Examine:
    """Why was `game` refused alone? `final`: it was refused again after nothing was found to speak against it."""

    lease: Lease
    game: Game
    detail: str
    final: bool


@dataclass(frozen=True, slots=True)
class Halt:
    """The breaker trips before the record after `previous`. `resumes`: see Circuit."""

    lease: Lease
    previous: str
    resumes: int
    halted_at: float


@dataclass(frozen=True, slots=True)
class FindChildren:
    lease: Lease


@dataclass(frozen=True, slots=True)
class EndShard:
    lease: Lease
    previous: str
    children: tuple[str, ...]
    rows: tuple[LeaseRow, ...]


@dataclass(frozen=True, slots=True)
class Release:
    lease: Lease


ShardCall = Open | Read | RecordGap | Commit | Halt | Examine | FindChildren | EndShard | Release


@dataclass(frozen=True, slots=True)
class Beat:
    owner: str
    vouch: Vouch
    joining: bool
    bump: bool


@dataclass(frozen=True, slots=True)
class Look:
    pass


@dataclass(frozen=True, slots=True)
class Bury:
    owner: str
    beat: int


@dataclass(frozen=True, slots=True)
class Leave:
    owner: str


@dataclass(frozen=True, slots=True)
class FindOrigin:
    stream_arn: str


@dataclass(frozen=True, slots=True)
class ListShards:
    stream_arn: str


@dataclass(frozen=True, slots=True)
class PinStream:
    """`predecessor`: the stream that this one comes after, whose end and this one's start may not meet."""

    pin: Pin
    predecessor: str | None
    found_at: float


@dataclass(frozen=True, slots=True)
class Plant:
    stream_arn: str
    rows: tuple[LeaseRow, ...]


@dataclass(frozen=True, slots=True)
class CompletePin:
    stream_arn: str


@dataclass(frozen=True, slots=True)
class Load:
    pass


@dataclass(frozen=True, slots=True)
class Claim:
    row: LeaseRow
    lease: Lease


@dataclass(frozen=True, slots=True)
class FindStream:
    pass


@dataclass(frozen=True, slots=True)
class FindLate:
    """Has a finished shard got more children than its row tells?"""

    parent: LeaseRow


@dataclass(frozen=True, slots=True)
class Probe:
    """Can the shard be read? Asked of one that no listing shows, or that only a listing shows."""

    shard: Shard


@dataclass(frozen=True, slots=True)
class RecordLoss:
    """A gap of a shard that nobody works: it was gone before it was ever known."""

    shard: Shard
    found_at: float


@dataclass(frozen=True, slots=True)
class Adopt:
    adoption: Adoption


@dataclass(frozen=True, slots=True)
class Mark:
    row: LeaseRow
    unlisted_since: float | None


@dataclass(frozen=True, slots=True)
class Forget:
    row: LeaseRow
    pin: Pin | None


MemberCall = Beat | Look | Bury | Leave
PinCall = FindOrigin | ListShards | Probe | PinStream | Plant | CompletePin
CoordinatorCall = MemberCall | PinCall | Load | Claim
SurveyCall = FindStream | FindLate | RecordLoss | Adopt | Mark | Forget | PinCall
LedgerCall = SurveyCall | Load | Claim
Call = ShardCall | CoordinatorCall | SurveyCall

Reply = (
    Page | Poison | str | bool | Children | Committed | Lost | Refused | Done | Removed | Members | Origin
    | StreamListing | Ledger | LeaseRow | Trouble | IteratorExpired | DataTrimmed
)  # fmt: skip


def lane_of(call: Call) -> Lane:
    """Where the call waits for a thread."""
    match call:
        case Beat() | Look() | Bury() | Leave():
            return Lane.BEAT
        case ListShards() | FindChildren() | FindLate() | FindStream():
            return Lane.LIST
        case Open() | Read():
            return Lane.READ
        case Load():
            return Lane.LOAD
    return Lane.DATA
