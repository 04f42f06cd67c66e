"""What befalls a world at moments that are drawn beforehand."""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.simulation.world import Simulation


class Eventful:
    """While an event takes place `random` is a source of its own: leaving one out changes no other."""

    def __init__(self, simulation: Simulation, random: Random) -> None:
        self.random = random
        self._simulation = simulation

    def befall(self, name: str, at: float, action: Callable[[], None]) -> None:
        """Plans it, unless a shrunk run leaves it out."""
        name = f"{name} {at:.3f}"

        def happen() -> None:
            if self._simulation.dice.takes_place(name):
                self.random = self._simulation.dice.source(name)
                action()

        self._simulation.at(at, happen)
