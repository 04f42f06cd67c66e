"""A short chaos run; `make proof` runs it with the long ones of tests/proof."""

import pytest

from tests.chaos import Plan, run

SEED = 8


@pytest.mark.proof
@pytest.mark.timeout(120)
def test_a_short_run() -> None:
    print(run(Plan.drawn(SEED, seconds=4, records=600, fewest_shards=6)))
