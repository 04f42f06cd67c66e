"""The report of many runs: what it says of rare pairs of fault and call, and of violations."""

from collections import Counter

from consumer.worker.calls import Operation
from tests.simulation.nemesis import FAULTS
from tests.simulation.report import ENOUGH_FAULTS, PER_SEEDS, TOO_RARE, lines
from tests.simulation.runs import Failure, Flavour, Totals


def _totals(operation: Operation, faults: int) -> Totals:
    steps = Counter({(operation, fault): faults for fault in FAULTS})
    return Totals(2.0, [(300, 4, 1)] * PER_SEEDS, steps)  # type: ignore[arg-type]


def test_a_cell_with_enough_faults_is_not_marked() -> None:
    assert not [line for line in lines(_totals(Operation.COMMIT, ENOUGH_FAULTS)) if "*" in line]


def test_a_cell_with_too_few_faults_is_marked_and_its_reason_is_printed() -> None:
    report = list(lines(_totals(Operation.FORGET, ENOUGH_FAULTS - 1)))
    assert f"{ENOUGH_FAULTS - 1}*" in next(line for line in report if line.startswith(Operation.FORGET))
    assert TOO_RARE[Operation.FORGET] in report[-2]


def test_the_required_number_grows_with_the_seeds() -> None:
    totals = _totals(Operation.COMMIT, ENOUGH_FAULTS)
    totals.sizes *= 2
    assert any(line.startswith("*:") for line in lines(totals))


def test_a_cell_that_makes_no_sense_is_a_dash_and_never_marked() -> None:
    row = next(line for line in lines(_totals(Operation.READ_MEMBERS, 0)) if line.startswith(Operation.READ_MEMBERS))
    assert row.split().count("-") == 7  # five faults of writes, the expired iterator, the missing shard


def test_a_violation_is_printed_with_the_command_that_runs_it_again() -> None:
    totals = _totals(Operation.COMMIT, ENOUGH_FAULTS)
    totals.failures.append(Failure(17, "exactly_once", "p1 counts twice", Flavour.PLAIN))
    report = list(lines(totals))
    assert report[-2] == "seed 17: exactly_once: p1 counts twice"
    assert "--base 17 --seeds 1 --shrink --flavour plain" in report[-1]


def test_the_figures_come_first() -> None:
    first, second, *_ = lines(_totals(Operation.COMMIT, ENOUGH_FAULTS))
    assert first == f"{PER_SEEDS} seeds in 2.0 s: {PER_SEEDS / 2:.0f} per second"
    assert second == "the median run has 300 steps and 4 shards; 100% of the runs split one"


def test_the_report_says_how_often_windows_rolled_over_and_rules_changed() -> None:
    totals = _totals(Operation.COMMIT, ENOUGH_FAULTS)
    totals.happened.update({"days begin": 9, "rules accepted": 2, "numbers rise": 5})
    report = list(lines(totals))
    assert any(line.startswith("windows rolled over: 9 days, 0 weeks") for line in report)
    assert any(line.startswith("rules changed: 2 times; 5 claims raised a number") for line in report)


def test_the_report_says_what_happened_to_items() -> None:
    totals = _totals(Operation.COMMIT, ENOUGH_FAULTS)
    totals.happened.update({"item: an item is broken": 7, "item: re-driven": 2})
    (line,) = [line for line in lines(totals) if line.startswith("items: ")]
    assert ", an item is broken 7, " in line
    assert ", re-driven 2, " in line


def test_a_rare_call_without_a_reason_needs_a_higher_rate() -> None:
    assert any("commit: RAISE ITS RATE" in line for line in lines(_totals(Operation.COMMIT, 0)))
