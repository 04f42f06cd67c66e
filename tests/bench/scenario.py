"""What can be measured, by name."""

from collections.abc import Callable
from typing import NamedTuple

from tests.bench.check import Report
from tests.bench.engine import LOCAL, MINISTACK
from tests.bench.hot import hot, wide


class Scenario(NamedTuple):
    """`take` measures on an engine with a seed."""

    name: str
    meaning: str
    take: Callable[[str, int], Report]
    engines: tuple[str, ...] = (LOCAL, MINISTACK)


SCENARIOS = (
    Scenario("hot", "a full stream of 1,000 players, Zipf with exponent 1.0", hot),
    Scenario("wide", "a full stream of 100,000 players, each as likely as the others", wide),
)
