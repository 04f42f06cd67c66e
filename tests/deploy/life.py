"""Everything that a worker and a person do to AWS, done once."""

import threading
from datetime import UTC, datetime, timedelta
from typing import Any

from consumer.aws.items import BIRTH
from consumer.aws.tables import LEADERBOARD_KEYS, DynamoTables
from tests.deploy.rehearsal import Rehearsal
from tests.processes import WorkerProcess, until
from tests.streams_server import shard_id

_DAY_SECONDS = 86_400
_SOME_ARE_STILL_POISON = 4


def rehearse(it: Rehearsal) -> None:
    """The whole life of an installation, in a minute."""
    it.command("init")
    it.command("init")
    first = it.worker(worker_id="w1")
    first.wait_for_event("worker.joined")
    _count_and_split(it)
    _meet_what_the_database_refuses(it)
    _flood(it, first)
    assert first.terminate().code == 0
    _lose_what_was_trimmed(it)
    _take_over(it)
    _put_a_row_back(it)
    _forget(it)
    _switch_the_stream_on_again(it)
    _look(it)
    _deal_with_quarantine(it)
    _replay(it)
    _adopt(it)


def _count_and_split(it: Rehearsal) -> None:
    it.game.play(60, 20, poison=0.1)
    it.remote.split(0)
    it.game.play(60, 20)
    it.wait_until_read()


def _meet_what_the_database_refuses(it: Rehearsal) -> None:
    """A total that is no number: its player's game is refused alone, and looked into."""
    row = {"playerId": {"S": "untouchable"}, "totalScore": {"S": "many"}}
    it.game.client.put_item(TableName=it.game.tables["leaderboard"], Item=row)
    it.game.put([it.game.make("untouchable")])
    it.wait_until_read()


def _flood(it: Rehearsal, worker: WorkerProcess) -> None:
    it.game.put([it.game.make("player-1", "12") | {"score": {"S": "12"}} for _ in range(150)])
    shard = worker.wait_for_event("shard.halted")["shard_id"]
    it.command("resume", shard, "--quarantine-all", "--yes")
    it.wait_until_read()


def _lose_what_was_trimmed(it: Rehearsal) -> None:
    """While no worker is there, records are written and trimmed, and a shard splits of which one child stays hidden."""
    it.game.play(60, 20)
    it.remote.trim(1)
    _, hidden = it.remote.split(2)
    it.remote.hide([hidden], 60)
    worker = it.worker(worker_id="w1")
    worker.wait_for_event("shard.gap")
    worker.wait_for_event("shard.ended")
    it.remote.hide([hidden], 0)
    worker.wait_for_event("shard.found_late")
    it.game.play(60, 20)
    it.wait_until_read()
    assert worker.terminate().code == 0


def _take_over(it: Rehearsal) -> None:
    """Two share; one is killed, and the other takes its shards and buries it. One of them rolls over."""
    one, other = it.worker(worker_id="w1"), it.worker(worker_id="w2")
    for worker in (one, other):
        worker.wait_for_event("lease.claimed")
    one.kill()
    other.wait_for_event("lease.claimed", count=len(it.remote.shards()) - 2)
    it.remote.split(1, 1)
    it.game.play(30, 20)
    it.wait_until_read()
    assert other.terminate().code == 0


def _put_a_row_back(it: Rehearsal) -> None:
    """Of a shard whose row somebody deleted by hand."""
    worker = it.worker(worker_id="w1")
    row = next(row for row in it.game.rows("lease") if row.get("checkpoint", {}).get("S", "SHARD_END") != "SHARD_END")
    it.game.client.delete_item(TableName=it.game.tables["lease"], Key={"leaseKey": row["leaseKey"]})
    worker.wait_for_event("shard.halted")
    it.command("checkpoint set", row["shardId"]["S"], row["checkpoint"]["S"], "--yes")
    it.game.play(30, 20)
    it.wait_until_read()
    assert worker.terminate().code == 0


def _forget(it: Rehearsal) -> None:
    """Two days pass for the finished row of a shard that listings do not show any more."""
    it.remote.remove(0)
    worker = it.worker(worker_id="w1")
    key = f"shard#{it.remote.streams()[0].rpartition('/')[2]}#{shard_id(0)}"

    def marked() -> Any:
        return next(
            (row for row in it.game.rows("lease") if row["leaseKey"]["S"] == key and "unlistedSince" in row), None
        )

    since = float(until(marked, "the row is marked")["unlistedSince"]["N"])
    assert worker.terminate().code == 0
    it.game.client.update_item(
        TableName=it.game.tables["lease"],
        Key={"leaseKey": {"S": key}},
        UpdateExpression="SET unlistedSince = :then",
        ExpressionAttributeValues={":then": {"N": str(since - 3 * _DAY_SECONDS)}},
    )
    worker = it.worker(worker_id="w1")
    worker.wait_for_event("lease.forgotten")
    assert worker.terminate().code == 0


def _switch_the_stream_on_again(it: Rehearsal) -> None:
    """And a worker starts with the new stream's ARN instead of the table's name."""
    worker = it.worker(worker_id="w1")
    worker.wait_for_event("worker.joined")
    it.remote.disable()
    it.remote.create_stream(it.game.tables["source"])
    worker.wait_for_event("stream.gap")
    other = it.worker(worker_id="w2", stream_arn=it.remote.streams()[-1])
    other.wait_for_event("worker.joined")
    later = datetime.now(UTC) + timedelta(days=5)
    it.game.put([it.game.make("early", timestamp=later.isoformat())])
    it.game.play(60, 20, poison=0.1)
    it.remote.split(0)
    it.game.play(30, 20)
    it.wait_until_read()
    for each in (worker, other):
        assert each.terminate().code == 0


def _look(it: Rehearsal) -> None:
    it.command("status", "--json")
    it.command("status", "--json", stream_arn=it.remote.streams()[-1])
    it.command("top", "--json")
    it.command("quarantine list", "--json")
    it.command("audit-log", "--json")
    it.command("healthcheck", code=1, http_port="9")


def _deal_with_quarantine(it: Rehearsal) -> None:
    first, second, *_ = it.command("quarantine list", "--json", "--reason", "score_type")
    one, two = ((each["shardId"], each["sequenceNumber"]) for each in (first, second))
    it.command("quarantine show", *one, "--json")
    it.command("quarantine list", "--json", "--shard", one[0])
    it.command("quarantine list", "--shard", "another", code=5)
    it.command("checkpoint show", one[0], "--json")
    it.command("quarantine redrive", *one, "--set", "score=12", "--yes")
    it.command("quarantine redrive", "--reason", "score_type", "--set", "score=12", "--dry-run")
    it.command("quarantine redrive", "--player", "untouchable", "--yes", code=4)
    it.command("quarantine discard", *two, "--reason", "of a test", "--yes")
    it.command("quarantine discard", "--player", "untouchable", "--reason", "of a test", "--yes")


def _replay(it: Rehearsal) -> None:
    """A shard that a worker has read and that has ended, with its children; by each mode, and into another table."""
    shard = f"{it.remote.streams()[-1].rpartition('/')[2]}/{shard_id(0)}"
    whole = (shard, "--from", "TRIM_HORIZON", "--children")
    patient: dict[str, Any] = {"max_future_seconds": str(10 * _DAY_SECONDS)}
    it.command("replay", *whole, "--yes", code=_SOME_ARE_STILL_POISON, **patient)
    it.command("replay", *whole, "--recount", "--dry-run", **patient)
    it.command("replay", *whole, "--recount", "--yes", **patient)
    DynamoTables(it.game.client, it.game.streams, threading.Event()).ensure(it.other_table, LEADERBOARD_KEYS)
    row = {"playerId": {"S": "early"}, "totalScore": {"S": "many"}}
    it.game.client.put_item(TableName=it.other_table, Item=row)
    it.command("replay --into", it.other_table, *whole, "--yes", code=_SOME_ARE_STILL_POISON, **patient)


def _adopt(it: Rehearsal) -> None:
    """Without a birth row; then with one and no ledger."""
    births = [row for row in it.game.rows("quarantine") if row["shardId"]["S"] == BIRTH]
    for row in births:
        key = {name: row[name] for name in ("shardId", "sequenceNumber")}
        it.game.client.delete_item(TableName=it.game.tables["quarantine"], Key=key)
    it.command("init --adopt", "--yes")
    for row in it.game.rows("lease"):
        it.game.client.delete_item(TableName=it.game.tables["lease"], Key={"leaseKey": row["leaseKey"]})
    it.command("init --adopt", "--yes")
