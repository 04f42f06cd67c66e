"""`consumer status` as a process: what it shows, its exit codes, and what it reads."""

import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any

import pytest

from consumer.aws.items import lease_item, pin_item
from consumer.demo.lifeline import spawn
from consumer.domain.leases import LeaseRow, Pin, Shard
from consumer.domain.position import SHARD_END, TRIM_HORIZON
from tests.engines import TableEngine
from tests.processes import Game, Proxy, consumer, until
from tests.streams_server import StreamsServer, build_shards, shard_id

SHARDS = 1_000


@pytest.fixture
def game(engine: TableEngine) -> Iterator[Game]:
    with Game(engine) as game:
        yield game


def status(game: Game, *arguments: str, proxy: Proxy | None = None) -> tuple[int, Any]:
    """Exit code and the document."""
    ended = consumer("status", "--json", *arguments, environment=game.environment(proxy))
    assert ended.stderr == ""
    return ended.returncode, json.loads(ended.stdout)


def test_a_worker_that_has_caught_up_and_one_that_is_gone(game: Game) -> None:
    game.play(40, 5, poison=0.1)
    worker = game.worker()
    game.wait_until_consumed()
    until(lambda: _lags(game) == [0], "its worker says that it is caught up: with the beat after the claim at last")
    code, told = status(game)
    assert code == 0
    (shard,), (beating,) = told["shards"], told["workers"]
    assert (shard["state"], shard["checkpoint"], shard["lagSeconds"]) == ("running", game.checkpoint(), 0)
    assert shard["owner"] == beating["owner"]
    assert (beating["workerId"], beating["shards"], beating["behind"], beating["fresh"]) == ("w1", 1, 0, True)
    assert (told["quarantinePending"], told["gaps"], told["halted"], told["replays"]) == (len(game.poison), [], [], [])
    assert (told["lagSeconds"], told["retentionHeadroomSeconds"]) == (0, 86_400)

    assert worker.terminate().code == 0
    code, told = status(game, "--behind-seconds", "0")
    (shard,) = told["shards"]
    assert (shard["state"], shard["owner"], shard["lagSeconds"], told["workers"]) == ("unowned", None, None, [])
    assert (code == 10) is (shard["atMostSeconds"] > 0)
    assert told["lagSeconds"] is None
    assert status(game, "--headroom-seconds", "90000")[0] == 11

    ended = consumer("status", environment=game.environment())
    assert shard["shardId"] in ended.stdout
    assert f"{len(game.poison)} pending" in ended.stdout
    assert "lag unknown, at most" in ended.stdout


def test_before_any_worker(game: Game) -> None:
    code, told = status(game)
    assert (code, told["verdict"], len(told["unreadStreams"])) == (10, "behind", 1)
    assert [shard["state"] for shard in told["shards"]] == ["waiting"]


def test_json_and_watch_do_not_go_together(game: Game) -> None:
    ended = consumer("status", "--json", "--watch", environment=game.environment())
    assert (ended.returncode, ended.stdout) == (2, "")
    assert "leave --watch out" in ended.stderr


@pytest.mark.timeout(60)
def test_watching_until_ctrl_c(game: Game) -> None:
    with spawn(
        [sys.executable, "-m", "consumer", "status", "--watch", "--every", "1"],
        env=game.environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as watching:
        try:
            assert watching.stdout is not None
            seen = 0
            for line in watching.stdout:
                seen += line == b"behind\n"
                if seen == 2:
                    break
            watching.send_signal(signal.SIGINT)
            assert watching.wait(10) == 0
            assert watching.stderr is not None
            assert watching.stderr.read() == b""
        finally:
            watching.kill()


def test_a_stream_that_was_switched_off(game: Game) -> None:
    game.play(5, 2)
    worker = game.worker()
    game.wait_until_consumed()
    assert worker.terminate().code == 0
    game.client.update_table(TableName=game.tables["source"], StreamSpecification={"StreamEnabled": False})
    code, told = status(game, "--behind-seconds", "3600")
    assert (code, [shard["checkpoint"] for shard in told["shards"]]) == (0, [game.checkpoint()])


@pytest.mark.timeout(90)
def test_a_thousand_shards_in_few_calls_and_in_time(ministack_url: str) -> None:
    """Half of them finished. The calls are counted where they are answered."""
    half = SHARDS // 2
    with StreamsServer(ministack_url) as server:
        game = Game(TableEngine("ministack", server.calm_url))
        tree = build_shards(SHARDS, {parent: parent + half for parent in range(half)})
        arn = server.remote.create_stream(game.tables["source"], tree, keys=("playerId", "timestamp"))
        with game:
            now = time.time()
            rows = [
                LeaseRow(Shard(arn, shard_id(n)), None, 7, SHARD_END, None, (shard_id(n + half),), now)
                for n in range(half)
            ]
            rows += [
                LeaseRow(Shard(arn, shard_id(n + half)), None, 7, TRIM_HORIZON, shard_id(n), (), now)
                for n in range(half)
            ]
            pin = Pin(arn, None, tuple(shard_id(n) for n in range(half)), complete=True)
            items = [pin_item(pin), *map(lease_item, rows)]
            for at in range(0, len(items), 25):
                puts = [{"PutRequest": {"Item": item}} for item in items[at : at + 25]]
                game.client.batch_write_item(RequestItems={game.tables["lease"]: puts})
            environment = game.environment() | server.variables()
            _, _, first_took = _timed(server, environment)
            ended, calls, took = _timed(server, environment)
            drawn = consumer("status", environment=environment).stdout
    told = json.loads(ended.stdout)
    print(f"{first_took:.2f} s, {took:.2f} s, {calls}")
    assert (ended.returncode, ended.stderr) == (0, "")
    assert len(told["shards"]) == SHARDS
    assert calls == {"DescribeTable": 3, "DescribeStream": SHARDS // 100, "Scan": 2, "Query": 2}
    assert min(took, first_took) < 6, "3 s on a machine that does nothing else"
    assert len(drawn.splitlines()) == half + len(["summary"] * 5 + ["no workers", "the stream"])
    assert f"{half} finished shards not shown" in drawn


def _timed(
    server: StreamsServer, environment: dict[str, str]
) -> tuple["subprocess.CompletedProcess[str]", dict[str, int], float]:
    """The command, the calls that it made, and its seconds from start to end."""
    server.remote.clear_counts()
    began = time.monotonic()
    ended = consumer("status", "--json", environment=environment)
    return ended, server.remote.counts().calls, time.monotonic() - began


def _lags(game: Game) -> list[object]:
    """Each shard's; None is one that nobody vouches for yet."""
    return [shard["lagSeconds"] for shard in status(game)[1]["shards"]]
