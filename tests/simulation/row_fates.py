"""What becomes of each row in a call that writes many: it is written now, late, twice or not; with a reply or none."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from consumer.domain.errors import CallFailed, FailureKind
from tests.simulation.nemesis import Fault

if TYPE_CHECKING:
    from tests.simulation.keyed import Keyed

ROW_FAULTS: Final = (
    Fault.LATE,
    Fault.LATE,
    Fault.LOST_REPLY,
    Fault.DUPLICATE,
    Fault.CONFLICT,
    Fault.THROTTLED,
    Fault.LOST_REQUEST,
)


class RowFate(NamedTuple):
    """`late`: how late, from 0 to 1."""

    fault: Fault = Fault.NONE
    late: float = 0.0

    @property
    def comes_late(self) -> bool:
        """Whether the row is written late: then only, or once more."""
        return self.fault in (Fault.LATE, Fault.DUPLICATE)

    @property
    def takes_effect(self) -> bool:
        """Whether it is written when the call arrives."""
        return self.fault in (Fault.NONE, Fault.DUPLICATE, Fault.LOST_REPLY)

    @property
    def failure(self) -> CallFailed | None:
        """The reply, where it is not that of the write."""
        match self.fault:
            case Fault.NONE | Fault.DUPLICATE:
                return None
            case Fault.CONFLICT:
                return CallFailed(FailureKind.CONFLICT, "simulated")
            case Fault.THROTTLED:
                return CallFailed(FailureKind.THROTTLED, "simulated")
            case _:
                return CallFailed(FailureKind.SERVER, "simulated")


TAKES_EFFECT: Final = RowFate()


def draw_fates(keyed: Keyed, owner: str, fault: Fault, rows: int) -> list[RowFate]:
    """One per row. What comes late of a whole call comes row by row; else each row may have a fault of its own."""
    draw = keyed.row_fate
    if fault in (Fault.LATE, Fault.DUPLICATE):
        return [RowFate(fault, draw(owner)[1]) for _ in range(rows)]
    fates = []
    for _ in range(rows if rows > 1 else 0):
        hit, late, which = draw(owner)
        fates.append(RowFate(ROW_FAULTS[int(which * len(ROW_FAULTS))], late) if hit else TAKES_EFFECT)
    return fates or [TAKES_EFFECT] * rows
