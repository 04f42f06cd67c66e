"""`consumer status` as a process: what it shows, its exit codes, and its calls."""

import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any

import pytest

from consumer.demo.child_process import spawn
from tests.performance.measure.status import SHARDS, ManyShards, many_shards
from tests.support.engines import TableEngine
from tests.support.processes import Game, Proxy, consumer, until
from tests.support.processes.poison import Matches


@pytest.fixture
def game(engine: TableEngine) -> Iterator[Game]:
    with Game(engine) as game:
        yield game


def status(game: Game, *arguments: str, proxy: Proxy | None = None) -> tuple[int, Any]:
    """Exit code and the document."""
    ended = consumer("status", "--json", *arguments, environment=game.environment(proxy))
    assert ended.stderr == ""
    return ended.returncode, json.loads(ended.stdout)


def test_a_worker_that_has_caught_up_and_one_that_has_ended(game: Game) -> None:
    game.play(40, 5, poison=0.1)
    worker = game.worker()
    game.wait_until_consumed()
    until(
        lambda: _lags(game) == [0],
        "its worker reports that it is caught up: with the heartbeat after the claim at the latest",
    )
    code, shown = status(game)
    assert code == 0
    (shard,), (worker_row,) = shown["shards"], shown["workers"]
    assert (shard["state"], shard["checkpoint"], shard["lagSeconds"]) == ("running", game.checkpoint(), 0)
    assert shard["owner"] == worker_row["owner"]
    assert (worker_row["workerId"], worker_row["shards"], worker_row["behind"], worker_row["fresh"]) == (
        "w1",
        1,
        0,
        True,
    )
    assert (shown["quarantinePending"], shown["gaps"], shown["halted"], shown["replays"]) == (
        len(game.poison),
        [],
        [],
        [],
    )
    assert (shown["lagSeconds"], shown["retentionHeadroomSeconds"]) == (0, 86_400)

    assert worker.terminate().code == 0
    code, shown = status(game, "--behind-seconds", "0")
    (shard,) = shown["shards"]
    assert (shard["state"], shard["owner"], shard["lagSeconds"], shown["workers"]) == ("unowned", None, None, [])
    assert (code == 10) is (shard["atMostSeconds"] > 0)
    assert shown["lagSeconds"] is None
    assert status(game, "--headroom-seconds", "90000")[0] == 11

    ended = consumer("status", environment=game.environment())
    assert shard["shardId"] in ended.stdout
    assert f"{len(game.poison)} pending" in ended.stdout
    assert "lag unknown, at most" in ended.stdout


def test_before_any_worker(game: Game) -> None:
    code, shown = status(game)
    assert (code, shown["verdict"], len(shown["unreadStreams"])) == (10, "behind", 1)
    assert [shard["state"] for shard in shown["shards"]] == ["waiting"]


def test_json_and_watch_do_not_go_together(game: Game) -> None:
    ended = consumer("status", "--json", "--watch", environment=game.environment())
    assert (ended.returncode, ended.stdout) == (2, "")
    assert "leave out --watch" in ended.stderr


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


@pytest.mark.parametrize(
    ("kind", "mode", "log", "shown"),
    [
        (Game, "marked", "{table} is keyed by playerId", "marked writes ({table} is keyed by playerId)"),
        (
            Matches,
            "transactions",
            "{table} is keyed by matchId; marked writes need playerId as its partition key",
            "transactions ({table} is keyed by matchId, not by the player)",
        ),
    ],
)
def test_how_games_are_written(ministack_url: str, kind: type[Game], mode: str, log: str, shown: str) -> None:
    with kind(TableEngine("ministack", ministack_url)) as game:
        game.put([game.make("ada", "1")])
        first, table = game.worker(), game.tables["source"]
        game.wait_until_consumed()
        first.kill()
        worker = game.worker()
        line = worker.wait_for_event("stream.writes")
        assert (line["mode"], line["why"]) == (mode, log.format(table=table))
        _, document = status(game)
        assert [stream["writes"] for stream in document["streams"]] == [mode]
        text = consumer("status", environment=game.environment()).stdout
        assert f"writes      {shown.format(table=table)}" in text.splitlines()
        assert ["appliedShard" in row for row in game.rows("leaderboard")] == [mode == "marked"]


def test_a_stream_that_was_switched_off(game: Game) -> None:
    game.play(5, 2)
    worker = game.worker()
    game.wait_until_consumed()
    assert worker.terminate().code == 0
    game.client.update_table(TableName=game.tables["source"], StreamSpecification={"StreamEnabled": False})
    code, shown = status(game, "--behind-seconds", "3600")
    assert (code, [shard["checkpoint"] for shard in shown["shards"]]) == (0, [game.checkpoint()])


@pytest.mark.timeout(90)
def test_a_thousand_shards_in_few_calls_and_in_time(ministack_url: str) -> None:
    """Half of them finished. The calls are counted where they are answered."""
    with many_shards(ministack_url) as crowded:
        ended, calls, took = _timed(crowded)
        drawn = crowded.status().stdout
    shown = json.loads(ended.stdout)
    print(f"{took:.2f} s, {calls}")
    assert (ended.returncode, ended.stderr) == (0, "")
    assert len(shown["shards"]) == SHARDS
    assert calls == {"DescribeTable": 4, "DescribeStream": SHARDS // 100, "Scan": 2, "Query": 2}
    assert took < 6, "3 s on a machine that does nothing else: make measure NAMES=status"
    assert len(drawn.splitlines()) == SHARDS // 2 + len(["summary"] * 6 + ["no workers", "the stream"])
    assert f"{SHARDS // 2} finished shards not shown" in drawn


def _timed(crowded: ManyShards) -> tuple["subprocess.CompletedProcess[str]", dict[str, int], float]:
    """The quicker of two, with the calls that it made, and its seconds from start to end."""
    rounds = []
    for _ in range(2):
        began = time.monotonic()
        ended = crowded.status("--json")
        rounds.append((ended, crowded.calls(), time.monotonic() - began))
    return min(rounds, key=lambda attempt: attempt[2])


def _lags(game: Game) -> list[object]:
    """Each shard's lag; None while no heartbeat reports it."""
    return [shard["lagSeconds"] for shard in status(game)[1]["shards"]]
