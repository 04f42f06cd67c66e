"""This worker among the members: joining, heartbeats, reads of the members, leaving."""

from math import inf

import pytest

from consumer.domain.errors import CallFailed
from consumer.domain.membership import HeartbeatReport, LateShard
from consumer.domain.replies import Done, HeartbeatRemoved
from consumer.worker import events
from consumer.worker.ledger_calls import Claim, Leave, ReadMembers, SendHeartbeat
from tests.support.builders import ME, OTHER, row
from tests.support.drivers import NO_ANSWER, TTL, CoordinatorDriver, kinds, members


def test_a_heartbeat_is_sent_every_quarter_of_a_ttl_counted_from_the_sending() -> None:
    driver = CoordinatorDriver()
    heartbeat = driver.call(SendHeartbeat)
    driver.now += 0.3
    driver.deliver(heartbeat, Done())
    driver.now += TTL / 4 - 0.4
    assert not driver.has_call(SendHeartbeat)
    driver.now += 0.1
    following = driver.call(SendHeartbeat)
    assert (following.report.number, following.joining, following.bump) == (2, False, False)


def test_members_are_read_every_eighth_of_a_ttl() -> None:
    driver = CoordinatorDriver().join()
    driver.answer(ReadMembers, members(w1_a=1))
    driver.now += TTL / 8 - 0.01
    assert not driver.has_call(ReadMembers)
    driver.now += 0.01
    assert driver.has_call(ReadMembers)


def test_a_heartbeat_reports_shards_and_lag() -> None:
    driver = CoordinatorDriver().join()
    lags = (LateShard("a", 0.0), LateShard("b", 3.0), LateShard("c", 12.5, known=False))
    driver.machine.heartbeat.describe(lags, 1e9)
    driver.now += TTL / 4
    report = driver.call(SendHeartbeat).report
    late = (lags[2], lags[1])
    assert report == HeartbeatReport(2, shards=3, behind=2, lag_seconds=12.5, as_of=1e9, unknown=1, late=late)


def test_commits_are_allowed_for_a_ttl_after_the_sending_of_a_written_heartbeat() -> None:
    driver = CoordinatorDriver()
    assert driver.machine.heartbeat.may_commit_until <= driver.now
    heartbeat = driver.call(SendHeartbeat)
    sent_at = driver.now
    driver.now += 3.0
    driver.deliver(heartbeat, Done())
    assert driver.machine.heartbeat.may_commit_until > sent_at + TTL - 0.01
    assert driver.machine.heartbeat.may_commit_until <= sent_at + TTL


def test_commits_stop_when_no_heartbeat_can_be_written() -> None:
    driver = CoordinatorDriver().join()
    began = driver.now
    while driver.now < began + TTL:
        assert driver.machine.heartbeat.may_commit_until > driver.now
        driver.now += TTL / 4
        if driver.has_call(SendHeartbeat):
            driver.answer(SendHeartbeat, NO_ANSWER)
    assert driver.machine.heartbeat.may_commit_until <= driver.now
    driver.now += TTL
    driver.answer(SendHeartbeat, Done())
    assert driver.machine.heartbeat.may_commit_until > driver.now


def test_a_heartbeat_without_an_answer_is_retried_within_a_quarter_of_a_ttl() -> None:
    driver = CoordinatorDriver().join()
    for attempt in range(1, 6):
        driver.now += TTL / 4
        (reported,) = driver.answer(SendHeartbeat, NO_ANSWER)
        assert isinstance(reported, events.RetryScheduled)
        assert reported.attempt == attempt


def test_a_read_of_members_without_an_answer_is_retried_within_an_eighth_of_a_ttl() -> None:
    driver = CoordinatorDriver().join()
    for _ in range(5):
        assert kinds(driver.answer(ReadMembers, NO_ANSWER)) == ["RetryScheduled"]
        driver.now += TTL / 8


def test_a_worker_that_was_evicted_joins_again_at_once() -> None:
    driver = CoordinatorDriver().join()
    driver.now += TTL / 4
    driver.start_due()
    assert driver.answer(SendHeartbeat, HeartbeatRemoved()) == [events.Removed(ME)]
    driver.answer(ReadMembers, members())
    driver.now += TTL / 8
    heartbeat = driver.call(SendHeartbeat)
    assert (heartbeat.joining, heartbeat.bump) == (True, True)
    assert not driver.has_call(ReadMembers), "nothing before it is a member again"
    assert driver.deliver(heartbeat, Done()) == [events.Joined(ME)]
    assert driver.has_call(ReadMembers)


def test_a_released_lease_is_announced_at_once() -> None:
    driver = CoordinatorDriver().join()
    driver.now += 0.1
    assert not driver.has_call(SendHeartbeat)
    driver.machine.announce_change(driver.now)
    assert driver.call(SendHeartbeat).bump


def test_an_announcement_is_not_lost_while_a_heartbeat_is_in_flight() -> None:
    driver = CoordinatorDriver().join()
    driver.now += TTL / 4
    in_flight = driver.call(SendHeartbeat)
    assert not in_flight.bump
    driver.machine.announce_change(driver.now)
    driver.deliver(in_flight, Done())
    assert driver.call(SendHeartbeat).bump, "and at once"


@pytest.mark.parametrize("answer", [NO_ANSWER, HeartbeatRemoved()], ids=["failed", "removed"])
def test_an_announcement_that_was_not_written_is_made_again(answer: CallFailed | HeartbeatRemoved) -> None:
    driver = CoordinatorDriver().join()
    driver.machine.announce_change(driver.now)
    driver.answer(SendHeartbeat, answer)
    driver.now += TTL / 4
    assert driver.call(SendHeartbeat).bump


def test_a_lease_claimed_from_another_owner_is_announced() -> None:
    for owner, announced in ((None, False), ("w3/c", True)):
        driver = CoordinatorDriver().join()
        driver.plan([row(0, owner)], members(w1_a=1))
        driver.answer(SendHeartbeat, Done())
        driver.answer(Claim, row(0, ME, 8))
        driver.now += TTL / 4
        assert driver.call(SendHeartbeat).bump is announced


def test_an_owner_whose_heartbeat_stands_still_for_a_ttl_is_dead() -> None:
    driver = CoordinatorDriver().join()
    driver.plan([row(0, OTHER)], members(w1_a=1, w2_b=1))
    driver.pass_time(TTL * 2, {"w2_b": 1})
    driver.plan([row(0, OTHER)], members(w1_a=1, w2_b=1))
    assert driver.has_call(Claim)


def test_leaving_is_the_last_thing() -> None:
    driver = CoordinatorDriver().join()
    driver.machine.leave(driver.now)
    assert driver.call(Leave) == Leave(ME)
    driver.machine.leave(driver.now)
    assert not driver.has_call(Leave), "once"
    driver.in_flight.clear()
    driver.deliver(Leave(ME), Done())
    assert driver.machine.heartbeat.left
    driver.now += 100
    assert driver.start_due() == []
    assert driver.machine.wake_at() == inf
    driver.machine.leave(driver.now)
    assert driver.start_due() == []


def test_leaving_waits_for_a_heartbeat_in_flight_which_could_join_again() -> None:
    driver = CoordinatorDriver().join()
    driver.now += TTL / 4
    heartbeat = driver.call(SendHeartbeat)
    driver.machine.leave(driver.now)
    assert not driver.has_call(Leave)
    driver.deliver(heartbeat, Done())
    driver.machine.leave(driver.now)
    assert driver.has_call(Leave)
    driver.now += TTL
    assert not driver.has_call(SendHeartbeat), "no heartbeat after it"


def test_leaving_is_tried_until_it_is_answered() -> None:
    driver = CoordinatorDriver().join()
    driver.machine.drain()
    driver.machine.leave(driver.now)
    assert kinds(driver.answer(Leave, NO_ANSWER)) == ["RetryScheduled"]
    driver.in_flight.clear()
    assert driver.machine.wake_at() == driver.now + 1, "it asks to be woken for it"
    driver.machine.leave(driver.now)
    assert not driver.has_call(Leave)
    driver.now += 1
    driver.machine.leave(driver.now)
    assert driver.has_call(Leave)
