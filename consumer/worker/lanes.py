"""Where a call waits for a thread."""

from enum import Enum

from consumer.worker.calls import (
    Beat,
    Bury,
    Call,
    FindChildren,
    FindLate,
    FindStream,
    Leave,
    ListShards,
    Load,
    Look,
    Open,
    Read,
)


class Lane(Enum):
    """Who waits for whom: beats for nobody, commits before reads; aside are listings, which AWS wants slow, and the
    ledger, which is large.
    """

    DATA = "data"
    READ = "read"
    BEAT = "beat"
    LIST = "list"
    LOAD = "load"


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
