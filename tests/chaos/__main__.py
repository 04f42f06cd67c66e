"""`python -m tests.chaos --seeds 10 --base N`: one line per seed; exit code 1 when a run failed."""

import argparse
import random
import signal
import sys
from pathlib import Path

from tests.chaos import ChaosFailed, Plan, run
from tests.chaos.plan import FEWEST_SHARDS, HostFault
from tests.streams_server import Fault
from tests.support.engines.table_engine import clean_environment


def main() -> int:
    """Prints at the end how many runs failed."""
    names: dict[str, Fault | HostFault] = {fault.value: fault for fault in (*Fault, *HostFault)}
    parser = argparse.ArgumentParser(prog="tests.chaos", description=__doc__)
    parser.add_argument("--seeds", type=int, default=10, help="how many runs, each with its own seed")
    parser.add_argument("--base", type=int, help="the first seed; default: a fresh one")
    parser.add_argument("--seconds", type=float, default=60.0, help="how long faults last")
    parser.add_argument("--records", type=int, default=20_000)
    parser.add_argument("--workers", type=int, default=3)
    parser.add_argument("--shards", type=int, default=FEWEST_SHARDS, help="the least number of shards")
    parser.add_argument("--without", default="", help=f"faults to leave out: {','.join(names)}")
    parser.add_argument("--keep", type=Path, help="a folder for the logs of failed runs")
    given = parser.parse_args()
    base = given.base if given.base is not None else random.SystemRandom().randrange(1_000_000_000)
    without = [names[name] for name in given.without.split(",") if name]
    failed = []
    print(f"seeds {base} to {base + given.seeds - 1}", flush=True)
    for seed in range(base, base + given.seeds):
        plan = Plan.drawn(
            seed,
            seconds=given.seconds,
            records=given.records,
            workers=given.workers,
            fewest_shards=given.shards,
            without=without,
        )
        try:
            print(run(plan, given.keep and given.keep / str(seed)), flush=True)
        except ChaosFailed as failure:
            failed.append(seed)
            print(f"FAILED: {failure}", flush=True)
    print(f"{given.seeds - len(failed)} of {given.seeds} seeds are exact" + (f"; failed: {failed}" if failed else ""))
    return 1 if failed else 0


if __name__ == "__main__":
    clean_environment()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    sys.exit(main())
