"""Replies of the ports: plain values, so that a pool, a test or a simulation can pass them to a machine."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from consumer.domain.errors import CallFailed
from consumer.domain.leases import LeaseRow
from consumer.domain.marks import StoredRow
from consumer.domain.records import Entry


class ListedShard(NamedTuple):
    """A shard in a listing."""

    shard_id: str
    parent: str | None


@dataclass(frozen=True, slots=True)
class StreamListing:
    """A stream's shards, over all pages of DescribeStream. `served_at` is the server's Date, in unix seconds.

    It is the Date of the first page. A listing never proves that a shard is gone. `view`: the view type; None: not
    known. `successor`: of a configured stream that is off, the ARN of the table's newer stream, as far as it is known.
    `partition_key`: the attribute that is the source table's; None: not known.
    """

    stream_arn: str
    enabled: bool
    shards: tuple[ListedShard, ...]
    served_at: float
    view: str | None = None
    successor: str | None = None
    partition_key: str | None = None


class RawPage(NamedTuple):
    """A reply of GetRecords: records in wire form, each with a valid sequence number. See Page for the rest."""

    records: Sequence[Mapping[str, Any]]
    next_iterator: str | None
    size_bytes: int


@dataclass(frozen=True, slots=True)
class Page:
    """Decoded records in order. `next_iterator` None: the shard ends after them. `size_bytes` is the reply's length."""

    entries: Sequence[Entry]
    next_iterator: str | None
    size_bytes: int


@dataclass(frozen=True, slots=True)
class Children:
    """The children of a finished shard, as far as they are visible. `leaf`: there will never be any."""

    shard_ids: tuple[str, ...]
    leaf: bool
    served_at: float


@dataclass(frozen=True, slots=True)
class Committed:
    """The transaction took effect."""


@dataclass(frozen=True, slots=True)
class Lost:
    """A condition on a row failed: another worker or operator changed it first.

    `row` is the shard's row now; None: there is none, or the write was not about one.
    """

    row: LeaseRow | None


@dataclass(frozen=True, slots=True)
class Refused:
    """The transaction was cancelled for another reason than its lease.

    `later`: players whose stored date is later than the delta's, with the stored date. `conflict`: another transaction
    was writing a row. `invalid`: why DynamoDB will refuse it each time, in its words; `suspects`: the players whose
    rows it names, if it does. `existing`: shards that have their row already. `rows`: the players whose row has not
    the mark that was expected, with the row. `items`: an index row, or the head row of its record, is not as it was
    read.
    """

    later: Mapping[str, str] = field(default_factory=dict)
    conflict: bool = False
    invalid: str | None = None
    suspects: frozenset[str] = frozenset()
    existing: frozenset[str] = frozenset()
    rows: Mapping[str, StoredRow] = field(default_factory=dict)
    items: bool = False


@dataclass(frozen=True, slots=True)
class RowRefused:
    """A single write did not take effect: the row has not the mark that was expected, or has a later date."""

    row: StoredRow


@dataclass(frozen=True, slots=True)
class Done:
    """The write took effect, now or in an earlier attempt."""


@dataclass(frozen=True, slots=True)
class HeartbeatRemoved:
    """The heartbeat's worker is not in `members` any more: another worker evicted it as dead."""


CommitReply = Committed | Lost | Refused
RowReply = Done | RowRefused | Refused | CallFailed
"""To one of several writes; CallFailed: the outcome of this one is unknown."""
