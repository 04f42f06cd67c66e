"""`python -m tests.performance.bench [NAME...]`: measures, prints Markdown, and with --write updates documents."""

import argparse
import os
import sys
import time
import traceback

from tests.performance.bench import cost
from tests.performance.bench import report as documents
from tests.performance.bench.report import Report
from tests.performance.bench.runs import ENGINES, missing, title
from tests.performance.bench.scenarios import SCENARIOS, Scenario
from tests.support.engines.table_engine import clean_environment

_SEED = 20_260_101


def main() -> int:
    """Exit code 1 when something could not be measured, or with --strict when a limit is not kept."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.performance.bench", description="The worker beside a straightforward handler."
    )
    parser.add_argument("names", metavar="NAME", nargs="*", help="what to measure; default: everything")
    parser.add_argument("--list", action="store_true", help="list what can be measured")
    parser.add_argument("--engines", nargs="+", choices=ENGINES, default=ENGINES)
    parser.add_argument("--seed", type=int, default=_SEED, help="of the players that are drawn")
    parser.add_argument("--strict", action="store_true", help="exit code 1 when a limit is not kept")
    parser.add_argument("--write", action="store_true", help="write the tables into docs/ and the README")
    given = parser.parse_args()
    if given.list:
        for scenario in SCENARIOS:
            print(f"{scenario.name:8} {scenario.meaning}")
        return 0
    unknown = set(given.names) - {scenario.name for scenario in SCENARIOS}
    if unknown:
        parser.error(f"no scenario {', '.join(sorted(unknown))}: --list shows all")
    clean_environment()
    engines = [engine for engine in given.engines if not _is_left_out(engine)]
    measured_on = documents.machine(engines, given.seed, os.getloadavg()[0])
    print(f"{measured_on}\n")
    chosen = [scenario for scenario in SCENARIOS if not given.names or scenario.name in given.names]
    reports: dict[str, Report] = {}
    for scenario in chosen:
        report = _measure(scenario, [engine for engine in scenario.engines if engine in engines], given.seed)
        if report is not None:
            reports[scenario.name] = report
            print(f"## {scenario.name}: {scenario.meaning}\n\n{report.markdown()}", flush=True)
    if given.write:
        _write(reports, measured_on, whole=len(engines) == len(ENGINES))
    over = [figure for report in reports.values() for figure in report.figures if not figure.ok]
    return int(len(reports) < len(chosen) or (given.strict and bool(over)))


def _is_left_out(engine: str) -> bool:
    reason = missing(engine)
    if reason is not None:
        print(f"{engine} is left out: {reason}", file=sys.stderr)
    return reason is not None


def _measure(scenario: Scenario, engines: list[str], seed: int) -> Report | None:
    """The report of a scenario on each of the engines; None when it failed."""
    report = Report()
    for engine in engines if scenario.engines else [""]:
        began = time.monotonic()
        print(f"{scenario.name} {title(engine)}".rstrip(), "...", end=" ", file=sys.stderr, flush=True)
        try:
            measured = scenario.measure(engine, seed)
        except Exception:  # noqa: BLE001 - the other scenarios are measured nevertheless
            print("failed", file=sys.stderr)
            traceback.print_exc()
            return None
        print(f"{time.monotonic() - began:.0f} s", file=sys.stderr)
        report = report.and_then(measured.on(title(engine)) if len(scenario.engines) > 1 else measured)
    return report


def _write(reports: dict[str, Report], measured_on: str, *, whole: bool) -> None:
    """Writes the README's table only when everything that it quotes was measured now, on all engines.

    Raises CostMismatch when the units of docs/cost.md are not those that were counted.
    """
    contents = {name: f"\n{report.markdown()}\n" for name, report in reports.items()}
    documents.write(documents.PERFORMANCE, {documents.MACHINE: f"\n{measured_on}\n\n", **contents})
    if whole and reports.keys() >= documents.QUOTED:
        documents.write(documents.README, {documents.SUMMARY: documents.summary(reports, measured_on)})
    if "cost" in reports:
        cost.write_documents(cost.counted(reports["cost"].runs))


if __name__ == "__main__":
    sys.exit(main())
