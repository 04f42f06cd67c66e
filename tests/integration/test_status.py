"""`consumer status` as a process: what it shows, its exit codes, and its calls."""

import json
import re
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
from tests.support.processes import CTRL_C, Fate, Game, Proxy, Terminal, WorkerProcess, consumer, until
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
    assert (code, shown["verdict"], shown["lagSeconds"]) == (10, "no_worker", None)
    assert status(game, "--headroom-seconds", "90000")[0] == 11

    ended = consumer("status", environment=game.environment())
    assert shard["shardId"] in ended.stdout
    assert f"{len(game.poison)} pending" in ended.stdout
    assert "lag         unknown, at most" in ended.stdout


def test_before_any_worker_nothing_is_known(game: Game) -> None:
    game.play(5, 2)
    code, shown = status(game)
    assert (code, shown["verdict"], len(shown["unreadStreams"])) == (10, "no_worker", 1)
    assert [shard["state"] for shard in shown["shards"]] == ["waiting"]
    assert [shown[key] for key in ("lagSeconds", "lagAtMostSeconds", "retentionHeadroomSeconds")] == [None] * 3
    lines = consumer("status", environment=game.environment()).stdout.splitlines()
    assert (lines[0], lines[1].startswith(f"source      {game.tables['source']} in ")) == ("no worker", True)
    assert "lag         unknown: nothing shows how far the stream is read (1 shard)" in lines
    assert "data loss   unknown: what was not read for 24 hours is lost" in lines


def test_a_missing_row_without_a_worker_leaves_the_lag_unknown(game: Game) -> None:
    game.play(5, 2)
    worker = game.worker()
    game.wait_until_consumed()
    worker.kill()
    lease = game.lease()
    assert lease is not None
    game.client.delete_item(TableName=game.tables["lease"], Key={"leaseKey": lease["leaseKey"]})
    members = {"leaseKey": {"S": "members"}}
    game.client.delete_item(TableName=game.tables["lease"], Key=members)  # as another worker would do in time
    code, shown = status(game)
    assert (code, [shard["state"] for shard in shown["shards"]]) == (12, ["missing"])
    assert [shown[key] for key in ("lagSeconds", "lagAtMostSeconds", "retentionHeadroomSeconds")] == [None] * 3
    survivor = game.worker(lease_ttl_seconds="1")
    until(lambda: metric(survivor, "lag_unknown") == 1.0, "it has read the ledger")
    until(lambda: metric(survivor, "lag_seconds") == 86_400.0, "no worker knows the shard's position")


@pytest.mark.parametrize("deleted", [True, False], ids=["deleted", "mistyped"])
def test_a_source_table_that_does_not_exist_is_not_healthy(game: Game, deleted: bool) -> None:
    game.play(5, 2)
    worker = game.worker()
    game.wait_until_consumed()
    source = game.tables["source"]
    if deleted:
        game.client.delete_table(TableName=source)
        code, shown = status(game)
        assert (code, shown["verdict"]) == (12, "halted")
        assert f"source table {source} (CONSUMER_SOURCE_TABLE) does not exist" in shown["haltedStreams"][0]
    else:
        ended = consumer("status", "--source-table", "nowhere", environment=game.environment())
        assert (ended.returncode, ended.stdout) == (3, "")
        assert "nowhere (CONSUMER_SOURCE_TABLE) does not exist. Is CONSUMER_SOURCE_TABLE right" in ended.stderr
        assert source in ended.stderr
    worker.kill()


def test_on_a_screen_of_80_columns_and_24_lines_the_verdict_stays(ministack_url: str) -> None:
    """22 shards that no worker reads, again and again, and once."""
    with many_shards(ministack_url, 44) as crowded:
        for options in (["--watch", "--every", "1"], []):
            with Terminal("status", *options, environment=crowded.environment, columns=80, lines=24) as terminal:
                if options:
                    terminal.read_until("more lines, --all")
                    terminal.read_until("more lines, --all", after=len(terminal.shown))
                    terminal.type(CTRL_C)
                terminal.wait()
            frame = terminal.shown.rpartition("\x1b[H")[2] if options else terminal.shown
            lines = [line for line in frame.splitlines() if line != "^C"]
            assert (lines[0], len(lines), max(map(len, lines)) <= 80) == ("no worker", 23, True)
            assert [line.split()[0] for line in lines if line.startswith("  shardId-")] != []


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
                seen += line == b"no worker\n"
                if seen == 2:
                    break
            watching.send_signal(signal.SIGINT)
            assert watching.wait(10) == 0
            assert watching.stderr is not None
            assert watching.stderr.read() == b""
        finally:
            watching.kill()


def test_watching_an_outage_does_not_keep_a_verdict_that_is_old(ministack_url: str) -> None:
    """The screen says that it is unknown now, and what it was before."""
    with Game(TableEngine("ministack", ministack_url)) as game, Proxy(game.engine.url) as proxy:
        environment = game.environment(proxy)
        with Terminal("status", "--watch", "--every", "1", environment=environment, columns=80, lines=24) as terminal:
            terminal.read_until("workers     none")
            proxy.decide = lambda call: Fate.DENY if call.operation == "Scan" else Fate.PASS
            terminal.read_until("before      no worker, ")
            terminal.type(CTRL_C)
            terminal.wait()
        lines = terminal.shown.rpartition("\x1b[H")[2].splitlines()
        assert (lines[0], lines[1].startswith("now         it cannot be read: ")) == ("unknown", True)
        assert len(lines) <= 24


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
    assert (code, [shard["checkpoint"] for shard in shown["shards"]]) == (10, [game.checkpoint()])


@pytest.mark.timeout(90)
def test_a_thousand_shards_in_few_calls_and_in_time(ministack_url: str) -> None:
    """Half of them finished. The calls are counted where they are answered."""
    with many_shards(ministack_url) as crowded:
        ended, calls, took = _timed(crowded)
        drawn = crowded.status().stdout
    shown = json.loads(ended.stdout)
    print(f"{took:.2f} s, {calls}")
    assert (ended.returncode, ended.stderr) == (10, "")
    assert len(shown["shards"]) == SHARDS
    assert calls == {"DescribeTable": 4, "DescribeStream": SHARDS // 100, "Scan": 2, "Query": 2}
    assert took < 6, "3 s on a machine that does nothing else: make measure NAMES=status"
    assert sum(line.startswith("  ") for line in drawn.splitlines()) == SHARDS // 2
    assert f"shards      {SHARDS}: {SHARDS // 2} finished not shown, --all" in drawn.splitlines()


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


def metric(worker: WorkerProcess, name: str) -> float:
    """A gauge without labels."""
    (line,) = re.findall(rf"^leaderboard_consumer_{name} (\S+)$", worker.get("/metrics")[1], re.MULTILINE)
    return float(line)
