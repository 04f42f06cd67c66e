"""The ranking, and `consumer top`."""

import io
import json
import os
import sys
from collections.abc import Iterator
from datetime import date
from decimal import Decimal
from itertools import pairwise
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consumer.cli.app import main
from consumer.cli.output import to_json, with_count
from consumer.domain.board_windows import Asked
from consumer.domain.operator_ports import BoardRow
from consumer.domain.windows import WindowKind
from consumer.operations.top import By, best, top
from consumer.settings import Settings

BIG = Decimal("9.9e125")
LONG = Decimal("1" * 38)

numbers = st.none() | st.decimals(allow_nan=False, allow_infinity=False) | st.integers(-3, 3).map(Decimal)
rows = st.builds(BoardRow, player=st.text(max_size=3), games=numbers, total=numbers, date=st.none())


def row(player: str, total: str | None = None, games: str | None = None) -> BoardRow:
    games_played, total_score = (None if text is None else Decimal(text) for text in (games, total))
    return BoardRow(player, games_played, total_score, "2026-01-31")


def test_the_best_come_first_and_ties_by_name() -> None:
    found = [row("c", "5"), row("b", "9"), row("a", "5"), row("e", "-1"), row("d")]
    assert [each.player for each in best(found, By.TOTAL_SCORE, 9)] == ["b", "a", "c", "e", "d"]
    assert [each.player for each in best(found, By.TOTAL_SCORE, 2)] == ["b", "a"]


def test_by_games_played() -> None:
    found = [row("a", "9", "1"), row("b", "1", "9"), row("c", "99")]
    assert [each.player for each in best(found, By.GAMES_PLAYED, 3)] == ["b", "a", "c"]


def test_the_last_of_38_digits_decides() -> None:
    found = [row("a", "1" * 38), row("b", "1" * 37 + "2"), row("c", "-" + "1" * 37 + "2"), row("d", "-" + "1" * 38)]
    assert [each.player for each in best(found, By.TOTAL_SCORE, 4)] == ["b", "a", "d", "c"]


@given(st.lists(rows, max_size=30), st.integers(1, 40), st.sampled_from(By))
def test_the_best_are_no_worse_than_any_other(found: list[BoardRow], limit: int, by: By) -> None:
    chosen = best(iter(found), by, limit)
    assert len(chosen) == min(limit, len(found))
    left = list(found)
    for each in chosen:
        left.remove(each)
    for one, other in [*pairwise(chosen), *((chosen[-1], each) for each in left)]:
        mine, others = (each.total if by is By.TOTAL_SCORE else each.games for each in (one, other))
        if mine is None or others is None:
            assert others is None
        else:
            assert mine >= others
        if mine == others:
            assert one.player <= other.player


def test_the_rows_pass_through_the_watch_function() -> None:
    class Boards:
        def rows(self, window: str | None = None) -> Iterator[BoardRow]:
            seen.append(window)
            yield from (row("a", "1"), row("b", "2"))

        def about(self) -> int:
            return 7

    seen: list[Any] = []

    def watch(found: Iterator[BoardRow], about: int) -> Iterator[BoardRow]:
        seen.append(about)
        for each in found:
            seen.append(each.player)
            yield each

    assert top(Boards(), By.TOTAL_SCORE, 1, watch) == [row("b", "2")]
    assert seen == [7, None, "a", "b"]
    seen.clear()
    top(Boards(), By.TOTAL_SCORE, 1, watch, "day_20261126")
    assert seen == [7, "day_20261126", "a", "b"]


@given(
    st.recursive(
        st.none() | st.booleans() | st.text() | st.decimals(allow_nan=False, allow_infinity=False, places=9),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
        max_leaves=9,
    )
)
def test_json_can_be_read_back(value: object) -> None:
    text = to_json(value)
    assert text.isascii()
    assert json.loads(text, parse_float=Decimal, parse_int=Decimal) == value


@pytest.mark.parametrize("number", [BIG, LONG, -LONG, Decimal("1e-130"), Decimal("0e5"), Decimal("1.50")])
def test_numbers_have_all_digits_and_no_exponent(number: Decimal) -> None:
    text = to_json(number)
    assert set(text) <= set("-0123456789.")
    assert Decimal(text) == number
    assert json.loads(text, parse_float=Decimal, parse_int=Decimal) == number


class FakeWiring:
    """Stands in for consumer.wiring.operators: `top` returns `rows` and remembers its arguments."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.rows = [
            BoardRow("anna", Decimal(2), LONG, "2026-01-31"),
            BoardRow("b\x1b[2J\u202eé", None, BIG, None),
        ]
        self.calls: list[tuple[Settings, By, int]] = []
        self.wanted: list[Asked | None] = []
        self.sentences: list[str] = []
        monkeypatch.setitem(sys.modules, "consumer.wiring.operators", SimpleNamespace(top=self.top))
        monkeypatch.setattr("consumer.telemetry.logs.configure", lambda *_: None)
        for name in [name for name in os.environ if name.startswith("CONSUMER_")]:
            monkeypatch.delenv(name)

    def top(
        self, settings: Settings, by: By, limit: int, watch: Any, wanted: Asked | None
    ) -> tuple[list[BoardRow], list[str]]:
        self.calls.append((settings, by, limit))
        self.wanted.append(wanted)
        return list(watch(iter(self.rows), 0)), self.sentences


@pytest.fixture
def wiring(monkeypatch: pytest.MonkeyPatch) -> FakeWiring:
    return FakeWiring(monkeypatch)


def end(*arguments: str) -> Any:
    with pytest.raises(SystemExit) as ended:
        main(["top", *arguments])
    return ended.value.code


def test_defaults(wiring: FakeWiring) -> None:
    assert end() == 0
    ((settings, by, limit),) = wiring.calls
    assert (settings.leaderboard_table, by, limit) == ("Leaderboards", By.TOTAL_SCORE, 10)


def test_flags(wiring: FakeWiring) -> None:
    assert end("--by", "gamesPlayed", "--limit", "3", "--leaderboard-table", "Others") == 0
    ((settings, by, limit),) = wiring.calls
    assert (settings.leaderboard_table, by, limit) == ("Others", By.GAMES_PLAYED, 3)


@pytest.mark.parametrize("arguments", [["--limit", "0"], ["--limit", "many"], ["--by", "score"]])
def test_wrong_flags(wiring: FakeWiring, arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert end(*arguments) == 2
    assert arguments[0] in capsys.readouterr().err
    assert wiring.calls == []


def test_it_checks_only_the_settings_that_it_uses(wiring: FakeWiring, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CONSUMER_HTTP_PORT", "x")
    monkeypatch.setenv("CONSUMER_START_POSITION", "soon")
    monkeypatch.setenv("CONSUMER_LEADERBOARD_TABLE", "consumer-quarantine")  # the default of one that it does not use
    assert end() == 0
    assert end("--log-level", "LOUD") == 2
    assert len(wiring.calls) == 1


@pytest.mark.usefixtures("wiring")
def test_json_is_one_array_with_every_digit(capsys: pytest.CaptureFixture[str]) -> None:
    assert end("--json") == 0
    printed = capsys.readouterr()
    assert printed.err == ""
    assert json.loads(printed.out, parse_int=Decimal) == [
        {"playerId": "anna", "gamesPlayed": 2, "totalScore": LONG, "lastPlayedDate": "2026-01-31"},
        {"playerId": "b\x1b[2J\u202eé", "gamesPlayed": None, "totalScore": BIG, "lastPlayedDate": None},
    ]


@pytest.mark.usefixtures("wiring")
def test_plain_lines_are_not_folded_and_show_hidden_characters(capsys: pytest.CaptureFixture[str]) -> None:
    assert end() == 0
    printed = capsys.readouterr()
    assert printed.err == ""
    assert [line.split() for line in printed.out.splitlines()] == [
        ["#", "playerId", "gamesPlayed", "totalScore", "lastPlayedDate"],
        ["1", "anna", "2", f"{LONG:f}", "2026-01-31"],
        ["2", "b\\x1b[2J\\u202eé", "-", f"{BIG:f}", "-"],
    ]
    assert len({len(line) for line in printed.out.splitlines()}) == 1, "aligned"


def test_an_empty_board(wiring: FakeWiring, capsys: pytest.CaptureFixture[str]) -> None:
    wiring.rows = []
    assert end() == 0
    assert capsys.readouterr() == ("", "The board Leaderboards has no players yet.\n")
    assert end("--json") == 0
    assert capsys.readouterr() == ("[]\n", "")


def test_a_window_is_asked_for_and_said_on_stderr(wiring: FakeWiring, capsys: pytest.CaptureFixture[str]) -> None:
    wiring.sentences = ["week 2026W48 in UTC", "week 2026W48 is incomplete: why"]
    assert end("--window", "week:2026-W48", "--json") == 0
    assert wiring.wanted == [Asked(WindowKind.WEEK, date(2026, 11, 23))]
    printed = capsys.readouterr()
    assert printed.err.splitlines() == wiring.sentences
    assert len(json.loads(printed.out)) == 2


def test_a_window_without_games(wiring: FakeWiring, capsys: pytest.CaptureFixture[str]) -> None:
    wiring.rows = []
    assert end("--window", "day") == 0
    assert wiring.wanted == [Asked(WindowKind.DAY)]
    assert capsys.readouterr() == ("", "The window has no players yet.\n")


def test_a_wrong_window_reads_nothing(wiring: FakeWiring, capsys: pytest.CaptureFixture[str]) -> None:
    assert end("--window", "year") == 2
    assert "there is no kind of window 'year': it is one of day, week, month" in capsys.readouterr().err
    assert wiring.calls == []


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize("about", [0, 2, 3, 9])
def test_progress_is_shown_on_a_terminal(about: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    assert list(with_count((each for each in "abc"), about, "reading [b]this[/b]")) == ["a", "b", "c"]
    assert "reading [b]this[/b]" in terminal.getvalue()
    assert f"3/{about or '?'}" in terminal.getvalue()


def test_no_progress_is_shown_where_stderr_is_no_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    assert list(with_count(iter("abc"), 3, "reading")) == ["a", "b", "c"]
    assert capsys.readouterr() == ("", "")
