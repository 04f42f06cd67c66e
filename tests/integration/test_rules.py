"""Other rules than the accepted ones: `run` refuses, `init --accept-rules` accepts them, shards move to them."""

import threading
from collections.abc import Iterator
from typing import Any

import pytest

from consumer.aws.tables import DynamoTableReader
from consumer.domain.leases import TableNames
from tests.support.engines import TableEngine
from tests.support.processes import Game, consumer

NEW: dict[str, Any] = {"score_attribute": "points", "windows": "day:2"}


@pytest.fixture
def counted(engine: TableEngine) -> Iterator[Game]:
    """A game that a worker has counted; the worker has ended."""
    with Game(engine) as game:
        game.play(30, 5)
        worker = game.worker()
        game.wait_until_consumed()
        assert worker.terminate().code == 0
        yield game


def accept(game: Game, *arguments: str, **settings: Any) -> tuple[int, str, str]:
    """Exit code, stdout and stderr, where stdin is no terminal."""
    ended = consumer("init", "--accept-rules", *arguments, environment=game.environment(**settings))
    assert "Traceback" not in ended.stderr
    return ended.returncode, ended.stdout, ended.stderr


def accepted(game: Game) -> int:
    (source,) = [row for row in game.rows("lease") if row["leaseKey"]["S"] == "source"]
    return len(source["rules"]["L"])


def number(game: Game) -> str:
    lease = game.lease()
    assert lease is not None
    return str(lease["rules"]["N"])


def trail(game: Game) -> list[dict[str, str]]:
    names = TableNames(quarantine=game.tables["quarantine"])
    return list(DynamoTableReader(game.client, names, threading.Event()).audit_rows())


@pytest.mark.timeout(60)
def test_a_worker_of_other_rules_is_refused_until_an_operator_accepts_them(counted: Game) -> None:
    leases, board = counted.rows("lease"), counted.board()
    ended = counted.worker(**NEW).wait()
    assert ended.code == 4, ended.stderr
    for part in (
        f"than those accepted in lease table {counted.tables['lease']}",
        "CONSUMER_SCORE_ATTRIBUTE is points, accepted is score",
        "CONSUMER_WINDOWS is day:2, accepted is empty",
        "Nothing was read or written",
        "`consumer init --accept-rules`",
    ):
        assert part in ended.stderr
    assert "CONSUMER_TIMESTAMP_ATTRIBUTE" not in ended.stderr, "it is the same"
    assert (counted.rows("lease"), counted.board()) == (leases, board), "it has not even joined"

    code, out, err = accept(counted, **NEW)
    assert (code, out) == (4, "")
    assert "CONSUMER_SCORE_ATTRIBUTE: score -> points" in err
    assert "add --yes" in err
    assert (accepted(counted), trail(counted)) == (1, [])
    code, out, err = accept(counted, "--yes", **NEW)
    assert (code, out) == (0, "accepted  rules 2. Workers with these settings can start now.\n"), err
    assert accepted(counted) == 2
    (row,) = trail(counted)
    assert (row["act"], row["number"]) == ("init --accept-rules", "2")
    assert "CONSUMER_WINDOWS: empty -> day:2" in row["differences"]
    assert accept(counted, "--yes", **NEW)[:2] == (
        0,
        "There is nothing to do: these rules are the newest, with number 2.\n",
    )

    worker = counted.worker(**NEW)
    worker.wait_for_event("lease.claimed")
    assert number(counted) == "2"
    item = counted.make("player-new")
    counted.put([{**item, "points": {"N": "7"}}])
    counted.wait_until_consumed()
    assert counted.board()["player-new"].total == 7
    assert worker.terminate().code == 0


@pytest.mark.timeout(60)
def test_a_shard_waits_for_newer_rules_until_the_older_ones_are_accepted_again(counted: Game) -> None:
    accept(counted, "--yes", **NEW)
    newer = counted.worker(**NEW)
    newer.wait_for_event("lease.claimed")
    assert newer.terminate().code == 0
    older = counted.worker(lease_ttl_seconds="1")
    older.wait_for_event("worker.joined")
    counted.play(5, 5)
    assert older.code is None, "its rules are accepted"
    code, out, err = accept(counted, "--yes")
    assert (code, out) == (0, "accepted  rules 3. Workers with these settings can start now.\n"), err
    assert "they were accepted before, as number 1" in err
    older.wait_for_event("lease.claimed")
    assert number(counted) == "3"
    counted.wait_until_consumed()
    counted.assert_exact()
    assert older.terminate().code == 0


@pytest.mark.parametrize(
    ("settings", "variable"),
    [
        ({"player_attribute": "user"}, "CONSUMER_PLAYER_ATTRIBUTE is user"),
        ({"source_table": "Others"}, "CONSUMER_SOURCE_TABLE is Others"),
    ],
)
def test_what_needs_a_new_board_is_not_accepted(counted: Game, settings: dict[str, Any], variable: str) -> None:
    code, out, err = accept(counted, "--yes", **settings)
    assert (code, out) == (4, "")
    assert variable in err
    assert "Nothing was changed" in err
    assert (accepted(counted), trail(counted)) == (1, [])
