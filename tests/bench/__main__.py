"""`python -m tests.bench [NAME...]`: measures, and prints Markdown; see --help."""

import argparse
import os
import sys
import time
import traceback
from pathlib import Path

from consumer.demo.installation import ENGINE_VARIABLE
from tests.bench import markdown
from tests.bench.check import Report
from tests.bench.engine import LOCAL, MINISTACK, missing
from tests.bench.scenario import SCENARIOS, Scenario
from tests.engines.table_engine import is_foreign

_ENGINE_PYTHON = Path(__file__).parents[2] / ".venv-engine" / "bin" / "python"
_SEED = 20_260_101


def main() -> int:
    """The exit code: 1 when something could not be measured, or with --strict when a limit is not kept."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description="How fast the worker is, side by side.")
    parser.add_argument("names", metavar="NAME", nargs="*", help="what to measure; nothing: all")
    parser.add_argument("--list", action="store_true", help="list what can be measured")
    parser.add_argument("--engines", nargs="+", choices=(LOCAL, MINISTACK), default=(LOCAL, MINISTACK))
    parser.add_argument("--seed", type=int, default=_SEED, help="of who plays when")
    parser.add_argument("--strict", action="store_true", help="end with 1 when a limit is not kept")
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
    chosen = [each for each in SCENARIOS if not asked.names or each.name in asked.names]
    failed, over = False, False
    print(f"seed {asked.seed}\n")
    for scenario in chosen:
        report = _take(scenario, [each for each in scenario.engines if each in asked.engines], asked.seed)
        if report is None:
            failed = True
            continue
        over |= not all(check.ok for check in report.checks)
        print(f"## {scenario.name}: {scenario.meaning}\n\n{_text(report)}", flush=True)
    return int(failed or (asked.strict and over))


def _take(scenario: Scenario, engines: list[str], seed: int) -> Report | None:
    """On each engine that can be had; None when it broke off."""
    report = Report()
    for engine in engines:
        if reason := missing(engine):
            print(f"{scenario.name} on {engine} is left out: {reason}", file=sys.stderr)
            continue
        began = time.monotonic()
        print(f"{scenario.name} on {engine} ...", end=" ", file=sys.stderr, flush=True)
        try:
            taken = scenario.take(engine, seed)
        except Exception:  # noqa: BLE001 - the others are measured all the same
            print("broke off", file=sys.stderr)
            traceback.print_exc()
            return None
        print(f"{time.monotonic() - began:.0f} s", file=sys.stderr)
        report = report.and_then(taken)
    return report


def _text(report: Report) -> str:
    parts = [markdown.runs(report.runs)]
    if report.checks:
        parts.append(markdown.checks(report.checks))
    parts += [f"{note}\n" for note in report.notes]
    return "\n".join(parts)


if __name__ == "__main__":
    sys.exit(main())
