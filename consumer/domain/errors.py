"""What can go wrong, as types: the class of an error decides what happens next, never its text."""

from enum import StrEnum


class ConsumerError(Exception):
    """An error that ends the process: its text is a sentence for the operator, `exit_code` the exit code."""

    exit_code: int = 1


class UsageFault(ConsumerError):
    """A wrong flag or setting."""

    exit_code = 2


class StartRefused(ConsumerError):
    """AWS refuses, or something is missing that must be there at start (table, stream, credentials, endpoint)."""

    exit_code = 3


class UnsafeRefused(ConsumerError):
    """To go on could count games twice or lose some; only an operator may decide that."""

    exit_code = 4


class NotFound(ConsumerError):
    """There is no such shard, record or replay."""

    exit_code = 5


class WorkerStalled(ConsumerError):
    """A thread of the worker died, or one of its steps is overdue."""

    exit_code = 6


class FailureKind(StrEnum):
    """Why a call failed, as far as a retry is concerned. A metric label: few values, and they never change."""

    THROTTLED = "throttled"
    DENIED = "denied"
    CREDENTIALS = "credentials"
    MISSING = "missing"
    NETWORK = "network"
    SERVER = "server"
    CONFLICT = "conflict"
    REJECTED = "rejected"
    MALFORMED = "malformed"
    CORRUPTED = "corrupted"


class CallFailed(Exception):
    """A call to AWS failed. That is never a reason to quarantine or skip a record: retry the call.

    The outcome of a failed write is unknown: it may have taken effect, so a retry sends the same request again.
    """

    def __init__(self, kind: FailureKind, detail: str) -> None:
        super().__init__(f"{kind}: {detail}")
        self.kind = kind
        self.detail = detail


class IteratorExpired(Exception):
    """The shard iterator is too old: get a new one at the same position.

    A shard iterator is valid for 15 minutes. Source: API reference of DynamoDB Streams, GetShardIterator.
    """


class DataTrimmed(Exception):
    """The position is before the oldest record that the stream still has.

    A stream keeps a record for 24 hours. Source: API reference of DynamoDB Streams, GetRecords,
    TrimmedDataAccessException.
    """
