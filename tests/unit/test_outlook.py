"""How far behind the shards of others are, and those of nobody."""

from consumer.domain.leases import LeaseRow, Vouch
from consumer.domain.outcomes import Ledger
from consumer.worker.outlook import Outlook
from tests.builders import CREATED, ME, OTHER, finished, row, shard

TTL = 4.0


class Observed:
    """An outlook that is asked every second; unix time and monotonic time pass alike."""

    def __init__(self, *rows: LeaseRow) -> None:
        self.outlook = Outlook(TTL)
        self.rows = rows
        self.halted = frozenset[object]()
        self.now = 0.0

    def lag(self, seconds: float = 0.0, **vouches: Vouch) -> float:
        """After so many seconds."""
        self.now += seconds
        told = {owner.replace("_", "/"): vouch for owner, vouch in vouches.items()}
        ledger = Ledger(self.rows, ())
        return self.outlook.lag_seconds(ledger, told, {shard(9)}, (), self.now, CREATED + self.now)


def test_the_others_lag_is_what_they_tell() -> None:
    observed = Observed(row(0, OTHER, created=CREATED - 7200), row(9, ME), finished(5))
    assert observed.lag(w2_b=Vouch(1, 1, 0, 0.0, CREATED)) == 0.0, "an idle shard is not behind"
    assert observed.lag(w2_b=Vouch(2, 1, 1, 30.0, CREATED)) == 30.0


def test_a_shard_between_two_owners_is_not_behind_at_once() -> None:
    observed = Observed(row(0, created=CREATED - 7200))
    assert observed.lag() == 0.0
    assert observed.lag(3 * TTL - 0.1) == 0.0
    assert observed.lag(0.1) == 7200 + 3 * TTL


def test_a_shard_is_unowned_when_it_has_been_alone_for_longer_than_a_hand_over_takes() -> None:
    observed = Observed(row(0), row(1, OTHER), row(2, OTHER), row(9, ME))
    alive = Vouch(1, 2, 0, 0.0, CREATED)
    observed.lag(w2_b=alive)
    observed.lag(3 * TTL - 0.1, w2_b=alive)
    assert observed.outlook.unowned((), observed.now) == 0
    observed.lag(0.1)
    assert observed.outlook.unowned((), observed.now) == 1, "the dead one's are alone since now"
    observed.lag(3 * TTL)
    assert observed.outlook.unowned((), observed.now) == 3
    assert observed.outlook.unowned((shard(1),), observed.now) == 2, "a halted one is told of as such"
    observed.lag(w2_b=alive)
    assert observed.outlook.unowned((), observed.now) == 1


def test_a_shard_that_stays_alone_is_behind_since_it_was_last_vouched_for() -> None:
    observed = Observed(row(0, OTHER, created=CREATED - 7200))
    assert observed.lag(w2_b=Vouch(1, 1, 0, 10.0, CREATED)) == 10.0
    assert observed.lag(1.0) == 0.0, "its owner is gone"
    assert observed.lag(3 * TTL) == 10.0 + 1.0 + 3 * TTL


def test_a_missing_row_counts_from_what_was_last_known() -> None:
    observed = Observed(row(0, created=CREATED - 100))
    observed.lag()
    lag = 0.0
    for _ in range(20):
        observed.now += 1
        lag = observed.outlook.lag_seconds(Ledger((), ()), {}, (), {shard(0)}, observed.now, CREATED + observed.now)
    assert lag == 120.0


def test_of_a_shard_that_nobody_knows_anything_about_nothing_is_said() -> None:
    observed = Observed(row(0))
    observed.lag()
    assert observed.lag(100.0) == 0.0


def test_what_is_finished_or_mine_by_now_is_forgotten() -> None:
    observed = Observed(row(0, created=CREATED - 100), row(9))
    observed.lag()
    observed.rows = (finished(0), row(9))
    assert observed.lag(100.0) == 0.0
