from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import replace
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consumer.domain.leases import SHARD_END, LeaseRow, Shard
from consumer.domain.planner import Plan, plan, waiting
from tests.support.builders import row, shard

Working = Mapping[str, frozenset[Shard]]


def rows_of(*owners: str | None) -> list[LeaseRow]:
    return [row(number, owner) for number, owner in enumerate(owners)]


def worked(rows: list[LeaseRow], owner: str) -> frozenset[Shard]:
    return frozenset(row.shard for row in rows if row.owner == owner)


def numbered(owners: Iterable[str], rules: int = 0) -> dict[str, int]:
    """Living owners who all read by the same rules."""
    return dict.fromkeys(owners, rules)


def decided(made: Plan) -> tuple[list[int], list[int]]:
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
    assert decided(plan(rows, numbered(alive), "a", worked(rows, "a"))) == (claim, release)


def test_finished_shards_are_not_assigned() -> None:
    rows = [row(0, "a", checkpoint=SHARD_END), row(1, None, checkpoint=SHARD_END), row(2)]
    assert decided(plan(rows, numbered("ab"), "a", set())) == ([2], [])


def test_a_row_that_names_a_worker_that_does_not_work_the_shard_is_claimed_again() -> None:
    rows = rows_of("a", "a", "b")
    assert decided(plan(rows, numbered("ab"), "a", {shard(1)})) == ([0], [])


def test_such_a_row_is_claimed_even_if_it_is_one_too_many() -> None:
    """No other worker may claim it, and only what is worked can be handed over: it is claimed first."""
    rows = rows_of("a", "a")
    first = plan(rows, numbered("ab"), "a", {shard(0)})
    assert decided(first) == ([1], [])
    assert decided(plan(rows, numbered("ab"), "a", {shard(0), shard(1)})) == ([], [1])


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
    plans = {me: plan(rows, numbered(alive), me, working[me]) for me in alive}
    shuffled = random.sample(rows, len(rows))
    assert plans == {me: plan(shuffled, numbered(alive), me, working[me]) for me in alive}
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
        plans = {me: plan(rows, numbered(alive), me, worked(rows, me)) for me in alive}
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
        assert plan(fair, numbered(alive), me, worked(fair, me)) == Plan()


def levels(*rows: tuple[str | None, int]) -> list[LeaseRow]:
    """Rows with these owners and numbers of rules."""
    return [row(number, owner, rules=rules) for number, (owner, rules) in enumerate(rows)]


@pytest.mark.parametrize(
    ("rows", "numbers", "claim", "release"),
    [
        (levels((None, 2)), {"a": 1, "b": 2}, [], []),
        (levels((None, 1), (None, 2)), {"a": 1, "b": 2}, [0], []),
        (levels((None, 1), (None, 1)), {"a": 2, "b": 1}, [0], []),
        (levels((None, 1), (None, 2)), {"a": 2, "b": 1}, [1], []),
        (levels((None, 0), (None, 0)), {"a": 1, "b": 0}, [0], []),
        (levels(("a", 1), ("a", 1)), {"a": 1, "b": 2}, [], [1]),
        (levels(("b", 1), ("b", 1)), {"a": 2, "b": 1}, [], []),
        (levels(("a", 1), ("b", 2), ("b", 2)), {"a": 1, "b": 2}, [], []),
        (levels((None, 3), (None, 3)), {"a": 1, "b": 2}, [], []),
    ],
)
def test_a_shard_goes_only_to_workers_of_its_number_or_a_higher_one(
    rows: list[LeaseRow], numbers: dict[str, int], claim: list[int], release: list[int]
) -> None:
    assert decided(plan(rows, numbers, "a", worked(rows, "a"))) == (claim, release)


def test_rows_that_the_fewest_may_have_are_shared_out_first() -> None:
    """Else the worker of the newest rules got old shards first, and the others could not take the new ones from it."""
    rows = levels((None, 1), (None, 1), (None, 2), (None, 2))
    numbers = {"a": 2, "b": 1}
    assert decided(plan(rows, numbers, "a", ())) == ([2, 3], [])
    assert decided(plan(rows, numbers, "b", ())) == ([0, 1], [])


def test_shards_wait_when_no_living_worker_has_their_number() -> None:
    rows = [*levels(("a", 3), (None, 2), (None, 1)), row(3, checkpoint=SHARD_END, rules=3)]
    assert [each.shard for each in waiting(rows, [1, 2])] == [shard(0)]
    assert [each.shard for each in waiting(rows, [])] == [shard(0), shard(1), shard(2)]
    assert waiting(rows, [3]) == []


NUMBERS = st.dictionaries(st.sampled_from(["a", "b", "c", "d"]), st.integers(0, 3), min_size=1)


@st.composite
def mixed(draw: st.DrawFn) -> tuple[list[LeaseRow], dict[str, int]]:
    """Rows and living workers of several rules. A row's owner could claim it: its number is not lower."""
    numbers = draw(NUMBERS)
    drawn = draw(st.lists(st.tuples(OWNERS, st.integers(0, 3), st.booleans()), max_size=12))
    return [
        row(position, owner, checkpoint=SHARD_END if done else "1", rules=min(rules, numbers.get(owner or "", rules)))
        for position, (owner, rules, done) in enumerate(drawn)
    ], numbers


def shares(rows: list[LeaseRow], numbers: dict[str, int]) -> dict[str, dict[int, int]]:
    """How many shards of each level each worker is to have: to the least loaded, to a holder, by name."""
    load = dict.fromkeys(sorted(numbers), 0)
    parts: dict[str, dict[int, int]] = {owner: {} for owner in load}
    for level in sorted({each.rules for each in rows}, reverse=True):
        here = [each for each in rows if each.rules == level]
        held = Counter(each.owner for each in here)
        for _ in here:
            able = [owner for owner in load if numbers[owner] >= level]
            if able:
                chosen = min(able, key=lambda w: (load[w], parts[w].get(level, 0) >= held[w], w))
                load[chosen] += 1
                parts[chosen][level] = parts[chosen].get(level, 0) + 1
    return parts


@given(mixed())
def test_workers_of_several_rules_decide_alike_and_only_what_they_may(
    situation: tuple[list[LeaseRow], dict[str, int]],
) -> None:
    rows, numbers = situation
    unfinished = [each for each in rows if not each.finished]
    plans = {me: plan(rows, numbers, me, worked(rows, me)) for me in numbers}
    claims = [each for made in plans.values() for each in made.claim]
    assert len({each.shard for each in claims}) == len(claims), "no two workers claim the same shard"
    assert all(each.rules <= numbers[me] for me, made in plans.items() for each in made.claim)
    waits = {each.shard for each in waiting(rows, numbers.values())}
    free = {each.shard for each in unfinished if each.owner not in numbers}
    assert {each.shard for each in claims} == free - waits, "what waits is left alone, all else is claimed"
    wanted = shares(unfinished, numbers)
    for me, made in plans.items():
        for level in {each.rules for each in unfinished}:
            held = sorted(each.shard for each in unfinished if each.owner == me and each.rules == level)
            part = wanted[me].get(level, 0)
            assert set(held[part:]) == set(held) & set(made.release)
            assert sum(each.rules == level for each in made.claim) <= max(0, part - len(held))


@given(mixed())
def test_workers_of_several_rules_settle_without_flapping(situation: tuple[list[LeaseRow], dict[str, int]]) -> None:
    """A claim writes the worker's number into the row, so shards move to newer rules and never back."""
    rows, numbers = situation
    for _ in range(20):
        plans = {me: plan(rows, numbers, me, worked(rows, me)) for me in numbers}
        if not any(made.claim or made.release for made in plans.values()):
            break
        to = {each.shard: me for me, made in plans.items() for each in made.claim}
        freed = {each for made in plans.values() for each in made.release}
        rows = [
            replace(each, owner=to[each.shard], rules=numbers[to[each.shard]])
            if each.shard in to
            else replace(each, owner=None if each.shard in freed else each.owner)
            for each in rows
        ]
    else:
        pytest.fail("shards move for ever")
    waits = waiting(rows, numbers.values())
    have = {me: [each for each in rows if each.owner == me and not each.finished] for me in numbers}
    assert sum(map(len, have.values())) + len(waits) == sum(not each.finished for each in rows)
    for mine in have.values():
        for other, theirs in have.items():
            if any(each.rules <= numbers[other] for each in mine):
                assert len(mine) <= len(theirs) + 1, "no worker has two more than one that may have one of them"
