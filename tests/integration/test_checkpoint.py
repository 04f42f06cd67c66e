"""`consumer checkpoint` as a process: a lost row is created again and its worker goes on; what is refused, and how."""

import json
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from consumer.aws.tables import DynamoTableReader
from consumer.domain.leases import TableNames
from tests.support.engines import TableEngine
from tests.support.processes import Game, consumer, until

TTL = "1"


@pytest.fixture
def game(engine: TableEngine) -> Iterator[Game]:
    with Game(engine) as game:
        yield game


@pytest.fixture
def counted(game: Game) -> Game:
    """A game that a worker has counted; the worker has ended."""
    game.play(30, 5)
    worker = game.worker(lease_ttl_seconds=TTL)
    game.wait_until_consumed()
    assert worker.terminate().code == 0
    return game


def ask(game: Game, *arguments: str) -> tuple[int, str, str]:
    """Exit code, stdout and stderr of `consumer checkpoint`, where stdin is no terminal."""
    ended = consumer("checkpoint", *arguments, environment=game.environment(lease_ttl_seconds=TTL))
    assert "Traceback" not in ended.stderr
    return ended.returncode, ended.stdout, ended.stderr


def status(game: Game) -> tuple[int, Any]:
    ended = consumer("status", "--json", environment=game.environment(lease_ttl_seconds=TTL))
    return ended.returncode, json.loads(ended.stdout)


def shard_of(game: Game) -> str:
    lease = game.lease()
    assert lease is not None
    return str(lease["shardId"]["S"])


def delete_row(game: Game) -> None:
    lease = game.lease()
    assert lease is not None
    game.client.delete_item(TableName=game.tables["lease"], Key={"leaseKey": lease["leaseKey"]})


def trail(game: Game) -> list[dict[str, str]]:
    return list(
        DynamoTableReader(game.client, TableNames(quarantine=game.tables["quarantine"]), threading.Event()).audit_rows()
    )


def test_a_lost_row_is_created_again_and_its_worker_goes_on_without_a_restart(game: Game) -> None:
    game.play(60, 7)
    worker = game.worker(lease_ttl_seconds=TTL)
    game.wait_until_consumed()
    shard, last = shard_of(game), str(game.checkpoint())
    delete_row(game)
    game.play(40, 7)
    halted = worker.wait_for_event("shard.halted")
    assert (halted["shard_id"].rpartition("/")[2], halted["checkpoint"]) == (shard, last)

    code, document = status(game)
    assert (code, document["verdict"]) == (12, "halted")
    (shown,) = document["shards"]
    assert (shown["shardId"], shown["state"], shown["checkpoint"], shown["lagSeconds"]) == (
        shard,
        "missing",
        None,
        None,
    )
    assert document["halted"] == [f"{document['shards'][0]['streamArn'].rpartition('/')[2]}/{shard}"]
    code, out, err = ask(game, "show", shard)
    assert (code, out) == (5, "")
    assert "is missing" in err
    assert "consumer checkpoint set" in err

    code, out, err = ask(game, "set", shard, last, "--yes")
    assert code == 0, err
    assert f"{shard} to {last}, epoch " in out
    assert "counted again" in err
    game.wait_until_consumed()
    game.assert_exact()
    until(lambda: status(game)[0] == 0, "status is healthy again")
    (row,) = trail(game)
    assert (row["act"], row["target"].rpartition("/")[2], row["to"]) == ("checkpoint set", shard, last)
    assert worker.terminate().code == 0


def test_a_position_set_back_counts_the_games_again(counted: Game) -> None:
    """As after a leaderboard was emptied."""
    shard, before = shard_of(counted), counted.lease()
    for row in counted.rows("leaderboard"):
        counted.client.delete_item(TableName=counted.tables["leaderboard"], Key={"playerId": row["playerId"]})
    code, _, err = ask(counted, "set", shard, "TRIM_HORIZON", "--yes")
    assert code == 0, err
    assert "a step back: the games in between are read again" in err
    assert "of rows that were deleted" in err
    after = counted.lease()
    assert before is not None
    assert after is not None
    assert int(after["leaseEpoch"]["N"]) > int(before["leaseEpoch"]["N"])
    worker = counted.worker(lease_ttl_seconds=TTL)
    counted.wait_until_consumed()
    assert worker.terminate().code == 0
    counted.assert_exact()


def test_show(counted: Game) -> None:
    shard = shard_of(counted)
    code, out, err = ask(counted, "show", shard, "--json")
    assert (code, err) == (0, "")
    shown = json.loads(out)
    assert (shown["shardId"], shown["checkpoint"], shown["leaseOwner"]) == (shard, counted.checkpoint(), None)
    label = shown["streamArn"].rpartition("/")[2]
    assert ask(counted, "show", f"{label}/{shard}", "--json")[1] == out
    assert f"checkpoint           {shown['checkpoint']}" in ask(counted, "show", shard)[1]


def test_a_living_owner_is_refused(game: Game) -> None:
    game.play(10, 2)
    worker = game.worker(lease_ttl_seconds=TTL)
    game.wait_until_consumed()
    shard, owner = shard_of(game), worker.wait_for_event("worker.joined")["owner"]
    code, out, err = ask(game, "set", shard, "TRIM_HORIZON", "--yes")
    assert (code, out) == (4, "")
    assert f"worker {owner} is alive and owns shard" in err
    assert worker.kill() != 0
    code, _, err = ask(game, "set", shard, str(game.checkpoint()), "--yes")
    assert code == 0, err
    game.assert_exact()


def test_what_is_refused_changes_nothing(counted: Game) -> None:
    shard, lease = shard_of(counted), counted.rows("lease")
    for arguments, code, parts in (
        ((f"{shard}x", "TRIM_HORIZON", "--yes"), 5, ("there is no shard", "the nearest ones are", shard)),
        (
            (shard, "yesterday", "--yes"),
            2,
            ("'yesterday' is not a checkpoint: it must be TRIM_HORIZON, a sequence number",),
        ),
        ((shard, "1" * 41, "--yes"), 2, ("is not a checkpoint",)),
        ((shard, "SHARD_END", "--yes"), 4, ("set the last sequence number",)),
        ((shard, "TRIM_HORIZON"), 4, ("not counted again", "add --yes")),
        ((shard, "TRIM_HORIZON", "--yes", "--lease-table", "nowhere"), 3, ("nowhere (CONSUMER_LEASE_TABLE)",)),
        ((shard, "TRIM_HORIZON", "--yes", "--quarantine-table", "nowhere"), 3, ("CONSUMER_QUARANTINE_TABLE",)),
        ((shard,), 2, ("Missing argument 'POSITION'",)),
    ):
        ended, out, err = ask(counted, "set", *arguments)
        assert (ended, out) == (code, ""), err
        assert [part for part in parts if part not in err] == [], err
    assert ask(counted, "show", "nothing like it")[0] == 5
    assert (counted.rows("lease"), trail(counted)) == (lease, [])
