"""A row whose mark is of a shard that is not known: the shard halts, and the operator accepts the mark."""

import json
import time
from collections.abc import Iterator

import pytest

from tests.support.engines import TableEngine
from tests.support.processes import Game, WorkerProcess, consumer, until

UNKNOWN_SHARD = "2026-01-01T00:00:00.000/shardId-00000001767225600000-00000000"
NUMBER = "100000000000000000000001"


@pytest.fixture
def game(engine: TableEngine) -> Iterator[Game]:
    with Game(engine) as game:
        yield game


def start(game: Game) -> WorkerProcess:
    """A quick worker."""
    return game.worker(poll_interval_seconds="0.05", idle_poll_interval_seconds="0.1", lease_ttl_seconds="1")


def ended(game: Game, *arguments: str) -> tuple[int, str, str]:
    """Exit code, stdout and stderr."""
    done = consumer(*arguments, environment=game.environment())
    assert "Traceback" not in done.stderr
    return done.returncode, done.stdout, done.stderr


def restore(game: Game, player: str, *scores: str) -> None:
    """A row from the backup of another deployment, with the mark of a shard of that."""
    for score in scores:
        game.expected.count(game.make(player, score))
    row = game.expected.rows[player]
    item = {"playerId": player, "lastPlayedDate": row.date, "appliedShard": UNKNOWN_SHARD, "appliedTo": NUMBER}
    numbers = {"gamesPlayed": row.games, "totalScore": row.total, "appliedAt": int(time.time())}
    wire = {name: {"S": text} for name, text in item.items()} | {name: {"N": f"{n}"} for name, n in numbers.items()}
    game.client.put_item(TableName=game.tables["leaderboard"], Item=wire)


def mark_of(game: Game, player: str) -> str | None:
    (row,) = (row for row in game.rows("leaderboard") if row["playerId"]["S"] == player)
    return row["appliedShard"]["S"] if "appliedShard" in row else None


@pytest.mark.proof
@pytest.mark.timeout(120)
def test_a_mark_is_accepted(game: Game) -> None:
    restore(game, "ada", "12", "12")
    game.count(*(game.make(player, "0.5") for player in ("bob", "ada", "bob", "ada", "ada")))

    worker = start(game)
    halted = worker.wait_for_event("shard.halted")
    shard, command = halted["shard_id"], f"consumer resume {halted['shard_id']} --accept-mark ada"
    assert halted["reason"] == "mark_unknown"
    assert halted["detail"].startswith(
        f"the row of player ada has a mark of the shard {UNKNOWN_SHARD} (up to {NUMBER})"
    )
    until(lambda: command in worker.get("/readyz")[1], "readiness names the command")
    code, out, _ = ended(game, "status", "--json")
    (row,) = json.loads(out)["shards"]
    assert (code, row["haltReason"], row["haltPlayer"]) == (12, "mark_unknown", "ada")

    for arguments, refused, sentence in (
        (("--accept-mark", "ada", "--quarantine-all", "--yes"), 2, "leave out one of them"),
        (("--accept-mark", "bob", "--yes"), 4, "is not halted for the row of player bob"),
        (("--accept-mark", "ada"), 4, "add --yes"),
    ):
        code, out, err = ended(game, "resume", shard, *arguments)
        assert (code, out) == (refused, ""), err
        assert sentence in err
    assert mark_of(game, "ada") == UNKNOWN_SHARD

    code, out, err = ended(game, "resume", shard, "--yes")
    assert code == 0
    assert "Without --accept-mark it halts again, unless that has changed." in err
    worker.wait_for_event("shard.halted", count=2)

    checkpoint = game.checkpoint()
    code, out, err = ended(game, "resume", shard, "--accept-mark", "ada", "--yes", "--json")
    assert code == 0
    assert "they are counted twice." in err
    assert json.loads(out) == {
        "shardId": shard.rpartition("/")[2],
        "checkpoint": checkpoint,
        "freeTo": None,
        "records": 4,
        "whole": True,
        "good": 4,
        "ignored": 0,
        "poison": {},
        "playerId": "ada",
        "appliedShard": UNKNOWN_SHARD,
        "appliedTo": NUMBER,
    }
    game.wait_until_consumed()
    game.assert_exact()
    assert mark_of(game, "ada") == shard
    until(lambda: worker.get("/readyz")[0] == 200, "ready again")

    code, out, err = ended(game, "resume", shard, "--accept-mark", "ada", "--yes")
    assert (code, out) == (4, "")
    assert "is not halted: nothing to resume" in err
    code, out, err = ended(game, "audit-log", "--json")
    accepted, plain = json.loads(out)
    assert (accepted["player"], accepted["markShard"], accepted["markTo"]) == ("ada", UNKNOWN_SHARD, NUMBER)
    assert accepted["leaderboardTable"] == game.tables["leaderboard"]
    assert "player" not in plain
    assert worker.terminate().code == 0


@pytest.mark.timeout(120)
def test_a_row_that_is_gone_or_has_no_mark_any_more(game: Game) -> None:
    restore(game, "ada", "12")
    game.put([game.make("ada", "1")])
    worker = start(game)
    shard = worker.wait_for_event("shard.halted")["shard_id"]
    worker.kill()
    key = {"playerId": {"S": "ada"}}
    game.client.update_item(
        TableName=game.tables["leaderboard"],
        Key=key,
        UpdateExpression="REMOVE appliedShard, appliedTo, appliedAt",
    )
    for refused, sentence in ((4, "has no mark any more"), (5, "has no row of player ada")):
        code, out, err = ended(game, "resume", shard, "--accept-mark", "ada", "--yes")
        assert (code, out) == (refused, "")
        assert sentence in err
        assert f"Next: `consumer resume {shard}`" in err
        game.client.delete_item(TableName=game.tables["leaderboard"], Key=key)
