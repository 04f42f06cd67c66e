"""The lag of the shards that other workers own, and of those that none owns."""

import pytest

from consumer.domain.leases import LeaseRow, Ledger, Shard
from consumer.domain.lineage import RETENTION_SECONDS
from consumer.domain.membership import HeartbeatReport
from consumer.worker.status import OthersLag
from tests.support.builders import CREATED, ME, OTHER, finished, row, shard

TTL = 4.0


class Observed:
    """OthersLag on a clock; unix time and monotonic time pass alike."""

    def __init__(self, *rows: LeaseRow) -> None:
        self.others_lag = OthersLag(TTL)
        self.rows = rows
        self.halted = frozenset[Shard]()
        self.now = 0.0

    def lag(self, seconds: float = 0.0, **reports: HeartbeatReport) -> float:
        """The lag so many seconds later."""
        self.now += seconds
        by_owner = {owner.replace("_", "/"): report for owner, report in reports.items()}
        ledger = Ledger(self.rows, ())
        return self.others_lag.lag_seconds(ledger, by_owner, {shard(9)}, self.halted, self.now, CREATED + self.now)


def test_the_others_lag_is_what_they_report() -> None:
    observed = Observed(row(0, OTHER, created=CREATED - 7200, parent=8), row(9, ME), finished(5))
    assert observed.lag(w2_b=HeartbeatReport(1, 1, 0, 0.0, CREATED)) == 0.0, "an idle shard is not behind"
    assert observed.lag(w2_b=HeartbeatReport(2, 1, 1, 30.0, CREATED)) == 30.0


def test_the_lag_is_not_known_while_an_owner_does_not_know_it_or_there_is_none() -> None:
    observed = Observed(row(0, OTHER, created=CREATED - 7200, parent=8), row(9, ME))
    known = []
    for seconds, reports in (
        (0.0, {"w2_b": HeartbeatReport(1, 1, 1, 7200.0, CREATED, unknown=1)}),
        (0.0, {"w2_b": HeartbeatReport(2, 1, 0, 0.0, CREATED)}),
        (0.0, {}),
        (3 * TTL, {}),
    ):
        observed.lag(seconds, **reports)
        known.append(observed.others_lag.known)
    assert known == [False, True, True, False], "a hand-over is not without an owner at once"


def test_a_shard_between_two_owners_is_not_behind_at_once() -> None:
    observed = Observed(row(0, created=CREATED - 7200, parent=8))
    assert observed.lag() == 0.0
    assert observed.lag(3 * TTL - 0.1) == 0.0
    assert observed.lag(0.1) == 7200 + 3 * TTL


def test_a_shard_is_unowned_when_it_has_had_no_owner_for_longer_than_a_hand_over_takes() -> None:
    observed = Observed(row(0), row(1, OTHER), row(2, OTHER), row(9, ME))
    alive = HeartbeatReport(1, 2, 0, 0.0, CREATED)
    observed.lag(w2_b=alive)
    observed.lag(3 * TTL - 0.1, w2_b=alive)
    assert observed.others_lag.unowned((), observed.now) == set()
    observed.lag(0.1)
    assert observed.others_lag.unowned((), observed.now) == {shard(0)}, "the dead owner's shards have none since now"
    observed.lag(3 * TTL)
    assert observed.others_lag.unowned((), observed.now) == {shard(0), shard(1), shard(2)}
    assert observed.others_lag.unowned((shard(1),), observed.now) == {shard(0), shard(2)}, (
        "a halted one counts as halted"
    )
    observed.lag(w2_b=alive)
    assert observed.others_lag.unowned((), observed.now) == {shard(0)}


def test_a_shard_that_stays_unowned_is_behind_since_its_owners_last_report() -> None:
    observed = Observed(row(0, OTHER, created=CREATED - 7200, parent=8))
    assert observed.lag(w2_b=HeartbeatReport(1, 1, 1, 10.0, CREATED)) == 10.0
    assert observed.lag(1.0) == 0.0, "its owner is gone"
    assert observed.lag(3 * TTL) == 10.0 + 1.0 + 3 * TTL


def test_a_missing_row_counts_from_what_was_last_known() -> None:
    observed = Observed(row(0, created=CREATED - 100, parent=8))
    observed.lag()
    lag = 0.0
    for _ in range(20):
        observed.now += 1
        lag = observed.others_lag.lag_seconds(Ledger((), ()), {}, (), {shard(0)}, observed.now, CREATED + observed.now)
    assert lag == 120.0


@pytest.mark.parametrize("rows", [(row(0),), (row(0, created=CREATED),), ()], ids=["0.1", "a root", "a missing row"])
def test_a_shard_of_which_nothing_is_known_may_be_24_hours_behind(rows: tuple[LeaseRow, ...]) -> None:
    """Also one whose row was lost before this worker came."""
    observed = Observed(*rows)
    observed.halted = frozenset() if rows else frozenset({shard(0)})
    observed.lag()
    assert observed.lag(100.0) == RETENTION_SECONDS
    assert not observed.others_lag.known


def test_a_report_that_stays_the_same_says_less_and_less() -> None:
    """The members cannot be read: nothing shows how far the others are, nor that they are dead."""
    observed = Observed(row(0, OTHER, created=CREATED - 7200, parent=8))
    report = HeartbeatReport(1, 1, 0, 0.0, CREATED)
    observed.lag(w2_b=report)
    assert (observed.lag(3 * TTL - 0.1, w2_b=report), observed.others_lag.known) == (0.0, True)
    assert (observed.lag(0.1, w2_b=report), observed.others_lag.known) == (3 * TTL, False)
    assert observed.lag(60.0, w2_b=report) == 60.0 + 3 * TTL
    fresh = HeartbeatReport(2, 1, 0, 0.0, CREATED + observed.now)
    assert (observed.lag(w2_b=fresh), observed.others_lag.known) == (0.0, True)


def test_a_shard_that_is_finished_or_owned_is_forgotten() -> None:
    observed = Observed(row(0, created=CREATED - 100), row(9))
    observed.lag()
    observed.rows = (finished(0), row(9))
    assert observed.lag(100.0) == 0.0
