"""Three workers over a stream that splits, with every fault and a minute of signals: the board stays exact."""

import pytest

from tests.chaos import Plan, run

SEEDS = (20_260_311, 20_260_333)
"""The first loses records to the trim."""


@pytest.mark.proof
@pytest.mark.timeout(600)
@pytest.mark.parametrize("seed", SEEDS)
def test_a_minute_of_chaos(seed: int) -> None:
    plan = Plan.drawn(seed)
    assert plan.trims == (seed == SEEDS[0])
    summary = run(plan)
    print(summary)
    assert summary.records >= 20_000
    assert summary.shards > 60
    assert summary.strikes.total() >= 10
