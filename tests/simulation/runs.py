"""Many runs on all cores, their totals, and the shrinking of a failing run."""

import gc
import multiprocessing
import os
import sys
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from functools import partial
from typing import NamedTuple

from consumer.operations.steps import OperatorCall
from consumer.worker.calls import Operation
from tests.simulation.ledger_invariants import Violation
from tests.simulation.nemesis import Fault
from tests.simulation.simulation import Simulation

BATCH = 25
PROGRESS_SECONDS = 60.0
CHANGING_SEEDS = 3
"""Which of seven seeds is that of a changing run."""
VERIFYING_SEEDS = 5
"""The same of a verifying run."""
CORRECTING_SEEDS = 1
"""The same of a correcting run."""


class Failure(NamedTuple):
    """A seed that broke an invariant."""

    seed: int
    name: str
    facts: str
    flavour: "Flavour"

    @property
    def command(self) -> str:
        """What runs it again."""
        return f"python -m tests.simulation --base {self.seed} --seeds 1 --shrink --flavour {self.flavour}"


class Flavour(StrEnum):
    """Which runs a seed makes: keyed ones (rows have marks) or plain ones; of both, those in which days pass and rules
    change, boards are verified, or items are corrected. Mixed: by turns two keyed ones and a plain one, every seventh
    of them changing, every seventh verifying, and every seventh correcting.
    """

    MIXED = "mixed"
    KEYED = "keyed"
    PLAIN = "plain"
    CHANGING_KEYED = "changing-keyed"
    CHANGING_PLAIN = "changing-plain"
    VERIFYING_KEYED = "verifying-keyed"
    VERIFYING_PLAIN = "verifying-plain"
    CORRECTING_KEYED = "correcting-keyed"
    CORRECTING_PLAIN = "correcting-plain"

    def of(self, seed: int) -> "Flavour":
        """The flavour of the run of this seed."""
        if self is not Flavour.MIXED:
            return self
        keyed, changing = seed % 3 > 0, seed % 7 == CHANGING_SEEDS
        if changing:
            return Flavour.CHANGING_KEYED if keyed else Flavour.CHANGING_PLAIN
        if seed % 7 == VERIFYING_SEEDS:
            return Flavour.VERIFYING_KEYED if keyed else Flavour.VERIFYING_PLAIN
        if seed % 7 == CORRECTING_SEEDS:
            return Flavour.CORRECTING_KEYED if keyed else Flavour.CORRECTING_PLAIN
        return Flavour.KEYED if keyed else Flavour.PLAIN

    @property
    def keyed(self) -> bool:
        """Whether rows have marks."""
        return self in (Flavour.KEYED, Flavour.CHANGING_KEYED, Flavour.VERIFYING_KEYED, Flavour.CORRECTING_KEYED)

    @property
    def changing(self) -> bool:
        """Whether days pass and rules change."""
        return self in (Flavour.CHANGING_KEYED, Flavour.CHANGING_PLAIN)

    @property
    def verifying(self) -> bool:
        """Whether boards are verified."""
        return self in (Flavour.VERIFYING_KEYED, Flavour.VERIFYING_PLAIN)

    @property
    def correcting(self) -> bool:
        """Whether items are corrected, and the board follows them."""
        return self in (Flavour.CORRECTING_KEYED, Flavour.CORRECTING_PLAIN)


@dataclass
class Totals:
    """The totals of many runs. `sizes`: steps, shards and splits of each run."""

    seconds: float = 0.0
    sizes: list[tuple[int, int, int]] = field(default_factory=list)
    steps: Counter[tuple[Operation | OperatorCall, Fault]] = field(default_factory=Counter)
    happened: Counter[str] = field(default_factory=Counter)
    failures: list[Failure] = field(default_factory=list)

    def add(self, other: "Totals") -> None:
        """Adds the totals of other runs."""
        self.sizes += other.sizes
        self.steps += other.steps
        self.happened += other.happened
        self.failures += other.failures

    def count(self, simulation: Simulation) -> None:
        """Adds one run."""
        shards = sum(len(stream.shards) for stream in simulation.streams.streams.values())
        self.sizes.append((simulation.steps.total(), shards, simulation.happened["split"]))
        self.steps += simulation.steps
        self.happened += simulation.happened


def simulate(base: int, seeds: int, jobs: int | None = None, flavour: Flavour = Flavour.MIXED) -> Totals:
    """Runs the seeds from `base` on in `jobs` processes, by default one per core. Long runs print their progress."""
    began = printed = time.monotonic()
    totals = Totals()
    for part in _parts(range(base, base + seeds), jobs or os.cpu_count() or 1, flavour):
        totals.add(part)
        for failure in part.failures:
            print(f"seed {failure.seed} ({failure.flavour}) breaks {failure.name!r}", file=sys.stderr, flush=True)
        if time.monotonic() - printed > PROGRESS_SECONDS:
            printed = time.monotonic()
            progress = f"{len(totals.sizes):,} of {seeds:,} seeds, {len(totals.failures)} broke"
            print(progress, file=sys.stderr, flush=True)
    totals.seconds = time.monotonic() - began
    totals.failures.sort()
    return totals


def run(seeds: range, flavour: Flavour = Flavour.MIXED) -> Totals:
    """Runs seeds one after the other in this process. Garbage is collected after them: a run makes few cycles."""
    totals = Totals()
    gc.disable()
    try:
        for seed in seeds:
            chosen = flavour.of(seed)
            simulation, violation = attempt(partial(build, seed, flavour=chosen))
            if violation is not None:
                totals.failures.append(Failure(seed, violation.name, violation.facts, chosen))
            totals.count(simulation)
    finally:
        gc.enable()
        gc.collect()
    return totals


def build(seed: int, only: Collection[str] | None, off: Collection[str] = (), *, flavour: Flavour) -> Simulation:
    """The run of a seed, with these decisions only."""
    chosen = flavour.of(seed)
    return Simulation(
        seed,
        off,
        only,
        keyed=chosen.keyed,
        changing=chosen.changing,
        verifying=chosen.verifying,
        correcting=chosen.correcting,
    )


def _parts(seeds: range, jobs: int, flavour: Flavour) -> Iterator[Totals]:
    batches = [seeds[first : first + BATCH] for first in range(0, len(seeds), BATCH)]
    run_batch = partial(run, flavour=flavour)
    if jobs == 1 or len(batches) == 1:
        yield from map(run_batch, batches)
        return
    with multiprocessing.get_context("fork").Pool(jobs) as pool:
        yield from pool.imap_unordered(run_batch, batches)


MOST_RUNS = 600

Build = Callable[[Collection[str] | None], Simulation]
"""Builds the run again, with these decisions only."""


class Shrunk(NamedTuple):
    """The smallest run found that breaks the invariant: its decisions, and how many there were before."""

    decisions: tuple[str, ...]
    before: int
    simulation: Simulation
    violation: Violation


def shrink(build: Build) -> Shrunk | None:
    """Leaves out decisions while the same invariant breaks: halves first, then quarters, ... single ones (ddmin).

    The number of runs is bounded. None: nothing breaks.
    """
    simulation, violation = attempt(build)
    if violation is None:
        return None
    kept = tuple(simulation.dice.made)
    before, runs, pieces = len(kept), 0, 2
    while len(kept) > 1 and runs < MOST_RUNS:
        size = -(-len(kept) // pieces)
        for first in range(0, len(kept), size):
            fewer = kept[:first] + kept[first + size :]
            tried, broken = attempt(build, fewer)
            runs += 1
            if broken is not None and broken.name == violation.name:
                simulation, violation = tried, broken
                kept = tuple(decision for decision in fewer if decision in simulation.dice.made)
                pieces = max(2, pieces - 1)
                break
        else:
            if size == 1:
                break
            pieces = min(len(kept), 2 * pieces)
    return Shrunk(kept, before, simulation, violation)


def attempt(build: Build, only: Collection[str] | None = None) -> tuple[Simulation, Violation | None]:
    """One run and the violation, if any; any other exception counts as a violation with the name of its class."""
    simulation = build(only)
    try:
        simulation.run()
    except Violation as violation:
        return simulation, violation
    except Exception as error:  # noqa: BLE001 - a defect of the code under test is a finding too
        return simulation, Violation(type(error).__name__, str(error))
    return simulation, None
