"""`python -m tests.chaos --seeds 10 --base N`: a line a seed; exit code 1 when a run was wrong."""

import argparse
import os
import random
import signal
import sys
from pathlib import Path

from consumer.demo.installation import ENGINE_VARIABLE
from tests.chaos import Chaotic, Plan, run
from tests.chaos.plan import FEWEST_SHARDS
from tests.streams_server import Fault

_ENGINE_PYTHON = Path(__file__).parents[2] / ".venv-engine" / "bin" / "python"


def main() -> int:
    """How many runs were wrong is told at the end."""
    parser = argparse.ArgumentParser(prog="tests.chaos", description=__doc__)
    parser.add_argument("--seeds", type=int, default=10, help="runs, of as many seeds")
    parser.add_argument("--base", type=int, help="the first seed; none: a fresh one")
    parser.add_argument("--seconds", type=float, default=60.0, help="of trouble")
    parser.add_argument("--records", type=int, default=20_000)
    parser.add_argument("--workers", type=int, default=3)
    parser.add_argument("--shards", type=int, default=FEWEST_SHARDS, help="at least")
    parser.add_argument("--without", default="", help=f"faults to leave out: {','.join(Fault)}")
    parser.add_argument("--keep", type=Path, help="a folder for the logs of runs that were wrong")
    asked = parser.parse_args()
    base = asked.base if asked.base is not None else random.SystemRandom().randrange(1_000_000_000)
    without = [Fault(name) for name in asked.without.split(",") if name]
    wrong = []
    print(f"seeds {base} to {base + asked.seeds - 1}", flush=True)
    for seed in range(base, base + asked.seeds):
        plan = Plan.drawn(
            seed,
            seconds=asked.seconds,
            records=asked.records,
            workers=asked.workers,
            fewest_shards=asked.shards,
            but=without,
        )
        try:
            print(run(plan, asked.keep and asked.keep / str(seed)), flush=True)
        except Chaotic as chaotic:
            wrong.append(seed)
            print(f"WRONG: {chaotic}", flush=True)
    print(f"{asked.seeds - len(wrong)} of {asked.seeds} seeds are exact" + (f"; wrong: {wrong}" if wrong else ""))
    return 1 if wrong else 0


if __name__ == "__main__":
    if _ENGINE_PYTHON.exists():
        os.environ.setdefault(ENGINE_VARIABLE, os.fspath(_ENGINE_PYTHON))
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    sys.exit(main())
