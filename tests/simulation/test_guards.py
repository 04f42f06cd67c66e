"""Every guard is needed: without it an invariant breaks; see guards."""

from pathlib import Path

import pytest

import consumer
from tests.simulation.guards import GUARDS
from tests.simulation.proving import Guard
from tests.simulation.switches import SWITCHES
from tests.simulation.unproven import unproven

CODE = Path(consumer.__file__).parent


@pytest.mark.parametrize("guard", GUARDS, ids=lambda guard: guard.name.replace(" ", "-"))
def test_without_a_guard_an_invariant_breaks(guard: Guard) -> None:
    assert guard.fault() is None


@pytest.mark.parametrize("guard", GUARDS, ids=lambda guard: guard.name.replace(" ", "-"))
def test_a_guard_says_where_it_is(guard: Guard) -> None:
    for place in guard.where.split("; "):
        path, _, rest = place.partition(" ")
        source = (CODE / path).read_text()
        for name in rest.partition(":")[0].split("."):
            assert name in source, f"{path} has no {name}"


def test_every_switch_has_a_seed_or_a_reason() -> None:
    used = {switch.name for guard in (*GUARDS, *unproven()) for switch in guard.switches}
    assert used == SWITCHES.keys()
