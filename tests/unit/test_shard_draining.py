"""The drain of a shard, call by call: what is in flight is settled, then the lease is released."""

import pytest

from consumer.domain.errors import CallFailed, FailureKind
from consumer.domain.replies import Committed, Done, Lost, Refused
from consumer.worker import events
from consumer.worker.shard import ShardState
from consumer.worker.shard_calls import Commit, Read, Release
from consumer.worker.tuning import Tuning
from tests.support.builders import ME, game, games, page, row, sequence_number
from tests.support.drivers import ShardDriver, kinds, opened_shard


def holding(last: int) -> ShardDriver:
    """A shard with games 1 to `last` buffered, and the next read in flight."""
    driver = opened_shard()
    driver.answer(Read, page(*games(1, last), then="second"))
    assert driver.wait(1).has_call(Read)
    return driver


def test_a_drain_drops_a_unit_that_was_never_sent() -> None:
    driver = opened_shard(Tuning(batch_window_seconds=60.0))
    driver.answer(Read, page(*games(1, 5)))
    read = driver.call(Read)
    driver.machine.drain()
    assert kinds(driver.start_due()) == ["Release"]
    driver.deliver(read, page(game(6)))
    assert kinds(driver.start_due()) == ["Release"], "polls no more"
    assert driver.answer(Release, Done()) == [events.LeaseReleased(driver.lease)]
    assert driver.machine.state is ShardState.GONE


def test_a_drain_waits_for_the_commit_in_flight() -> None:
    driver = holding(2)
    commit = driver.call(Commit)
    driver.machine.drain()
    assert not driver.has_call(Release)
    assert kinds(driver.deliver(commit, Committed())) == ["UnitCommitted"]
    assert driver.has_call(Release)


def test_a_drain_settles_a_commit_with_unknown_outcome_before_it_releases() -> None:
    driver = holding(2)
    commit = driver.call(Commit)
    driver.deliver(commit, CallFailed(FailureKind.NETWORK, "no answer"))
    driver.machine.drain()
    assert not driver.has_call(Release)
    again = driver.wait(1).call(Commit)
    assert again.unit is commit.unit
    driver.deliver(again, Lost(row(owner=ME, checkpoint=sequence_number(2))))
    assert driver.has_call(Release)


@pytest.mark.parametrize(
    "reply", [Refused(conflict=True), Refused(invalid="no"), Refused(later={"foo": "2026-12-31"})], ids=str
)
def test_a_drain_does_not_retry_a_refused_commit(reply: Refused) -> None:
    driver = holding(2)
    commit = driver.call(Commit)
    driver.machine.drain()
    driver.deliver(commit, reply)
    assert not driver.wait(10).has_call(Commit)
    assert driver.has_call(Release)


def test_a_failed_release_is_retried() -> None:
    driver = holding(1)
    driver.answer(Commit, Committed())
    driver.machine.drain()
    assert kinds(driver.answer(Release, CallFailed(FailureKind.THROTTLED, "busy"))) == ["RetryScheduled"]
    assert not driver.has_call(Release)
    assert driver.wait(1).has_call(Release)


def test_a_drain_after_many_conflicts_sends_no_smaller_unit() -> None:
    driver = holding(8)
    for delay in (1, 2):
        driver.answer(Commit, Refused(conflict=True))
        driver.wait(delay)
    commit = driver.call(Commit)
    driver.machine.drain()
    driver.deliver(commit, Refused(conflict=True))
    assert not driver.wait(10).has_call(Commit)
    assert driver.has_call(Release)


def test_a_drain_waits_while_no_heartbeat_is_written() -> None:
    driver = opened_shard()
    driver.may_commit = False
    driver.machine.drain()
    assert not driver.has_call(Release)
    driver.may_commit = True
    assert driver.has_call(Release)
