"""`python -m tests.performance.soak --minutes 30`: exact, and without growth; else exit code 1."""

import argparse
import random
import signal
import sys
import time
from pathlib import Path

from tests.chaos import ChaosFailed, Plan, run
from tests.chaos.cluster import Cluster
from tests.chaos.plan import BY_MATCH_EVERY
from tests.performance.usage import Usage, usage
from tests.support.engines.table_engine import clean_environment

_RECORDS_PER_SECOND = 100
_SHARDS_PER_MINUTE = 20
_SPLITS = (4, 95, 1)
"""Most shards roll over, so that there are not many more at the end than in the middle."""
_SAMPLE_SECONDS = 5.0
_FIRST_SECONDS = 30.0
_MOST_MIB = 10.0
"""How much memory may grow from the middle, when caches are warm, to the end. Finished rows stay for days."""
_CLIENTS = 2
_MOST_RENEWALS = 1
"""Credentials that expire soon are renewed every 30 s, on a thread that ends with that."""
_OTHER_FILES = 10
"""There may be one socket per thread and client; the others are those of the loop, the server and the log."""


class SparedWorker:
    """Call it often. `samples`: seconds since the first call, and what the spared worker used then."""

    def __init__(self) -> None:
        self.samples: list[tuple[float, Usage]] = []
        self._began = self._due = time.monotonic()

    def __call__(self, cluster: Cluster) -> None:
        """Takes a sample, if it is time."""
        now = time.monotonic()
        if now >= self._due and cluster.slots[0].runs:
            self._due = now + _SAMPLE_SECONDS
            self.samples.append((now - self._began, usage(cluster.slots[0].workers[-1].pid)))

    def after(self, seconds: float) -> tuple[float, Usage]:
        """The first sample after so many seconds."""
        return next(sample for sample in self.samples if sample[0] >= seconds)


def main() -> int:
    """Prints the figures in any case."""
    parser = argparse.ArgumentParser(prog="tests.performance.soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=5.0, help="how long faults last; at least 2")
    parser.add_argument("--seed", type=int, help="default: a fresh one, whose source is keyed by player")
    parser.add_argument("--keep", type=Path, help="a folder for the logs of a failed run")
    given = parser.parse_args()
    seed = given.seed if given.seed is not None else random.SystemRandom().randrange(0, 1_000_000_000, BY_MATCH_EVERY)
    seconds = 60 * max(2.0, given.minutes)
    plan = Plan.drawn(
        seed,
        seconds=seconds,
        records=int(seconds * _RECORDS_PER_SECOND),
        fewest_shards=max(20, int(seconds / 60 * _SHARDS_PER_MINUTE)),
        spared=1,
        splits=_SPLITS,
    )
    spared = SparedWorker()
    failed = False
    try:
        print(run(plan, given.keep, spared), flush=True)
    except ChaosFailed as failure:
        print(f"FAILED: {failure}", flush=True)
        failed = True
    if not spared.samples or spared.samples[-1][0] < seconds * 5 / 6:
        print("the spared worker did not run to the end", flush=True)
        return 1
    samples = [spared.after(_FIRST_SECONDS), *(spared.after(seconds * part / 6) for part in range(1, 6))]
    samples.append(spared.samples[-1])
    middle, last = samples[3][1], samples[-1][1]
    print(f"{'':16}" + "".join(f"{f'at {at:.0f} s':>12}" for at, _ in samples))
    print(f"{'memory, MiB':16}" + "".join(f"{used.resident_mib:12.1f}" for _, used in samples))
    print(f"{'threads':16}" + "".join(f"{used.threads:12}" for _, used in samples))
    print(f"{'open files':16}" + "".join(f"{used.files:12}" for _, used in samples))
    print(f"{'processor, s':16}" + "".join(f"{used.cpu_seconds:12.1f}" for _, used in samples))
    grown = (
        last.resident_mib - middle.resident_mib > _MOST_MIB
        or last.threads > middle.threads + _MOST_RENEWALS
        or last.files > _CLIENTS * last.threads + _OTHER_FILES
    )
    print("it GREW" if grown else "no growth")
    return 1 if failed or grown else 0


if __name__ == "__main__":
    clean_environment()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    sys.exit(main())
