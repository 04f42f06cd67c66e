"""What can go wrong, as types: the class of an error decides its fate, never its text."""

from enum import StrEnum


class ConsumerError(Exception):
    """An end of the process that a person can understand: a sentence and the exit code that goes with it."""

    exit_code: int = 1


class UsageFault(ConsumerError):
    """A wrong flag or setting."""

    exit_code = 2


class StartRefused(ConsumerError):
    """AWS refuses, or something that must be there at start is not (table, stream, credentials, endpoint)."""

    exit_code = 3


class UnsafeRefused(ConsumerError):
    """Going on could count twice or lose something; only a person may decide."""

    exit_code = 4


class NotFound(ConsumerError):
    """No such shard, record or replay."""

    exit_code = 5


class WorkerStalled(ConsumerError):
    """A side loop died or a step is overdue."""

    exit_code = 6


class TroubleKind(StrEnum):
    """Why a call did not do what it should, as far as a retry is concerned. A metric label: few and stable."""

    THROTTLED = "throttled"
    DENIED = "denied"
    MISSING = "missing"
    NETWORK = "network"
    SERVER = "server"
    CONFLICT = "conflict"
    REJECTED = "rejected"
    MALFORMED = "malformed"


class Trouble(Exception):
    """Infrastructure trouble: never a reason to quarantine or skip; try again (design: G4).

    It leaves open whether the call took effect, so whoever retries a write sends the same one.
    """

    def __init__(self, kind: TroubleKind, detail: str) -> None:
        super().__init__(f"{kind}: {detail}")
        self.kind = kind
        self.detail = detail


class IteratorExpired(Exception):
    """A shard iterator lives 15 minutes; ask for a new one at the same position."""


class DataTrimmed(Exception):
    """The position lies before the oldest record the stream still has (24 hours)."""
