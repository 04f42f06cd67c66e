import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consumer.domain.cut import cut
from consumer.domain.fold import DELTA_BYTES, Delta, Limits, Unit
from consumer.domain.leases import TRIM_HORIZON
from consumer.domain.numbers import EXACT
from consumer.domain.records import Entry, Game, Ignored, Outcome, Poison
from tests.support.builders import CREATED, HAD_GAME, game, games, ignored, poison, sequence_number

WIDE = Limits()


def units(entries: Sequence[Entry], limits: Limits = WIDE) -> list[Unit]:
    """The whole buffer, cut into units as a shard does."""
    left, previous, made = list(entries), TRIM_HORIZON, []
    while left:
        unit = cut(left, previous, limits, cut_at=CREATED)
        assert unit.records >= 1, "a unit without a record would be cut for ever"
        made.append(unit)
        del left[: unit.records]
        previous = unit.last
    return made


def test_a_unit_is_the_fold_of_its_records() -> None:
    entries: list[Entry] = [
        game(1, "foo", 150),
        ignored(2),
        game(3, "bar", "180.5"),
        game(4, "foo", -20, date="2026-01-30"),
    ]
    assert cut(entries, sequence_number(0), WIDE, cut_at=7.0) == Unit(
        previous=sequence_number(0),
        first=sequence_number(1),
        last=sequence_number(4),
        records=4,
        deltas={"foo": Delta(2, Decimal(130), "2026-01-31"), "bar": Delta(1, Decimal("180.5"), "2026-01-31")},
        poison=(),
        outcomes={Outcome.APPLIED: 3, Outcome.MODIFIED: 1},
        created=CREATED + 4,
        cut_at=7.0,
        circuit=replace(HAD_GAME, ignored=True),
    )


def test_poison_and_ignored_records_are_counted_and_add_nothing() -> None:
    entries: list[Entry] = [ignored(1, Outcome.BEFORE_START), poison(2), ignored(3), game(4), poison(5)]
    unit = cut(entries, TRIM_HORIZON, WIDE, cut_at=0.0)
    assert unit.outcomes == {
        Outcome.BEFORE_START: 1,
        Outcome.QUARANTINED: 2,
        Outcome.MODIFIED: 1,
        Outcome.APPLIED: 1,
    }
    assert [each.sequence_number for each in unit.poison] == [sequence_number(2), sequence_number(5)]
    assert unit.deltas == {"foo": Delta(1, Decimal(150), "2026-01-31")}


def test_ignored_records_alone_are_a_unit() -> None:
    unit = cut([ignored(1), ignored(2)], TRIM_HORIZON, WIDE, cut_at=0.0)
    assert (unit.first, unit.last, unit.records, unit.deltas) == (sequence_number(1), sequence_number(2), 2, {})


@pytest.mark.parametrize("dates", [("2026-01-30", "2026-01-31"), ("2026-01-31", "2026-01-30")])
def test_the_date_is_the_newest_whatever_order_games_arrive_in(dates: tuple[str, str]) -> None:
    entries = [game(seq, date=date) for seq, date in enumerate(dates, start=1)]
    assert cut(entries, TRIM_HORIZON, WIDE, cut_at=0.0).deltas["foo"].date == "2026-01-31"


@pytest.mark.parametrize(
    ("scores", "records"),
    [
        (("9" * 38, "2"), 1),
        (("9" * 38, "1"), 2),
        (("9" * 38, "-1"), 2),
        (("2", "9" * 38), 1),
        (("1E125", "1"), 1),
        (("9E125", "9E125"), 1),
        (("9" * 37, "0.5"), 2),
        (("9" * 38, "0.5"), 1),
        (("1E-130", "1E-130"), 2),
        (("1E-130", "1"), 1),
        (("1.5E-130", "-1E-130"), 1),
    ],
)
def test_a_sum_that_dynamodb_could_not_hold_ends_the_unit(scores: tuple[str, str], records: int) -> None:
    entries = [game(seq, score=score) for seq, score in enumerate(scores, start=1)]
    assert [unit.records for unit in units(entries)] == ([2] if records == 2 else [1, 1])


def test_a_player_too_many_ends_the_unit_but_a_known_one_goes_in() -> None:
    entries: list[Entry] = [game(1, "a"), game(2, "b"), game(3, "a"), ignored(4), game(5, "c"), game(6, "a")]
    assert [unit.records for unit in units(entries, Limits(actions=2))] == [4, 2]


def test_poison_takes_an_action_for_its_entry_and_one_for_each_part() -> None:
    entries: list[Entry] = [game(1), poison(2, parts=(b"1", b"2")), poison(3, parts=(b"1",))]
    assert [unit.records for unit in units(entries, Limits(actions=4))] == [2, 1]
    assert [unit.records for unit in units(entries, Limits(actions=3))] == [1, 1, 1]


def test_a_record_past_every_limit_still_goes_alone() -> None:
    huge = poison(1, parts=(b"x" * 300, b"x" * 300))
    assert [unit.records for unit in units([huge, game(2), huge], Limits(actions=1, size_bytes=10))] == [1, 1, 1]


SCORES = st.one_of(
    st.integers(-(10**6), 10**6).map(Decimal),
    st.decimals(min_value=-1000, max_value=1000, places=4),
    st.sampled_from(["9" * 38, "-" + "9" * 38, "9E125", "-9E125", "1E-130", "0.1"]).map(EXACT.create_decimal),
)
PLAYERS = st.sampled_from(["a", "b", "c", "d", "e", "f"])
DATES = st.sampled_from(["2026-01-29", "2026-01-30", "2026-01-31"])
ENTRIES = st.lists(
    st.one_of(
        st.builds(lambda player, score, date: game(0, player, score, date), PLAYERS, SCORES, DATES),
        st.builds(lambda outcome: ignored(0, outcome), st.sampled_from([Outcome.MODIFIED, Outcome.BEFORE_START])),
        st.builds(lambda sizes: poison(0, tuple(b"x" * size for size in sizes)), st.lists(st.integers(1, 900))),
    ),
    max_size=40,
).map(lambda drawn: [each._replace(sequence_number=sequence_number(at)) for at, each in enumerate(drawn)])
LIMITS = st.builds(
    Limits,
    actions=st.integers(1, 12),
    size_bytes=st.integers(DELTA_BYTES, 6000),
    records=st.none() | st.integers(1, 10),
)


def exact(totals: dict[str, Fraction]) -> dict[str, Fraction]:
    return {player: total for player, total in totals.items() if total}


@given(ENTRIES, LIMITS)
def test_units_over_any_buffer_are_its_plain_fold(entries: list[Entry], limits: Limits) -> None:
    made = units(entries, limits)
    played: Counter[str] = Counter()
    totals: dict[str, Fraction] = {}
    dates: dict[str, str] = {}
    for entry in entries:
        if isinstance(entry, Game):
            played[entry.player] += 1
            totals[entry.player] = totals.get(entry.player, Fraction()) + Fraction(entry.score)
            dates[entry.player] = max(dates.get(entry.player, ""), entry.date)
    games_added: Counter[str] = Counter()
    totals_added: dict[str, Fraction] = {}
    dates_added: dict[str, str] = {}
    for unit in made:
        for player, delta in unit.deltas.items():
            games_added[player] += delta.games
            totals_added[player] = totals_added.get(player, Fraction()) + Fraction(delta.total)
            dates_added[player] = max(dates_added.get(player, ""), delta.date)
    assert (games_added, exact(totals_added), dates_added) == (played, exact(totals), dates)
    quarantined = [each for unit in made for each in unit.poison]
    assert quarantined == [entry for entry in entries if isinstance(entry, Poison)]


@given(ENTRIES, LIMITS)
def test_cutting_loses_and_repeats_nothing_and_keeps_every_limit(entries: list[Entry], limits: Limits) -> None:
    made = units(entries, limits)
    assert sum(unit.records for unit in made) == len(entries)
    at, previous = 0, TRIM_HORIZON
    for unit in made:
        run = entries[at : at + unit.records]
        at += unit.records
        assert (unit.previous, unit.first, unit.last) == (previous, run[0].sequence_number, run[-1].sequence_number)
        assert unit.created == run[-1].created
        previous = unit.last
        outcomes = Counter(
            each.outcome if isinstance(each, Ignored) else ("applied" if isinstance(each, Game) else "quarantined")
            for each in run
        )
        assert dict(unit.outcomes) == outcomes
        assert limits.records is None or unit.records <= limits.records
        actions = len(unit.deltas) + sum(1 + len(each.parts) for each in unit.poison)
        size = len(unit.deltas) * DELTA_BYTES + sum(
            DELTA_BYTES * (1 + len(each.parts)) + sum(map(len, each.parts)) for each in unit.poison
        )
        counted = [each for each in run if not isinstance(each, Ignored)]
        assert len(counted) <= 1 or (actions <= limits.actions and size <= limits.size_bytes)
        for delta in unit.deltas.values():
            assert EXACT.create_decimal(delta.total) == delta.total, "a delta that DynamoDB can hold"


@given(ENTRIES, LIMITS)
def test_a_unit_cut_again_is_the_same_unit(entries: list[Entry], limits: Limits) -> None:
    assert units(entries, limits) == units(list(entries), limits)


@given(st.lists(st.integers(-(10**30), 10**30), min_size=1, max_size=20), st.integers(0, 2**32))
def test_a_sum_does_not_depend_on_order_or_on_where_units_end(scores: list[int], seed: int) -> None:
    shuffled = random.Random(seed).sample(scores, len(scores))
    for order in (scores, shuffled):
        entries = [game(seq, score=score) for seq, score in enumerate(order)]
        for records in (None, 1, 3):
            totals = [Fraction(unit.deltas["foo"].total) for unit in units(entries, Limits(records=records))]
            assert sum(totals) == sum(scores)


def test_a_long_run_of_one_player_is_one_unit() -> None:
    unit = cut(games(1, 5000), TRIM_HORIZON, WIDE, cut_at=0.0)
    assert unit.deltas == {"foo": Delta(5000, Decimal(750_000), "2026-01-31")}


def test_a_game_of_a_held_player_ends_a_unit_unless_it_is_the_first() -> None:
    entries = [game(1, "foo"), game(2, "hot"), game(3, "foo")]
    assert cut(entries, TRIM_HORIZON, Limits(held={"hot"}), 0.0).records == 1
    assert cut(entries[1:], TRIM_HORIZON, Limits(held={"hot"}), 0.0).records == 2
    assert cut(entries, TRIM_HORIZON, Limits(held={"foo"}), 0.0).records == 2
