"""Seeds: fixed ones, fresh ones whose base is printed, and guards taken away."""

import os

import pytest

from tests.simulation.oracle import Violation
from tests.simulation.world import Simulation

SEEDS = int(os.environ.get("SIMULATION_SEEDS", "300"))
BASE = int(os.environ["SIMULATION_BASE"])
"""Fresh seeds every time (see conftest); to run one again: SIMULATION_BASE=<seed> SIMULATION_SEEDS=1."""

BATCH = 50


def run(seed: int) -> Simulation:
    """One run; a violation tells its story."""
    simulation = Simulation(seed)
    try:
        return simulation.run()
    except Exception as error:  # noqa: BLE001 - whatever it is, its story is told
        story = "\n".join(simulation.story()[-60:])
        again = f"SIMULATION_BASE={seed} SIMULATION_SEEDS=1 make simulate"
        pytest.fail(f"seed {seed}: {error}\n{story}\nrun it again: {again}", pytrace=not isinstance(error, Violation))


@pytest.mark.parametrize("first", range(BASE, BASE + SEEDS, BATCH), ids=lambda _: "fresh")
def test_fresh_seeds(first: int) -> None:
    print(f"seeds {first} to {min(first + BATCH, BASE + SEEDS) - 1}")
    for seed in range(first, min(first + BATCH, BASE + SEEDS)):
        run(seed)


def test_a_seed_is_a_run() -> None:
    assert Simulation(7).run().story() == Simulation(7).run().story()


@pytest.mark.parametrize(
    ("guard", "seeds", "invariant"),
    [
        ("previous", range(20), "a checkpoint never goes back"),
        ("date", range(5), "totals are the fold of the committed records"),
    ],
)
def test_without_a_guard_an_invariant_breaks(guard: str, seeds: range, invariant: str) -> None:
    broken = set()
    for seed in seeds:
        try:
            Simulation(seed, off=(guard,)).run()
        except Violation as violation:
            broken.add(violation.name)
    assert invariant in broken
