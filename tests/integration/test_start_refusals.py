"""What `consumer run` refuses at start: its exit code, and a sentence on what would happen and what to do."""

import socket
from collections.abc import Iterator

import pytest

from tests.support.engines import TableEngine
from tests.support.processes import Game


@pytest.fixture
def game(engine: TableEngine) -> Iterator[Game]:
    with Game(engine) as game:
        yield game


@pytest.fixture
def counted(game: Game) -> Game:
    """A game that a worker has counted; the worker has ended."""
    game.play(50, 5)
    worker = game.worker()
    game.wait_until_consumed()
    assert worker.terminate().code == 0
    return game


def refused(game: Game, code: int, *parts: str) -> None:
    """A start ends with `code` and a sentence that has these parts, and the board is what it was."""
    board = game.board() if code == 4 else None
    ended = game.worker().wait()
    assert ended.code == code, ended.stderr
    assert [part for part in parts if part not in ended.stderr] == [], ended.stderr
    assert "Traceback" not in ended.stderr
    if board is not None:
        assert game.board() == board


def test_an_emptied_lease_table(counted: Game) -> None:
    for row in counted.rows("lease"):
        counted.client.delete_item(TableName=counted.tables["lease"], Key={"leaseKey": row["leaseKey"]})
    lease, leaderboard = counted.tables["lease"], counted.tables["leaderboard"]
    refused(counted, 4, lease, leaderboard, "a second time", "CONSUMER_LEASE_TABLE", "restore")
    assert counted.rows("lease") == [], "it has not started again, nor written a row"


def test_a_mistyped_lease_table(counted: Game) -> None:
    known = counted.tables["lease"]
    counted.tables["lease"] += "s"
    counted.make_tables()
    refused(counted, 4, known, counted.tables["lease"], "a second time", "CONSUMER_LEASE_TABLE")


def test_a_mistyped_quarantine_table(counted: Game) -> None:
    counted.tables["quarantine"] += "s"
    counted.make_tables()
    refused(counted, 4, counted.tables["lease"], "no table binding", "CONSUMER_QUARANTINE_TABLE")


def test_another_leaderboard(counted: Game) -> None:
    known = counted.tables["leaderboard"]
    counted.tables["leaderboard"] += "s"
    counted.make_tables()
    refused(counted, 4, known, counted.tables["leaderboard"], "CONSUMER_LEADERBOARD_TABLE")


@pytest.mark.parametrize("table", ["leaderboard", "lease", "quarantine"])
def test_a_table_that_is_not_there(game: Game, table: str) -> None:
    game.tables[table] += "-missing"
    refused(game, 3, game.tables[table], f"CONSUMER_{table.upper()}_TABLE", "`consumer init`")


def test_a_source_that_is_not_there(game: Game) -> None:
    game.tables["source"] += "-missing"
    refused(game, 3, game.tables["source"], "CONSUMER_SOURCE_TABLE")


def test_a_table_of_another_kind(game: Game) -> None:
    game.tables["lease"], game.tables["quarantine"] = game.tables["quarantine"], game.tables["lease"]
    refused(game, 3, game.tables["lease"], "CONSUMER_LEASE_TABLE", "leaseKey", "the key")


def test_an_endpoint_where_nothing_listens(ministack_url: str) -> None:
    with socket.socket() as taken, Game(TableEngine("ministack", ministack_url)) as game:
        taken.bind(("127.0.0.1", 0))  # bound and not listening: connections are refused
        game.engine = TableEngine("ministack", f"http://127.0.0.1:{taken.getsockname()[1]}")
        refused(game, 3, "cannot be reached", "AWS_ENDPOINT_URL")
