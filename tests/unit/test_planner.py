from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consumer.domain.leases import SHARD_END, LeaseRow, Shard
from consumer.domain.planner import Plan, plan
from tests.support.builders import row, shard

Working = Mapping[str, frozenset[Shard]]


def rows_of(*owners: str | None) -> list[LeaseRow]:
    return [row(number, owner) for number, owner in enumerate(owners)]


def worked(rows: list[LeaseRow], owner: str) -> frozenset[Shard]:
    return frozenset(row.shard for row in rows if row.owner == owner)


def numbers(made: Plan) -> tuple[list[int], list[int]]:
    """Which shards are claimed, and which are released."""
    return (
        [int(each.shard.shard_id[-1]) for each in made.claim],
        [int(each.shard_id[-1]) for each in made.release],
    )


@pytest.mark.parametrize(
    ("owners", "alive", "claim", "release"),
    [
        ((), "a", [], []),
        ((None, None), "a", [0, 1], []),
        ((None, None), "ab", [0], []),
        (("a", "a"), "a", [], []),
        (("a", "b"), "ab", [], []),
        (("a", "a", "b"), "ab", [], []),
        (("a", "b", "b"), "ab", [], []),
        (("a", "a"), "ab", [], [1]),
        (("a", "a", "a", "a"), "abc", [], [2, 3]),
        (("a", "a", "a", "b"), "ab", [], [2]),
        (("b", "b", "b", "b"), "ab", [], []),
        (("a", "z", "z"), "ab", [1], []),
        (("a", "z", "z", "z"), "ab", [1], []),
        ((None, None, None), "bac", [0], []),
    ],
)
def test_the_part_of_a_worker(owners: tuple[str | None, ...], alive: str, claim: list[int], release: list[int]) -> None:
    rows = rows_of(*owners)
    assert numbers(plan(rows, set(alive), "a", worked(rows, "a"))) == (claim, release)


def test_finished_shards_are_not_assigned() -> None:
    rows = [row(0, "a", checkpoint=SHARD_END), row(1, None, checkpoint=SHARD_END), row(2)]
    assert numbers(plan(rows, {"a", "b"}, "a", set())) == ([2], [])


def test_a_row_that_names_a_worker_that_does_not_work_the_shard_is_claimed_again() -> None:
    rows = rows_of("a", "a", "b")
    assert numbers(plan(rows, {"a", "b"}, "a", {shard(1)})) == ([0], [])


def test_such_a_row_is_claimed_even_if_it_is_one_too_many() -> None:
    """No other worker may claim it, and only what is worked can be handed over: it is claimed first."""
    rows = rows_of("a", "a")
    first = plan(rows, {"a", "b"}, "a", {shard(0)})
    assert numbers(first) == ([1], [])
    assert numbers(plan(rows, {"a", "b"}, "a", {shard(0), shard(1)})) == ([], [1])


OWNERS = st.sampled_from(["a", "b", "c", "d", None, "dead"])
ROWS = st.lists(st.tuples(OWNERS, st.booleans()), max_size=14).map(
    lambda drawn: [
        row(number, owner, checkpoint=SHARD_END if finished else "1") for number, (owner, finished) in enumerate(drawn)
    ]
)
ALIVE = st.frozensets(st.sampled_from(["a", "b", "c", "d"]), min_size=1)


def forgetful(draw: st.DrawFn, rows: list[LeaseRow], alive: frozenset[str]) -> Working:
    """Each worker works what it owns, except where replies were lost."""
    return {
        me: frozenset(each for each in worked(rows, me) if draw(st.booleans()) or draw(st.booleans())) for me in alive
    }


@st.composite
def situations(draw: st.DrawFn) -> tuple[list[LeaseRow], frozenset[str], Working]:
    rows, alive = draw(ROWS), draw(ALIVE)
    return rows, alive, forgetful(draw, rows, alive)


@given(situations(), st.randoms())
def test_all_workers_decide_alike(situation: tuple[list[LeaseRow], frozenset[str], Working], random: Random) -> None:
    rows, alive, working = situation
    plans = {me: plan(rows, alive, me, working[me]) for me in alive}
    shuffled = random.sample(rows, len(rows))
    assert plans == {me: plan(shuffled, alive, me, working[me]) for me in alive}
    claims = [each.shard for made in plans.values() for each in made.claim]
    assert len(claims) == len(set(claims)), "no two workers claim the same shard"
    unfinished = {each.shard for each in rows if not each.finished}
    kept = {each for me in alive for each in working[me] if each in unfinished}
    assert set(claims) | kept == unfinished, "no shard is left without an owner"
    for me, made in plans.items():
        assert set(made.release) <= working[me], "only what is worked can be handed over"
        assert not set(made.release) & {each.shard for each in made.claim}


@given(ROWS, ALIVE)
def test_it_converges_with_the_fewest_moves(rows: list[LeaseRow], alive: frozenset[str]) -> None:
    unfinished = [each for each in rows if not each.finished]
    held = Counter({me: len(worked(unfinished, me)) for me in alive})
    share, larger = divmod(len(unfinished), len(alive))
    by_holding = sorted(held.values(), reverse=True)
    needed = sum(max(0, holds - share - (place < larger)) for place, holds in enumerate(by_holding))
    moves = 0
    for _ in range(3):
        plans = {me: plan(rows, alive, me, worked(rows, me)) for me in alive}
        if not any(made.claim or made.release for made in plans.values()):
            break
        to = {each.shard: me for me, made in plans.items() for each in made.claim}
        freed = {each for made in plans.values() for each in made.release}
        moves += len(freed)
        rows = [
            replace(each, owner=to[each.shard], epoch=each.epoch + 1)
            if each.shard in to
            else replace(each, owner=None if each.shard in freed else each.owner)
            for each in rows
        ]
    else:
        pytest.fail("not settled after three rounds")
    shares = [sum(each.owner == me for each in rows if not each.finished) for me in alive]
    assert sum(shares) == len(unfinished)
    assert max(shares) - min(shares) <= 1
    assert moves == needed


@given(ROWS, ALIVE)
def test_nothing_moves_when_the_shares_are_fair(rows: list[LeaseRow], alive: frozenset[str]) -> None:
    names = sorted(alive)
    unfinished = [each for each in rows if not each.finished]
    fair = [replace(each, owner=names[number % len(names)]) for number, each in enumerate(unfinished)]
    for me in alive:
        assert plan(fair, alive, me, worked(fair, me)) == Plan()
