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
    assert turns.leave(first) == [second]
    assert turns.leave(second) == [third]
    assert turns.leave(third) == []
    assert turns.enter(first)


def test_a_unit_waits_for_all_its_players() -> None:
    turns = Turns()
    left, right, both = commit(0, "a"), commit(1, "b"), commit(2, "a", "b")
    assert turns.enter(left)
    assert turns.enter(right)
    assert not turns.enter(both)
    assert turns.leave(left) == []
    assert turns.leave(right) == [both]


def test_one_that_waits_can_be_taken_back_and_one_under_way_cannot() -> None:
    turns = Turns()
    first, second, third = commit(0, "hot"), commit(1, "hot", "b"), commit(2, "b")
    turns.enter(first)
    turns.enter(second)
    turns.enter(third)
    assert turns.withdraw(first.lease) == (None, [])
    assert turns.withdraw(second.lease) == (second, [third])
    assert turns.withdraw(second.lease) == (None, [])
    assert turns.leave(first) == []


def test_one_that_is_sent_once_more_keeps_its_turn() -> None:
    turns = Turns()
    first, second = commit(0, "hot"), commit(1, "hot")
    turns.enter(first)
    turns.enter(second)
    again = commit(0, "hot")
    turns.keep(again)
    assert turns.leave(again) == [second]


def test_one_whose_turn_comes_may_grow_by_players_who_are_free() -> None:
    turns = Turns()
    first, second, third = commit(0, "hot", "busy"), commit(1, "hot"), commit(2, "busy", "waiting")
    turns.enter(first)
    turns.enter(second)
    turns.enter(third)
    assert turns.leave(first) == [second, third]
    assert set(turns.busy(second.lease)) == {"busy", "waiting"}
    grown = commit(1, "hot", "free")
    turns.widen(grown)
    late = commit(3, "free")
    assert not turns.enter(late)
    assert turns.leave(grown) == [late]


def test_the_answer_to_a_commit_that_never_entered_frees_nobody() -> None:
    assert Turns().leave(commit(0, "a")) == []


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
            under_way += turns.leave(answered)
            done += 1
        held = [player for each in under_way for player in each.unit.deltas]
        assert len(held) == len(set(held))
    assert done == total
