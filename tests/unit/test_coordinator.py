import pytest

from consumer.domain.errors import Trouble, TroubleKind, UnsafeRefused
from consumer.domain.leases import Birth, Origin, Pin, Shard
from consumer.domain.outcomes import Done, Ledger
from consumer.domain.position import SHARD_END, TRIM_HORIZON
from consumer.worker import events
from consumer.worker.calls import Beat, Bury, Claim, FindOrigin, ListShards, Load, Look, PinStream
from consumer.worker.coordinator import LOAD_INTERVAL_SECONDS
from consumer.worker.pinning import Pinning
from tests.builders import ARN, ME, OTHER, build_shards, lease, row, shard
from tests.talks import TTL, Council, kinds, members

NO_ANSWER = Trouble(TroubleKind.NETWORK, "no answer")
TABLES = ("consumer-leases", "Leaderboards")


def claims(council: Council) -> list[int]:
    return sorted(int(call.row.shard.shard_id[-1]) for call in council.look() if isinstance(call, Claim))


def test_it_joins_before_anything_else() -> None:
    council = Council()
    assert kinds(council.look()) == ["Beat"]
    beat = council.call(Beat)
    assert (beat.owner, beat.vouch.beat, beat.joining, beat.bump) == (ME, 1, True, True)
    assert not council.look()
    assert council.tell(beat, Done()) == [events.Joined(ME)]
    assert sorted(kinds(council.look())) == ["Load", "Look"]


def test_a_stream_is_pinned_before_the_ledger_is_read() -> None:
    council = Council(pinning=Pinning(ARN, TRIM_HORIZON, 1, TABLES))
    assert kinds(council.look()) == ["FindOrigin"]
    council.answer(FindOrigin, Origin(None, None))
    assert kinds(council.look()) == ["Beat"]
    council.join()
    assert kinds(council.answer(ListShards, Trouble(TroubleKind.THROTTLED, "busy"))) == ["RetryScheduled"]
    assert not council.asks(ListShards)
    council.now += 1
    council.answer(ListShards, build_shards(0, {}))
    assert kinds(council.answer(PinStream, Done())) == ["StreamPinned"]
    assert not council.asks(Load)


def test_tables_that_do_not_belong_together_end_the_worker() -> None:
    council = Council(pinning=Pinning(ARN, TRIM_HORIZON, 1, TABLES))
    with pytest.raises(UnsafeRefused):
        council.answer(FindOrigin, Origin(None, Birth(ARN, *TABLES)))


def test_a_rescan_asked_for_while_the_ledger_is_read_is_kept() -> None:
    council = Council().join()
    load = council.call(Load)
    council.machine.rescan(council.now)
    assert not council.asks(Load), "one at a time"
    council.tell(load, Ledger((), ()))
    council.answer(Load, Ledger((), ()))
    assert not council.asks(Load)


def test_news_that_are_seen_while_the_ledger_is_read_do_not_read_it_again() -> None:
    council = Council().join()
    council.plan([], members(w1_a=1))
    load = council.call(Load)
    council.now += TTL / 8
    council.answer(Look, members(7, w1_a=1))
    council.tell(load, Ledger((), ()))
    assert not council.asks(Load)


def test_it_plans_only_with_a_look_that_was_asked_for_after_the_load() -> None:
    """A member is in before its first claim, so such a look knows every owner that the ledger names."""
    council = Council().join()
    early = council.call(Look)
    council.now += 0.01
    council.answer(Load, Ledger((row(0, OTHER),), ()))
    council.tell(early, members(w1_a=1))
    assert claims(council) == []
    council.now += TTL / 8
    council.answer(Look, members(w1_a=1, w2_b=1))
    assert council.machine.planned
    assert claims(council) == []


def test_surplus_is_handed_over() -> None:
    council = Council().join()
    council.works(0)
    council.works(1)
    told = council.plan([row(0, ME), row(1, ME)], members(w1_a=1, w2_b=1))
    assert told == [events.HandOverDecided(shard(1))]


def test_a_silent_owner_keeps_its_shards_for_a_ttl_and_is_buried_when_it_owns_nothing() -> None:
    council = Council().join()
    rows = [row(0, OTHER), row(1, ME)]
    council.works(1)
    council.settle(rows, members(w1_a=1, w2_b=5))
    council.observe(TTL - 2.0, {"w2_b": 5})
    assert not council.asks(Load)
    council.observe(2.0, {"w2_b": 5})
    council.plan(rows, members(w1_a=1, w2_b=5))
    assert claims(council) == [0]
    assert not council.asks(Bury), "it still owns a shard"
    council.answer(Claim, row(0, ME, 8))
    council.works(0, epoch=8)
    council.machine.rescan(council.now)
    council.now += TTL / 8
    council.plan([row(0, ME, 8), row(1, ME)], members(w1_a=1, w2_b=5))
    bury = council.call(Bury)
    assert bury == Bury(OTHER, 5), "unless it has beaten since"
    assert council.tell(bury, Done()) == [events.MemberBuried(OTHER)]


def test_a_funeral_that_failed_is_held_with_a_later_plan() -> None:
    council = Council(stable=True).join()
    council.plan([], members(w1_a=1, w1_z=5))
    assert council.answer(Bury, NO_ANSWER) == []
    assert not council.asks(Bury)
    council.machine.rescan(council.now)
    council.now += TTL / 8
    council.plan([], members(w1_a=1, w1_z=5))
    assert council.asks(Bury)


def test_the_ledger_is_read_again_every_half_minute() -> None:
    council = Council().join()
    council.settle([], members(w1_a=1))
    council.observe(LOAD_INTERVAL_SECONDS - 2.0, {})
    assert not council.asks(Load)
    council.observe(2.0, {})
    assert council.asks(Load)


def test_the_ledger_is_read_again_when_the_counter_moved() -> None:
    council = Council().join()
    council.settle([], members(3, w1_a=1))
    council.observe(2.0, {}, changes=3)
    assert not council.asks(Load)
    council.observe(1.0, {}, changes=4)
    assert council.asks(Load)


def test_a_change_between_the_load_and_the_look_after_it_is_not_taken_for_known() -> None:
    """The ledger was read before that release: planned with it, the shard would stay unowned for half a minute."""
    council = Council().join()
    council.settle([], members(3, w1_a=1))
    council.machine.rescan(council.now)
    council.answer(Load, Ledger((row(0, OTHER),), ()))
    council.observe(TTL / 2, {"w2_b": 1}, changes=4)
    assert council.asks(Load)


def test_a_missing_row_is_believed_after_two_loads_running() -> None:
    council = Council().join()
    ledger = Ledger((row(0),), (Pin(ARN, None, ("shard-0", "shard-1"), complete=True),))
    assert council.answer(Load, ledger) == []
    assert not council.machine.halted
    assert council.answer(Load, ledger) == [events.ShardHalted(shard(1), None)]
    assert council.machine.halted == {shard(1)}
    council.machine.rescan(council.now)
    assert council.answer(Load, ledger) == [], "told once"
    council.machine.rescan(council.now)
    council.answer(Load, Ledger((row(0), row(1)), ledger.pins))
    assert council.machine.halted == frozenset(), "somebody made it again"


def test_a_missing_row_is_told_with_the_position_that_was_known_last() -> None:
    council = Council().join()
    pins = (Pin(ARN, None, ("shard-0", "shard-1"), complete=True),)
    council.answer(Load, Ledger((row(0), row(1, OTHER, checkpoint="55")), pins))
    for told in ([], [events.ShardHalted(shard(1), "55")]):
        council.machine.rescan(council.now)
        assert council.answer(Load, Ledger((row(0),), pins)) == told


def test_a_row_that_only_one_load_did_not_show_is_not_missing() -> None:
    council = Council().join()
    pins = (Pin(ARN, None, ("shard-0",), complete=True),)
    council.answer(Load, Ledger((), pins))
    council.answer(Load, Ledger((row(0),), pins))
    council.machine.rescan(council.now)
    assert council.answer(Load, Ledger((), pins)) == []
    assert council.machine.halted == frozenset()


def test_the_floor_is_that_of_the_shards_own_stream() -> None:
    council = Council().join()
    older = ARN.replace("2026-01-01", "2025-12-31")
    council.answer(Load, Ledger((), (Pin(older, 5.0, (), complete=True), Pin(ARN, 7.0, (), complete=True))))
    assert council.machine.floor_of(Shard(older, "shard-0")) == 5.0
    assert council.machine.floor_of(shard(0)) == 7.0
    council.machine.pinning.pin = Pin(ARN, 9.0, (), complete=True)
    assert Council(pinning=council.machine.pinning).machine.floor_of(shard(0)) == 9.0


def test_trouble_with_the_ledger_is_asked_again() -> None:
    council = Council().join()
    assert kinds(council.answer(Load, NO_ANSWER)) == ["RetryScheduled"]
    assert not council.asks(Load)
    council.now += 1
    assert council.asks(Load)


def test_nothing_is_claimed_on_the_way_out() -> None:
    council = Council().join()
    council.answer(Load, Ledger((row(0),), ()))
    council.machine.drain()
    for _ in range(3):
        council.answer(Look, members(w1_a=1))
        council.now += TTL / 8
    assert claims(council) == []
    assert not council.asks(Load)


def test_halted_shards_are_not_planned() -> None:
    council = Council().join()
    finished = row(0, checkpoint=SHARD_END, children=("shard-1", "shard-2"))
    council.answer(Load, Ledger((finished, row(1)), ()))
    council.plan([finished, row(1)], members(w1_a=1))
    assert council.machine.halted == {shard(2)}
    assert claims(council) == [1]


def test_a_lease_that_the_ledger_shows_with_a_later_epoch_is_lost() -> None:
    """A shard without records would never find out by a commit."""
    council = Council().join()
    for number in (0, 1, 2):
        council.works(number)
    told = council.answer(Load, Ledger((row(0, OTHER, 8), row(1, ME, 7), row(2, None, 7)), ()))
    assert told == [events.LeaseLost(lease(0), OTHER)]
