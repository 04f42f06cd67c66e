"""A worker that drains: it settles what is in flight, releases every lease and leaves."""

import pytest

from consumer.domain.replies import Lost
from consumer.worker.ledger_calls import Claim, Leave, Load
from consumer.worker.shard_calls import Commit, EndShard, Release
from tests.support.builders import shard
from tests.support.drivers import IMAGE, NO_ANSWER, WorkerDriver, done, ending_worker, reading_worker, stream, total


def test_a_drain_releases_and_leaves() -> None:
    driver = reading_worker()
    driver.machine.drain()
    driver.serve(5.0)
    assert done(driver)
    assert not driver.machine.shards
    assert driver.tables.rows[shard(0)].owner is None
    assert driver.tables.workers == {}


def test_a_drain_settles_the_commit_in_flight_first() -> None:
    driver = reading_worker()
    driver.streams.write("shard-0", IMAGE)
    driver.serve(1.0, hold=Commit)
    commit = driver.call(Commit)
    driver.machine.drain()
    driver.serve(1.0)
    assert not done(driver)
    assert not driver.has_call(Leave)
    driver.deliver(commit, driver.tables.commit(commit.lease, commit.unit, commit.rows, fills_gap=False))
    driver.serve(1.0)
    assert done(driver)
    assert total(driver) == 150


def test_a_claim_answered_during_a_drain_is_released() -> None:
    driver = WorkerDriver(streams=stream())
    driver.serve(2.0, hold=Claim)
    claim = driver.call(Claim)
    driver.machine.drain()
    driver.serve(1.0)
    assert not done(driver), "the claim may have taken effect"
    driver.deliver(claim, driver.tables.claim(claim.row, claim.lease, claim.reading))
    driver.serve(1.0)
    assert done(driver)
    assert driver.tables.rows[shard(0)].owner is None


@pytest.mark.parametrize("arrives", [True, False])
def test_a_claim_whose_reply_is_lost_during_a_drain_is_retried_and_released(arrives: bool) -> None:
    """Else the row would name a worker that has left."""
    driver = WorkerDriver(streams=stream())
    driver.serve(2.0, hold=Claim)
    claim = driver.call(Claim)
    driver.machine.drain()
    if arrives:
        driver.tables.claim(claim.row, claim.lease, claim.reading)
    driver.deliver(claim, NO_ANSWER)
    assert not driver.has_call(Claim), "only after a wait"
    driver.serve(5.0)
    assert done(driver)
    assert driver.tables.rows[shard(0)].owner is None
    assert isinstance(driver.tables.claim(claim.row, claim.lease, claim.reading), Lost), (
        "a late first attempt takes no effect"
    )


def test_children_that_come_with_the_end_of_a_shard_during_a_drain_are_released() -> None:
    driver, end = ending_worker()
    driver.machine.drain()
    driver.deliver(end, driver.tables.end(end.lease, end.previous, end.children, end.rows))
    driver.serve(2.0)
    assert done(driver)
    assert driver.tables.rows[shard(1)].owner is None


def test_children_of_an_end_whose_reply_is_lost_during_a_drain_are_released() -> None:
    """Their rows name this worker, and the finished row does not show which worker made them."""
    driver, end = ending_worker()
    driver.machine.drain()
    driver.serve(1.0, hold=EndShard)
    driver.tables.end(end.lease, end.previous, end.children, end.rows)
    driver.deliver(end, NO_ANSWER)
    driver.serve(5.0)
    assert done(driver)
    assert driver.tables.rows[shard(1)].owner is None


def test_a_drain_waits_until_it_has_read_which_rows_name_the_worker() -> None:
    driver = reading_worker()
    driver.machine.drain()
    driver.serve(1.0, hold=Load)
    assert not driver.machine.shards
    for _ in range(2):
        assert not driver.has_call(Leave)
        driver.answer(Load, NO_ANSWER)
        driver.now += 2.0
    driver.serve(5.0)
    assert done(driver)


def test_a_drain_before_the_first_heartbeat_leaves_at_once() -> None:
    driver = WorkerDriver(streams=stream())
    driver.machine.drain()
    driver.serve(1.0)
    assert done(driver)
    assert driver.tables.workers == {}


def test_a_halted_shard_does_not_hold_up_a_drain() -> None:
    driver = reading_worker()
    driver.tables.rows.clear()
    driver.streams.write("shard-0", IMAGE)
    driver.serve(2.0)
    driver.machine.drain()
    driver.serve(2.0)
    assert done(driver)


def test_a_shard_that_halts_during_a_drain_does_not_hold_it_up() -> None:
    driver = reading_worker()
    driver.streams.write("shard-0", IMAGE)
    driver.serve(1.0, hold=Commit)
    driver.machine.drain()
    driver.answer(Commit, Lost(None))
    driver.serve(2.0)
    assert done(driver)


def test_a_release_whose_reply_is_lost_is_repeated() -> None:
    driver = reading_worker()
    driver.machine.drain()
    driver.answer(Release, NO_ANSWER)
    driver.serve(5.0)
    assert done(driver)
