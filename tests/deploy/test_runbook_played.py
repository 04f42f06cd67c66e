"""Every heading of the runbook, played: its situation in small, its commands as they stand there, how it is over."""

import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import pytest

from tests.deploy.runbook import INTRODUCTION, Installation, sections
from tests.streams_server import Fault, Rule
from tests.support.processes import Call, Fate, WorkerProcess, is_commit, is_row_write, until
from tests.support.processes.credential_source import CredentialFiles

pytestmark = [pytest.mark.deploy, pytest.mark.timeout(300)]

Test = TypeVar("Test", bound=Callable[..., None])
HOUR = 3600.0
PLAYED: set[str] = set()
HEALTHY = 0


def plays(*headings: str) -> Callable[[Test], Test]:
    """Says which headings a test plays."""
    PLAYED.update(headings)
    return lambda test: test


def test_every_heading_is_played() -> None:
    assert sections().keys() == PLAYED


@pytest.fixture
def it(ministack_url: str) -> Iterator[Installation]:
    with Installation(ministack_url) as it:
        yield it


def metric(worker: WorkerProcess, name: str) -> float:
    """The sum of a metric over its labels."""
    found = re.findall(rf"^leaderboard_consumer_{name}(?:{{.*}})? (\S+)$", worker.get("/metrics")[1], re.MULTILINE)
    return sum(map(float, found))


def poison(it: Installation, count: int, player: str = "ada", score: str = "12") -> list[dict[str, Any]]:
    """Games whose scores are strings."""
    return [it.game.make(player) | {"score": {"S": score}} for _ in range(count)]


def count_pending(it: Installation) -> int:
    return sum(row.get("state", {}).get("S") == "pending" for row in it.game.rows("quarantine"))


@plays(INTRODUCTION)
def test_always_first(it: Installation) -> None:
    worker = it.worker()
    it.game.count(it.game.make("ada", "1"))
    it.wait_until_read()
    it.wait_for_status(HEALTHY)
    with it.play(INTRODUCTION) as play:
        assert "healthy" in play("consumer status")
        until(lambda: worker.get("/readyz")[0] == 200, "ready")
        assert "ready" in play("curl -s http://WORKER:9464/readyz", **{"WORKER:9464": f"127.0.0.1:{worker.port}"})


# --- seen without an alert ---


@plays("The board looks wrong")
def test_the_board_looks_wrong(it: Installation) -> None:
    it.worker()
    it.game.count(it.game.make("ada", "10"), it.game.make("ada", "2.5"))
    it.game.put(poison(it, 1))
    it.wait_until_read()
    games, total, date = it.game.board()["ada"]
    with it.play("The board looks wrong") as play:
        play("consumer status", 0, 10)
        assert "score_type" in play("consumer quarantine list", PLAYER="ada")
        assert '"appliedTo"' in play("aws dynamodb get-item", PLAYER="ada")
        play("consumer gaps list")
        play("consumer audit-log")
        assert "ada" in play("consumer replay", 0, 4, SHARD=it.shard())
        assert it.game.board()["ada"] == (games, total, date), "that changed nothing"
        play("aws dynamodb update-item", PLAYER="ada")
    it.game.put([it.game.make("ada", "1", f"{date}T00:00:00Z")])
    right = (games + 2, total + 1 + type(total)("12.5"), date)
    until(lambda: it.game.board()["ada"] == right, "the player's next game adds to the row that was mended")


@plays("The board differs from the games")
def test_the_board_differs_from_the_games(it: Installation) -> None:
    it.worker()
    it.game.count(it.game.make("ada", "10"), it.game.make("ada", "2.5"), it.game.make("eve", "4"))
    it.wait_until_read()
    total = it.game.board()["ada"].total
    key = {"TableName": it.game.tables["leaderboard"], "Key": {"playerId": {"S": "ada"}}}
    one_more = {"UpdateExpression": "ADD totalScore :n", "ExpressionAttributeValues": {":n": {"N": "1"}}}
    it.game.client.update_item(**key, **one_more)
    with it.play("The board differs from the games") as play:
        said = play("consumer verify", 8, PLAYER="ada")
        assert (str(total + 1) in said, str(total) in said) == (True, True), said
        play("consumer gaps list")
        play("consumer audit-log")


@plays("A cheater is on the board")
def test_a_cheater(it: Installation) -> None:
    worker = it.worker()
    false = [it.game.make("eve", "999"), it.game.make("eve", "1000")]
    it.game.count(it.game.make("eve", "3"), it.game.make("ada", "5"))
    it.game.put(false)
    it.wait_until_read()
    with it.play("A cheater is on the board") as play:
        assert re.search(r"1 +eve +3 +2,?002", play("consumer top"))
        assert play("aws dynamodb query", PLAYER="eve").count('"playerId"') == 3
        play("aws dynamodb update-item", PLAYER="eve")
        assert re.search(r"2 +eve +1 +3\b", play("consumer top"))
    assert {player: (row.games, int(row.total)) for player, row in it.game.board().items()} == {
        "eve": (1, 3),
        "ada": (1, 5),
    }
    assert worker.terminate().code == 0
    it.worker()
    it.game.put([it.game.make("eve", "4")])
    until(lambda: it.game.board()["eve"].total == 7, "what was taken out stays out")


@plays("A wrong setting was deployed")
def test_a_wrong_setting(it: Installation) -> None:
    impossible = it.worker(breaker_window="many").wait()
    assert impossible.code == 2
    assert "CONSUMER_BREAKER_WINDOW" in impossible.stderr
    wrong = it.worker(score_attribute="points")
    it.game.count(*(it.game.make(f"player-{number % 5}", str(number)) for number in range(30)))
    shard = wrong.wait_for_event("shard.halted")["shard_id"].rpartition("/")[2]
    with it.play("A wrong setting was deployed") as play:
        assert "points" in play("consumer status", 12), "the attribute that is not there"
        play("consumer quarantine list")
        assert wrong.terminate().code == 0
        play("consumer init --accept-rules")
        it.worker()
        play("consumer resume", SHARD=shard)
        it.wait_until_read()
        play("consumer quarantine redrive --reason score_missing --dry-run")
        play("consumer quarantine redrive --reason score_missing")
    assert it.game.board() == it.game.expected.rows
    it.wait_for_status(HEALTHY)


def lose_records(it: Installation) -> list[dict[str, Any]]:
    """While no worker runs, games are written and trimmed from the stream; those games."""
    worker = it.worker()
    it.game.count(it.game.make("ada", "1"))
    it.wait_until_read()
    assert worker.terminate().code == 0
    lost = [it.game.make("ada", "7"), it.game.make("bob", "8")]
    it.game.put(lost)
    it.remote.trim(0)
    it.worker().wait_for_event("shard.gap")
    return lost


def gap_of(it: Installation) -> str:
    _, shown = it.status()
    (gap,) = shown["gaps"]
    return str(gap["gap"])


@plays("LeaderboardGap")
def test_a_gap(it: Installation) -> None:
    lost = lose_records(it)
    with it.play("LeaderboardGap") as play:
        assert gap_of(it) in play("consumer gaps list")
        for item in lost:
            key = {name: item[name] for name in ("playerId", "timestamp")}
            it.game.client.delete_item(TableName=it.game.tables["source"], Key=key)
            it.game.count(item)
        until(lambda: it.game.board() == it.game.expected.rows, "what was lost is counted")
        play("consumer gaps acknowledge", GAP=gap_of(it))
    assert it.wait_for_status(HEALTHY)["openGaps"] == 0


@plays("A gap is to be dismissed")
def test_a_gap_is_dismissed(it: Installation) -> None:
    lose_records(it)
    assert it.status()[1]["openGaps"] == 1
    with it.play("A gap is to be dismissed") as play:
        play("consumer gaps list")
        play("consumer gaps acknowledge", GAP=gap_of(it))
    assert it.status()[1]["openGaps"] == 0
    assert "no game was written that night" in it.shell("consumer audit-log")[1]


@plays("No worker runs", "LeaderboardNoWorker", "LeaderboardNoLeases")
def test_no_worker(it: Installation) -> None:
    it.game.count(it.game.make("ada", "1"))
    worker = it.worker()
    it.wait_until_read()
    assert worker.terminate().code == 0
    it.game.count(it.game.make("ada", "2"))
    with it.play("No worker runs") as play:
        assert it.status()[1]["workers"] == []
        play("consumer status", 0, 10)
        other = it.game.tables["lease"]
        assert it.worker(leaderboard_table="not-there").wait().code == 3, "a table that is missing"
        assert it.worker(poll_interval_seconds="soon").wait().code == 2
        it.game.tables["lease"] += "-restored"
        it.game.make_tables()
        refused = it.worker().wait()
        assert refused.code == 4
        assert other in refused.stderr, "the message names the right table"
        it.game.tables["lease"] = other
        assert play.note("consumer run") == "consumer run"
        again = it.worker()
    until(lambda: it.game.board() == it.game.expected.rows, "it goes on from the checkpoint")
    until(
        lambda: metric(again, "leases_owned") == len(it.wait_for_status(HEALTHY)["workers"]) == 1, "it owns the shard"
    )


@plays("Credentials stopped working", "LeaderboardCredentials")
def test_credentials(it: Installation, tmp_path: Path) -> None:
    files, proxy = CredentialFiles(tmp_path), it.proxy()
    keys = {"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"}
    environment = {name: value for name, value in it.environment(proxy).items() if name not in keys}
    files.share("old")
    worker = it.start(environment | files.variables())
    it.game.count(it.game.make("ada", "1"))
    it.wait_until_read()
    proxy.decide = lambda call: Fate.UNKNOWN_KEY if call.access_key == "old" else Fate.PASS
    it.game.count(it.game.make("ada", "2"))
    until(lambda: "credentials" in worker.get("/readyz")[1], "readiness says so")
    with it.play("Credentials stopped working") as play:
        code, said = it.shell(play.note("consumer status"), environment | files.variables())
        assert code == 3, said
        here = f"127.0.0.1:{worker.port}"
        assert "credentials" in play("curl -s http://WORKER:9464/readyz", **{"WORKER:9464": here})
    files.share("new")
    worker.wait_for_event("credentials.renewed")
    until(lambda: it.game.board() == it.game.expected.rows, "the same worker goes on")
    until(lambda: worker.get("/readyz")[0] == 200, "ready again")


# --- one per alert ---


@plays("LeaderboardDataLossNear", "LeaderboardDataLossAhead")
@pytest.mark.parametrize("hours", [21, 13])
def test_data_loss(it: Installation, hours: int) -> None:
    worker = it.worker()
    it.remote.append({0: poison(it, 30)}, created=time.time() - hours * HOUR)
    worker.wait_for_event("shard.halted")
    with it.play("LeaderboardDataLossNear") as play:
        shown = it.wait_for_status(12)
        assert (24 - hours - 1) * HOUR < shown["retentionHeadroomSeconds"] <= (24 - hours) * HOUR
        play("consumer resume", SHARD=it.shard())
    it.wait_until_read()
    assert count_pending(it) == 30
    assert not it.wait_for_status(HEALTHY)["gaps"]


@plays("LeaderboardBehind", "LeaderboardRetriesStorm")
def test_behind_because_the_table_throttles(it: Installation) -> None:
    worker = it.worker()
    worker.wait_for_event("lease.claimed")
    writes = ("BatchExecuteStatement", "TransactWriteItems", "UpdateItem")
    it.remote.set_faults(Rule(Fault.THROTTLE, operations=writes, tables=(it.game.tables["leaderboard"],)))
    it.game.play(50, 5)
    until(lambda: any(event["reason"] == "throttled" for event in worker.events("call.retry_scheduled")), "throttled")
    assert metric(worker, "retries_total") > 0
    code, _ = it.shell("consumer status --behind-seconds 0")
    assert code == 10
    it.remote.set_faults()
    it.wait_until_read()
    it.game.assert_exact()
    it.wait_for_status(HEALTHY)


@plays("LeaderboardLagUnknown")
def test_lag_unknown(it: Installation) -> None:
    it.remote.set_faults(Rule(Fault.FAIL, operations=("GetRecords",)))
    worker = it.worker()
    worker.wait_for_event("lease.claimed")
    until(lambda: metric(worker, "lag_unknown") == 1, "unknown")
    assert "unknown" in it.shell("consumer status")[1]
    worker.wait_for_event("call.retry_scheduled")
    it.remote.set_faults()
    it.game.count(it.game.make("ada", "1"))
    until(lambda: metric(worker, "lag_unknown") == 0, "known again")


def wait_for_halt(worker: WorkerProcess, reason: str, count: int = 1) -> dict[str, Any]:
    """The `count`th halt for this reason in the worker's log."""

    def halts() -> list[dict[str, Any]]:
        return [event for event in worker.events("shard.halted") if event["reason"] == reason]

    return until(lambda: halts()[count - 1 :], f"halt {count} for {reason}")[0]


@plays("LeaderboardShardHalted")
def test_a_shard_is_halted(it: Installation) -> None:
    """By a flood, by a missing row, by an unknown mark; in each the shard goes on."""
    worker = it.worker()
    it.game.count(*(it.game.make("ada", str(number)) for number in range(5)))
    it.wait_until_read()
    with it.play("LeaderboardShardHalted") as play:
        it.game.put(poison(it, 150))
        wait_for_halt(worker, "poison_flood")
        shard = it.shard()
        it.wait_for_status(12)
        play("consumer quarantine list", SHARD=shard)
        number = min(number for number, _ in it.game.quarantined().items())
        assert "score_type" in play("consumer quarantine show", SHARD=shard, SEQ=number)
        play("consumer resume SHARD --quarantine-all", SHARD=shard)
        it.wait_until_read()
        assert count_pending(it) == 150
        play("consumer quarantine redrive --reason score_type --convert score --dry-run")

        row = it.game.lease()
        assert row is not None
        it.game.client.delete_item(TableName=it.game.tables["lease"], Key={"leaseKey": row["leaseKey"]})
        halted = wait_for_halt(worker, "row_missing")
        assert halted["checkpoint"] == row["checkpoint"]["S"], "the log has the position"
        play("consumer checkpoint set", SHARD=shard, POSITION=row["checkpoint"]["S"])
        it.game.count(it.game.make("ada", "5"))
        it.wait_until_read()

        mark = {"appliedShard": {"S": "another/shardId-1"}, "appliedTo": {"S": "1" * 21}}
        stranger = {"playerId": {"S": "eve"}, **mark, "appliedAt": {"N": "9999999999"}}
        it.game.client.put_item(TableName=it.game.tables["leaderboard"], Item=stranger)
        it.game.count(it.game.make("eve", "5"))
        wait_for_halt(worker, "mark_unknown")
        play("consumer resume SHARD", SHARD=shard)
        wait_for_halt(worker, "mark_unknown", 2)
        play("consumer resume SHARD --accept-mark", SHARD=shard, PLAYER="eve")
        it.wait_until_read()
    assert it.game.board() == it.game.expected.rows
    it.wait_for_status(HEALTHY)
    assert "eve" in it.shell("consumer audit-log")[1]


@plays("LeaderboardStreamHalted")
def test_a_stream_is_halted(it: Installation) -> None:
    worker = it.worker()
    it.game.count(it.game.make("ada", "1"))
    until(lambda: it.game.board() == it.game.expected.rows, "it is counted", 60)
    it.remote.disable()
    it.wait_for_status(12)
    until(lambda: "off" in worker.get("/readyz")[1], "the worker sees it", 60)
    it.remote.create_stream(it.game.tables["source"], keys=("playerId", "timestamp"))
    it.game.count(it.game.make("ada", "2"))
    until(lambda: it.game.board() == it.game.expected.rows, "the next stream is read", 90)
    shown = it.wait_for_status(HEALTHY)
    assert (shown["haltedStreams"], shown["openGaps"]) == ([], 1)


def on_the_board(call: Call) -> bool:
    return is_commit(call) or is_row_write(call)


@plays("LeaderboardNoProgress", "LeaderboardCallsRefused")
def test_a_permission_is_missing(it: Installation) -> None:
    proxy = it.proxy()
    proxy.decide = lambda call: Fate.DENY if on_the_board(call) else Fate.PASS
    worker = it.worker(proxy)
    it.game.count(it.game.make("ada", "1"))
    refused = worker.wait_for_event("call.retry_scheduled")
    assert refused["reason"] == "denied"
    until(lambda: refused["operation"] in worker.get("/readyz")[1], "readiness names the call")
    other = it.worker(worker_id="w2")
    other.wait_for_event("worker.joined")
    progress = metric(other, "last_progress_timestamp_seconds")
    assert worker.terminate().code == 0
    until(lambda: it.game.board() == it.game.expected.rows, "another one takes over, and nothing counts twice")
    until(lambda: metric(other, "last_progress_timestamp_seconds") > progress, "it makes progress")
    again = it.worker(proxy)
    again.wait_for_event("worker.joined")
    assert other.terminate().code == 0
    it.game.count(it.game.make("ada", "2"))
    again.wait_for_event("call.retry_scheduled")
    proxy.decide = lambda _: Fate.PASS
    until(lambda: it.game.board() == it.game.expected.rows, "with the permission it goes on by itself")


@plays("LeaderboardShardsUnowned")
def test_shards_without_an_owner(it: Installation) -> None:
    proxy = it.proxy()
    proxy.decide = lambda call: Fate.DENY if b"shard#" in call.body and b"leaseOwner" in call.body else Fate.PASS
    worker = it.worker(proxy)
    it.game.count(it.game.make("ada", "1"))
    assert until(lambda: worker.events("call.retry_scheduled"), "a failed claim")[-1]["operation"] == "claim"
    assert [shard["owner"] for shard in it.status()[1]["shards"]] == [None]
    it.worker(worker_id="w2").wait_for_event("worker.joined")
    assert worker.terminate().code == 0
    until(lambda: it.game.board() == it.game.expected.rows, "another worker takes it")
    assert all(shard["owner"] for shard in it.status()[1]["shards"])


@plays("LeaderboardShardsAwaitRules")
def test_shards_that_wait_for_newer_rules(it: Installation) -> None:
    older = it.worker()
    it.game.count(it.game.make("ada", "1"))
    it.wait_until_read()
    assert older.terminate().code == 0
    newer_rules = it.environment(windows="day:2")
    assert it.shell("consumer init --accept-rules --yes", newer_rules)[0] == 0
    newer = it.start(newer_rules)
    it.game.count(it.game.make("ada", "2"))
    it.wait_until_read()
    assert newer.kill() == -9
    older = it.worker()
    older.wait_for_event("rules.shards_waiting")
    it.game.count(it.game.make("ada", "4"))
    assert it.wait_for_status(10)["shards"][0]["waitsForRules"], "once the last heartbeat is old"
    with it.play("LeaderboardShardsAwaitRules") as play:
        assert "waits for a worker of rules 2 or newer" in " ".join(play("consumer status", 10).split())
        play("consumer init --accept-rules")
    until(lambda: it.game.board() == it.game.expected.rows, "the worker that lives goes on")
    older.wait_for_event("rules.shards_taken_up")
    assert "waiting  " not in it.shell("consumer status")[1]


@plays("LeaderboardWorkerDown", "LeaderboardRestarts")
def test_workers_that_end(it: Installation) -> None:
    it.worker(worker_id="w2").wait_for_event("worker.joined")
    for number in range(3):
        worker = it.worker(worker_id="w1")
        worker.wait_for_event("worker.joined")
        it.game.count(it.game.make("ada", str(number)))
        assert worker.kill() == -9
    until(lambda: it.game.board() == it.game.expected.rows, "the other one has its shards")
    it.worker(worker_id="w1").wait_for_event("worker.joined")
    until(lambda: len(it.status()[1]["workers"]) == 2, "both send heartbeats")


@plays("LeaderboardQuarantineGrowing", "LeaderboardQuarantineWaiting")
def test_quarantine(it: Installation) -> None:
    it.worker()
    it.game.put([*poison(it, 2), *poison(it, 1, "eve")])
    it.wait_until_read()
    with it.play("LeaderboardQuarantineGrowing") as play:
        shard, number = it.shard(), min(it.game.quarantined())
        assert "score_type" in play("consumer quarantine list")
        play("consumer quarantine show", SHARD=shard, SEQ=number)
        play("consumer quarantine redrive --reason score_type --convert score --dry-run")
        assert count_pending(it) == 3
        play("consumer quarantine redrive SHARD SEQ", 4, SHARD=shard, SEQ=number)
        play("consumer quarantine discard", PLAYER="eve")
        assert count_pending(it) == 2
        play("consumer quarantine restore", PLAYER="eve")
        assert count_pending(it) == 3
    code, _ = it.shell("consumer quarantine redrive --reason score_type --convert score --yes")
    assert (code, count_pending(it)) == (0, 0)
    assert {player: int(row.total) for player, row in it.game.board().items()} == {"ada": 24, "eve": 12}


@plays("LeaderboardRepliesCorrupted")
def test_damaged_replies(it: Installation) -> None:
    it.remote.set_faults(Rule(Fault.CORRUPT, rate=0.5, operations=("GetRecords", "BatchExecuteStatement")))
    worker = it.worker()
    it.game.play(100, 10)
    until(lambda: 'reason="corrupted"' in worker.get("/metrics")[1], "they are counted by reason")
    it.remote.set_faults()
    it.wait_until_read()
    it.game.assert_exact()


@plays("LeaderboardLogLinesDropped")
def test_log_lines_are_dropped(it: Installation) -> None:
    worker = it.worker()
    port = worker.port
    worker.block_log()

    def dropped() -> bool:
        for _ in range(200):
            worker.get("/livez")
        return metric(worker, "log_lines_dropped_total") > 0

    assert port
    until(dropped, "lines are lost", 90)
    it.game.count(it.game.make("ada", "1"))
    it.wait_until_read()
    worker.unblock_log()
    worker.wait_for_event("log.lines_dropped")
    it.game.assert_exact()
