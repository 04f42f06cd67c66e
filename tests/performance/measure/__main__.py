"""`python -m tests.performance.measure [NAME...]`: measures, and prints one table."""

import argparse
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from typing import NamedTuple

from consumer.demo.engine import Engine
from tests.performance.figures import Figure, show
from tests.performance.measure.heartbeats import crowded, heartbeats
from tests.performance.measure.load import hot, idle
from tests.performance.measure.redrive import redrive
from tests.performance.measure.status import status
from tests.performance.measure.transfers import failover, handover, join, lineage, start
from tests.performance.measure.verify import verify
from tests.performance.measure.windows import windows
from tests.support.engines.table_engine import clean_environment


class Measurement(NamedTuple):
    """`measure` takes the URL of a table engine, and yields each figure as soon as it is known."""

    name: str
    meaning: str
    measure: Callable[[str], Iterator[Figure]]


MEASUREMENTS = (
    Measurement("failover", "from SIGKILL of a worker until other workers commit its shards", failover),
    Measurement("handover", "from SIGTERM of a worker until other workers commit its shards", handover),
    Measurement("lineage", "from a shard's end until its children are committed", lineage),
    Measurement("join", "from one more worker until all shares are fair, and what is read again", join),
    Measurement("start", "from a process's start until its first commit", start),
    Measurement("idle", "a thousand idle shards on one worker: polls, memory, processor time", idle),
    Measurement("heartbeats", "writes and reads of the lease table by idle workers", heartbeats),
    Measurement("crowded", "the same with a thousand shards and ten thousand finished rows", crowded),
    Measurement("status", "`consumer status` on a thousand shards: its time, and its calls", status),
    Measurement("windows", "processor time and write units with windows, beside those without", windows),
    Measurement("redrive", "one command counts ten thousand quarantined records, on DynamoDB Local", redrive),
    Measurement("hot", "one player in 64 shards; each commit locks the row for 20 ms", hot),
    Measurement("verify", "a proof of a million games of a hundred thousand players: memory and rate", verify),
)


def main() -> int:
    """Exit code 1 when a limit is not kept or something could not be measured."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.performance.measure", description="How soon workers act, and what they use."
    )
    parser.add_argument("names", metavar="NAME", nargs="*", help="what to measure; default: everything")
    parser.add_argument("--list", action="store_true", help="list what can be measured")
    given = parser.parse_args()
    if given.list:
        for measurement in MEASUREMENTS:
            print(f"{measurement.name:10} {measurement.meaning}")
        return 0
    unknown = set(given.names) - {measurement.name for measurement in MEASUREMENTS}
    if unknown:
        parser.error(f"no measurement {', '.join(sorted(unknown))}: --list shows all")
    clean_environment()
    results: dict[str, list[Figure]] = {}
    failed = False
    for measurement in MEASUREMENTS:
        if not given.names or measurement.name in given.names:
            failed |= _measure(measurement, results.setdefault(measurement.name, []))
    show(results)
    return int(failed or not all(figure.ok for figures in results.values() for figure in figures))


def _measure(measurement: Measurement, figures: list[Figure]) -> bool:
    """Adds the figures; whether it failed. The engine is fresh, so that no earlier measurement slows it."""
    began = time.monotonic()
    print(f"{measurement.name}: {measurement.meaning} ...", end=" ", file=sys.stderr, flush=True)
    try:
        with Engine() as engine:
            figures.extend(measurement.measure(engine.url))
    except Exception:  # noqa: BLE001 - the other measurements are made nevertheless
        print("failed", file=sys.stderr)
        traceback.print_exc()
        return True
    print(f"{time.monotonic() - began:.0f} s", file=sys.stderr)
    return False


if __name__ == "__main__":
    sys.exit(main())
