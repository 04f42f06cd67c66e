"""Tables that version 0.1 left: rows without marks, and a stream's row in its old form."""

import json
from collections.abc import Iterator

import pytest

from tests.support.engines import TableEngine
from tests.support.processes import Game, consumer


@pytest.fixture
def old(engine: TableEngine) -> Iterator[Game]:
    """A game that 0.1 has counted, with a record in quarantine."""
    with Game(engine) as game:
        game.play(12, 3)
        game.poison.append(game.make("bob") | {"score": {"S": "12"}})
        game.put(game.poison)
        worker = game.worker()
        game.wait_until_consumed()
        assert worker.terminate().code == 0
        make_old(game)
        yield game


def make_old(game: Game) -> None:
    """Takes away what 0.1 did not write."""
    (stream,) = (row for row in game.rows("lease") if row["leaseKey"]["S"].startswith("stream#"))
    del stream["keyed"], stream["protocol"]
    stream["rootShardIds"] = stream.pop("rootShards")
    game.client.put_item(TableName=game.tables["lease"], Item=stream)
    for row in game.rows("leaderboard"):
        for name in ("appliedShard", "appliedTo", "appliedAt"):
            del row[name]
        if row["gamesPlayed"] == {"N": "0"}:
            game.client.delete_item(TableName=game.tables["leaderboard"], Key={"playerId": row["playerId"]})
        else:
            game.client.put_item(TableName=game.tables["leaderboard"], Item=row)


def ended(game: Game, *arguments: str, code: int = 0) -> str:
    """What the command prints."""
    done = consumer(*arguments, environment=game.environment(lease_ttl_seconds="1"))
    assert done.returncode == code, done.stderr
    return done.stdout


def writes(game: Game) -> tuple[str, str]:
    """As status says it. It is behind: no worker runs."""
    done = consumer("status", "--json", environment=game.environment(lease_ttl_seconds="1"))
    (stream,) = json.loads(done.stdout)["streams"]
    return stream["writes"], stream["why"]


def shard(game: Game) -> str:
    lease = game.lease()
    assert lease is not None
    return str(lease["shardId"]["S"])


@pytest.mark.proof
@pytest.mark.timeout(240)
def test_init_and_a_worker_go_on_with_them(old: Game) -> None:
    shown = ended(old, "init")
    assert "created" not in shown
    assert writes(old) == ("transactions", "version 0.1 started it, and no worker of this version has since")
    ended(old, "init", "--adopt")
    assert str(old.checkpoint()) in ended(old, "checkpoint", "show", shard(old))
    assert json.loads(ended(old, "top", "--json"))

    worker = old.worker(lease_ttl_seconds="1")
    old.count(*(old.make(player) for player in old.expected.rows))
    old.wait_until_consumed()
    assert worker.terminate().code == 0
    old.assert_exact()
    assert writes(old) == ("marked", f"{old.tables['source']} is keyed by playerId")
    assert all("appliedShard" in row for row in old.rows("leaderboard")), "each player has played since"
    assert "counted" in ended(old, "quarantine", "redrive", "--all", "--set", "score=12", "--yes")
