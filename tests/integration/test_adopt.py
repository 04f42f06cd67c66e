"""`consumer init --adopt` as a process: what `run` refused, it starts with afterwards."""

import threading
from collections.abc import Iterator

import pytest

from consumer.aws.tables import DynamoTableReader
from consumer.domain.leases import TableNames
from tests.support.engines import TableEngine
from tests.support.processes import Game, Row, consumer


@pytest.fixture
def keyed() -> bool:
    return True


@pytest.fixture
def counted(engine: TableEngine, keyed: bool) -> Iterator[Game]:
    """A game that a worker has counted; the worker has ended."""
    with Game(engine, keyed=keyed) as game:
        game.play(30, 5)
        worker = game.worker()
        game.wait_until_consumed()
        assert worker.terminate().code == 0
        yield game


def adopt(game: Game, *arguments: str) -> tuple[int, str, str]:
    """Exit code, stdout and stderr, where stdin is no terminal."""
    ended = consumer("init", "--adopt", *arguments, environment=game.environment())
    assert "Traceback" not in ended.stderr
    return ended.returncode, ended.stdout, ended.stderr


def refused(game: Game) -> None:
    ended = game.worker().wait()
    assert ended.code == 4, ended.stderr


def trail(game: Game) -> list[dict[str, str]]:
    return list(
        DynamoTableReader(game.client, TableNames(quarantine=game.tables["quarantine"]), threading.Event()).audit_rows()
    )


def test_nothing_to_adopt(counted: Game) -> None:
    before = counted.rows("quarantine")
    assert adopt(counted) == (0, "There is nothing to adopt: the tables belong together.\n", "")
    assert counted.rows("quarantine") == before


@pytest.mark.proof
@pytest.mark.parametrize("keyed", [True, False], ids=["marks", "transactions"])
def test_a_lost_lease_table_is_read_again_once_the_operator_confirms(counted: Game, keyed: bool) -> None:
    """Where rows have marks, no game is counted a second time."""
    for row in counted.rows("lease"):
        counted.client.delete_item(TableName=counted.tables["lease"], Key={"leaseKey": row["leaseKey"]})
    refused(counted)
    status = consumer("status", environment=counted.environment())
    assert (status.returncode, status.stderr) == (12, "")
    assert "Restore the table from a backup; only if there is none: `consumer init --adopt`" in status.stdout
    code, out, err = adopt(counted)
    assert (code, out) == (4, "")
    assert "up to 24 hours of games, is counted a second time" in err
    assert "add --yes" in err
    refused(counted)
    assert trail(counted) == []

    code, out, err = adopt(counted, "--yes")
    assert code == 0, err
    assert out.startswith("adopted  arn:")
    assert [row["birth"] for row in trail(counted)] == ["removed"]
    worker = counted.worker()
    counted.wait_until_consumed()
    assert worker.terminate().code == 0
    twice = {player: Row(row.games * 2, row.total * 2, row.date) for player, row in counted.expected.rows.items()}
    counted.assert_exact(None if keyed else twice)
    assert adopt(counted)[0] == 0


def test_a_new_leaderboard_goes_on(counted: Game) -> None:
    counted.tables["leaderboard"] += "-new"
    counted.make_tables()
    refused(counted)
    code, _, err = adopt(counted, "--yes")
    assert code == 0, err
    assert "goes on from its checkpoints" in err
    counted.expected.rows.clear()
    worker = counted.worker()
    counted.play(20, 5)
    counted.wait_until_consumed()
    assert worker.terminate().code == 0
    counted.assert_exact()


def test_a_lost_quarantine_table_counts_nothing_twice(counted: Game) -> None:
    counted.tables["quarantine"] += "-new"
    counted.make_tables()
    refused(counted)
    code, _, err = adopt(counted, "--yes")
    assert code == 0, err
    assert "nothing is counted twice" in err
    worker = counted.worker()
    counted.play(20, 5)
    counted.wait_until_consumed()
    assert worker.terminate().code == 0
    counted.assert_exact()


def test_a_table_that_is_not_there(counted: Game) -> None:
    counted.tables["lease"] += "-missing"
    code, out, err = adopt(counted, "--yes")
    assert (code, out) == (3, "")
    assert "(CONSUMER_LEASE_TABLE) does not exist" in err
