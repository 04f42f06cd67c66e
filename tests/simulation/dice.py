"""Chance: random sources that come from one seed, the decisions drawn from them, and events planned with them."""

from __future__ import annotations

from collections.abc import Callable, Collection
from random import Random
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.simulation.simulation import Simulation


class Dice:
    """One random source per drawing part of the simulation, so that leaving out one decision changes no other.

    `only`: the decisions that may take place, by name; None: all. `made`: those that took place, in order.
    """

    def __init__(self, seed: int, only: Collection[str] | None = None) -> None:
        self.seed = seed
        self.made: dict[str, None] = {}
        self._only = only if only is None else frozenset(only)
        self._sources: dict[str, Random] = {}

    def source(self, name: str) -> Random:
        """The random source of that name."""
        found = self._sources.get(name)
        if found is None:
            found = self._sources[name] = Random(f"{self.seed}/{name}")  # seeded by text: no process hashes it
        return found

    def takes_place(self, decision: str) -> bool:
        """Whether a drawn decision takes place; if so it is recorded in `made`."""
        if self._only is not None and decision not in self._only:
            return False
        self.made[decision] = None
        return True


class PlannedEvents:
    """Events at times that are drawn beforehand. During an event `random` is a source of that event alone."""

    def __init__(self, simulation: Simulation, random: Random) -> None:
        self.random = random
        self._simulation = simulation

    def plan_event(self, name: str, at: float, action: Callable[[], None]) -> None:
        """Plans an event, unless a shrunk run leaves it out."""
        name = f"{name} {at:.3f}"

        def happen() -> None:
            if self._simulation.dice.takes_place(name):
                self.random = self._simulation.dice.source(name)
                action()

        self._simulation.at(at, happen)
