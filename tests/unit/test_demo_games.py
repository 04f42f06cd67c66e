"""The demonstration's games and its books: pure, so that the verdict can be trusted."""

from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest

from consumer.demo.games import Record, Score, poison_of, season
from consumer.demo.poison import kinds
from consumer.demo.tally import Kept, Row, Tally, compare_board, compare_quarantine
from consumer.domain.board import BoardRow
from consumer.domain.records import Game, Poison, Reason, Rules, decode

NOW = datetime(2026, 3, 1, 23, 30, tzinfo=UTC)
GAMES = 6_000


@pytest.fixture(scope="module")
def records() -> list[Record]:
    return list(season(GAMES, 40, NOW))


@pytest.fixture
def tally(records: list[Record]) -> Tally:
    tally = Tally()
    for record in records:
        tally.add(record)
    return tally


def wire(record: Record) -> dict[str, Any]:
    change = {
        "SequenceNumber": "1" * 21,
        "ApproximateCreationDateTime": NOW.timestamp(),
        "NewImage": record.image,
    }
    return {"eventName": "INSERT", "dynamodb": change}


def board_of(tally: Tally) -> dict[str, BoardRow]:
    return {
        player: BoardRow(player, Decimal(row.games), row.total, row.date) for player, row in sorted(tally.board.items())
    }


def quarantine_of(tally: Tally) -> list[Kept]:
    return [Kept(reason, "pending", {"dynamodb": {"NewImage": image}}) for reason, image in tally.poison.values()]


def test_a_season_is_the_same_for_the_same_seed(records: list[Record]) -> None:
    assert records == list(season(GAMES, 40, NOW))
    assert records != list(season(GAMES, 40, NOW, seed=8))


@pytest.mark.parametrize(("games", "players"), [(1, 1), (2, 1), (7, 300), (300, 7)])
def test_a_season_has_the_games_that_were_asked_for_and_poison_besides(games: int, players: int) -> None:
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


def test_every_kind_of_poison_comes_up(records: list[Record]) -> None:
    reasons = [record.outcome for record in records if isinstance(record.outcome, Reason)]
    assert set(reasons) == {kind.reason for kind in kinds(NOW)}


def test_the_sums_are_such_that_floats_would_be_wrong(records: list[Record], tally: Tally) -> None:
    floats: dict[str, float] = {}
    for record in records:
        if isinstance(record.outcome, Score):
            floats[record.outcome.player] = floats.get(record.outcome.player, 0.0) + float(record.outcome.score)
    assert any(Decimal(repr(total)) != tally.board[player].total for player, total in floats.items())


def test_games_come_late_and_early(records: list[Record]) -> None:
    dates = [record.outcome.date for record in records if isinstance(record.outcome, Score)]
    assert dates != sorted(dates)
    assert min(dates) < "2018"
    assert max(dates) == "2026-03-02"


def test_the_tally_keeps_the_newest_date_and_exact_sums() -> None:
    tally = Tally()
    for score, date in (("0.1", "2026-01-02"), ("0.2", "2026-01-01"), ("1e20", "2025-01-01")):
        tally.add(Record({}, Score("ann", Decimal(score), date)))
    assert tally.board == {"ann": Row(3, Decimal("100000000000000000000.3"), "2026-01-02")}
    assert tally.games == 3


def test_what_is_as_it_must_be_has_no_differences(tally: Tally) -> None:
    assert compare_board(tally, reversed(board_of(tally).values())) == []
    assert compare_quarantine(tally, quarantine_of(tally)) == []


@pytest.mark.parametrize(
    ("tamper", "sentence"),
    [
        (lambda row: row._replace(games=row.games + 1), r"gamesPlayed is \d+, not \d+$"),
        (lambda row: row._replace(total=row.total + Decimal("1e-9")), r"totalScore is [\d.]+, not [\d.]+$"),
        (lambda row: row._replace(total=None), r"totalScore is missing, not [\d.]+$"),
        (lambda row: row._replace(date=None), r"lastPlayedDate is missing, not 20[\d-]+$"),
        (lambda row: row._replace(date="2001-01-01"), r"lastPlayedDate is 2001-01-01, not 20[\d-]+$"),
        (lambda row: row._replace(player="nobody"), "nobody: on the board, and never played"),
    ],
)
def test_a_tampered_row_is_told(tally: Tally, tamper: Callable[[BoardRow], BoardRow], sentence: str) -> None:
    board = board_of(tally)
    player = sorted(board)[3]
    board[player] = tamper(board[player])
    differences = compare_board(tally, board.values())
    with pytest.raises(AssertionError, match=sentence):
        raise AssertionError(differences[-1] if differences[0].endswith("not on the board") else differences[0])
    assert all(told.startswith((player, "nobody")) for told in differences)


def test_a_missing_row_is_told(tally: Tally) -> None:
    player, *_ = board = board_of(tally)
    del board[player]
    assert compare_board(tally, board.values()) == [f"{player}: not on the board"]


def test_a_tampered_quarantine_is_told(tally: Tally) -> None:
    first, second, third, fourth, *rest = quarantine_of(tally)
    twice = rest[0]
    names = [kept.record["dynamodb"]["NewImage"]["gameId"]["S"] for kept in (first, second, third, fourth, twice)]
    image = second.record["dynamodb"]["NewImage"] | {"more": {"S": "x"}}
    found = [
        first._replace(reason="refused"),
        second._replace(record={"dynamodb": {"NewImage": image}}),
        third._replace(state="discarded"),
        twice,
        *rest,
    ]
    assert compare_quarantine(tally, found) == [
        f"{names[0]}: quarantined as refused (pending), not {first.reason} (pending)",
        f"{names[1]}: quarantined with another image than the one that was written",
        f"{names[2]}: quarantined as {third.reason} (discarded), not {third.reason} (pending)",
        f"{names[4]}: in the quarantine, and is no poison or is there twice",
        f"{names[3]}: {fourth.reason}, not in the quarantine",
    ]
