"""The coordinator: when it reads members and the ledger, and what it makes of them."""

import pytest

from consumer.domain.errors import CallFailed, FailureKind, UnsafeRefused
from consumer.domain.leases import SHARD_END, TRIM_HORIZON, Ledger, Origin, Shard, StreamStart, TableBinding, TableNames
from consumer.domain.membership import HeartbeatReport, Members
from consumer.domain.replies import Done
from consumer.worker import events
from consumer.worker.coordinator import LOAD_INTERVAL_SECONDS
from consumer.worker.ledger_calls import (
    Claim,
    EvictMember,
    ListShards,
    Load,
    ReadMembers,
    ReadOrigin,
    RecordStreamStart,
    SendHeartbeat,
)
from consumer.worker.stream_start import StreamStarter
from tests.support.builders import ARN, ME, OTHER, build_shards, lease, row, shard
from tests.support.drivers import NO_ANSWER, TTL, CoordinatorDriver, kinds, members

TABLES = TableNames()


def test_it_joins_before_anything_else() -> None:
    driver = CoordinatorDriver()
    assert kinds(driver.start_due()) == ["SendHeartbeat"]
    call = driver.call(SendHeartbeat)
    assert (call.owner, call.report.number, call.joining, call.bump) == (ME, 1, True, True)
    assert not driver.start_due()
    assert driver.deliver(call, Done()) == [events.Joined(ME)]
    assert sorted(kinds(driver.start_due())) == ["Load", "ReadMembers"]


def test_a_stream_is_started_before_the_ledger_is_read() -> None:
    driver = CoordinatorDriver(starter=StreamStarter(ARN, TRIM_HORIZON, 1, TABLES))
    assert kinds(driver.start_due()) == ["ReadOrigin"]
    driver.answer(ReadOrigin, Origin(None, None))
    assert kinds(driver.start_due()) == ["SendHeartbeat"]
    driver.join()
    assert kinds(driver.answer(ListShards, CallFailed(FailureKind.THROTTLED, "busy"))) == ["RetryScheduled"]
    assert not driver.has_call(ListShards)
    driver.now += 1
    driver.answer(ListShards, build_shards(0, {}))
    assert kinds(driver.answer(RecordStreamStart, Done())) == ["StreamStarted"]
    assert not driver.has_call(Load)


def test_the_first_worker_of_a_ledger_joins_with_the_number_that_its_rules_will_have() -> None:
    """The others plan with it at once: no second heartbeat has to say it."""
    driver = CoordinatorDriver(starter=StreamStarter(ARN, TRIM_HORIZON, 1, TABLES))
    assert driver.machine.number == 0
    driver.answer(ReadOrigin, Origin(None, None))
    joining = driver.call(SendHeartbeat)
    assert joining.report.rules == 1
    driver.deliver(joining, Done())
    driver.answer(ListShards, build_shards(0, {}))
    driver.answer(RecordStreamStart, Done())
    assert not driver.has_call(SendHeartbeat)


def test_tables_that_do_not_belong_together_end_the_worker() -> None:
    driver = CoordinatorDriver(starter=StreamStarter(ARN, TRIM_HORIZON, 1, TABLES))
    with pytest.raises(UnsafeRefused):
        driver.answer(ReadOrigin, Origin(None, TableBinding(ARN, *TABLES[:2])))


def test_a_reload_requested_while_the_ledger_is_read_is_not_lost() -> None:
    driver = CoordinatorDriver().join()
    load = driver.call(Load)
    driver.machine.reload_ledger(driver.now)
    assert not driver.has_call(Load), "one at a time"
    driver.deliver(load, Ledger((), ()))
    driver.answer(Load, Ledger((), ()))
    assert not driver.has_call(Load)


def test_a_change_seen_while_the_ledger_is_read_does_not_read_it_again() -> None:
    driver = CoordinatorDriver().join()
    driver.plan([], members(w1_a=1))
    load = driver.call(Load)
    driver.now += TTL / 8
    driver.answer(ReadMembers, members(7, w1_a=1))
    driver.deliver(load, Ledger((), ()))
    assert not driver.has_call(Load)


def test_it_plans_only_with_members_read_after_the_load() -> None:
    """A worker joins before its first claim, so such a read shows every owner that the ledger names."""
    driver = CoordinatorDriver().join()
    early = driver.call(ReadMembers)
    driver.now += 0.01
    driver.answer(Load, Ledger((row(0, OTHER),), ()))
    driver.deliver(early, members(w1_a=1))
    assert driver.claims() == []
    driver.now += TTL / 8
    driver.answer(ReadMembers, members(w1_a=1, w2_b=1))
    assert driver.machine.planned
    assert driver.claims() == []


def test_surplus_is_handed_over() -> None:
    driver = CoordinatorDriver().join()
    driver.own_shard(0)
    driver.own_shard(1)
    reported = driver.plan([row(0, ME), row(1, ME)], members(w1_a=1, w2_b=1))
    assert reported == [events.HandOverDecided(shard(1))]


def test_a_silent_owner_keeps_its_shards_for_a_ttl_and_is_evicted_when_it_owns_nothing() -> None:
    driver = CoordinatorDriver().join()
    rows = [row(0, OTHER), row(1, ME)]
    driver.own_shard(1)
    driver.plan_until_quiet(rows, members(w1_a=1, w2_b=5))
    driver.pass_time(TTL - 2.0, {"w2_b": 5})
    assert not driver.has_call(Load)
    driver.pass_time(2.0, {"w2_b": 5})
    driver.plan(rows, members(w1_a=1, w2_b=5))
    assert driver.claims() == [0]
    assert not driver.has_call(EvictMember), "it still owns a shard"
    driver.answer(Claim, row(0, ME, 8))
    driver.own_shard(0, epoch=8)
    driver.machine.reload_ledger(driver.now)
    driver.now += TTL / 8
    driver.plan([row(0, ME, 8), row(1, ME)], members(w1_a=1, w2_b=5))
    evict = driver.call(EvictMember)
    assert evict == EvictMember(OTHER, 5), "unless it has sent a heartbeat since"
    assert driver.deliver(evict, Done()) == [events.MemberEvicted(OTHER)]


def test_an_eviction_that_failed_is_repeated_by_a_later_plan() -> None:
    driver = CoordinatorDriver(stable=True).join()
    driver.plan([], members(w1_a=1, w1_z=5))
    assert driver.answer(EvictMember, NO_ANSWER) == []
    assert not driver.has_call(EvictMember)
    driver.machine.reload_ledger(driver.now)
    driver.now += TTL / 8
    driver.plan([], members(w1_a=1, w1_z=5))
    assert driver.has_call(EvictMember)


def test_the_ledger_is_read_again_every_half_minute() -> None:
    driver = CoordinatorDriver().join()
    driver.plan_until_quiet([], members(w1_a=1))
    driver.pass_time(LOAD_INTERVAL_SECONDS - 2.0, {})
    assert not driver.has_call(Load)
    driver.pass_time(2.0, {})
    assert driver.has_call(Load)


def test_the_ledger_is_read_again_when_the_counter_moved() -> None:
    driver = CoordinatorDriver().join()
    driver.plan_until_quiet([], members(3, w1_a=1))
    driver.pass_time(2.0, {}, changes=3)
    assert not driver.has_call(Load)
    driver.pass_time(1.0, {}, changes=4)
    assert driver.has_call(Load)


def test_a_change_between_the_load_and_the_next_read_of_members_reads_the_ledger_again() -> None:
    """The ledger was read before that release: planned with it, the shard would stay unowned for half a minute."""
    driver = CoordinatorDriver().join()
    driver.plan_until_quiet([], members(3, w1_a=1))
    driver.machine.reload_ledger(driver.now)
    driver.answer(Load, Ledger((row(0, OTHER),), ()))
    driver.pass_time(TTL / 2, {"w2_b": 1}, changes=4)
    assert driver.has_call(Load)


def test_a_shard_halts_after_two_loads_in_succession_without_its_row() -> None:
    driver = CoordinatorDriver().join()
    ledger = Ledger((row(0),), (StreamStart(ARN, None, ("shard-0", "shard-1"), complete=True),))
    assert driver.answer(Load, ledger) == []
    assert not driver.machine.halted
    assert driver.answer(Load, ledger) == [events.ShardHalted(shard(1), None)]
    assert driver.machine.halted == {shard(1)}
    driver.machine.reload_ledger(driver.now)
    assert driver.answer(Load, ledger) == [], "reported once"
    driver.machine.reload_ledger(driver.now)
    driver.answer(Load, Ledger((row(0), row(1)), ledger.stream_starts))
    assert driver.machine.halted == frozenset(), "an operator has put the row back"


def test_a_missing_row_is_reported_with_its_last_known_checkpoint() -> None:
    driver = CoordinatorDriver().join()
    stream_starts = (StreamStart(ARN, None, ("shard-0", "shard-1"), complete=True),)
    driver.answer(Load, Ledger((row(0), row(1, OTHER, checkpoint="55")), stream_starts))
    for reported in ([], [events.ShardHalted(shard(1), "55")]):
        driver.machine.reload_ledger(driver.now)
        assert driver.answer(Load, Ledger((row(0),), stream_starts)) == reported


def test_the_owner_of_a_missing_row_reports_the_checkpoint_that_it_knows() -> None:
    """An operator will set it: the one of the last load is older, and would count twice where rows have no marks."""
    driver = CoordinatorDriver().join()
    stream_starts = (StreamStart(ARN, None, ("shard-0",), complete=True),)
    driver.own_shard(0)
    driver.owned[shard(0)].checkpoint = "77"
    driver.answer(Load, Ledger((row(0, driver.machine.identity.owner, 7, checkpoint="55"),), stream_starts))
    for reported in ([], [events.ShardHalted(shard(0), "77")]):
        driver.machine.reload_ledger(driver.now)
        assert driver.answer(Load, Ledger((), stream_starts)) == reported


def test_a_row_that_only_one_load_did_not_show_is_not_missing() -> None:
    driver = CoordinatorDriver().join()
    stream_starts = (StreamStart(ARN, None, ("shard-0",), complete=True),)
    driver.answer(Load, Ledger((), stream_starts))
    driver.answer(Load, Ledger((row(0),), stream_starts))
    driver.machine.reload_ledger(driver.now)
    assert driver.answer(Load, Ledger((), stream_starts)) == []
    assert driver.machine.halted == frozenset()


def test_the_start_time_is_that_of_the_shards_own_stream() -> None:
    driver = CoordinatorDriver().join()
    older = ARN.replace("2026-01-01", "2025-12-31")
    driver.answer(
        Load, Ledger((), (StreamStart(older, 5.0, (), complete=True), StreamStart(ARN, 7.0, (), complete=True)))
    )
    assert driver.machine.start_time_for(Shard(older, "shard-0")) == 5.0
    assert driver.machine.start_time_for(shard(0)) == 7.0
    driver.machine.starter.stream_start = StreamStart(ARN, 9.0, (), complete=True)
    assert CoordinatorDriver(starter=driver.machine.starter).machine.start_time_for(shard(0)) == 9.0


def test_a_load_that_failed_is_retried() -> None:
    driver = CoordinatorDriver().join()
    assert kinds(driver.answer(Load, NO_ANSWER)) == ["RetryScheduled"]
    assert not driver.has_call(Load)
    driver.now += 1
    assert driver.has_call(Load)


def test_nothing_is_claimed_while_draining() -> None:
    driver = CoordinatorDriver().join()
    driver.answer(Load, Ledger((row(0),), ()))
    driver.machine.drain()
    for _ in range(3):
        driver.answer(ReadMembers, members(w1_a=1))
        driver.now += TTL / 8
    assert driver.claims() == []
    assert not driver.has_call(Load)


def test_halted_shards_are_not_planned() -> None:
    driver = CoordinatorDriver().join()
    finished = row(0, checkpoint=SHARD_END, children=("shard-1", "shard-2"))
    driver.answer(Load, Ledger((finished, row(1)), ()))
    driver.plan([finished, row(1)], members(w1_a=1))
    assert driver.machine.halted == {shard(2)}
    assert driver.claims() == [1]


def test_a_lease_that_the_ledger_shows_with_a_later_epoch_is_lost() -> None:
    """A shard without records would never learn it by a commit."""
    driver = CoordinatorDriver().join()
    for number in (0, 1, 2):
        driver.own_shard(number)
    reported = driver.answer(Load, Ledger((row(0, OTHER, 8), row(1, ME, 7), row(2, None, 7)), ()))
    assert reported == [events.LeaseLost(lease(0), OTHER)]


def beside_version_0_1(number: int) -> Members:
    """The members with a worker of version 0.1, whose heartbeats carry no protocol."""
    reports = {ME: HeartbeatReport(1), OTHER: HeartbeatReport(number, protocol=1)}
    return Members(0, reports)


def test_beside_a_living_member_of_another_protocol_nothing_is_claimed() -> None:
    driver = CoordinatorDriver().join()
    driver.plan([row(0), row(1, OTHER)], beside_version_0_1(5))
    assert driver.claims() == []
    assert driver.machine.foreign == (OTHER,)
    assert not driver.machine.planned


def test_when_it_has_left_its_shards_are_claimed() -> None:
    driver = CoordinatorDriver().join()
    driver.plan([row(0, OTHER)], beside_version_0_1(5))
    driver.now += TTL / 8
    driver.answer(ReadMembers, members(1, w1_a=1))
    assert driver.machine.foreign == ()
    assert driver.claims() == [0]
    assert driver.has_call(Load), "what it released meanwhile"


def test_when_it_is_dead_its_shards_are_claimed() -> None:
    driver = CoordinatorDriver().join()
    rows = [row(0, OTHER)]
    driver.plan(rows, beside_version_0_1(5))
    for _ in range(20):
        if driver.has_call(Load):
            driver.answer(Load, Ledger(tuple(rows), ()))
        if driver.has_call(ReadMembers):
            driver.answer(ReadMembers, beside_version_0_1(5))
        assert driver.now < 1000 + 2 * TTL
        if driver.claims():
            break
        driver.now += TTL / 8
    assert driver.claims() == [0]
    assert driver.now >= 1000 + TTL
    assert driver.machine.foreign == ()


def test_while_it_lives_the_ledger_is_not_read_at_every_look_at_the_members() -> None:
    driver = CoordinatorDriver().join()
    driver.plan([row(0, OTHER)], beside_version_0_1(5))
    loads = 0
    for number in range(6, 46):
        driver.now += TTL / 8
        driver.answer(ReadMembers, beside_version_0_1(number))
        if driver.has_call(Load):
            loads += 1
            driver.answer(Load, Ledger((row(0, OTHER),), ()))
    assert loads <= 1, "once per half minute"


def test_what_it_owns_it_keeps_beside_a_member_of_another_protocol() -> None:
    """It was there first: an old worker that starts later stops at the stream's row."""
    driver = CoordinatorDriver().join()
    driver.own_shard(0)
    assert not driver.plan([row(0, ME), row(1)], beside_version_0_1(5))
    assert driver.claims() == []
