"""The end of a shard, call by call: its children are found, and their rows are written with its own end."""

from dataclasses import replace

import pytest

from consumer.domain.breaker import Circuit
from consumer.domain.errors import CallFailed, FailureKind
from consumer.domain.leases import SHARD_END, TRIM_HORIZON, LeaseRow
from consumer.domain.replies import Children, Committed, Done, Lost, Refused
from consumer.worker import events
from consumer.worker.shard import ShardState
from consumer.worker.shard_calls import Commit, EndShard, FindChildren, Open, Read, Release
from tests.support.builders import CREATED, HAD_GAME, ME, OTHER, game, page, poison, row, sequence_number, shard
from tests.support.drivers import ShardDriver, kinds

TWO = Children(("shard-1", "shard-2"), leaf=False, served_at=CREATED + 0.9)


def child(number: int) -> LeaseRow:
    created = game(6).created
    return LeaseRow(shard(number), ME, int(CREATED), TRIM_HORIZON, "shard-0", created=created, circuit=HAD_GAME)


def ended() -> ShardDriver:
    """A shard that has ended and is committed."""
    driver = ShardDriver(row(owner=ME, checkpoint=sequence_number(5)))
    driver.answer(Open, "first")
    driver.answer(Read, page(game(6), then=None))
    driver.answer(Commit, Committed())
    return driver


def ending() -> ShardDriver:
    """A shard whose end is in flight."""
    driver = ended()
    driver.answer(FindChildren, TWO)
    assert driver.has_call(EndShard)
    return driver


def test_an_end_writes_the_childrens_rows_with_the_servers_seconds_as_epochs() -> None:
    driver = ended()
    driver.answer(FindChildren, TWO)
    end = driver.call(EndShard)
    assert end == EndShard(driver.lease, sequence_number(6), ("shard-1", "shard-2"), (child(1), child(2)))
    assert driver.deliver(end, Committed()) == [events.ShardEnded(driver.lease, end.children, end.rows)]
    assert driver.machine.state is ShardState.GONE
    assert driver.wait(1000).start_due() == []


@pytest.mark.parametrize("inherited", [False, True])
def test_children_inherit_whether_there_was_a_good_record(inherited: bool) -> None:
    """Not the recent poison, nor a halt."""
    circuit = Circuit(recent=0b101, resumes=3, had_game=inherited)
    driver = ShardDriver(replace(row(owner=ME, checkpoint=sequence_number(5)), circuit=circuit))
    driver.answer(Open, "first")
    driver.answer(Read, page(poison(6), then=None))
    driver.answer(Commit, Committed())
    driver.answer(FindChildren, TWO)
    assert {child.circuit for child in driver.call(EndShard).rows} == {Circuit(had_game=inherited)}


def test_children_not_visible_yet_are_asked_for_again_soon() -> None:
    driver = ended()
    for delay in (1, 2, 3, 4, 4, 4):
        assert driver.answer(FindChildren, Children((), leaf=False, served_at=CREATED)) == []
        assert not driver.wait(delay - 0.1).has_call(FindChildren)
        assert driver.wait(0.1).has_call(FindChildren)
        assert not driver.has_call(EndShard)
    driver.answer(FindChildren, TWO)
    assert driver.has_call(EndShard)


def test_a_leaf_ends_without_children() -> None:
    driver = ended()
    driver.answer(FindChildren, Children((), leaf=True, served_at=CREATED))
    end = driver.call(EndShard)
    assert (end.children, end.rows) == ((), ())


def test_a_child_whose_row_exists_is_left_out() -> None:
    driver = ending()
    assert driver.answer(EndShard, Refused(existing=frozenset({"shard-2"}))) == []
    end = driver.call(EndShard)
    assert (end.children, end.rows) == (("shard-1", "shard-2"), (child(1),))
    driver.deliver(end, Refused(existing=frozenset({"shard-1"})))
    assert driver.call(EndShard).rows == ()


def test_an_end_with_unknown_outcome_is_settled_by_the_finished_row() -> None:
    driver = ending()
    end = driver.call(EndShard)
    assert kinds(driver.deliver(end, CallFailed(FailureKind.NETWORK, "no answer"))) == ["RetryScheduled"]
    assert driver.wait(1).call(EndShard) == end
    finished = row(owner=ME, checkpoint=SHARD_END, children=("shard-1", "shard-2"))
    assert driver.deliver(end, Lost(finished)) == [events.ShardEnded(driver.lease, ("shard-1", "shard-2"), ())]
    assert driver.machine.state is ShardState.GONE


@pytest.mark.parametrize("call", [FindChildren, EndShard])
def test_a_failed_call_is_retried(call: type[FindChildren | EndShard]) -> None:
    driver = ended()
    if call is EndShard:
        driver.answer(FindChildren, TWO)
    reported = driver.answer(call, CallFailed(FailureKind.THROTTLED, "busy"))
    assert reported == [events.RetryScheduled(call.operation, FailureKind.THROTTLED, "busy", 1, 1.0, driver.lease)]
    assert not driver.wait(0.9).has_call(call)
    assert driver.wait(0.1).has_call(call)


@pytest.mark.parametrize(
    ("reply", "kind"),
    [(Refused(conflict=True), FailureKind.CONFLICT), (Refused(invalid="no"), FailureKind.REJECTED)],
)
def test_a_refused_end_is_retried(reply: Refused, kind: FailureKind) -> None:
    driver = ending()
    for attempt in (1, 2, 3, 4):
        (event,) = driver.answer(EndShard, reply)
        assert isinstance(event, events.RetryScheduled)
        assert (event.kind, event.attempt) == (kind, attempt)
        assert driver.wait(attempt).has_call(EndShard)


def test_a_lost_lease_and_a_missing_row() -> None:
    driver = ending()
    assert driver.answer(EndShard, Lost(row(owner=OTHER, epoch=8, checkpoint=SHARD_END))) == [
        events.LeaseLost(driver.lease, OTHER)
    ]
    driver = ending()
    assert driver.answer(EndShard, Lost(None)) == [events.ShardHalted(driver.lease.shard, sequence_number(6))]
    assert driver.machine.state is ShardState.HALTED


def test_the_leases_row_at_another_checkpoint_rewinds_and_the_shard_is_read_again() -> None:
    driver = ending()
    assert driver.answer(EndShard, Lost(row(owner=ME, checkpoint=sequence_number(3)))) == [
        events.ShardRewound(driver.lease, sequence_number(3))
    ]
    assert driver.machine.state is ShardState.RUNNING
    assert driver.call(Open).after == sequence_number(3)
    driver.deliver(Open(driver.lease, sequence_number(3)), "again")
    driver.answer(Read, page(game(6), then=None))
    assert driver.call(Commit).unit.previous == sequence_number(3)


@pytest.mark.parametrize("before", ["children", "end"])
def test_a_drain_before_the_end_is_sent_releases(before: str) -> None:
    driver = ended()
    find = driver.call(FindChildren)
    if before == "end":
        driver.deliver(find, TWO)
    driver.machine.drain()
    if before == "children":
        assert not driver.has_call(Release)
        driver.deliver(find, TWO)
    assert kinds(driver.start_due()) == ["Release"]


def test_a_drain_waits_for_the_end_in_flight_and_settles_an_unknown_outcome() -> None:
    driver = ending()
    end = driver.call(EndShard)
    driver.machine.drain()
    assert not driver.has_call(Release)
    driver.deliver(end, CallFailed(FailureKind.NETWORK, "no answer"))
    assert not driver.has_call(Release)
    assert driver.wait(1).call(EndShard) == end
    assert driver.deliver(end, Committed()) == [events.ShardEnded(driver.lease, end.children, end.rows)]


def test_a_drain_after_a_rewind_releases() -> None:
    driver = ending()
    end = driver.call(EndShard)
    driver.deliver(end, CallFailed(FailureKind.NETWORK, "no answer"))
    driver.machine.drain()
    driver.wait(1).answer(EndShard, Lost(row(owner=ME, checkpoint=sequence_number(3))))
    assert kinds(driver.start_due()) == ["Release"]
    assert driver.answer(Release, Done()) == [events.LeaseReleased(driver.lease)]


def test_a_reply_of_the_wrong_type_is_a_defect() -> None:
    with pytest.raises(AssertionError, match="Done is no reply to FindChildren"):
        ended().answer(FindChildren, Done())
