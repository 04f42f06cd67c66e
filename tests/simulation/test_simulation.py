"""Fresh seeds keep every invariant; a seed always gives the same run; a failing run is shrunk."""

import os
import subprocess
import sys
from collections.abc import Collection

import pytest

from consumer.domain.marks import Route
from tests.simulation.guards import GUARDS
from tests.simulation.report import ITEM_EVENTS
from tests.simulation.runs import Flavour, run, shrink
from tests.simulation.simulation import Simulation

SEEDS = int(os.environ.get("SIMULATION_SEEDS", "300"))
BASE = int(os.environ["SIMULATION_BASE"])
"""Fresh seeds every time (see tests/conftest.py)."""

BATCH = 50


@pytest.mark.parametrize("first", range(BASE, BASE + SEEDS, BATCH), ids=lambda _: "fresh")
def test_fresh_seeds(first: int) -> None:
    seeds = range(first, min(first + BATCH, BASE + SEEDS))
    print(f"seeds {seeds.start} to {seeds.stop - 1}")
    failures = run(seeds).failures
    broken = "\n".join(f"seed {failure.seed}: {failure.name}: {failure.facts}" for failure in failures)
    again = "".join(f"\n{failure.command}" for failure in failures[:3])
    assert not failures, f"{broken}\nthe trace of each:{again}"


@pytest.mark.parametrize("changing", [False, True], ids=["steady", "changing"])
@pytest.mark.parametrize("keyed", [False, True], ids=["plain", "keyed"])
def test_a_seed_gives_the_same_run_twice(keyed: bool, changing: bool) -> None:
    first, second = (Simulation(7, keyed=keyed, changing=changing).run().trace() for _ in range(2))
    assert first == second


@pytest.mark.parametrize("flavour", ["plain", "keyed", "changing-keyed", "correcting-keyed"])
def test_a_seed_gives_the_same_run_whatever_a_process_hashes(flavour: str) -> None:
    traces = {
        subprocess.run(
            [sys.executable, "-m", "tests.simulation", "--base", "12", "--flavour", flavour, "--trace"],
            env={**os.environ, "PYTHONHASHSEED": hashes},
            capture_output=True,
            check=True,
        ).stdout
        for hashes in ("1", "2")
    }
    assert len(traces) == 1


def test_most_seeds_are_keyed_and_the_others_are_not() -> None:
    assert [Flavour.MIXED.of(seed).keyed for seed in range(6)] == [False, True, True, False, True, True]
    assert not Flavour.PLAIN.of(1).keyed
    assert Flavour.KEYED.of(0).keyed


def test_every_seventh_seed_is_changing() -> None:
    assert [seed for seed in range(22) if Flavour.MIXED.of(seed).changing] == [3, 10, 17]
    assert {Flavour.MIXED.of(seed).keyed for seed in (3, 10, 17)} == {False, True}
    assert Flavour.CHANGING_PLAIN.of(0).changing


def test_every_seventh_seed_is_verifying_and_verdicts_are_reached() -> None:
    assert [seed for seed in range(22) if Flavour.MIXED.of(seed).verifying] == [5, 12, 19]
    assert {Flavour.MIXED.of(seed).keyed for seed in (5, 12, 19)} == {False, True}
    totals = run(range(8), Flavour.VERIFYING_KEYED)
    assert not totals.failures
    for what in ("verify: players decided", "verify: a tampered row is found", "verify decides at the end"):
        assert totals.happened[what], what


def test_every_seventh_seed_is_correcting_and_all_that_can_happen_to_items_happens() -> None:
    assert [seed for seed in range(22) if Flavour.MIXED.of(seed).correcting] == [1, 8, 15]
    assert {Flavour.MIXED.of(seed).keyed for seed in (1, 8, 15)} == {False, True}
    totals = run(range(12), Flavour.CORRECTING_PLAIN)
    assert not totals.failures
    rare = ("item: re-driven", "item: re-driven after its life", "item: a removal is refused")
    assert not [what for what in ITEM_EVENTS if what not in rare and not totals.happened[what]]


def test_in_keyed_runs_every_way_to_write_a_row_occurs() -> None:
    happened = run(range(30), Flavour.KEYED).happened
    ways = (Route.INSERT, Route.FOLLOW, Route.FRESH, Route.MARKED, Route.TAKE_OVER, Route.SHARED)
    assert not [way for way in ways if not happened[f"row: {way}"]]


def test_in_changing_runs_windows_roll_over_and_rules_change() -> None:
    happened = run(range(12), Flavour.CHANGING_KEYED).happened
    wanted = ("days begin", "weeks begin", "months begin", "clocks change", "windows compared", "windows incomplete")
    changes = ("rules accepted", "rules are refused", "numbers rise", "shards waited", "rows without expired windows")
    assert not [what for what in (*wanted, *changes) if not happened[what]]


def test_a_failing_run_is_shrunk() -> None:
    """Without the condition on the checkpoint a late repetition of a unit counts twice: few decisions are enough."""
    guard = next(guard for guard in GUARDS if guard.name == "previous checkpoint")

    def build(only: Collection[str] | None) -> Simulation:
        return Simulation(guard.seed, off=guard.off, only=only)

    shrunk = shrink(build)

    assert shrunk is not None
    assert shrunk.violation.name == guard.invariant
    assert len(shrunk.decisions) * 4 < shrunk.before
    print(f"{len(shrunk.decisions)} of {shrunk.before} decisions are left:", *shrunk.decisions, sep="\n  ")
    print(*shrunk.simulation.trace(brief=True)[-15:], shrunk.violation, sep="\n")
