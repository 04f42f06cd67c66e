"""The sums of windows in a unit: exact, and those of the games that count in them."""

from collections import Counter
from decimal import Decimal
from fractions import Fraction

from hypothesis import given
from hypothesis import strategies as st

from consumer.domain.cut import cut
from consumer.domain.fold import MOST_WINDOWS, Delta, Limits, Unit, WindowSum, add_to
from consumer.domain.leases import TRIM_HORIZON
from consumer.domain.records import Game
from tests.support.builders import game

TODAY = ("day_20260131", "month_202601", "week_2026W05")
YESTERDAY = ("day_20260130", "month_202601", "week_2026W05")


def counted(seq: int, windows: tuple[str, ...], score: object = 150, player: str = "foo") -> Game:
    return game(seq, player, score)._replace(windows=windows)


def unit_of(*games: Game) -> Unit:
    return cut(games, TRIM_HORIZON, Limits(), 0.0)


def test_games_of_the_same_windows_add_up_to_the_same_sum_in_each() -> None:
    delta = unit_of(counted(1, TODAY, 5), counted(2, TODAY, "2.5")).deltas["foo"]
    assert delta == Delta(2, Decimal("7.5"), "2026-01-31", tuple(WindowSum(each, 2, Decimal("7.5")) for each in TODAY))


def test_games_of_different_windows_add_up_window_by_window() -> None:
    late, today, too_late = counted(2, YESTERDAY, 7), counted(3, TODAY, 1), counted(4, (), 100)
    delta = unit_of(counted(1, TODAY, 5), late, today, too_late).deltas["foo"]
    assert (delta.games, delta.total) == (4, Decimal(113))
    assert delta.windows == (
        WindowSum("day_20260130", 1, Decimal(7)),
        WindowSum("day_20260131", 2, Decimal(6)),
        WindowSum("month_202601", 3, Decimal(13)),
        WindowSum("week_2026W05", 3, Decimal(13)),
    )


def test_a_game_in_no_window_before_one_that_is_in_some() -> None:
    delta = unit_of(counted(1, (), 5), counted(2, TODAY, 7)).deltas["foo"]
    assert delta.windows == tuple(WindowSum(each, 1, Decimal(7)) for each in TODAY)


def test_a_unit_ends_before_a_sum_of_one_window_that_no_number_can_hold() -> None:
    """The sum of all time could be held: what makes it long is taken away again."""
    games = [counted(1, TODAY, "1e37"), counted(2, YESTERDAY, "-1e37"), counted(3, TODAY, "1e-5")]
    unit = unit_of(*games)
    assert unit.records == 2
    assert {each.window: each.games for each in unit.deltas["foo"].windows} == {
        "day_20260130": 1,
        "day_20260131": 1,
        "month_202601": 2,
        "week_2026W05": 2,
    }


def test_a_unit_ends_before_more_windows_of_a_player_than_one_write_takes() -> None:
    games = [counted(seq, (f"day_202601{seq:02}",)) for seq in range(1, MOST_WINDOWS + 3)]
    unit = unit_of(*games)
    assert unit.records == MOST_WINDOWS
    assert len(unit.deltas["foo"].windows) == MOST_WINDOWS
    assert unit_of(*(each._replace(player=f"p{seq}") for seq, each in enumerate(games))).records == len(games)


WINDOWS = st.lists(st.sampled_from([*TODAY, *YESTERDAY]), unique=True, max_size=4).map(lambda some: tuple(sorted(some)))
SCORES = st.decimals(-(10**6), 10**6, places=3)


@given(st.lists(st.tuples(WINDOWS, SCORES, st.sampled_from("ab"))), st.integers(1, 5))
def test_however_units_are_cut_each_window_holds_its_games(
    entries: list[tuple[tuple[str, ...], Decimal, str]], records: int
) -> None:
    games = [counted(seq, windows, score, player) for seq, (windows, score, player) in enumerate(entries)]
    counts, sums = Counter[tuple[str, str]](), Counter[tuple[str, str]]()
    added: dict[str, Delta] = {}
    while games:
        unit = cut(games, TRIM_HORIZON, Limits(records=records), 0.0)
        for player, delta in unit.deltas.items():
            assert list(delta.windows) == sorted(delta.windows)
            add_to(added, player, delta)
            for window, number, total in delta.windows:
                counts[player, window] += number
                sums[player, window] += Fraction(total)  # type: ignore[assignment]
        games = games[unit.records :]
    for windows, score, player in entries:
        for window in windows:
            counts[player, window] -= 1
            sums[player, window] -= Fraction(score)  # type: ignore[assignment]
    assert not any(counts.values())
    assert not any(sums.values())
    for delta in added.values():
        assert list(delta.windows) == sorted(delta.windows)
