"""`consumer init --adopt` as a process: what `run` refused, it starts with afterwards."""

import threading
from collections.abc import Iterator

import pytest

from consumer.aws.audit import DynamoAudit
from tests.engines import TableEngine
from tests.processes import Game, Row, consumer


@pytest.fixture
def counted(engine: TableEngine) -> Iterator[Game]:
    """A game that a worker has counted; it is gone."""
    with Game(engine) as game:
        game.play(30, 5)
        worker = game.worker()
        game.wait_until_consumed()
        assert worker.terminate().code == 0
        yield game


def adopt(game: Game, *arguments: str) -> tuple[int, str, str]:
    """Exit code, stdout and stderr, where nobody can be asked."""
    ended = consumer("init", "--adopt", *arguments, environment=game.environment())
    assert "Traceback" not in ended.stderr
    return ended.returncode, ended.stdout, ended.stderr


def refused(game: Game) -> None:
    ended = game.worker().wait()
    assert ended.code == 4, ended.stderr


def trail(game: Game) -> list[dict[str, str]]:
    return list(DynamoAudit(game.client, game.tables["quarantine"], threading.Event()).rows())


def test_nothing_to_adopt(counted: Game) -> None:
    before = counted.rows("quarantine")
    assert adopt(counted) == (0, "There is nothing to adopt: the tables belong together.\n", "")
    assert counted.rows("quarantine") == before


def test_a_lost_ledger_counts_again_once_a_person_says_so(counted: Game) -> None:
    for row in counted.rows("lease"):
        counted.client.delete_item(TableName=counted.tables["lease"], Key={"leaseKey": row["leaseKey"]})
    refused(counted)
    status = consumer("status", environment=counted.environment())
    assert (status.returncode, status.stderr) == (12, "")
    assert "the way on is `consumer init --adopt`" in status.stdout
    code, said, complained = adopt(counted)
    assert (code, said) == (4, "")
    assert "up to 24 hours of games, is counted a second time" in complained
    assert "add --yes" in complained
    refused(counted)
    assert trail(counted) == []

    code, said, complained = adopt(counted, "--yes")
    assert code == 0, complained
    assert said.startswith("adopted  arn:")
    assert [row["birth"] for row in trail(counted)] == ["removed"]
    worker = counted.worker()
    counted.wait_until_consumed()
    assert worker.terminate().code == 0
    twice = {player: Row(row.games * 2, row.total * 2, row.date) for player, row in counted.tally.rows.items()}
    counted.assert_exact(twice)
    assert adopt(counted)[0] == 0


def test_a_new_leaderboard_goes_on(counted: Game) -> None:
    counted.tables["leaderboard"] += "-new"
    counted.make_tables()
    refused(counted)
    code, _, complained = adopt(counted, "--yes")
    assert code == 0, complained
    assert "goes on where it stands" in complained
    counted.tally.rows.clear()
    worker = counted.worker()
    counted.play(20, 5)
    counted.wait_until_consumed()
    assert worker.terminate().code == 0
    counted.assert_exact()


def test_a_lost_quarantine_table_counts_nothing_twice(counted: Game) -> None:
    counted.tables["quarantine"] += "-new"
    counted.make_tables()
    refused(counted)
    code, _, complained = adopt(counted, "--yes")
    assert code == 0, complained
    assert "nothing is counted twice" in complained
    worker = counted.worker()
    counted.play(20, 5)
    counted.wait_until_consumed()
    assert worker.terminate().code == 0
    counted.assert_exact()


def test_a_table_that_is_not_there(counted: Game) -> None:
    counted.tables["lease"] += "-missing"
    code, said, complained = adopt(counted, "--yes")
    assert (code, said) == (3, "")
    assert "(CONSUMER_LEASE_TABLE) does not exist" in complained
