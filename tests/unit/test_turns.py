"""Turns: a law over random arrivals, and what becomes of those that are taken back."""

from hypothesis import given
from hypothesis import strategies as st

from consumer.domain.leaderboard import Limits, cut
from consumer.domain.leases import Lease
from consumer.domain.position import TRIM_HORIZON
from consumer.worker.calls import Commit
from consumer.worker.turns import Turns
from tests.builders import game, shard


def commit(number: int, *players: str) -> Commit:
    entries = [game(seq, player) for seq, player in enumerate(players, start=1)]
    unit = cut(entries, TRIM_HORIZON, Limits(), 0.0)
    return Commit(Lease(shard(number), "w1/a", 1), unit, frozenset(), fills_gap=False)


def test_units_without_a_common_player_go_at_once() -> None:
    turns = Turns()
    assert turns.enter(commit(0, "a", "b"))
    assert turns.enter(commit(1, "c"))
    assert turns.enter(commit(2)), "a unit of ignored records has no player"


def test_units_with_a_common_player_go_in_the_order_in_which_they_came() -> None:
    turns = Turns()
    first, second, third = commit(0, "hot", "a"), commit(1, "hot", "b"), commit(2, "hot")
    assert turns.enter(first)
    assert not turns.enter(second)
    assert not turns.enter(third)
    turns.leave(first)
    assert turns.called() == [second]
    turns.leave(second)
    assert turns.called() == [third]
    turns.leave(third)
    assert turns.called() == []
    assert turns.enter(first)


def test_a_unit_waits_for_all_its_players() -> None:
    turns = Turns()
    left, right, both = commit(0, "a"), commit(1, "b"), commit(2, "a", "b")
    assert turns.enter(left)
    assert turns.enter(right)
    assert not turns.enter(both)
    turns.leave(left)
    assert turns.called() == []
    turns.leave(right)
    assert turns.called() == [both]


def test_one_that_waits_can_be_taken_back_and_one_under_way_cannot() -> None:
    turns = Turns()
    first, second, third = commit(0, "hot"), commit(1, "hot", "b"), commit(2, "b")
    turns.enter(first)
    turns.enter(second)
    turns.enter(third)
    assert not turns.withdraw(first.lease)
    assert turns.withdraw(second.lease)
    assert turns.called() == [third]
    assert not turns.withdraw(second.lease)
    turns.leave(first)
    assert turns.called() == []


def test_one_that_is_sent_once_more_keeps_its_turn() -> None:
    turns = Turns()
    first, second = commit(0, "hot"), commit(1, "hot")
    turns.enter(first)
    turns.enter(second)
    again = commit(0, "hot")
    turns.keep(again)
    assert turns.called() == [again]
    turns.leave(again)
    assert turns.called() == [second]


def test_one_whose_turn_comes_may_grow_by_players_who_are_free() -> None:
    turns = Turns()
    first, second, third = commit(0, "hot", "busy"), commit(1, "hot"), commit(2, "busy", "waiting")
    turns.enter(first)
    turns.enter(second)
    turns.enter(third)
    turns.leave(first)
    assert turns.called() == [second, third]
    assert set(turns.busy(second.lease)) == {"busy", "waiting"}
    grown = commit(1, "hot", "free")
    turns.widen(grown)
    late = commit(3, "free")
    assert not turns.enter(late)
    turns.leave(grown)
    assert turns.called() == [late]


def test_the_answer_to_a_commit_that_never_entered_frees_nobody() -> None:
    turns = Turns()
    turns.leave(commit(0, "a"))
    assert not turns.calls


def test_one_whose_turn_has_come_can_be_taken_back_before_it_is_sent() -> None:
    turns = Turns()
    first, second, third = commit(0, "hot"), commit(1, "hot"), commit(2, "hot")
    for each in (first, second, third):
        turns.enter(each)
    turns.leave(first)
    assert turns.calls
    assert turns.withdraw(second.lease)
    assert turns.called() == [third]


@given(st.data())
def test_no_two_under_way_share_a_player_and_all_get_their_turn(data: st.DataObject) -> None:
    players = st.lists(st.sampled_from("abcdef"), min_size=1, max_size=4)
    waiting = [commit(number, *data.draw(players)) for number in range(data.draw(st.integers(1, 8)))]
    turns, under_way, done = Turns(), list[Commit](), 0
    total = len(waiting)
    while waiting or under_way:
        if waiting and (not under_way or data.draw(st.booleans())):
            coming = waiting.pop()
            under_way += [coming] if turns.enter(coming) else []
        elif under_way:
            answered = under_way.pop(data.draw(st.integers(0, len(under_way) - 1)))
            turns.leave(answered)
            under_way += turns.called()
            done += 1
        held = [player for each in under_way for player in each.unit.deltas]
        assert len(held) == len(set(held))
    assert done == total
