"""What the ports answer: plain values, so that a machine can be told them by a pool, a test or a simulation."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from consumer.domain.leases import LeaseRow, Pin
from consumer.domain.records import Entry


class ListedShard(NamedTuple):
    """A shard as a listing shows it."""

    shard_id: str
    parent: str | None


@dataclass(frozen=True, slots=True)
class StreamListing:
    """A stream's shards over all pages. `served_at` is the server's Date of the first answer, in unix seconds.

    A listing never proves that a shard is absent.
    """

    stream_arn: str
    enabled: bool
    shards: tuple[ListedShard, ...]
    served_at: float


class RawPage(NamedTuple):
    """An answer of GetRecords: records in wire form, each with a valid sequence number."""

    records: Sequence[Mapping[str, Any]]
    next_iterator: str | None
    size_bytes: int


@dataclass(frozen=True, slots=True)
class Page:
    """Decoded records in order. `next_iterator` None: the shard ends after them. `size_bytes` is the answer's."""

    entries: Sequence[Entry]
    next_iterator: str | None
    size_bytes: int


@dataclass(frozen=True, slots=True)
class Children:
    """A finished shard's children as far as visible; `leaf` when there will never be any."""

    shard_ids: tuple[str, ...]
    leaf: bool
    served_at: float


@dataclass(frozen=True, slots=True)
class Committed:
    """The transaction went through."""


@dataclass(frozen=True, slots=True)
class Lost:
    """The lease condition failed; `row` is what the ledger says now, None when it has no such row."""

    row: LeaseRow | None


@dataclass(frozen=True, slots=True)
class Refused:
    """The transaction was cancelled although the lease is ours. `later`: players whose stored date is a later one, and
    that date.

    `conflict`: another transaction held a row. `invalid`: the database refuses something in it for ever, in its words;
    `suspects`: the players whose rows it names for that, if it does. `existing`: children that have their row already.
    """

    later: Mapping[str, str] = field(default_factory=dict)
    conflict: bool = False
    invalid: str | None = None
    suspects: frozenset[str] = frozenset()
    existing: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Done:
    """A write that has no other answer took effect, or its effect was there already."""


@dataclass(frozen=True, slots=True)
class Removed:
    """The beat found its worker gone from `members`: somebody took it for dead."""


@dataclass(frozen=True, slots=True)
class Ledger:
    """All rows of the lease table, each read consistently, though not all at one moment."""

    rows: tuple[LeaseRow, ...]
    pins: tuple[Pin, ...]


CommitReply = Committed | Lost | Refused
