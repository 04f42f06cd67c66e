"""`consumer status` as a process: what it shows, its exit codes, and what it reads."""

import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any

import pytest

from consumer.demo.lifeline import spawn
from tests.engines import TableEngine
from tests.measure.status import SHARDS, Crowd, crowd
from tests.processes import Game, Proxy, consumer, until


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
    with crowd(ministack_url) as stage:
        ended, calls, took = _timed(stage)
        drawn = stage.status().stdout
    told = json.loads(ended.stdout)
    print(f"{took:.2f} s, {calls}")
    assert (ended.returncode, ended.stderr) == (0, "")
    assert len(told["shards"]) == SHARDS
    assert calls == {"DescribeTable": 3, "DescribeStream": SHARDS // 100, "Scan": 2, "Query": 2}
    assert took < 6, "3 s on a machine that does nothing else: make measure NAMES=status"
    assert len(drawn.splitlines()) == SHARDS // 2 + len(["summary"] * 5 + ["no workers", "the stream"])
    assert f"{SHARDS // 2} finished shards not shown" in drawn


def _timed(stage: Crowd) -> tuple["subprocess.CompletedProcess[str]", dict[str, int], float]:
    """The quicker of two, with the calls that it made, and its seconds from start to end."""
    rounds = []
    for _ in range(2):
        began = time.monotonic()
        ended = stage.status("--json")
        rounds.append((ended, stage.calls(), time.monotonic() - began))
    return min(rounds, key=lambda each: each[2])


def _lags(game: Game) -> list[object]:
    """Each shard's; None is one that nobody vouches for yet."""
    return [shard["lagSeconds"] for shard in status(game)[1]["shards"]]
