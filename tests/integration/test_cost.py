"""What runs again and again costs no more with a long history: what is read is counted, through a proxy.

And what is settled goes, if that is asked for.
"""

import json
import time
from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.engines import TableEngine, make_old_quarantine_table
from tests.support.processes import Call, Game, Proxy, consumer, until

SETTLED = 600
"""Records that operators have settled; each has a head row and a part row."""
PENDING = 7
PART_BYTES = 4_000


@pytest.fixture
def game(engine: TableEngine) -> Iterator[Game]:
    with Game(engine) as game:
        yield game


@pytest.fixture
def proxy(engine: TableEngine) -> Iterator[Proxy]:
    with Proxy(engine.url) as proxy:
        yield proxy


def settle(game: Game) -> None:
    """Years of history in quarantine, all of it settled."""
    row = {"state": {"S": "applied"}, "act": {"S": "a"}, "parts": {"N": "1"}, "reason": {"S": "score_type"}}
    part = {"record": {"B": b"x" * PART_BYTES}}
    for first in range(0, SETTLED, 12):
        puts = []
        for number in range(first, first + 12):
            for suffix, attributes in (("", row), ("#1", part)):
                key = {"shardId": {"S": "shardId-old"}, "sequenceNumber": {"S": f"{10**20 + number}{suffix}"}}
                puts.append({"PutRequest": {"Item": {**key, **attributes}}})
        assert not game.client.batch_write_item(RequestItems={game.tables["quarantine"]: puts})["UnprocessedItems"]


def rows_read(game: Game, calls: list[Call]) -> int:
    """Rows of the quarantine table that scans and queries have read, found or filtered out."""
    replies = [
        json.loads(call.answer)
        for call in calls
        if call.operation in ("Scan", "Query") and call.request["TableName"] == game.tables["quarantine"]
    ]
    assert replies, "nothing was counted"
    return sum(reply["ScannedCount"] for reply in replies)


def pending(metrics: str) -> float:
    (line,) = (line for line in metrics.splitlines() if line.startswith("leaderboard_consumer_quarantine_pending "))
    return float(line.split()[1])


def test_what_is_pending_is_counted_at_the_cost_of_what_is_pending(game: Game, proxy: Proxy) -> None:
    """However much was settled before. `status` counts in the same way."""
    settle(game)
    game.play(PENDING, 3, poison=1.0)
    worker = game.worker()
    game.wait_until_consumed()
    assert worker.terminate().code == 0

    worker = game.worker(proxy)
    until(lambda: pending(worker.get("/metrics")[1]) == PENDING, "the worker has counted")
    assert worker.terminate().code == 0
    assert rows_read(game, proxy.calls) <= PENDING + 1, "and the table binding"

    since = len(proxy.calls)
    assert status(game, proxy)["quarantinePending"] == PENDING
    assert rows_read(game, proxy.calls[since:]) <= PENDING + 1


def test_an_old_table_is_brought_up_to_date_by_init(game: Game, proxy: Proxy) -> None:
    """Before that a worker counts by a scan and says so, and `status` does not know."""
    game.client.delete_table(TableName=game.tables["quarantine"])
    make_old_quarantine_table(game.client, game.tables["quarantine"])
    game.play(PENDING, 3, poison=1.0)
    worker = game.worker()
    game.wait_until_consumed()
    assert worker.wait_for_event("quarantine.index_missing")["next"] == "consumer init"
    assert worker.terminate().code == 0
    _forget_what_is_new(game)
    assert status(game)["quarantinePending"] is None
    assert "quarantine  unknown: the table has no index; next: `consumer init`" in command(game, "status")

    shown = command(game, "init")
    assert f"{PENDING} rows of an older version updated, index added" in shown
    assert "updated" not in command(game, "init")
    assert status(game, proxy)["quarantinePending"] == PENDING
    assert rows_read(game, proxy.calls) <= PENDING + 1


def _forget_what_is_new(game: Game) -> None:
    """Pending rows as version 0.1 wrote them."""
    for row in game.rows("quarantine"):
        if "pendingShardId" in row:
            key = {name: row[name] for name in ("shardId", "sequenceNumber")}
            game.client.update_item(
                TableName=game.tables["quarantine"], Key=key, UpdateExpression="REMOVE pendingShardId"
            )


def command(game: Game, *arguments: str, **settings: str) -> str:
    ended = consumer(*arguments, environment=game.environment(None, **settings))
    assert ended.returncode in (0, 10), ended.stderr
    return ended.stdout


def status(game: Game, proxy: Proxy | None = None) -> Any:
    return json.loads(consumer("status", "--json", environment=game.environment(proxy)).stdout)


def test_settled_records_expire_if_that_is_asked_for(game: Game) -> None:
    """Those that are settled from now on, and by `consumer init` those of before. What is pending stays."""
    game.play(3, 3, poison=1.0)
    worker = game.worker()
    game.wait_until_consumed()
    assert worker.terminate().code == 0
    now, before, stays = sorted(row["sequenceNumber"]["S"] for row in game.rows("quarantine") if "parts" in row)
    (shard,) = {row["shardId"]["S"] for row in game.rows("quarantine") if "parts" in row}
    discard = ("quarantine", "discard", shard)
    command(game, *discard, before, "--because", "of a test", "--yes")
    assert expiring(game) == set()
    command(game, *discard, now, "--because", "of a test", "--yes", quarantine_retention_days="30")
    assert expiring(game) == {now, f"{now}#1"}
    command(game, "init", quarantine_retention_days="30")
    assert expiring(game) == {now, f"{now}#1", before, f"{before}#1"}
    assert [row["sequenceNumber"]["S"] for row in game.rows("quarantine") if "pendingShardId" in row] == [stays]
    for table in ("lease", "quarantine"):
        found = game.client.describe_time_to_live(TableName=game.tables[table])["TimeToLiveDescription"]
        assert found == {"TimeToLiveStatus": "ENABLED", "AttributeName": "expiresAt"}


def expiring(game: Game) -> set[str]:
    """Sort keys of the rows that expire, in about 30 days."""
    found = {
        row["sequenceNumber"]["S"]: float(row["expiresAt"]["N"])
        for row in game.rows("quarantine")
        if "expiresAt" in row
    }
    assert all(abs(at - time.time() - 30 * 86_400) < 600 for at in found.values())
    return set(found)
