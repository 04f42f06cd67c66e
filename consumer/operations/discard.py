"""Discard of one quarantined record: it will never count; its row, its parts and a trace of who and why stay."""

from dataclasses import dataclass

from consumer.domain.audit import Trace
from consumer.domain.outcomes import Done
from consumer.domain.quarantine import Act, Head, State, Taken
from consumer.operations.acts import Call, Drop, Reply
from consumer.operations.redrive import Faster


@dataclass(frozen=True, slots=True)
class Discarded:
    """It is discarded by this act."""

    head: Head


class Discard:
    """The machine: one call."""

    def __init__(self, head: Head, why: str, who: str, at: float, token: str) -> None:
        self.result: Discarded | Faster | None = None
        details = {"outcome": State.DISCARDED.value, "why": why, "reason": head.reason}
        details |= {"player": head.player} if head.player is not None else {}
        self._head = head
        self._call = Drop(Act(head, token, Trace(who, at, "discard", str(head), details)), why)

    def due(self) -> Call | None:
        """The one call, until it is answered."""
        return self._call if self.result is None else None

    def take(self, reply: Reply) -> None:
        """The reply to the call that is due."""
        match reply:
            case Done():
                self.result = Discarded(self._head)
            case Taken(now):
                self.result = Faster(self._head, now)
