"""`consumer gaps`: where data may be lost, and what operators found out about it."""

from collections.abc import Collection
from functools import partial
from typing import Final

from consumer.domain.audit import AuditEntry
from consumer.domain.errors import NotFound, UnsafeRefused
from consumer.domain.operator_ports import Gap, GapChanged, Gaps
from consumer.operations.steps import Command, OperatorCall, ask

ACTION: Final = "gaps acknowledge"


def find(gaps: Collection[Gap], name: str) -> Gap:
    """The gap of this name. Raises NotFound; UnsafeRefused when it is acknowledged already."""
    found = next((gap for gap in gaps if gap.name == name), None)
    if found is None:
        raise NotFound(f"there is no gap {name!r}. Nothing was changed. Next: `consumer gaps list`")
    require_open(found)
    return found


def acknowledge(gap: Gap, gaps: Gaps, why: str, who: str, at: float, token: str) -> Command[None]:
    """Marks one gap as acknowledged. Raises UnsafeRefused when another operator was first, or the row is gone."""
    audit_entry = AuditEntry(who, at, ACTION, gap.name, {"why": why, "loss": gap.loss})
    reply = yield from ask(OperatorCall.ACKNOWLEDGE, partial(gaps.acknowledge, gap, why, token, audit_entry))
    if isinstance(reply, GapChanged):
        if reply.now is not None:
            require_open(reply.now)
        raise UnsafeRefused(f"the row of gap {gap.name} is gone. Nothing was changed")


def require_open(gap: Gap) -> None:
    """Raises UnsafeRefused, which says who acknowledged the gap and why, unless no operator has."""
    if gap.acknowledged is not None:
        by, at, why = gap.acknowledged
        raise UnsafeRefused(f"gap {gap.name} is acknowledged already, by {by} at {at}: {why}. Nothing was changed")
