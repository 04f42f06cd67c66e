"""python -m tests.simulation: many seeds, or the trace of one."""

import argparse
import hashlib
import sys
from functools import partial

from tests.simulation.report import lines
from tests.simulation.runs import Flavour, attempt, build, shrink, simulate


def main() -> int:
    """Exit code 1 when an invariant broke."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    parser.add_argument("--seeds", type=int, default=1000, help="how many")
    parser.add_argument("--base", type=int, default=0, help="the first one")
    parser.add_argument("--jobs", type=int, help="processes; as many as there are cores")
    parser.add_argument(
        "--flavour",
        type=Flavour,
        choices=list(Flavour),
        default=Flavour.MIXED,
        help="of sources keyed by player, or not; with days that pass and rules that change, or without",
    )
    parser.add_argument("--trace", action="store_true", help="print the calls, replies and events of the first seed")
    parser.add_argument(
        "--shrink", action="store_true", help="print the trace of the smallest run that breaks the same invariant"
    )
    given = parser.parse_args()
    if given.shrink or given.trace:
        return print_trace(given.base, given.flavour, smallest=given.shrink)
    totals = simulate(given.base, given.seeds, given.jobs, given.flavour)
    print(*lines(totals), sep="\n")
    return 1 if totals.failures else 0


def print_trace(seed: int, flavour: Flavour, *, smallest: bool) -> int:
    """Exit code 1 when an invariant broke in this seed."""
    build_run = partial(build, seed, flavour=flavour)
    if smallest and (shrunk := shrink(build_run)) is not None:
        print(f"{len(shrunk.decisions)} of {shrunk.before} decisions break it:", *shrunk.decisions, sep="\n  ")
        print(*shrunk.simulation.trace(brief=True), f"{shrunk.violation}", sep="\n")
        return 1
    simulation, violation = attempt(build_run)
    trace = "\n".join(simulation.trace())
    print(trace)
    print(violation or f"nothing broke; the trace's digest is {hashlib.sha256(trace.encode()).hexdigest()[:16]}")
    return 1 if violation else 0


if __name__ == "__main__":
    sys.exit(main())
