from dataclasses import replace
from decimal import Decimal
from math import inf

import pytest

from consumer.domain.leases import LeaseRow, Pin, Vouch
from consumer.domain.lineage import RETENTION_SECONDS
from consumer.domain.outcomes import Done, Lost
from consumer.domain.position import SHARD_END
from consumer.worker import events
from consumer.worker.calls import Beat, Commit, EndShard, Load, Look, Open, Read
from consumer.worker.state import State
from tests.builders import ARN, OTHER, lease, page, row, shard
from tests.talks import IMAGE, NO_ANSWER, TTL, Shift, kinds, reading, stream, total


def test_from_nothing_to_a_board() -> None:
    shift = Shift(streams=stream())
    shift.streams.write("shard-0", IMAGE)
    shift.streams.write("shard-0", IMAGE | {"score": {"N": "-0.5"}})
    shift.serve()
    assert total(shift) == Decimal("149.5")
    assert {"StreamPinned", "Joined", "LeaseClaimed", "UnitCommitted"} <= set(kinds(shift.told))


def test_a_parent_is_finished_before_its_children_are_read() -> None:
    shift = Shift(streams=stream(3, {0: [1, 2]}))
    for name in ("shard-0", "shard-1", "shard-2"):
        shift.streams.write(name, IMAGE)
    shift.serve(2.0)
    assert list(shift.machine.shards) == [shard(0)]
    assert total(shift) == 150
    shift.streams.close("shard-0")
    shift.serve(2.0)
    assert set(shift.machine.shards) == {shard(1), shard(2)}
    assert total(shift) == 450
    assert shift.tables.rows[shard(0)].checkpoint == SHARD_END


def test_replies_to_an_earlier_epoch_are_dropped() -> None:
    shift = reading()
    shift.serve(1.0, but=Read)
    (late,) = [call for call in shift.under_way if isinstance(call, Read)]
    held = shift.machine.shards[shard(0)].lease
    shift.machine.shards[shard(0)].lease = held._replace(epoch=held.epoch + 1)
    assert shift.tell(late, page()) == []
    del shift.machine.shards[shard(0)]
    assert shift.tell(late, page()) == []
    assert shift.tell(Commit(lease(9), None, frozenset(), False), Lost(None)) == []  # type: ignore[arg-type]


def test_an_end_answered_after_its_child_was_claimed_anew_leaves_the_later_lease_alone() -> None:
    """The end took effect, its reply is slow; the ledger showed the child's row as ours and not worked."""
    shift = Shift(streams=stream(2, {0: 1}))
    shift.streams.close("shard-0")
    shift.serve(2.0, but=EndShard)
    end = shift.call(EndShard)
    reply = shift.tables.end(end.lease, end.previous, end.children, end.rows)
    shift.machine.coordinator.rescan(shift.now)
    shift.serve(2.0)
    claimed = shift.machine.shards[shard(1)].lease
    assert claimed.epoch == end.rows[0].epoch + 1
    shift.tell(end, reply)
    assert shift.machine.shards[shard(1)].lease == claimed


def test_a_shard_that_is_claimed_anew_begins_anew() -> None:
    shift = reading()
    before = shift.machine.shards[shard(0)]
    claimed = replace(row(0, before.lease.owner), epoch=before.lease.epoch + 1)
    shift.machine._follow(events.LeaseClaimed(claimed, None), shift.now)
    after = shift.machine.shards[shard(0)]
    assert after is not before
    assert after.lease.epoch == claimed.epoch
    assert shift.asks(Open)


def test_a_lost_lease_is_dropped_and_the_ledger_is_read_soon() -> None:
    shift = reading()
    shift.streams.write("shard-0", IMAGE)
    shift.serve(1.0, but=Commit)
    shift.answer(Commit, Lost(row(0, OTHER, 99)))
    assert not shift.machine.shards
    assert shift.asks(Load)


def test_an_idle_zombie_learns_from_the_ledger() -> None:
    shift = reading()
    stored = shift.tables.rows[shard(0)]
    shift.tables.workers[OTHER] = Vouch(1)
    shift.tables.rows[shard(0)] = replace(stored, owner=OTHER, epoch=stored.epoch + 1)
    shift.machine.coordinator.rescan(shift.now)
    shift.serve(0.2)
    assert not shift.machine.shards
    assert isinstance(next(each for each in shift.told if isinstance(each, events.LeaseLost)), events.LeaseLost)


def test_a_handed_over_shard_is_released_and_announced() -> None:
    shift = Shift(streams=stream(2))
    shift.serve(2.0)
    assert len(shift.machine.shards) == 2
    changes = shift.tables.changes
    shift.tables.beat(OTHER, Vouch(1), joining=True, bump=True)
    shift.serve(1.0)
    assert list(shift.machine.shards) == [shard(0)]
    assert shift.tables.rows[shard(1)].owner is None
    assert shift.tables.changes == changes + 2


def test_a_missing_row_halts_the_shard_until_somebody_makes_it_again() -> None:
    shift = reading()
    stored = shift.tables.rows.pop(shard(0))
    shift.streams.write("shard-0", IMAGE)
    shift.serve(2.0)
    assert shift.machine.shards[shard(0)].state is State.HALTED
    standing = shift.machine.standing(shift.now)
    assert standing.shards == {"halted": 1, "unowned": 0}
    assert any("is halted: its row is missing" in reason for reason in standing.not_ready)
    shift.tables.rows[shard(0)] = LeaseRow(shard(0), None, stored.epoch + 100, stored.checkpoint)
    shift.serve(40.0)
    assert shift.machine.shards[shard(0)].state is State.RUNNING
    assert total(shift) == 150


def test_nothing_is_committed_after_a_ttl_without_a_beat_and_all_is_when_one_is_written() -> None:
    shift = reading()
    shift.serve(TTL + 1.0, but=Beat)
    shift.streams.write("shard-0", IMAGE)
    shift.serve(2.0, but=Beat)
    assert "foo" not in shift.tables.board
    assert any("no beat" in reason for reason in shift.machine.standing(shift.now).not_ready)
    shift.answer(Beat, Done())
    shift.serve(2.0)
    assert total(shift) == 150
    assert shift.machine.standing(shift.now).not_ready == ()


@pytest.mark.parametrize("call", [Look, Load, Beat])
def test_readiness_names_what_has_failed_for_a_while(call: type[Look | Load | Beat]) -> None:
    shift = reading()
    shift.machine.coordinator.rescan(shift.now)
    for _ in range(3):
        assert shift.machine.standing(shift.now).not_ready == ()
        shift.serve(0.0, but=call)
        while not shift.asks(call):
            shift.now += 0.25
        shift.answer(call, NO_ANSWER)
        shift.now += 0.01
        shift.machine.coordinator.pulse._vouched_until = inf
    (reason,) = shift.machine.standing(shift.now).not_ready
    assert call.__name__ in reason
    assert "no answer" in reason


def test_readiness_before_the_first_plan_and_during_a_drain() -> None:
    shift = Shift(streams=stream())
    reasons = shift.machine.standing(shift.now).not_ready
    assert [reason.partition(":")[0] for reason in reasons] == [
        "starting",
        "no beat could be written for a lease TTL",
    ]
    shift.serve(2.0)
    shift.machine.drain()
    assert [reason.partition(":")[0] for reason in shift.machine.standing(shift.now).not_ready] == ["draining"]


def test_the_standing_is_that_of_the_shard_that_is_furthest_behind() -> None:
    shift = Shift(streams=stream(2))
    shift.serve(3.0)
    assert shift.machine.standing(shift.now).lag_seconds == 0.0
    shift.streams.write("shard-1", IMAGE)
    shift.serve(1.0, but=Commit)
    standing = shift.machine.standing(shift.now)
    assert standing.lag_seconds == pytest.approx(shift.now - 1000.0)
    assert standing.headroom_seconds == RETENTION_SECONDS - standing.lag_seconds
    assert standing.leases_owned == 2
    assert standing.shards == {"running": 2, "halted": 0, "unowned": 0}
    vouch = shift.machine.coordinator.pulse.vouch
    assert (vouch.shards, vouch.lag_seconds) == (2, standing.lag_seconds)


def test_a_shard_that_is_missing_and_that_nobody_works_is_shown_too() -> None:
    shift = reading()
    pin = shift.tables.pins[ARN]
    shift.tables.pins[ARN] = Pin(ARN, pin.floor, (*pin.roots, "shard-9"), complete=True)
    shift.serve(70.0)
    assert shift.machine.standing(shift.now).shards == {"running": 1, "halted": 1, "unowned": 0}
