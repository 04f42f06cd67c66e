"""Player locks: who gets them in which order, withdrawn commits, and a law over random arrivals."""

from hypothesis import given
from hypothesis import strategies as st

from consumer.domain.cut import cut
from consumer.domain.fold import Limits
from consumer.domain.leases import TRIM_HORIZON, Lease
from consumer.worker.player_locks import PlayerLocks
from consumer.worker.shard_calls import Commit
from tests.support.builders import game, plain_rows, shard


def commit(number: int, *players: str) -> Commit:
    entries = [game(seq, player) for seq, player in enumerate(players, start=1)]
    unit = cut(entries, TRIM_HORIZON, Limits(), 0.0)
    return Commit(Lease(shard(number), "w1/a", 1), unit, plain_rows(unit), fills_gap=False)


def test_units_without_a_common_player_are_sent_at_once() -> None:
    locks = PlayerLocks()
    assert locks.acquire(commit(0, "a", "b"))
    assert locks.acquire(commit(1, "c"))
    assert locks.acquire(commit(2)), "a unit of ignored records has no player"


def test_units_with_a_common_player_are_sent_in_order_of_arrival() -> None:
    locks = PlayerLocks()
    first, second, third = commit(0, "hot", "a"), commit(1, "hot", "b"), commit(2, "hot")
    assert locks.acquire(first)
    assert not locks.acquire(second)
    assert not locks.acquire(third)
    locks.release(first)
    assert locks.take_granted() == [second]
    locks.release(second)
    assert locks.take_granted() == [third]
    locks.release(third)
    assert locks.take_granted() == []
    assert locks.acquire(first)


def test_a_unit_waits_for_the_locks_of_all_its_players() -> None:
    locks = PlayerLocks()
    left, right, both = commit(0, "a"), commit(1, "b"), commit(2, "a", "b")
    assert locks.acquire(left)
    assert locks.acquire(right)
    assert not locks.acquire(both)
    locks.release(left)
    assert locks.take_granted() == []
    locks.release(right)
    assert locks.take_granted() == [both]


def test_a_waiting_commit_can_be_cancelled_and_one_in_flight_cannot() -> None:
    locks = PlayerLocks()
    first, second, third = commit(0, "hot"), commit(1, "hot", "b"), commit(2, "b")
    locks.acquire(first)
    locks.acquire(second)
    locks.acquire(third)
    assert not locks.cancel(first.lease)
    assert locks.cancel(second.lease)
    assert locks.take_granted() == [third]
    assert not locks.cancel(second.lease)
    locks.release(first)
    assert locks.take_granted() == []


def test_a_commit_that_is_sent_again_keeps_its_locks() -> None:
    locks = PlayerLocks()
    first, second = commit(0, "hot"), commit(1, "hot")
    locks.acquire(first)
    locks.acquire(second)
    again = commit(0, "hot")
    locks.renew(again)
    assert locks.take_granted() == [again]
    locks.release(again)
    assert locks.take_granted() == [second]


def test_a_granted_commit_may_grow_by_players_whose_locks_are_free() -> None:
    locks = PlayerLocks()
    first, second, third = commit(0, "hot", "busy"), commit(1, "hot"), commit(2, "busy", "waiting")
    locks.acquire(first)
    locks.acquire(second)
    locks.acquire(third)
    locks.release(first)
    assert locks.take_granted() == [second, third]
    assert set(locks.held_by_others(second.lease)) == {"busy", "waiting"}
    grown = commit(1, "hot", "free")
    locks.extend(grown)
    late = commit(3, "free")
    assert not locks.acquire(late)
    locks.release(grown)
    assert locks.take_granted() == [late]


def test_the_release_of_a_commit_without_locks_grants_nothing() -> None:
    locks = PlayerLocks()
    locks.release(commit(0, "a"))
    assert not locks.has_granted


def test_a_granted_commit_can_be_cancelled_before_it_is_sent() -> None:
    locks = PlayerLocks()
    first, second, third = commit(0, "hot"), commit(1, "hot"), commit(2, "hot")
    for each in (first, second, third):
        locks.acquire(each)
    locks.release(first)
    assert locks.has_granted
    assert locks.cancel(second.lease)
    assert locks.take_granted() == [third]


@given(st.data())
def test_no_two_commits_in_flight_share_a_player_and_all_are_sent(data: st.DataObject) -> None:
    players = st.lists(st.sampled_from("abcdef"), min_size=1, max_size=4)
    waiting = [commit(number, *data.draw(players)) for number in range(data.draw(st.integers(1, 8)))]
    locks, in_flight, done = PlayerLocks(), list[Commit](), 0
    total = len(waiting)
    while waiting or in_flight:
        if waiting and (not in_flight or data.draw(st.booleans())):
            coming = waiting.pop()
            in_flight += [coming] if locks.acquire(coming) else []
        elif in_flight:
            answered = in_flight.pop(data.draw(st.integers(0, len(in_flight) - 1)))
            locks.release(answered)
            in_flight += locks.take_granted()
            done += 1
        held = [player for each in in_flight for player in each.unit.deltas]
        assert len(held) == len(set(held))
    assert done == total
