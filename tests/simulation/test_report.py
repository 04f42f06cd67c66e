"""The report of many runs: what it says of rare cells, and of violations."""

from collections import Counter

from tests.simulation.nemesis import FAULTS
from tests.simulation.report import ENOUGH_STRIKES, PER_SEEDS, TOO_RARE, lines
from tests.simulation.runs import Failure, Tally


def _tally(kind: str, strikes: int) -> Tally:
    steps = Counter({f"{kind}/{fate.value}": strikes for fate in FAULTS})
    return Tally(2.0, [(300, 4, 1)] * PER_SEEDS, steps)


def test_a_cell_that_is_struck_often_enough_is_not_marked() -> None:
    assert not [line for line in lines(_tally("Commit", ENOUGH_STRIKES)) if "*" in line]


def test_a_cell_under_the_mark_is_starred_and_the_reason_of_its_call_told() -> None:
    told = list(lines(_tally("Forget", ENOUGH_STRIKES - 1)))
    assert f"{ENOUGH_STRIKES - 1}*" in next(line for line in told if line.startswith("Forget"))
    assert TOO_RARE["Forget"] in told[-2]


def test_the_mark_grows_with_the_seeds() -> None:
    tally = _tally("Commit", ENOUGH_STRIKES)
    tally.sizes *= 2
    assert any(line.startswith("*:") for line in lines(tally))


def test_a_cell_that_makes_no_sense_is_a_dash_and_never_marked() -> None:
    told = list(lines(_tally("Look", 0)))
    row = next(line for line in told if line.startswith("Look"))
    assert row.split().count("-") == 7  # five fates of writes, the iterator's, the missing shard's


def test_a_violation_is_told_with_the_command_that_runs_it_again() -> None:
    tally = _tally("Commit", ENOUGH_STRIKES)
    tally.failures.append(Failure(17, "exactly_once", "p1 counts twice"))
    told = list(lines(tally))
    assert told[-2] == "seed 17: exactly_once: p1 counts twice"
    assert "--base 17 --seeds 1 --shrink" in told[-1]


def test_the_figures_come_first() -> None:
    first, second, *_ = lines(_tally("Commit", ENOUGH_STRIKES))
    assert first == f"{PER_SEEDS} seeds in 2.0 s: {PER_SEEDS / 2:.0f} a second"
    assert second == "the median run has 300 steps and 4 shards; 100% of the runs split one"


def test_a_call_without_a_reason_is_to_be_struck_more_often() -> None:
    assert any("Commit: RAISE ITS RATE" in line for line in lines(_tally("Commit", 0)))
