"""Every guard is shown to be necessary; see guards."""

import pytest

from tests.simulation.guards import GUARDS
from tests.simulation.proving import Guard


@pytest.mark.parametrize("guard", GUARDS, ids=lambda guard: guard.name.replace(" ", "-"))
def test_without_a_guard_an_invariant_breaks(guard: Guard) -> None:
    assert guard.fault() is None


def test_there_are_enough() -> None:
    assert len({(guard.off, guard.rules) for guard in GUARDS}) >= 20
