"""Calls as values: the arguments of each, its port, its priority, and the replies that it may have.

A machine returns calls and takes their replies; `execute` is the one place where a call reaches its port.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum, StrEnum
from typing import ClassVar

from consumer.domain.corrections import FoundItem
from consumer.domain.errors import CallFailed, DataTrimmed, FailureKind, IteratorExpired
from consumer.domain.leases import (
    LeaseRow,
    Ledger,
    Origin,
)
from consumer.domain.marks import Lineage, StoredRow
from consumer.domain.membership import Members
from consumer.domain.ports import Commits, Ledgers, Membership, Streams
from consumer.domain.records import Poison, Rules
from consumer.domain.replies import (
    Children,
    Committed,
    Done,
    HeartbeatRemoved,
    Lost,
    Page,
    Refused,
    RowReply,
    StreamListing,
)

Reply = (
    Page | Poison | str | bool | Children | Committed | Lost | Refused | Done | HeartbeatRemoved | Members | Origin
    | StreamListing | Ledger | LeaseRow | Mapping[str, StoredRow] | Mapping[str, FoundItem | None] | Lineage
    | list[RowReply] | CallFailed | IteratorExpired | DataTrimmed
)  # fmt: skip


class Operation(StrEnum):
    """The name of a call in metrics, logs and readiness: the label `operation`."""

    GET_SHARD_ITERATOR = "get_shard_iterator"
    GET_RECORDS = "get_records"
    RECORD_GAP = "record_gap"
    READ_ROWS = "read_rows"
    READ_ITEMS = "read_items"
    WRITE_ROWS = "write_rows"
    LOOK_UP_SHARD = "look_up_shard"
    COMMIT = "commit"
    MOVE_CHECKPOINT = "move_checkpoint"
    EXAMINE = "examine"
    HALT = "halt"
    FIND_CHILDREN = "find_children"
    END_SHARD = "end_shard"
    RELEASE = "release"
    HEARTBEAT = "heartbeat"
    READ_MEMBERS = "read_members"
    EVICT_MEMBER = "evict_member"
    LEAVE = "leave"
    READ_ORIGIN = "read_origin"
    LIST_SHARDS = "list_shards"
    RECORD_STREAM_START = "record_stream_start"
    CREATE_ROOT_ROWS = "create_root_rows"
    COMPLETE_STREAM_START = "complete_stream_start"
    UPGRADE_STREAM = "upgrade_stream"
    LOAD_LEDGER = "load_ledger"
    CLAIM = "claim"
    FIND_STREAM = "find_stream"
    FIND_LATE_CHILDREN = "find_late_children"
    PROBE_SHARD = "probe_shard"
    RECORD_LOSS = "record_loss"
    ADOPT = "adopt"
    MARK_UNLISTED = "mark_unlisted"
    FORGET = "forget"


class CallPriority(Enum):
    """Which threads run a call, and in which order: commits run before reads.

    Heartbeats never wait for other calls. Listings, which AWS limits to a slow rate, have a thread of their own, and so
    have loads of the ledger, which is large.
    """

    DATA = "data"
    READ = "read"
    HEARTBEAT = "heartbeat"
    LISTING = "listing"
    LEDGER = "ledger"


@dataclass(frozen=True, slots=True)
class Ports:
    """The ports of a worker, and what a game looks like."""

    streams: Streams
    ledgers: Ledgers
    membership: Membership
    commits: Commits
    rules: Rules


class Call:
    """What every call has besides its own fields. It is no ABC: a check for one takes three times as long."""

    __slots__ = ()
    operation: ClassVar[Operation]
    priority: ClassVar[CallPriority] = CallPriority.DATA

    def execute(self, ports: Ports) -> Reply:
        """Makes the call. Each call's docstring names the replies that it may have besides CallFailed."""
        raise NotImplementedError


def execute(call: Call, ports: Ports) -> Reply:
    """Runs one call. A failed call is a reply too; any other exception is a defect."""
    try:
        return call.execute(ports)
    except (CallFailed, IteratorExpired, DataTrimmed) as failure:
        return failure
    except RecursionError:
        return CallFailed(FailureKind.MALFORMED, "a record is nested deeper than it can be written down")
