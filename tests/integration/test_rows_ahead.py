"""Rows that hold games beyond the checkpoint, as after a crash between a unit's rows and its checkpoint, and what
operators do then.
"""

from collections.abc import Iterator

import pytest

from tests.support.engines import TableEngine
from tests.support.processes import Call, Fate, Game, Proxy, consumer, until

PLAYERS = 3
pytestmark = pytest.mark.proof


@pytest.fixture
def ahead(engine: TableEngine) -> Iterator[Game]:
    """Twelve games are behind the checkpoint; of the nine that follow all rows are written, the checkpoint is not."""
    with Game(engine) as game:
        game.play(12, PLAYERS)
        first = game.worker()
        game.wait_until_consumed()
        assert first.terminate().code == 0
        game.count(*(game.make(f"player-{number % PLAYERS:05}") for number in range(9)))
        table = game.tables["lease"]

        def without_commits(call: Call) -> Fate:
            commit = call.operation == "UpdateItem" and call.request["TableName"] == table and b":last" in call.body
            return Fate.DROP_CALL if commit else Fate.PASS

        with Proxy(engine.url, without_commits) as proxy:
            worker = game.worker(proxy)
            until(lambda: game.board() == game.expected.rows, "all rows are written")
            worker.kill()
        assert game.checkpoint() != game.played()[-1].sequence_number
        yield game


def ended(game: Game, *arguments: str) -> str:
    """What a command that succeeds says on stderr."""
    done = consumer(*arguments, environment=game.environment(lease_ttl_seconds="1"))
    assert done.returncode == 0, done.stderr
    return done.stderr


def shard_of(game: Game) -> str:
    lease = game.lease()
    assert lease is not None
    return str(lease["shardId"]["S"])


def run_to_the_end(game: Game) -> None:
    worker = game.worker(lease_ttl_seconds="1")
    game.wait_until_consumed()
    assert worker.terminate().code == 0


def test_the_next_worker_does_not_count_them_again(ahead: Game) -> None:
    run_to_the_end(ahead)
    ahead.assert_exact()


def test_a_step_back_counts_nothing_that_marks_cover(ahead: Game) -> None:
    assert "are not counted again" in ended(ahead, "checkpoint", "set", shard_of(ahead), "TRIM_HORIZON", "--yes")
    run_to_the_end(ahead)
    ahead.assert_exact()


def test_a_recount_into_a_board_whose_rows_were_deleted(ahead: Game) -> None:
    """It ends with the checkpoint. What was beyond went with the rows, and the worker counts it."""
    for row in ahead.rows("leaderboard"):
        ahead.client.delete_item(TableName=ahead.tables["leaderboard"], Key={"playerId": row["playerId"]})
    said = ended(ahead, "replay", shard_of(ahead), "--from", "TRIM_HORIZON", "--recount", "--yes")
    assert "whatever the marks of its rows say" in said
    assert sum(row.games for row in ahead.board().values()) == 12
    run_to_the_end(ahead)
    ahead.assert_exact()


def test_a_restored_board_and_a_step_back_to_before_the_backup(ahead: Game) -> None:
    """The backup was taken while the rows were ahead; since then the worker has gone on."""
    backup = ahead.rows("leaderboard")
    run_to_the_end(ahead)
    ahead.play(8, PLAYERS + 1)
    run_to_the_end(ahead)
    for row in ahead.rows("leaderboard"):
        ahead.client.delete_item(TableName=ahead.tables["leaderboard"], Key={"playerId": row["playerId"]})
    for row in backup:
        ahead.client.put_item(TableName=ahead.tables["leaderboard"], Item=row)
    ended(ahead, "checkpoint", "set", shard_of(ahead), "TRIM_HORIZON", "--yes")
    run_to_the_end(ahead)
    ahead.assert_exact()
