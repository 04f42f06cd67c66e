"""A short chaos; the long ones are proofs."""

import pytest

from tests.chaos import Plan, run

SEED = 8


@pytest.mark.timeout(240)
def test_a_short_chaos() -> None:
    print(run(Plan.drawn(SEED, seconds=15, records=2_500, fewest_shards=20)))
