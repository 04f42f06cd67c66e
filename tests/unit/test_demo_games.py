"""The demo's games and its expectations: pure, so that the verdict can be trusted."""

import re
from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest

from consumer.demo.expected import Expected, Quarantined, Row, compare_board, compare_quarantine
from consumer.demo.games import Record, Score, faults, poison_of, season
from consumer.domain.operator_ports import BoardRow
from consumer.domain.records import Game, Poison, Reason, Rules, decode

NOW = datetime(2026, 3, 1, 23, 30, tzinfo=UTC)
GAMES = 6_000


@pytest.fixture(scope="module")
def records() -> list[Record]:
    return list(season(GAMES, 40, NOW))


@pytest.fixture
def expected(records: list[Record]) -> Expected:
    expected = Expected()
    for record in records:
        expected.add(record)
    return expected


def wire(record: Record) -> dict[str, Any]:
    change = {
        "SequenceNumber": "1" * 21,
        "ApproximateCreationDateTime": NOW.timestamp(),
        "NewImage": record.image,
    }
    return {"eventName": "INSERT", "dynamodb": change}


def board_of(expected: Expected) -> dict[str, BoardRow]:
    return {
        player: BoardRow(player, Decimal(row.games), row.total, row.date)
        for player, row in sorted(expected.board.items())
    }


def quarantine_of(expected: Expected) -> list[Quarantined]:
    return [
        Quarantined(reason, "pending", {"dynamodb": {"NewImage": image}}) for reason, image in expected.poison.values()
    ]


def test_a_season_is_the_same_for_the_same_seed(records: list[Record]) -> None:
    assert records == list(season(GAMES, 40, NOW))
    assert records != list(season(GAMES, 40, NOW, seed=8))


@pytest.mark.parametrize(("games", "players"), [(1, 1), (2, 1), (7, 300), (300, 7)])
def test_a_season_has_the_requested_games_and_poison_in_addition(games: int, players: int) -> None:
    played = list(season(games, players, NOW))
    outcomes = [record.outcome for record in played]
    good = [outcome for outcome in outcomes if isinstance(outcome, Score)]
    assert (len(good), len(outcomes) - len(good)) == (games, poison_of(games))
    assert len({score.player for score in good}) <= players
    assert len({record.game_id for record in played}) == len(played)


def test_the_worker_decodes_every_record_to_what_the_season_says(records: list[Record]) -> None:
    for record in records:
        entry = decode(wire(record), Rules(), None)
        match record.outcome:
            case Score(player, score, date):
                assert isinstance(entry, Game)
                assert (entry.player, entry.score, entry.date) == (player, score, date), record
            case reason:
                assert isinstance(entry, Poison)
                assert entry.reason == reason, record


def test_every_reason_for_poison_occurs(records: list[Record]) -> None:
    reasons = [record.outcome for record in records if isinstance(record.outcome, Reason)]
    assert set(reasons) == {fault.reason for fault in faults(NOW)}


def test_the_sums_are_such_that_floats_would_be_wrong(records: list[Record], expected: Expected) -> None:
    floats: dict[str, float] = {}
    for record in records:
        if isinstance(record.outcome, Score):
            floats[record.outcome.player] = floats.get(record.outcome.player, 0.0) + float(record.outcome.score)
    assert any(Decimal(repr(total)) != expected.board[player].total for player, total in floats.items())


def test_games_come_late_and_early(records: list[Record]) -> None:
    dates = [record.outcome.date for record in records if isinstance(record.outcome, Score)]
    assert dates != sorted(dates)
    assert min(dates) < "2018"
    assert max(dates) == "2026-03-02"


def test_expected_keeps_the_newest_date_and_exact_sums() -> None:
    expected = Expected()
    for score, date in (("0.1", "2026-01-02"), ("0.2", "2026-01-01"), ("1e20", "2025-01-01")):
        expected.add(Record({}, Score("ann", Decimal(score), date)))
    assert expected.board == {"ann": Row(3, Decimal("100000000000000000000.3"), "2026-01-02")}
    assert expected.games == 3


def test_a_board_and_quarantine_as_expected_have_no_differences(expected: Expected) -> None:
    assert compare_board(expected, reversed(board_of(expected).values())) == []
    assert compare_quarantine(expected, quarantine_of(expected)) == []


@pytest.mark.parametrize(
    ("tamper", "sentence"),
    [
        (lambda row: row._replace(games=row.games + 1), r"gamesPlayed is \d+, not \d+$"),
        (lambda row: row._replace(total=row.total + Decimal("1e-9")), r"totalScore is [\d.]+, not [\d.]+$"),
        (lambda row: row._replace(total=None), r"totalScore is missing, not [\d.]+$"),
        (lambda row: row._replace(date=None), r"lastPlayedDate is missing, not 20[\d-]+$"),
        (lambda row: row._replace(date="2001-01-01"), r"lastPlayedDate is 2001-01-01, not 20[\d-]+$"),
        (lambda row: row._replace(player="stranger"), "stranger: on the board, and never played"),
    ],
)
def test_a_tampered_row_is_reported(expected: Expected, tamper: Callable[[BoardRow], BoardRow], sentence: str) -> None:
    board = board_of(expected)
    player = sorted(board)[3]
    board[player] = tamper(board[player])
    differences = compare_board(expected, board.values())
    reported = [difference for difference in differences if not difference.endswith("not on the board")]
    assert len(reported) == 1
    assert re.search(sentence, reported[0])
    assert all(difference.startswith((player, "stranger")) for difference in differences)


def test_a_missing_row_is_reported(expected: Expected) -> None:
    player, *_ = board = board_of(expected)
    del board[player]
    assert compare_board(expected, board.values()) == [f"{player}: not on the board"]


def test_a_tampered_quarantine_is_reported(expected: Expected) -> None:
    first, second, third, fourth, *rest = quarantine_of(expected)
    twice = rest[0]
    names = [found.record["dynamodb"]["NewImage"]["gameId"]["S"] for found in (first, second, third, fourth, twice)]
    image = second.record["dynamodb"]["NewImage"] | {"more": {"S": "x"}}
    found = [
        first._replace(reason="refused"),
        second._replace(record={"dynamodb": {"NewImage": image}}),
        third._replace(state="discarded"),
        twice,
        *rest,
    ]
    assert compare_quarantine(expected, found) == [
        f"{names[0]}: quarantined as refused (pending), not {first.reason} (pending)",
        f"{names[1]}: quarantined with another image than the one that was written",
        f"{names[2]}: quarantined as {third.reason} (discarded), not {third.reason} (pending)",
        f"{names[4]}: in the quarantine, and is no poison or is there twice",
        f"{names[3]}: {fourth.reason}, not in the quarantine",
    ]
