"""A guard is shown to be necessary: a seed that is clean with it breaks an invariant without it."""

import gc
import time
from collections.abc import Collection, Iterable
from contextlib import nullcontext
from multiprocessing import get_context
from os import cpu_count
from typing import Final, NamedTuple

from tests.simulation import operator_rules, shard_rules, worker_rules
from tests.simulation.mutations import MUTATIONS, taken_away
from tests.simulation.shrink import attempt
from tests.simulation.violation import Violation
from tests.simulation.world import Simulation

_ROOMS: Final = {room.__name__ for room in (operator_rules, shard_rules, worker_rules)}
assert {MUTATIONS[name].__module__ for name in MUTATIONS} == _ROOMS


class Guard(NamedTuple):
    """`stands`: where in the product. `off`: clauses (see FakeTables), `rules`: see mutations; both are taken away.

    `invariant` is the one that breaks in `seed`.
    """

    name: str
    stands: str
    purpose: str
    invariant: str
    seed: int
    off: tuple[str, ...] = ()
    rules: tuple[str, ...] = ()

    def run(self, seed: int, only: Collection[str] | None = None) -> tuple[Simulation, Violation | None]:
        """One run without it."""
        with taken_away(self.rules) if self.rules else nullcontext():
            return attempt(lambda chosen: Simulation(seed, self.off, chosen), only)

    def fault(self) -> str | None:
        """Why its seed does not show what it is for; None: it does."""
        _, violation = attempt(lambda _: Simulation(self.seed), None)
        if violation is not None:
            return f"seed {self.seed} breaks also with it: {violation}"
        _, violation = self.run(self.seed)
        if violation is None or violation.name != self.invariant:
            return f"seed {self.seed} does not break “{self.invariant}” without it: {violation}; look for another"
        return None


class Found(NamedTuple):
    """What a search came to: the first seed that breaks, or how many do not."""

    guard: Guard
    seed: int
    violation: Violation | None


def verify(guards: Iterable[Guard]) -> list[tuple[Guard, str | None]]:
    """Each guard and why it is not shown, if it is not."""
    guards = list(guards)
    with get_context("fork").Pool(cpu_count()) as pool:
        return list(zip(guards, pool.map(_fault, guards, chunksize=1), strict=True))


def find(guards: Iterable[Guard], seeds: range, seconds: float) -> Iterable[Found]:
    """For each guard the first of `seeds` that breaks an invariant without it, within so many seconds of search."""
    with get_context("fork").Pool(cpu_count()) as pool:
        yield from pool.imap_unordered(_find, [(guard, seeds, seconds) for guard in guards], chunksize=1)


def _fault(guard: Guard) -> str | None:
    return guard.fault()


def _find(search: tuple[Guard, range, float]) -> Found:
    guard, seeds, seconds = search
    until = time.monotonic() + seconds
    seed = seeds.start
    gc.disable()
    for seed in seeds:
        if seed % 50 == 0:
            gc.collect()
        _, violation = guard.run(seed)
        if violation is not None and (not guard.invariant or violation.name == guard.invariant):
            _, anyway = attempt(lambda _, seed=seed: Simulation(seed), None)  # type: ignore[misc]
            if anyway is None:
                return Found(guard, seed, violation)
            print(f"seed {seed} breaks also with every guard: {anyway}", flush=True)
        if time.monotonic() > until:
            break
    return Found(guard, seed, None)
