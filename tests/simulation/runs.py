"""Many runs, on all cores, and what they came to."""

import gc
import multiprocessing
import os
import sys
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from tests.simulation.violation import Violation
from tests.simulation.world import Simulation

BATCH = 25
NEWS_SECONDS = 60.0


class Failure(NamedTuple):
    """A seed that broke something."""

    seed: int
    name: str
    facts: str


@dataclass
class Tally:
    """What runs came to. `sizes`: steps, shards and splits of each."""

    seconds: float = 0.0
    sizes: list[tuple[int, int, int]] = field(default_factory=list)
    steps: Counter[str] = field(default_factory=Counter)
    happened: Counter[str] = field(default_factory=Counter)
    failures: list[Failure] = field(default_factory=list)

    def add(self, other: "Tally") -> None:
        """Another tally's runs too."""
        self.sizes += other.sizes
        self.steps += other.steps
        self.happened += other.happened
        self.failures += other.failures

    def count(self, simulation: Simulation) -> None:
        """One run."""
        shards = sum(len(stream.shards) for stream in simulation.streams.streams.values())
        self.sizes.append((simulation.steps.total(), shards, simulation.happened["split"]))
        self.steps += simulation.steps
        self.happened += simulation.happened


def simulate(base: int, seeds: int, jobs: int | None = None) -> Tally:
    """The seeds from `base` on, `jobs` at a time; by default as many as there are cores. Long runs tell how far."""
    began = told = time.monotonic()
    tally = Tally()
    for part in _parts(range(base, base + seeds), jobs or os.cpu_count() or 1):
        tally.add(part)
        for failure in part.failures:
            print(f"seed {failure.seed} breaks {failure.name!r}", file=sys.stderr, flush=True)
        if time.monotonic() - told > NEWS_SECONDS:
            told = time.monotonic()
            print(f"{len(tally.sizes):,} of {seeds:,} seeds, {len(tally.failures)} broke", file=sys.stderr, flush=True)
    tally.seconds = time.monotonic() - began
    tally.failures.sort()
    return tally


def run(seeds: range) -> Tally:
    """One after the other, in this process. Cycles are collected between runs: a run makes few, and looks for many."""
    tally = Tally()
    gc.disable()
    try:
        for seed in seeds:
            simulation = Simulation(seed)
            try:
                simulation.run()
            except Violation as violation:
                tally.failures.append(Failure(seed, violation.name, violation.facts))
            except Exception as error:  # noqa: BLE001 - a defect of the code under test is a finding, too
                tally.failures.append(Failure(seed, type(error).__name__, str(error)))
            tally.count(simulation)
    finally:
        gc.enable()
        gc.collect()
    return tally


def _parts(seeds: range, jobs: int) -> Iterator[Tally]:
    batches = [seeds[first : first + BATCH] for first in range(0, len(seeds), BATCH)]
    if jobs == 1 or len(batches) == 1:
        yield from map(run, batches)
        return
    with multiprocessing.get_context("fork").Pool(jobs) as pool:
        yield from pool.imap_unordered(run, batches)
