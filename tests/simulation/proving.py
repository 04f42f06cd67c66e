"""What a guard is, and how it is shown to be needed: a clean seed breaks an invariant when the guard is off."""

import gc
import time
from collections.abc import Collection, Iterable
from functools import partial
from multiprocessing import get_context
from os import cpu_count
from typing import NamedTuple

from tests.simulation.ledger_invariants import Violation
from tests.simulation.runs import Flavour, attempt, build
from tests.simulation.simulation import Simulation
from tests.simulation.switches import Switch, switched_off


class Guard(NamedTuple):
    """A condition or a rule of order that exactly-once stands on.

    `where` it is in the product, and its `purpose`. Without `off` (conditions of FakeTables) and `switches` the seed
    breaks the invariant. `keyed`, `changing`, `verifying`, `correcting`: in these flavours of the simulation.
    """

    name: str
    where: str
    purpose: str
    invariant: str
    seed: int
    off: tuple[str, ...] = ()
    switches: tuple[Switch, ...] = ()
    keyed: bool = False
    changing: bool = False
    verifying: bool = False
    correcting: bool = False

    @property
    def flavour(self) -> Flavour:
        """That of its runs."""
        if self.correcting:
            return Flavour.CORRECTING_KEYED if self.keyed else Flavour.CORRECTING_PLAIN
        if self.verifying:
            return Flavour.VERIFYING_KEYED if self.keyed else Flavour.VERIFYING_PLAIN
        if self.changing:
            return Flavour.CHANGING_KEYED if self.keyed else Flavour.CHANGING_PLAIN
        return Flavour.KEYED if self.keyed else Flavour.PLAIN

    def run(self, seed: int, only: Collection[str] | None = None) -> tuple[Simulation, Violation | None]:
        """One run without the guard."""
        with switched_off(self.switches):
            return attempt(partial(build, seed, off=self.off, flavour=self.flavour), only)

    def run_with(self, seed: int) -> Violation | None:
        """What breaks in the run with the guard."""
        return attempt(partial(build, seed, flavour=self.flavour))[1]

    def fault(self) -> str | None:
        """Why the guard's seed does not show that it is needed; None: it does."""
        violation = self.run_with(self.seed)
        if violation is not None:
            return f"seed {self.seed} breaks also with the guard: {violation}"
        _, violation = self.run(self.seed)
        if violation is None or violation.name != self.invariant:
            return f"seed {self.seed} does not break “{self.invariant}” without it: {violation}; find another seed"
        return None


class Found(NamedTuple):
    """The result of a search: the first seed that breaks an invariant, or the last one that was tried."""

    guard: Guard
    seed: int
    violation: Violation | None


def verify(guards: Iterable[Guard]) -> list[tuple[Guard, str | None]]:
    """Each guard, and why it is not shown to be needed, if it is not."""
    guards = list(guards)
    with get_context("fork").Pool(cpu_count()) as pool:
        return list(zip(guards, pool.map(Guard.fault, guards, chunksize=1), strict=True))


def find(guards: Iterable[Guard], seeds: range, seconds: float) -> Iterable[Found]:
    """For each guard the first of `seeds` that breaks an invariant without it, within so many seconds of search."""
    with get_context("fork").Pool(cpu_count()) as pool:
        yield from pool.imap_unordered(_find, [(guard, seeds, seconds) for guard in guards], chunksize=1)


def _find(search: tuple[Guard, range, float]) -> Found:
    guard, seeds, seconds = search
    until = time.monotonic() + seconds
    seed = seeds.start
    gc.disable()
    for seed in seeds:
        if seed % 50 == 0:
            gc.collect()
        _, violation = guard.run(seed)
        if violation is not None and violation.name == (guard.invariant or violation.name):
            with_guard = guard.run_with(seed)
            if with_guard is None:
                return Found(guard, seed, violation)
            print(f"seed {seed} breaks also with every guard: {with_guard}", flush=True)
        if time.monotonic() > until:
            break
    return Found(guard, seed, None)
