"""The faults there are, and which operations each can befall."""

from enum import StrEnum

STREAM_READS = ("DescribeStream", "GetRecords", "GetShardIterator", "ListStreams")
SINGLE_WRITES = ("DeleteItem", "PutItem", "UpdateItem")
WRITES = (*SINGLE_WRITES, "BatchWriteItem", "TransactWriteItems")
TABLE_READS = ("BatchGetItem", "DescribeTable", "GetItem", "Query", "Scan", "TransactGetItems")
EVERYTHING = (*STREAM_READS, *WRITES, *TABLE_READS)


class Fault(StrEnum):
    """What may befall a call."""

    THROTTLE = "throttle"
    """Refused before it has an effect, with one of the codes that say so."""
    FAIL = "fail"
    """A 500 before the effect."""
    CUT = "cut"
    """The connection is closed before the effect."""
    LOSE_REPLY = "lose_reply"
    """It has its effect; the connection is closed instead of an answer."""
    FAIL_AFTER = "fail_after"
    """It has its effect; answered with a 500."""
    SLOW = "slow"
    """It takes a while, before or after its effect."""
    LATE = "late"
    """The connection is closed at once; the effect comes later."""
    DUPLICATE = "duplicate"
    """Served well; later it is applied again."""
    CONFLICT = "conflict"
    """Refused as if another transaction held an item, though none does."""
    EXPIRE = "expire"
    """The iterator is too old."""
    EMPTY = "empty"
    """A page without records, also where there are some."""
    SHORT = "short"
    """A page of one to a few records."""
    TRIM = "trim"
    """The next one to a few records that the iterator leads to are gone, for ever."""
    STALE = "stale"
    """A listing as it was some time ago, but never before the stream was there."""
    SHOW_OPEN = "show_open"
    """Closed shards are listed as open."""
    HIDE = "hide"
    """A child is born that no listing shows for a while; counted under SplitShard."""


SPLIT = "SplitShard"
"""Not an operation of the service: where the birth of a child is counted."""

FITS: dict[Fault, tuple[str, ...]] = {
    Fault.THROTTLE: EVERYTHING,
    Fault.FAIL: EVERYTHING,
    Fault.CUT: EVERYTHING,
    Fault.LOSE_REPLY: EVERYTHING,
    Fault.FAIL_AFTER: EVERYTHING,
    Fault.SLOW: EVERYTHING,
    Fault.LATE: WRITES,
    Fault.DUPLICATE: WRITES,
    Fault.CONFLICT: (*SINGLE_WRITES, "TransactGetItems", "TransactWriteItems"),
    Fault.EXPIRE: ("GetRecords",),
    Fault.EMPTY: ("GetRecords",),
    Fault.SHORT: ("GetRecords",),
    Fault.TRIM: ("GetRecords",),
    Fault.STALE: ("DescribeStream",),
    Fault.SHOW_OPEN: ("DescribeStream",),
    Fault.HIDE: (SPLIT,),
}

IN_THE_ANSWER = frozenset({Fault.EXPIRE, Fault.EMPTY, Fault.SHORT, Fault.TRIM, Fault.STALE, Fault.SHOW_OPEN})
"""They change what is answered; the others change whether and when. A call may meet one of each."""

SECONDS: dict[Fault, tuple[float, float]] = {
    Fault.SLOW: (0.05, 1.0),
    Fault.LATE: (1.0, 15.0),
    Fault.DUPLICATE: (0.1, 15.0),
    Fault.STALE: (1.0, 5.0),
    Fault.HIDE: (0.5, 5.0),
}
"""How long the ones that last do so, unless a rule says otherwise."""
