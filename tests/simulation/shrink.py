"""A failing seed, made small: decisions of chance are left out as long as the same invariant breaks."""

from collections.abc import Callable, Collection, Sequence
from typing import NamedTuple

from tests.simulation.violation import Violation
from tests.simulation.world import Simulation

MOST_RUNS = 600

Build = Callable[[Collection[str] | None], Simulation]
"""Makes the run anew, with these decisions only."""


class Shrunk(NamedTuple):
    """The smallest schedule found: its decisions, the run, and what breaks in it."""

    decisions: tuple[str, ...]
    before: int
    simulation: Simulation
    violation: Violation


def shrink(build: Build) -> Shrunk | None:
    """By halves, quarters, ... down to single decisions (ddmin), in a bounded number of runs. None: nothing breaks."""
    simulation, violation = attempt(build, None)
    if violation is None:
        return None
    kept = tuple(simulation.dice.made)
    before, runs, pieces = len(kept), 0, 2
    while len(kept) > 1 and runs < MOST_RUNS:
        size = -(-len(kept) // pieces)
        for first in range(0, len(kept), size):
            fewer = kept[:first] + kept[first + size :]
            tried, broken = attempt(build, fewer)
            runs += 1
            if broken is not None and broken.name == violation.name:
                simulation, violation = tried, broken
                kept = _made(fewer, simulation)
                pieces = max(2, pieces - 1)
                break
        else:
            if size == 1:
                break
            pieces = min(len(kept), 2 * pieces)
    return Shrunk(kept, before, simulation, violation)


def attempt(build: Build, only: Collection[str] | None) -> tuple[Simulation, Violation | None]:
    """One run, and what broke; whatever else is raised counts under its own name."""
    simulation = build(only)
    try:
        simulation.run()
    except Violation as violation:
        return simulation, violation
    except Exception as error:  # noqa: BLE001 - a defect of the code under test is a finding, too
        return simulation, Violation(type(error).__name__, str(error))
    return simulation, None


def _made(decisions: Sequence[str], simulation: Simulation) -> tuple[str, ...]:
    """Those that did take place."""
    return tuple(decision for decision in decisions if decision in simulation.dice.made)
