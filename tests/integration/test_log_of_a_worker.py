"""What a worker's log says to one who has nothing else: why it ended, by which settings it reads, that it has
recovered, that it is idle and not stuck. The command as a process.
"""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.engines import TableEngine
from tests.support.processes import Call, Fate, Game, Proxy, Terminal, WorkerProcess, consumer, until


@pytest.fixture
def game(engine: TableEngine) -> Iterator[Game]:
    with Game(engine) as game:
        yield game


def last_event(worker: WorkerProcess, code: int) -> dict[str, Any]:
    """The last line of a worker that ends with this code. Every line is JSON."""
    ended = worker.wait()
    assert ended.code == code, ended.stderr
    events = [json.loads(line) for line in ended.stderr.splitlines()]
    last: dict[str, Any] = events[-1]
    return last


def test_a_refusal_is_a_log_event(game: Game) -> None:
    """By AWS, by a setting that is wrong, and by a flag that does not exist."""
    known = game.tables["lease"]
    game.tables["lease"] += "-missing"
    refused = last_event(game.worker(), 3)
    assert (refused["event"], refused["level"], refused["exit_code"]) == ("consumer.refused", "critical", 3)
    assert "CONSUMER_LEASE_TABLE" in refused["detail"]
    assert refused["timestamp"].endswith("Z")

    game.tables["lease"] = known
    refused = last_event(game.worker(http_port="many", pool_size="0"), 2)
    assert (refused["event"], refused["exit_code"]) == ("consumer.refused", 2)
    assert [fault.partition(" ")[0] for fault in refused["detail"].splitlines()] == [
        "CONSUMER_POOL_SIZE",
        "CONSUMER_HTTP_PORT",
    ]

    mistyped = consumer("run", "--frob", environment=game.environment(log_format="auto"))
    assert mistyped.returncode == 2
    assert "No such option '--frob'" in json.loads(mistyped.stderr)["detail"]


def test_a_refusal_is_a_sentence_where_the_log_is_pretty(game: Game) -> None:
    """On a terminal, and where the format is `pretty`."""
    game.tables["lease"] += "-missing"
    ended = game.worker(log_format="pretty").wait()
    assert ended.code == 3
    assert ended.stderr.splitlines()[-1].startswith(f"table {game.tables['lease']}"), ended.stderr
    with Terminal("run", environment=game.environment(log_format="auto")) as terminal:
        assert terminal.wait() == 3
    assert "consumer.refused" not in terminal.shown


def test_the_settings_and_rules_in_force_are_logged_at_start(game: Game) -> None:
    worker = game.worker(
        score_attribute="points",
        windows="day:2,month:1",
        time_zone="Europe/Berlin",
        start_position="2026-01-31T12:00:00+01:00",
        pool_size="3",
    )
    logged = worker.wait_for_event("worker.settings")
    assert logged["rules"] == {
        "source_table": game.tables["source"],
        "stream_arn": None,
        "player_attribute": "playerId",
        "score_attribute": "points",
        "timestamp_attribute": "timestamp",
        "timestamp_format": "iso",
        "max_future_seconds": 86_400,
        "windows": "day:2,month:1",
        "time_zone": "Europe/Berlin",
        "corrections": "ignore",
    }
    settings = logged["settings"]
    assert (settings["pool_size"], settings["lease_ttl_seconds"]) == (3, 5.0)
    assert settings["start_position"] == "2026-01-31T11:00:00Z"
    assert settings["leaderboard_table"] == game.tables["leaderboard"]
    numbers = worker.wait_for_event("worker.rules")
    assert (numbers["number"], numbers["newest"]) == (1, 1)
    assert worker.wait_for_event("lease.claimed")["rules"] == 1
    assert worker.terminate().code == 0


def test_a_start_position_without_effect_is_a_warning(game: Game) -> None:
    """The stream was started at its horizon by an earlier worker."""

    def warnings(**settings: str) -> list[dict[str, Any]]:
        with WorkerProcess(game.environment(None, **settings)) as worker:
            worker.wait_for_event("stream.writes")
            assert worker.terminate().code == 0
        return worker.events("stream.start_position_unused")

    assert warnings(start_position="TRIM_HORIZON") == []
    assert warnings(start_position="TRIM_HORIZON") == []
    (warned,) = warnings(start_position="LATEST")
    assert (warned["level"], warned["start_position"], warned["floor"]) == ("warning", "LATEST", None)
    assert "CONSUMER_START_POSITION has no effect" in warned["detail"]
    assert "consumer checkpoint set" in warned["detail"]


def test_a_recovery_is_logged_with_its_duration(game: Game) -> None:
    failing = True

    def fate(call: Call) -> Fate:
        return Fate.DENY if failing and call.operation == "GetRecords" else Fate.PASS

    with Proxy(game.engine.url, fate) as proxy:
        game.play(3, 2)
        worker = game.worker(proxy)
        until(lambda: any(event["attempt"] >= 4 for event in worker.events("call.retry_scheduled")), "some have failed")
        failing = False
        recovered = worker.wait_for_event("call.recovered")
        assert (recovered["level"], recovered["operation"], recovered["reason"]) == ("info", "get_records", "denied")
        assert recovered["attempts"] >= 4
        assert 0.1 < recovered["seconds"] < 30
        assert "shard_id" in recovered
        game.wait_until_consumed()
        assert worker.terminate().code == 0
    assert len(worker.events("call.recovered")) == 1


def test_a_flood_of_poison_is_a_few_lines(game: Game) -> None:
    """99 records are quarantined before the shard halts: 5 lines of their own, and one for the rest."""
    game.play(3, 2)
    game.put([game.make("ada") | {"score": {"S": "12"}} for _ in range(150)])
    worker = game.worker(poll_interval_seconds="0.05")
    worker.wait_for_event("shard.halted")
    assert worker.terminate().code == 0
    alone = worker.events("record.quarantined")
    assert len(alone) == 5
    (flood,) = worker.events("quarantine.flood")
    assert (flood["level"], flood["reason"], flood["records"]) == ("warning", "score_type", 94)
    waiting = {row["sequenceNumber"]["S"] for row in game.rows("quarantine") if "reason" in row}
    assert len(waiting) == 99
    assert flood["sequence_number"] in waiting - {event["sequence_number"] for event in alone}
    assert flood["shard_id"] == alone[0]["shard_id"]


@pytest.mark.proof
def test_an_idle_worker_and_a_stuck_one_have_a_summary_every_minute(game: Game) -> None:
    """The one makes progress, the other does not: its shard's records cannot be read."""

    def fate(call: Call) -> Fate:
        return Fate.DENY if call.operation == "GetRecords" else Fate.PASS

    with Proxy(game.engine.url, fate) as proxy, Game(game.engine) as other:
        idle, stuck = game.worker(), other.worker(proxy)
        summary = idle.wait_for_event("worker.summary", 75)
        assert (summary["records"], summary["leases_owned"], summary["not_ready"]) == (0, 1, 0)
        assert summary["seconds_without_progress"] < 10
        summary = stuck.wait_for_event("worker.summary", 75)
        assert (summary["leases_owned"], summary["not_ready"]) == (1, 1)
        assert summary["seconds_without_progress"] > 50
