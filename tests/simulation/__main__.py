"""python -m tests.simulation: many seeds, or one and its story."""

import argparse
import hashlib
import sys
from collections.abc import Collection

from tests.simulation.report import lines
from tests.simulation.runs import simulate
from tests.simulation.shrink import attempt, shrink
from tests.simulation.world import Simulation


def main() -> int:
    """Exit code 1 when an invariant broke."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    parser.add_argument("--seeds", type=int, default=1000, help="how many")
    parser.add_argument("--base", type=int, default=0, help="the first one")
    parser.add_argument("--jobs", type=int, help="processes; as many as there are cores")
    parser.add_argument("--story", action="store_true", help="who did what when, in one seed")
    parser.add_argument("--shrink", action="store_true", help="the story of the smallest schedule that breaks the same")
    given = parser.parse_args()
    if given.shrink or given.story:
        return tell(given.base, smallest=given.shrink)
    tally = simulate(given.base, given.seeds, given.jobs)
    print(*lines(tally), sep="\n")
    return 1 if tally.failures else 0


def tell(seed: int, *, smallest: bool) -> int:
    """One seed."""

    def build(only: Collection[str] | None) -> Simulation:
        return Simulation(seed, only=only)

    if smallest and (shrunk := shrink(build)) is not None:
        print(f"{len(shrunk.decisions)} of {shrunk.before} decisions break it:", *shrunk.decisions, sep="\n  ")
        print(*shrunk.simulation.story(brief=True), f"{shrunk.violation}", sep="\n")
        return 1
    simulation, violation = attempt(build, None)
    story = "\n".join(simulation.story())
    print(story)
    print(violation or f"nothing broke; the story's digest is {hashlib.sha256(story.encode()).hexdigest()[:16]}")
    return 1 if violation else 0


if __name__ == "__main__":
    sys.exit(main())
