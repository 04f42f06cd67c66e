"""`consumer run` as a process on both engines: what it counts, what it reports, how quickly it starts."""

import re
from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal

import pytest

from tests.support.engines import TableEngine
from tests.support.processes import Game, Proxy, Row, consumer, differences, until


@pytest.fixture
def game(engine: TableEngine) -> Iterator[Game]:
    with Game(engine) as game:
        yield game


def test_three_games_of_two_players(engine: TableEngine) -> None:
    with Game(engine, made=False) as game:
        done = consumer("init", environment=game.environment())
        assert done.returncode == 0, done.stderr
        game.put(
            [
                game.make("foo", "150", "2026-01-01T10:00:00Z"),
                game.make("foo", "220", "2026-01-03T23:30:00-01:00"),  # the 4th in UTC
                game.make("bar", "180", "2026-01-02"),
            ]
        )
        worker = game.worker()
        game.wait_until_consumed()
        assert game.board() == {
            "foo": Row(2, Decimal(370), "2026-01-04"),
            "bar": Row(1, Decimal(180), "2026-01-02"),
        }
        assert worker.terminate().code == 0
        assert [row for row in game.rows("quarantine") if row["shardId"]["S"][0] != "#"] == []


def test_from_start_to_first_commit(game: Game) -> None:
    game.play(300, 50)
    worker = game.worker()
    seconds = worker.seconds_until("unit.committed")
    print(f"{game.engine.name}: first commit {seconds:.2f} s after the process's start")
    assert seconds < 5, "2 s on a machine that does nothing else"
    game.wait_until_consumed()
    game.assert_exact()


def test_changes_and_removals_do_not_count(game: Game) -> None:
    kept, changed, removed = game.make("kept"), game.make("changed"), game.make("removed")
    game.count(kept, changed, removed)
    game.put([{**changed, "score": {"N": "1"}}])
    game.client.delete_item(
        TableName=game.tables["source"], Key={name: removed[name] for name in ("playerId", "timestamp")}
    )
    game.worker()
    game.count(game.make("kept"))
    game.wait_until_consumed()
    game.assert_exact()


def test_health_and_metrics_of_a_running_worker(game: Game) -> None:
    games = 40
    game.play(games, 7)
    game.poison.append(bad := game.make("player-00001") | {"score": {"BOOL": True}})
    game.put([bad])
    with Proxy(game.engine.url) as proxy:
        read_origin = proxy.hold(lambda call: call.operation == "TransactGetItems")
        worker = game.worker(proxy, poll_interval_seconds="0.05")
        read_origin.wait_caught()
        status, why = worker.get("/readyz")
        assert (status, "starting" in why) == (503, True), why
        assert worker.get("/livez")[0] == 200
        read_origin.let_go()

        until(lambda: worker.get("/readyz") == (200, "ready\n"), "ready")
        game.wait_until_consumed()
        applied = f'leaderboard_consumer_records_total{{outcome="applied"}} {games:.1f}\n'
        until(lambda: applied in worker.get("/metrics")[1], f"metrics with {applied}")
        until(lambda: "\nleaderboard_consumer_leases_owned 1.0\n" in worker.get("/metrics")[1], "one lease")
        metrics = worker.get("/metrics")[1]
        assert re.search(r"^leaderboard_consumer_commit_duration_seconds_count [1-9]", metrics, re.MULTILINE)
        assert 'leaderboard_consumer_records_total{outcome="quarantined"} 1.0\n' in metrics
        assert worker.get("/livez") == (200, "live\n")
        assert worker.get("/elsewhere")[0] == 404
        assert worker.terminate().code == 0
    game.assert_exact()


def test_poison_is_quarantined_as_it_came(game: Game) -> None:
    game.play(20, 5)
    bad = game.make("player-00002") | {
        "score": {"S": "many"},
        "replay": {"B": bytes(range(256))},
        "moves": {"L": [{"M": {"x": {"N": "0.1"}}}, {"NULL": True}, {"SS": ["é"]}]},
    }
    game.poison.append(bad)
    game.put([bad])
    game.play(20, 5)
    with Proxy(game.engine.url) as proxy:
        game.worker(proxy)
        game.wait_until_consumed()
        sent = {
            record["dynamodb"]["SequenceNumber"]: record
            for page in proxy.of("GetRecords")
            if page.applied  # the last one may be in flight
            for record in page.reply["Records"]
        }
    kept = game.quarantined()
    (number,) = kept
    assert kept[number] == sent[number], "the wire record, to the byte of its attributes"
    lease = game.lease()
    assert lease is not None
    (entry,) = [row for row in game.rows("quarantine") if row["sequenceNumber"]["S"] == number]
    assert (entry["shardId"], entry["reason"], entry["state"], entry["playerId"], entry["streamArn"]) == (
        lease["shardId"],
        {"S": "score_type"},
        {"S": "pending"},
        {"S": "player-00002"},
        lease["streamArn"],
    )
    since = datetime.now(UTC) - datetime.fromisoformat(entry["quarantinedAt"]["S"])
    assert abs(since.total_seconds()) < 60
    assert differences(game.board(), game.expected.rows) == [], "its neighbours count"
