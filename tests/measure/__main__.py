"""`python -m tests.measure [NAME...]`: measures, prints one table, and ends with 1 when a limit is not kept."""

import argparse
import os
import sys
import time
import traceback
from pathlib import Path

from consumer.demo.engine import Engine
from consumer.demo.installation import ENGINE_VARIABLE
from tests.engines.table_engine import is_foreign
from tests.measure.beats import beats, crowded
from tests.measure.figure import Figure, Measurement
from tests.measure.hot import hot
from tests.measure.idle import idle
from tests.measure.join import join
from tests.measure.lineage import lineage
from tests.measure.start import start
from tests.measure.status import status
from tests.measure.table import show
from tests.measure.transfer import failover, handover

MEASUREMENTS = (
    Measurement("failover", "SIGKILL of a worker until its shards are committed elsewhere", failover),
    Measurement("handover", "SIGTERM of a worker until its shards are committed elsewhere", handover),
    Measurement("lineage", "a shard's end until its children are committed", lineage),
    Measurement("join", "one more worker until all shares are fair, and what is read again", join),
    Measurement("start", "a process's start until its first commit", start),
    Measurement("idle", "a thousand idle shards on one worker: polls, memory, processor", idle),
    Measurement("beats", "writes and reads of the lease table by idle workers", beats),
    Measurement("crowded", "the same with a thousand shards and ten thousand finished rows", crowded),
    Measurement("status", "`consumer status` on a thousand shards: its time, and its calls", status),
    Measurement("hot", "one player in 64 shards, each commit holding the row for 20 ms", hot),
)

_ENGINE_PYTHON = Path(__file__).parents[2] / ".venv-engine" / "bin" / "python"


def main() -> int:
    """The exit code: 1 when a limit is not kept or something could not be measured."""
    parser = argparse.ArgumentParser(prog="python -m tests.measure", description="How fast and how frugal workers are.")
    parser.add_argument("names", metavar="NAME", nargs="*", help="what to measure; nothing: all")
    parser.add_argument("--list", action="store_true", help="list what can be measured")
    asked = parser.parse_args()
    if asked.list:
        for each in MEASUREMENTS:
            print(f"{each.name:10} {each.meaning}")
        return 0
    unknown = set(asked.names) - {each.name for each in MEASUREMENTS}
    if unknown:
        parser.error(f"no measurement {', '.join(sorted(unknown))}: --list shows all")
    for name in [name for name in os.environ if is_foreign(name)]:
        del os.environ[name]
    if _ENGINE_PYTHON.exists():
        os.environ.setdefault(ENGINE_VARIABLE, os.fspath(_ENGINE_PYTHON))
    results: dict[str, list[Figure]] = {}
    failed = False
    for each in MEASUREMENTS:
        if not asked.names or each.name in asked.names:
            failed |= _measure(each, results.setdefault(each.name, []))
    show(results)
    return int(failed or not all(figure.ok for figures in results.values() for figure in figures))


def _measure(measurement: Measurement, figures: list[Figure]) -> bool:
    """Adds its figures; whether it broke off. A fresh engine: none is slower for what came before."""
    began = time.monotonic()
    print(f"{measurement.name}: {measurement.meaning} ...", end=" ", file=sys.stderr, flush=True)
    try:
        with Engine() as engine:
            figures.extend(measurement.take(engine.url))
    except Exception:  # noqa: BLE001 - the others are measured all the same
        print("broke off", file=sys.stderr)
        traceback.print_exc()
        return True
    print(f"{time.monotonic() - began:.0f} s", file=sys.stderr)
    return False


if __name__ == "__main__":
    sys.exit(main())
