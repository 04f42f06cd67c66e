"""The figures have their places in the documents."""

import pytest

from tests.bench import document
from tests.bench.check import Check, Report
from tests.bench.run import HANDLER, WORKER, Run
from tests.bench.scenario import SCENARIOS


def test_every_scenario_has_its_place() -> None:
    text = document.PERFORMANCE.read_text()
    for place in (document.MACHINE, *(scenario.name for scenario in SCENARIOS)):
        text = document.placed(text, place, f"figures of {place}\n")
    assert "figures of idle" in text
    assert "figures of the README" in document.placed(
        document.README.read_text(), document.SUMMARY, "figures of the README\n"
    )


def test_what_stood_in_a_place_is_gone_and_the_rest_stays() -> None:
    text = "a\n<!-- bench:x -->\nold\n<!-- /bench:x -->\nb\n"
    once = document.placed(text, "x", "new\n")
    assert once == "a\n<!-- bench:x -->\nnew\n<!-- /bench:x -->\nb\n"
    assert document.placed(once, "x", "new\n") == once
    with pytest.raises(ValueError, match="no place y"):
        document.placed(text, "y", "new\n")


def test_the_readme_quotes_three_runs_and_stays_short() -> None:
    def drained(engine: str) -> Report:
        return Report([Run(who, engine, 1_000, 1.0, 0.02, 5, 9, 80.0, 4.0, waits=[0.1]) for who in (WORKER, HANDLER)])

    both = drained("dynamodb-local").and_then(drained("ministack"))
    reports = dict.fromkeys(("hot", "wide", "trickle"), both) | {"idle": Report(checks=[Check("poll", 1.1)])}
    told = document.summary(reports, "2 cores, Python, boto3 and engines.")
    assert told.count("\n| ") + told.startswith("| ") == 2 + 3
    assert "1.10 times" in told
    section = document.placed(document.README.read_text(), document.SUMMARY, told).partition("\n## Performance\n")[2]
    assert len(section.partition("\n## ")[0].splitlines()) <= 15
