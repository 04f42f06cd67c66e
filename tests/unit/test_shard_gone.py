"""A shard that the stream does not have any more, and what a listing shows to a shard that waits for its children."""

import pytest

from consumer.domain.errors import CallFailed, FailureKind
from consumer.domain.leases import TRIM_HORIZON
from consumer.domain.lineage import GONE_SECONDS
from consumer.domain.replies import Children, Committed, StreamListing
from consumer.worker import events
from consumer.worker.shard import ShardState
from consumer.worker.shard_calls import Commit, EndShard, FindChildren, Open, Read, RecordGap
from tests.support.builders import CREATED, ME, build_shards, game, page, row, sequence_number
from tests.support.drivers import ShardDriver, kinds

MISSING = CallFailed(FailureKind.MISSING, "shard does not exist")
SINCE = CREATED - 500.0
LISTING = build_shards(1, {})
FAMILY = build_shards(3, {0: [1, 2]})
NONE = Children((), leaf=False, served_at=CREATED)


def listing_of(*children: int) -> StreamListing:
    return build_shards(1 + len(children), {0: children})


def refuse(driver: ShardDriver, listings: int = 3, apart: float = GONE_SECONDS / 2) -> ShardDriver:
    """Iterators are refused while listings come in."""
    for number in range(listings):
        driver.wait(apart if number else 10.0).answer(Open, MISSING)
        driver.machine.on_listing(LISTING, driver.now)
    return driver.wait(100.0)


def gone(checkpoint: str = TRIM_HORIZON) -> ShardDriver:
    """A shard that is proven gone."""
    return refuse(ShardDriver(row(owner=ME, checkpoint=checkpoint, created=SINCE)))


@pytest.mark.parametrize("checkpoint", [TRIM_HORIZON, sequence_number(5)])
def test_a_gone_shard_leaves_a_gap_row_and_ends_with_its_children(checkpoint: str) -> None:
    driver = gone(checkpoint)
    gap = driver.call(RecordGap)
    assert (gap.lease, gap.checkpoint) == (driver.lease, checkpoint)
    assert not driver.has_call(FindChildren), "the gap row comes first"
    assert driver.deliver(gap, True) == [events.GapFound(driver.lease.shard, checkpoint, True)]
    driver.answer(FindChildren, Children(("shard-1",), leaf=False, served_at=CREATED))
    end = driver.call(EndShard)
    assert (end.previous, end.children) == (checkpoint, ("shard-1",))
    assert [each.created for each in end.rows] == [SINCE], "it is not known when the lost records were written"
    assert kinds(driver.deliver(end, Committed())) == ["ShardEnded"]
    assert driver.machine.state is ShardState.GONE


def test_a_gone_shard_that_shows_no_children_ends_as_a_leaf() -> None:
    driver = gone()
    driver.answer(RecordGap, True)
    driver.answer(FindChildren, NONE)
    assert driver.call(EndShard).children == ()


@pytest.mark.parametrize(("listings", "apart"), [(2, GONE_SECONDS), (3, GONE_SECONDS / 2 - 1.0)])
def test_fewer_refusals_or_less_time_prove_nothing(listings: int, apart: float) -> None:
    driver = refuse(ShardDriver(), listings, apart)
    assert driver.has_call(Open)
    assert not driver.has_call(RecordGap)


def test_refusals_without_a_listing_prove_nothing() -> None:
    """The stream itself may be out of reach, or be gone."""
    driver = ShardDriver()
    for _ in range(50):
        driver.answer(Open, MISSING)
        driver.wait(60.0)
    assert driver.has_call(Open)
    assert driver.machine.lasting_failures() == {"get_shard_iterator fails: missing: shard does not exist"}


@pytest.mark.parametrize("kind", [kind for kind in FailureKind if kind is not FailureKind.MISSING])
def test_another_failure_is_no_refusal(kind: FailureKind) -> None:
    driver = ShardDriver()
    for _ in range(20):
        driver.answer(Open, CallFailed(kind, "down"))
        driver.machine.on_listing(LISTING, driver.now)
        driver.wait(60.0)
    assert driver.has_call(Open)


def test_a_shard_that_is_found_after_all_is_read_on() -> None:
    driver = refuse(ShardDriver(), listings=2)
    driver.answer(Open, "an iterator")
    driver.machine.on_listing(LISTING, driver.wait(GONE_SECONDS).now)
    driver.answer(Read, page(game(1)))
    assert driver.call(Commit).unit.records == 1
    driver.answer(Read, MISSING)
    refuse(driver, listings=1)
    assert driver.has_call(Open), "refusals are counted from the start again"


def test_a_refused_iterator_is_no_refusal_of_the_shard() -> None:
    driver = ShardDriver()
    for _ in range(3):
        driver.answer(Open, "an iterator")
        driver.wait(10.0).answer(Read, MISSING)
        driver.machine.on_listing(LISTING, driver.now)
        driver.wait(GONE_SECONDS)
    assert driver.has_call(Open)


def test_what_was_read_before_is_committed_before_the_gap_is_recorded() -> None:
    driver = ShardDriver(row(owner=ME, created=SINCE))
    driver.may_commit = False
    driver.answer(Open, "an iterator")
    driver.answer(Read, page(game(1)))
    driver.answer(Read, MISSING)
    refuse(driver)
    assert not driver.start_due(), "nothing more to read, and nothing may be committed"
    driver.may_commit = True
    driver.answer(Commit, Committed())
    assert driver.call(RecordGap).checkpoint == sequence_number(1)
    driver.deliver(RecordGap(driver.lease, sequence_number(1), 0.0), True)
    driver.answer(FindChildren, Children(("shard-1",), leaf=False, served_at=CREATED))
    assert driver.call(EndShard).rows[0].created == SINCE, "the children's first records may be as old"


def ending() -> ShardDriver:
    """A shard that waits for its children, which FindChildren has not shown."""
    driver = ShardDriver(row(owner=ME, checkpoint=sequence_number(5)))
    driver.answer(Open, "first")
    driver.answer(Read, page(then=None))
    driver.answer(FindChildren, NONE)
    assert driver.machine.waits_for_children
    return driver


def test_a_listing_shows_the_children_that_find_children_did_not() -> None:
    driver = ending()
    assert not driver.start_due()
    driver.machine.on_listing(FAMILY, driver.now)
    assert not driver.machine.waits_for_children
    end = driver.call(EndShard)
    assert end.children == ("shard-1", "shard-2")
    assert {each.epoch for each in end.rows} == {int(CREATED)}


def test_a_listing_without_children_changes_nothing() -> None:
    driver = ending()
    driver.machine.on_listing(LISTING, driver.now)
    assert not driver.start_due()
    assert driver.wait(1.0).has_call(FindChildren)


@pytest.mark.parametrize("reply", [NONE, Children(("shard-1",), leaf=False, served_at=CREATED)], ids=["none", "one"])
def test_a_listing_while_find_children_is_in_flight_counts(reply: Children) -> None:
    driver = ending()
    find = driver.wait(1.0).call(FindChildren)
    driver.machine.on_listing(FAMILY, driver.now)
    assert not driver.start_due(), "one call at a time"
    driver.deliver(find, reply)
    assert driver.call(EndShard).children == ("shard-1", "shard-2")


def test_a_later_listing_does_not_change_the_end_in_flight() -> None:
    driver = ending()
    driver.machine.on_listing(listing_of(1), driver.now)
    end = driver.call(EndShard)
    driver.machine.on_listing(FAMILY, driver.now)
    driver.deliver(end, CallFailed(FailureKind.NETWORK, "no answer"))
    assert driver.wait(2.0).call(EndShard) == end, "an attempt with unknown outcome is repeated as it was"


def test_a_listing_that_shows_children_does_not_end_a_shard_that_is_being_read() -> None:
    driver = ShardDriver()
    driver.answer(Open, "first")
    driver.machine.on_listing(FAMILY, driver.now)
    driver.answer(Read, page(game(1)))
    driver.answer(Commit, Committed())
    assert driver.machine.state is ShardState.RUNNING
    driver.answer(Read, page(then=None))
    assert driver.has_call(FindChildren), "a listing from before the end may not show all of them"
