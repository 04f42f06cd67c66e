"""Chance: random sources that come of one seed, and the decisions that are drawn from them, which can be left out."""

from collections.abc import Collection
from random import Random


class Dice:
    """A source of its own for everything that draws, so that one decision left out leaves the others as they were.

    `only`: the decisions that may take place, by name; None: all. `made`: those that did, in order.
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
            found = self._sources[name] = Random(f"{self.seed}/{name}")  # text, which no process hashes its own way
        return found

    def takes_place(self, decision: str) -> bool:
        """Whether what was drawn happens; it is written down if so."""
        if self._only is not None and decision not in self._only:
            return False
        self.made[decision] = None
        return True
