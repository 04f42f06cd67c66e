"""The ledger's nouns: which shard, whose it is, how far it is committed; the stream's pin and its birth row."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from consumer.domain.breaker import CLOSED, Circuit
from consumer.domain.position import SHARD_END


class Shard(NamedTuple):
    """A shard of one stream. Shard ids are unique only within a stream, so the stream is part of the name."""

    stream_arn: str
    shard_id: str

    @property
    def label(self) -> str:
        """The stream's label: the last part of its ARN."""
        return label_of(self.stream_arn)

    def __str__(self) -> str:
        return f"{self.label}/{self.shard_id}"


def label_of(stream_arn: str) -> str:
    """The stream's label: its creation time as AWS writes it, the last part of the ARN."""
    return stream_arn.rpartition("/")[2]


class Lease(NamedTuple):
    """The right to commit for a shard. `owner` is worker id + "/" + an id fresh at each start; `epoch` fences."""

    shard: Shard
    owner: str
    epoch: int


@dataclass(frozen=True, slots=True)
class LeaseRow:
    """One shard's row of the ledger. `owner` is None when released.

    All that is not committed was created after `created` (unix seconds): the last committed record's creation, in a new
    row its parent's, or when the row was made. `unlisted_since`: since when, by the server's clock, listings have not
    shown the finished shard.
    """

    shard: Shard
    owner: str | None
    epoch: int
    checkpoint: str
    parent: str | None = None
    children: tuple[str, ...] = ()
    created: float | None = None
    unlisted_since: float | None = None
    circuit: Circuit = CLOSED

    @property
    def finished(self) -> bool:
        """Every record of it is committed and its children have their rows."""
        return self.checkpoint == SHARD_END


@dataclass(frozen=True, slots=True)
class Pin:
    """A stream as it was first seen: `floor` in unix seconds (None: the trim horizon) and the shards to begin with.

    Until `complete`, a root without a row was not planted yet; afterwards it was lost. `pinned_at`: the server's unix
    seconds of that first sight, as far as the row tells it.
    """

    stream_arn: str
    floor: float | None
    roots: tuple[str, ...]
    complete: bool
    pinned_at: float | None = field(default=None, compare=False)

    def without(self, root: str) -> "Pin":
        """The pin when one of its roots is forgotten."""
        return replace(self, roots=tuple(each for each in self.roots if each != root))


@dataclass(frozen=True, slots=True)
class Birth:
    """The quarantine table's word on what belongs together: it outlives a lease table that was emptied or mistyped."""

    stream_arn: str
    lease_table: str
    leaderboard_table: str


@dataclass(frozen=True, slots=True)
class Origin:
    """Pin and birth row of one stream, read at one moment; while it `begins` also the others' births and pins."""

    pin: Pin | None
    birth: Birth | None
    others: tuple[tuple[Birth, Pin | None], ...] = ()

    @property
    def begins(self) -> bool:
        """Whether nothing is known of the stream, or its roots are still being planted."""
        if self.pin is None:
            return self.birth is None
        return self.birth is not None and not self.pin.complete


@dataclass(frozen=True, slots=True)
class Adoption:
    """Shards found late get their rows and join the list they belong to: a finished parent's, or the pin's roots."""

    into: LeaseRow | Pin
    rows: tuple[LeaseRow, ...]

    @property
    def before(self) -> tuple[str, ...]:
        """The list as it was read."""
        return self.into.roots if isinstance(self.into, Pin) else self.into.children

    @property
    def after(self) -> tuple[str, ...]:
        """The list as it is to be."""
        return tuple(sorted({*self.before, *(row.shard.shard_id for row in self.rows)}))


@dataclass(frozen=True, slots=True)
class Amendment:
    """What a person does to a stream's birth row: `before` becomes `after`; None: there is none.

    `pinned`: whether the lease table has the stream's pin.
    """

    stream_arn: str
    before: Birth | None
    after: Birth | None
    pinned: bool


@dataclass(frozen=True, slots=True)
class Vouch:
    """What a beat tells: a count that grows, the shards the worker owns, how many of them are behind, the worst lag.

    `as_of` is when that was so, in unix seconds: shards that are not behind were caught up then.
    """

    beat: int
    shards: int = 0
    behind: int = 0
    lag_seconds: float = 0.0
    as_of: float = 0.0


@dataclass(frozen=True, slots=True)
class Members:
    """The `members` item: who beats, and how often joins, leaves, releases and operators' acts have changed things."""

    changes: int
    workers: Mapping[str, Vouch]
