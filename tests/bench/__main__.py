"""`python -m tests.bench [NAME...]`: measures, prints Markdown, and with --write puts it into the documents."""

import argparse
import os
import sys
import time
import traceback
from pathlib import Path

from consumer.demo.installation import ENGINE_VARIABLE
from tests.bench import document, markdown
from tests.bench.check import Report
from tests.bench.engine import ENGINES, missing, title
from tests.bench.scenario import SCENARIOS, Scenario
from tests.engines.table_engine import is_foreign

_ENGINE_PYTHON = Path(__file__).parents[2] / ".venv-engine" / "bin" / "python"
_SEED = 20_260_101


def main() -> int:
    """The exit code: 1 when something could not be measured, or with --strict when a limit is not kept."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description="How fast the worker is, side by side.")
    parser.add_argument("names", metavar="NAME", nargs="*", help="what to measure; nothing: all")
    parser.add_argument("--list", action="store_true", help="list what can be measured")
    parser.add_argument("--engines", nargs="+", choices=ENGINES, default=ENGINES)
    parser.add_argument("--seed", type=int, default=_SEED, help="of who plays when")
    parser.add_argument("--strict", action="store_true", help="end with 1 when a limit is not kept")
    parser.add_argument("--write", action="store_true", help="write the tables into docs/performance.md and the README")
    asked = parser.parse_args()
    if asked.list:
        for each in SCENARIOS:
            print(f"{each.name:8} {each.meaning}")
        return 0
    unknown = set(asked.names) - {each.name for each in SCENARIOS}
    if unknown:
        parser.error(f"no scenario {', '.join(sorted(unknown))}: --list shows all")
    for name in [name for name in os.environ if is_foreign(name)]:
        del os.environ[name]
    if _ENGINE_PYTHON.exists():
        os.environ.setdefault(ENGINE_VARIABLE, os.fspath(_ENGINE_PYTHON))
    engines = [engine for engine in asked.engines if not _is_left_out(engine)]
    measured_on = document.machine(engines, asked.seed, os.getloadavg()[0])
    print(f"{measured_on}\n")
    chosen = [each for each in SCENARIOS if not asked.names or each.name in asked.names]
    reports: dict[str, Report] = {}
    for scenario in chosen:
        report = _take(scenario, [each for each in scenario.engines if each in engines], asked.seed)
        if report is not None:
            reports[scenario.name] = report
            print(f"## {scenario.name}: {scenario.meaning}\n\n{markdown.scenario(report)}", flush=True)
    if asked.write:
        _write(reports, measured_on, whole=len(engines) == len(ENGINES))
    over = [check for report in reports.values() for check in report.checks if not check.ok]
    return int(len(reports) < len(chosen) or (asked.strict and bool(over)))


def _is_left_out(engine: str) -> bool:
    reason = missing(engine)
    if reason is not None:
        print(f"{engine} is left out: {reason}", file=sys.stderr)
    return reason is not None


def _take(scenario: Scenario, engines: list[str], seed: int) -> Report | None:
    """On each of the engines; None when it broke off."""
    report = Report()
    for engine in engines if scenario.engines else [""]:
        began = time.monotonic()
        print(f"{scenario.name} {title(engine)}".rstrip(), "...", end=" ", file=sys.stderr, flush=True)
        try:
            taken = scenario.take(engine, seed)
        except Exception:  # noqa: BLE001 - the others are measured all the same
            print("broke off", file=sys.stderr)
            traceback.print_exc()
            return None
        print(f"{time.monotonic() - began:.0f} s", file=sys.stderr)
        report = report.and_then(taken.on(title(engine)) if len(scenario.engines) > 1 else taken)
    return report


def _write(reports: dict[str, Report], measured_on: str, *, whole: bool) -> None:
    """The README's table only when all that it quotes was measured now, on all engines."""
    contents = {name: f"\n{markdown.scenario(report)}\n" for name, report in reports.items()}
    document.write(document.PERFORMANCE, {document.MACHINE: f"\n{measured_on}\n\n", **contents})
    if whole and reports.keys() >= document.QUOTED:
        document.write(document.README, {document.SUMMARY: document.summary(reports, measured_on)})


if __name__ == "__main__":
    sys.exit(main())
