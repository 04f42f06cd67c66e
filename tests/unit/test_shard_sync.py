"""Shard sync, call by call: which calls in which order, and what it makes of the replies."""

from dataclasses import replace
from math import inf

import pytest

from consumer.domain.errors import CallFailed, FailureKind
from consumer.domain.leases import SHARD_END, TRIM_HORIZON, LeaseRow
from consumer.domain.lineage import GONE_SECONDS, RETENTION_SECONDS
from consumer.domain.replies import Children, Done, Lost
from consumer.worker import events
from consumer.worker.calls import Operation, Reply
from consumer.worker.ledger_calls import Adopt, FindLate, FindStream, ListShards, Probe, RecordLoss
from consumer.worker.shard_sync import (
    FINDINGS_VALID_SECONDS,
    MOST_STEP_RETRIES,
    RECHECK_DELAYS_SECONDS,
    SYNC_INTERVAL_SECONDS,
)
from tests.support.builders import ARN, CREATED, build_shards, finished, row, shard
from tests.support.drivers import NO_ANSWER, kinds
from tests.support.sync_driver import LATER, LONG_AGO, MISSING, SINCE, SyncDriver, listed, stream_start


@pytest.mark.parametrize("workers", [1, 3])
def test_a_sync_finds_the_stream_and_lists_all_that_have_started(workers: int) -> None:
    driver = SyncDriver(stream_starts=(stream_start(arn=LATER), stream_start()), workers=workers)
    began = driver.now
    driver.answer(FindStream, LATER)
    listing = build_shards(0, {})
    assert driver.call(ListShards) == ListShards(ARN)
    assert driver.deliver(ListShards(ARN), listing) == [events.StreamListed(listing, stream_start())]
    driver.answer(ListShards, replace(listing, stream_arn=LATER))
    assert not driver.start_due()
    assert driver.machine.wake_at() == began + SYNC_INTERVAL_SECONDS * workers, (
        "the more workers, the longer the interval of each"
    )
    driver.now = began + SYNC_INTERVAL_SECONDS * workers
    assert driver.has_call(FindStream)


def test_what_a_listing_shows_is_done_in_order() -> None:
    gone = finished(0, 1, unlisted_since=LONG_AGO)
    driver = SyncDriver(gone, finished(1, 2, parent=0), row(2, parent=1), stream_starts=(stream_start(0),))
    driver.sync(listed((4, 3), (3, 1), (2, 1)))
    steps = []
    while calls := driver.start_due():
        steps += calls
        driver.answer(type(calls[0]), Done())
    assert kinds(steps) == ["Adopt", "Mark", "Forget"]
    assert not driver.has_call(Probe), "a grandchild waits for its parent"


def test_a_step_is_retried_and_then_left_to_the_next_sync() -> None:
    driver = SyncDriver()
    for attempt in range(1, MOST_STEP_RETRIES + 1):
        assert not driver.machine.lasting_failures()
        reported = driver.answer(FindStream, NO_ANSWER)
        assert reported == [
            events.RetryScheduled(Operation.FIND_STREAM, FailureKind.NETWORK, "no answer", attempt, float(attempt))
        ]
        assert not driver.start_due()
        assert driver.machine.wake_at() == driver.now + attempt
        driver.wait(attempt)
    assert driver.machine.lasting_failures() == {f"find_stream fails: {NO_ANSWER}"}
    assert driver.answer(FindStream, NO_ANSWER) == []
    assert driver.call(ListShards) == ListShards(ARN), "the sync goes on without it"
    assert not driver.machine.lasting_failures()


@pytest.mark.parametrize("step", [FindStream, ListShards])
def test_a_stream_that_is_not_there_is_not_retried_in_the_same_sync(step: type[FindStream | ListShards]) -> None:
    driver = SyncDriver()
    if step is ListShards:
        driver.answer(FindStream, ARN)
    assert driver.answer(step, MISSING) == []
    assert driver.has_call(ListShards) is (step is FindStream)


def ended(*children: int) -> SyncDriver:
    """A shard ended with these children, right after a sync."""
    driver = SyncDriver(finished(0, *children), *(row(child, parent=0) for child in children))
    driver.sync(build_shards(1 + len(children), {0: children}))
    driver.machine.shard_ended(shard(0), tuple(f"shard-{child}" for child in children), SINCE, driver.now)
    return driver


def test_the_children_of_an_ended_shard_are_looked_up_three_times_more() -> None:
    driver = ended(1)
    began = driver.now
    known = LeaseRow(shard(0), None, 0, SHARD_END, children=("shard-1",), created=SINCE)
    assert RECHECK_DELAYS_SECONDS == (3.0, 15.0, 60.0)
    for delay in RECHECK_DELAYS_SECONDS:
        assert not driver.start_due()
        assert driver.machine.wake_at() == began + delay
        driver.now = began + delay
        if driver.has_call(FindStream):
            driver.answer(FindStream, ARN)
        assert driver.call(FindLate) == FindLate(known)
        assert driver.deliver(FindLate(known), Children(("shard-1",), leaf=False, served_at=CREATED)) == []
    assert driver.has_call(ListShards)


@pytest.mark.parametrize(("reply", "reported"), [(Done(), "ShardsAdopted"), (Lost(None), "LedgerChanged")])
def test_a_child_that_was_hidden_is_adopted(reply: Reply, reported: str) -> None:
    driver = ended(1).wait(3.0)
    driver.answer(FindLate, Children(("shard-1", "shard-2"), leaf=False, served_at=CREATED + 0.5))
    adopt = driver.call(Adopt)
    assert isinstance(adopt.adoption.into, LeaseRow)
    assert adopt.adoption.into.shard == shard(0)
    assert adopt.adoption.rows == (LeaseRow(shard(2), None, int(CREATED), TRIM_HORIZON, "shard-0", created=SINCE),)
    assert kinds(driver.deliver(adopt, reply)) == [reported]


@pytest.mark.parametrize("reply", [Done(), NO_ANSWER])
def test_what_was_found_before_a_long_pause_is_not_acted_on(reply: Reply) -> None:
    """By then another worker may have read the shard to its end and forgotten it."""
    driver = SyncDriver(finished(0, 1)).sync(listed((0, None), (1, 0), (2, 0)))
    adopt = driver.call(Adopt)
    driver.wait(FINDINGS_VALID_SECONDS + SYNC_INTERVAL_SECONDS)
    assert driver.deliver(adopt, reply) == []
    driver.in_flight.clear()
    assert driver.has_call(FindStream)


def test_after_a_leaf_the_next_sync_is_soon() -> None:
    driver = ended().wait(1.0)
    assert driver.has_call(FindStream), "the stream may have been switched on again"


def test_two_syncs_have_a_least_interval() -> None:
    driver = SyncDriver()
    began = driver.now
    driver.sync(build_shards(1, {}))
    for _ in range(3):
        driver.machine.sync_soon(driver.now)
        assert driver.machine.wake_at() == began + 1.0
    driver.wait(30.0).sync(build_shards(1, {}))
    driver.machine.sync_soon(driver.wait(10.0).now)
    assert driver.has_call(FindStream), "long ago: at once"


def test_it_wakes_for_its_next_step_and_never_while_a_call_is_in_flight() -> None:
    driver = SyncDriver()
    assert driver.machine.wake_at() == 0.0
    find = driver.call(FindStream)
    assert driver.machine.named(find)
    assert not driver.machine.named(FindStream()), "the coordinator's"
    assert driver.machine.wake_at() == inf
    assert driver.machine.ready(driver.now + 1e6, driver.ledger, 1) == []
    driver.deliver(find, ARN)
    assert driver.machine.wake_at() <= driver.now
    assert not driver.machine.named(find)


# --- roots and orphans ---


def test_a_root_that_was_hidden_is_adopted_when_it_has_been_found_there() -> None:
    driver = SyncDriver(row(0))
    began = driver.now
    driver.sync(build_shards(2, {}))
    assert driver.answer(Probe, True) == []
    assert not driver.start_due()
    assert driver.machine.wake_at() == began + 1.0
    driver.sync(build_shards(2, {}))
    adopt = driver.call(Adopt)
    assert adopt.adoption.into == stream_start(0)
    assert [row.shard for row in adopt.adoption.rows] == [shard(1)]
    assert adopt.adoption.rows[0].created == CREATED - RETENTION_SECONDS, "it was there at the first listing already"
    driver.deliver(adopt, Done())
    assert not driver.start_due()
    driver.sync(build_shards(2, {}))
    assert driver.has_call(Probe), "an adopted root that lost its row is probed again"


def test_a_root_that_only_a_stale_listing_shows_is_not_adopted() -> None:
    driver = SyncDriver(row(0))
    for _ in range(3):
        driver.sync(build_shards(2, {}))
        assert driver.call(Probe) == Probe(shard(1))
        driver.deliver(Probe(shard(1)), False)
        assert not driver.start_due()


ORPHAN = listed((0, None), (2, 1))


def test_an_orphan_is_adopted_when_its_parent_was_refused_three_times_over_ten_minutes() -> None:
    driver = SyncDriver(row(0))
    began = driver.now
    while driver.now < began + GONE_SECONDS + SYNC_INTERVAL_SECONDS:
        driver.sync(ORPHAN)
        probe = driver.call(Probe)
        if probe.shard == shard(2):
            break
        assert probe.shard == shard(1)
        driver.deliver(probe, False)
    assert driver.now == began + SYNC_INTERVAL_SECONDS + GONE_SECONDS, (
        "counted from the first refusal that a listing followed"
    )
    driver.deliver(Probe(shard(2)), True)
    driver.sync(ORPHAN)
    loss = driver.call(RecordLoss)
    assert loss == RecordLoss(shard(1), CREATED)
    assert driver.deliver(loss, True) == [events.GapFound(shard(1), TRIM_HORIZON, True)]
    adopt = driver.call(Adopt)
    assert [(row.shard, row.parent) for row in adopt.adoption.rows] == [(shard(2), None)]
    assert adopt.adoption.into == stream_start(0)


@pytest.mark.parametrize("reply", [True, CallFailed(FailureKind.DENIED, "no"), NO_ANSWER], ids=str)
def test_nothing_but_a_refusal_proves_that_a_parent_is_gone(reply: Reply) -> None:
    """A call that fails for long, by throttling or a missing permission, says nothing of the shard."""
    driver = SyncDriver(row(0))
    began = driver.now
    while driver.now < began + 2 * GONE_SECONDS:
        driver.sync(ORPHAN)
        while driver.has_call(Probe):
            probe = driver.call(Probe)
            assert probe.shard == shard(1)
            for event in driver.deliver(probe, reply):
                assert isinstance(event, events.RetryScheduled)
                driver.wait(event.delay_seconds)
        assert not driver.has_call(RecordLoss)
