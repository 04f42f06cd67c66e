"""The figures and their places in the documents."""

import pytest

from tests.performance.bench import report
from tests.performance.bench.report import Report
from tests.performance.bench.runs import FOLDING, HANDLER, WORKER, Run
from tests.performance.bench.scenarios import SCENARIOS
from tests.performance.bench.units import Units
from tests.performance.figures import Figure


def test_every_scenario_has_its_place() -> None:
    text = report.PERFORMANCE.read_text()
    for place in (report.MACHINE, *(scenario.name for scenario in SCENARIOS)):
        text = report.placed(text, place, f"figures of {place}\n")
    assert "figures of idle" in text
    assert "figures of the README" in report.placed(
        report.README.read_text(), report.SUMMARY, "figures of the README\n"
    )


def test_the_content_of_a_place_is_replaced_and_the_rest_stays() -> None:
    text = "a\n<!-- bench:x -->\nold\n<!-- /bench:x -->\nb\n"
    once = report.placed(text, "x", "new\n")
    assert once == "a\n<!-- bench:x -->\nnew\n<!-- /bench:x -->\nb\n"
    assert report.placed(once, "x", "new\n") == once
    with pytest.raises(ValueError, match="no place y"):
        report.placed(text, "y", "new\n")


def test_the_readme_quotes_three_runs_and_stays_short() -> None:
    def drained(engine: str) -> Report:
        return Report(
            [
                Run(client, engine, 1_000, 1.0, 0.02, 5, Units(1.0, 9), 80.0, 4.0, waits=[0.1])
                for client in (WORKER, WORKER, HANDLER, FOLDING)
            ]
        )

    both = drained("dynamodb-local").and_then(drained("ministack"))
    reports = dict.fromkeys(("hot", "wide", "trickle"), both) | {"idle": Report(figures=[Figure("poll", 1.1)])}
    summary = report.summary(reports, "2 cores, Python, boto3 and engines.")
    assert summary.count("\n| ") + summary.startswith("| ") == 2 + 3
    assert "1.10 times" in summary
    section = report.placed(report.README.read_text(), report.SUMMARY, summary).partition("\n## Performance\n")[2]
    assert len(section.partition("\n## ")[0].splitlines()) <= 15
