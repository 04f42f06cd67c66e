"""What can be measured, by name."""

from collections.abc import Callable
from typing import NamedTuple

from tests.bench.check import Check, Report
from tests.bench.engine import ENGINES, MINISTACK
from tests.bench.hot import hot, wide
from tests.bench.idle import idle
from tests.bench.linear import linear
from tests.bench.many import many
from tests.bench.micro import micro
from tests.bench.trickle import trickle


class Scenario(NamedTuple):
    """`take` measures on an engine with a seed. Without `engines` it needs none, and is given an empty name."""

    name: str
    meaning: str
    take: Callable[[str, int], Report]
    engines: tuple[str, ...] = ENGINES


def alone(engine: str, seed: int) -> Report:  # noqa: ARG001
    """The microbenchmark's figures."""
    return Report(checks=[Check(each.name, each.value, each.limit, each.unit) for each in micro(seed)])


SCENARIOS = (
    Scenario("micro", "decode, fold and encode alone, without network and threads", alone, ()),
    Scenario("hot", "a full stream of 1,000 players, Zipf with exponent 1.0", hot),
    Scenario("wide", "a full stream of 100,000 players, each as likely as the others", wide),
    Scenario("trickle", "20 records a second by 1,000 players, Zipf with exponent 1.0", trickle),
    Scenario("many", "a full stream of 64 shards on the streams server, players as in hot", many),
    Scenario("idle", "1,000 idle shards on one worker for a minute, on the streams server", idle, (MINISTACK,)),
    Scenario("linear", "20,000, 100,000 and 500,000 records on the streams server", linear, (MINISTACK,)),
)
