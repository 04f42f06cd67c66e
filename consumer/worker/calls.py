"""The calls that the machines name, as values, and what may be answered."""

from dataclasses import dataclass

from consumer.domain.errors import DataTrimmed, IteratorExpired, Trouble
from consumer.domain.leaderboard import Unit
from consumer.domain.leases import Adoption, Lease, LeaseRow, Members, Origin, Pin, Shard, Vouch
from consumer.domain.outcomes import Children, Committed, Done, Ledger, Lost, Page, Refused, Removed, StreamListing
from consumer.domain.records import Game, Poison

PAGE_RECORDS = 1000
"""What one GetRecords may ask for at most. Source: its API reference."""


@dataclass(frozen=True, slots=True)
class Open:
    """An iterator that begins after the position `after`."""

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
    """A durable row: what follows `checkpoint` may be lost (`found_at` in unix seconds)."""

    lease: Lease
    checkpoint: str
    found_at: float


@dataclass(frozen=True, slots=True)
class Commit:
    """The transaction of a unit. Players in `later` keep their stored date."""

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
    """Which children has the shard, now that it has ended?"""

    lease: Lease


@dataclass(frozen=True, slots=True)
class EndShard:
    """The row to SHARD_END with all `children`, and `rows` for those that have none yet."""

    lease: Lease
    previous: str
    children: tuple[str, ...]
    rows: tuple[LeaseRow, ...]


@dataclass(frozen=True, slots=True)
class Release:
    """The lease is given back."""

    lease: Lease


ShardCall = Open | Read | RecordGap | Commit | Halt | Examine | FindChildren | EndShard | Release


@dataclass(frozen=True, slots=True)
class Beat:
    """A sign of life in `members`. Only a joining one puts the owner in; `bump` makes the others look."""

    owner: str
    vouch: Vouch
    joining: bool
    bump: bool


@dataclass(frozen=True, slots=True)
class Look:
    """What is in `members` now?"""


@dataclass(frozen=True, slots=True)
class Bury:
    """A dead owner is taken out of `members`, unless it has beaten since `beat`."""

    owner: str
    beat: int


@dataclass(frozen=True, slots=True)
class Leave:
    """This worker is taken out of `members`."""

    owner: str


@dataclass(frozen=True, slots=True)
class FindOrigin:
    """The stream's pin and birth row, read at one moment."""

    stream_arn: str


@dataclass(frozen=True, slots=True)
class ListShards:
    """All shards that the stream shows now."""

    stream_arn: str


@dataclass(frozen=True, slots=True)
class PinStream:
    """`predecessor`: the stream that this one comes after, whose end and this one's start may not meet."""

    pin: Pin
    predecessor: str | None
    found_at: float


@dataclass(frozen=True, slots=True)
class Plant:
    """Root rows, while the pin is incomplete."""

    stream_arn: str
    rows: tuple[LeaseRow, ...]


@dataclass(frozen=True, slots=True)
class CompletePin:
    """From now on a root without a row is a lost row."""

    stream_arn: str


@dataclass(frozen=True, slots=True)
class Load:
    """Every row of the ledger."""


@dataclass(frozen=True, slots=True)
class Claim:
    """`lease` becomes the holder, if the row is still as it was read."""

    row: LeaseRow
    lease: Lease


@dataclass(frozen=True, slots=True)
class FindStream:
    """Which stream has the source table now?"""


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
    """Shards found late join the list they belong to, and get their rows."""

    adoption: Adoption


@dataclass(frozen=True, slots=True)
class Mark:
    """Notes since when listings have not shown a finished shard; None: they show it."""

    row: LeaseRow
    unlisted_since: float | None


@dataclass(frozen=True, slots=True)
class Forget:
    """Deletes a finished row, and takes it out of the pin's roots."""

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
