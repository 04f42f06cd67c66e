"""Two shards of one worker with the same player: their units go one after the other, and grow while they wait."""

import pytest

from consumer.domain.errors import Trouble, TroubleKind
from consumer.domain.outcomes import Committed, Refused
from consumer.worker.calls import Call, Commit, Release
from consumer.worker.perform import perform
from tests.builders import shard
from tests.talks import IMAGE, Shift, stream


def written(shift: Shift, number: int, player: str = "foo") -> None:
    shift.streams.write(f"shard-{number}", {**IMAGE, "playerId": {"S": player}})


def both_reading() -> Shift:
    """Two shards are read; nothing is there to commit yet."""
    shift = Shift(streams=stream(2))
    shift.serve(2.0)
    assert list(shift.machine.shards) == [shard(0), shard(1)]
    return shift


def commits(shift: Shift) -> list[Commit]:
    return [call for call in shift.under_way if isinstance(call, Commit)]


def waiting() -> Shift:
    """Both have a game of the same player; one commit is under way, the other waits for it."""
    shift = both_reading()
    written(shift, 0)
    written(shift, 1)
    shift.serve(1.0, but=Commit)
    assert len(commits(shift)) == 1
    return shift


def answer(shift: Shift, call: Call) -> None:
    shift.under_way.remove(call)
    shift.tell(call, perform(call, shift.world))


def test_units_that_share_a_player_take_turns() -> None:
    shift = waiting()
    (first,) = commits(shift)
    answer(shift, first)
    assert shift.machine.wake_at() <= shift.now, "another one's turn has come"
    shift.look()
    (second,) = commits(shift)
    assert second.lease.shard != first.lease.shard
    answer(shift, second)
    assert shift.tables.board["foo"].games == 2


def test_units_of_different_players_do_not_wait_for_each_other() -> None:
    shift = both_reading()
    written(shift, 0, "foo")
    written(shift, 1, "bar")
    shift.serve(1.0, but=Commit)
    assert len(commits(shift)) == 2


def test_a_unit_that_waited_takes_in_what_has_come_meanwhile_but_no_player_of_another_unit() -> None:
    shift = waiting()
    (first,) = commits(shift)
    (second,) = {0, 1} - {int(first.lease.shard.shard_id[-1])}
    third_shard_has = "busy"
    for player in ("foo", "new", third_shard_has):
        written(shift, second, player)
    written(shift, 1 - second, third_shard_has)
    shift.serve(1.0, but=Commit)
    answer(shift, first)
    shift.look()
    units = {commit.lease.shard.shard_id: commit.unit for commit in commits(shift)}
    assert set(units[f"shard-{second}"].deltas) >= {"foo", "new"}
    assert units[f"shard-{second}"].deltas["foo"].games == 2
    held = [player for unit in units.values() for player in unit.deltas]
    assert len(held) == len(set(held))
    shift.serve(2.0)
    for commit in commits(shift):
        answer(shift, commit)
    shift.serve(2.0)
    assert {player: score.games for player, score in shift.tables.board.items()} == {"foo": 3, "new": 1, "busy": 2}


def test_a_unit_with_a_later_date_keeps_its_turn() -> None:
    shift = waiting()
    (first,) = commits(shift)
    shift.under_way.remove(first)
    shift.tell(first, Refused(later={"foo": "2026-12-31"}))
    shift.look()
    (again,) = commits(shift)
    assert again.lease == first.lease
    assert again.later == {"foo"}


@pytest.mark.parametrize("reply", [Refused(conflict=True), Trouble(TroubleKind.NETWORK, "no answer")])
def test_one_that_must_wait_before_it_is_sent_again_lets_the_others_go(reply: Refused | Trouble) -> None:
    shift = waiting()
    (first,) = commits(shift)
    shift.under_way.remove(first)
    shift.tell(first, reply)
    shift.look()
    assert [commit.lease.shard for commit in commits(shift)] == [
        shard(0) if first.lease.shard == shard(1) else shard(1)
    ]


def test_a_drain_does_not_wait_for_turns() -> None:
    shift = waiting()
    (first,) = commits(shift)
    shift.machine.drain()
    shift.look()
    assert [call.lease.shard for call in shift.under_way if isinstance(call, Release)] == [
        shard(0) if first.lease.shard == shard(1) else shard(1)
    ]
    shift.under_way.remove(first)
    shift.tell(first, Committed())
    shift.look()
    assert commits(shift) == []
    assert sum(isinstance(call, Release) for call in shift.under_way) == 2


def test_a_turn_that_comes_when_no_beat_vouches_is_kept() -> None:
    shift = waiting()
    (first,) = commits(shift)
    shift.now += 100.0  # no beat was written for a TTL
    shift.under_way = [call for call in shift.under_way if call is first]
    answer(shift, first)
    assert commits(shift) == []
    shift.look()
    assert commits(shift) == []
    shift.serve(1.0)
    shift.serve(1.0)
    assert shift.tables.board["foo"].games == 2


def test_a_lease_that_is_lost_while_its_unit_waits_frees_its_place() -> None:
    shift = waiting()
    (first,) = commits(shift)
    waits = shard(0) if first.lease.shard == shard(1) else shard(1)
    row = shift.tables.rows[waits]
    shift.tables.rows[waits] = type(row)(row.shard, "w9/z", row.epoch + 1, row.checkpoint, created=row.created)
    shift.tables.workers["w9/z"] = shift.tables.workers[shift.machine.coordinator.identity.owner]
    shift.machine.coordinator.rescan(shift.now)
    shift.serve(1.0, but=Commit)
    assert waits not in shift.machine.shards
    answer(shift, first)
    shift.look()
    assert commits(shift) == []
