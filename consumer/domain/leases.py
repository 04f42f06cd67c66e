"""The ledger's nouns: which shard, whose it is, how far it is committed; the stream's pin and its birth row."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

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
    """One shard's row of the ledger. `owner` is None when released; `created` is unix seconds of the last record."""

    shard: Shard
    owner: str | None
    epoch: int
    checkpoint: str
    parent: str | None = None
    children: tuple[str, ...] = ()
    created: float | None = None

    @property
    def finished(self) -> bool:
        """Every record of it is committed and its children have their rows."""
        return self.checkpoint == SHARD_END


@dataclass(frozen=True, slots=True)
class Pin:
    """A stream as it was first seen: `floor` in unix seconds (None: the trim horizon) and the shards to begin with.

    Until `complete`, a root without a row was not planted yet; afterwards it was lost.
    """

    stream_arn: str
    floor: float | None
    roots: tuple[str, ...]
    complete: bool


@dataclass(frozen=True, slots=True)
class Birth:
    """The quarantine table's word on what belongs together: it outlives a lease table that was emptied or mistyped."""

    stream_arn: str
    lease_table: str
    leaderboard_table: str


@dataclass(frozen=True, slots=True)
class Origin:
    """Pin and birth row of one stream, read at one moment, and the births of other streams with their pins' absence."""

    pin: Pin | None
    birth: Birth | None
    others: tuple[tuple[Birth, bool], ...] = ()


@dataclass(frozen=True, slots=True)
class Vouch:
    """What a beat tells: a count that grows, how many shards the worker owns, the worst lag and as of when (unix)."""

    beat: int
    shards: int = 0
    lag_seconds: float = 0.0
    as_of: float = 0.0


@dataclass(frozen=True, slots=True)
class Members:
    """The `members` item: who beats, and how often joins, leaves, releases and operators' acts have changed things."""

    changes: int
    workers: Mapping[str, Vouch]
