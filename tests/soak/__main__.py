"""`python -m tests.soak --minutes 30`: exact after all, and no growth; exit code 1 when not."""

import argparse
import os
import random
import signal
import sys
from pathlib import Path

from consumer.demo.installation import ENGINE_VARIABLE
from tests.chaos import Chaotic, Plan, run
from tests.soak.watch import Watch

_ENGINE_PYTHON = Path(__file__).parents[2] / ".venv-engine" / "bin" / "python"
_RECORDS_A_SECOND = 100
_SHARDS_A_MINUTE = 20
_BIRTHS = (4, 95, 1)
"""Most shards roll over, so that there are not many more at the end than in the middle."""
_FIRST_SECONDS = 30.0
_MOST_MIB = 10.0
"""How much more there may be at the end than in the middle: by then caches are warm. Finished rows stay for days."""
_CLIENTS = 2
_OTHER_FILES = 10
"""Sockets may fill up to one a thread and client; beside them there are those of the loop, the server, the log."""


def main() -> int:
    """The figures are printed whatever they are."""
    parser = argparse.ArgumentParser(prog="tests.soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=5.0, help="of trouble; at least 2")
    parser.add_argument("--seed", type=int, help="none: a fresh one")
    parser.add_argument("--keep", type=Path, help="a folder for the logs of a run that was wrong")
    asked = parser.parse_args()
    seed = asked.seed if asked.seed is not None else random.SystemRandom().randrange(1_000_000_000)
    seconds = 60 * max(2.0, asked.minutes)
    plan = Plan.drawn(
        seed,
        seconds=seconds,
        records=int(seconds * _RECORDS_A_SECOND),
        fewest_shards=max(20, int(seconds / 60 * _SHARDS_A_MINUTE)),
        spared=1,
        births=_BIRTHS,
    )
    watch = Watch()
    wrong = 0
    try:
        print(run(plan, asked.keep, watch), flush=True)
    except Chaotic as chaotic:
        print(f"WRONG: {chaotic}", flush=True)
        wrong = 1
    if not watch.seen or watch.seen[-1][0] < seconds * 5 / 6:
        print("the spared worker was not there to be looked at", flush=True)
        return 1
    looks = [watch.after(_FIRST_SECONDS), *(watch.after(seconds * part / 6) for part in range(1, 6)), watch.seen[-1]]
    middle, last = looks[3][1], looks[-1][1]
    print(f"{'':16}" + "".join(f"{f'at {at:.0f} s':>12}" for at, _ in looks))
    print(f"{'memory, MiB':16}" + "".join(f"{used.resident_mib:12.1f}" for _, used in looks))
    print(f"{'threads':16}" + "".join(f"{used.threads:12}" for _, used in looks))
    print(f"{'open files':16}" + "".join(f"{used.files:12}" for _, used in looks))
    print(f"{'processor, s':16}" + "".join(f"{used.cpu_seconds:12.1f}" for _, used in looks))
    grown = (
        last.resident_mib - middle.resident_mib > _MOST_MIB
        or last.threads > middle.threads
        or last.files > _CLIENTS * last.threads + _OTHER_FILES
    )
    print("it GREW" if grown else "no growth")
    return 1 if wrong or grown else 0


if __name__ == "__main__":
    if _ENGINE_PYTHON.exists():
        os.environ.setdefault(ENGINE_VARIABLE, os.fspath(_ENGINE_PYTHON))
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    sys.exit(main())
