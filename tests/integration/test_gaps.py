"""Gaps as an operator meets them: what is none leaves no row; one that is there can be acknowledged, once."""

import json
from collections.abc import Iterator

import pytest

from consumer.aws.commits import DynamoCommits
from consumer.domain.leases import Shard, TableNames
from tests.support.engines import TableEngine
from tests.support.processes import Game, Proxy, consumer, until


@pytest.fixture
def game(engine: TableEngine) -> Iterator[Game]:
    with Game(engine) as game:
        yield game


EMPTY_READS = 3


@pytest.mark.parametrize("start_position", ["TRIM_HORIZON", "LATEST"])
def test_the_first_record_after_an_empty_shard_is_no_gap(game: Game, start_position: str) -> None:
    """DynamoDB Local says that an iterator of the empty shard is trimmed, once another table has had records."""
    with Game(game.engine) as other, Proxy(game.engine.url) as proxy:
        other.play(5, 2)
        worker = game.worker(proxy, start_position=start_position)
        worker.wait_for_event("lease.claimed")
        until(lambda: proxy.counts()["GetRecords"] >= EMPTY_READS, "the shard was seen empty")
        game.count(game.make("foo", "12"), game.make("foo", "30"))
        game.wait_until_consumed()
        assert worker.events("shard.gap") == []
        assert [row for row in game.rows("quarantine") if row["shardId"]["S"] == "#gap"] == []
        game.assert_exact()
        assert worker.terminate().code == 0


def test_an_operator_lists_and_acknowledges_a_gap(game: Game) -> None:
    """Once, with a reason and an audit row; `status` counts it apart."""
    game.play(5, 2)
    worker = game.worker()
    game.wait_until_consumed()
    lease = game.lease()
    assert lease is not None
    assert worker.terminate().code == 0
    shard = Shard(lease["streamArn"]["S"], lease["shardId"]["S"])
    names = TableNames(game.tables["lease"], game.tables["leaderboard"], game.tables["quarantine"])
    for checkpoint in ("7", "9"):
        DynamoCommits(game.client, names).record_gap(shard, checkpoint, 1_769_860_800.0)
    first, second = f"{shard}/7", f"{shard}/9"

    def run(*arguments: str, code: int = 0) -> str:
        ended = consumer("gaps", *arguments, environment=game.environment())
        assert ended.returncode == code, ended.stderr
        assert "Traceback" not in ended.stderr
        return ended.stdout if code == 0 else ended.stderr

    assert [first, second] == [line for line in run("list").splitlines() if not line.startswith(" ")]
    assert "--yes" in run("acknowledge", first, "--because", "why", code=4)
    run("acknowledge", first, "--because", "no game was written", "--yes")
    assert "no game was written" in run("acknowledge", second, first, "--because", "again", "--yes", code=4)
    listed = json.loads(run("list", "--json"))
    assert [(gap["gap"], gap["acknowledgeReason"]) for gap in listed] == [
        (first, "no game was written"),
        (second, None),
    ]
    ended = consumer("status", environment=game.environment())
    assert "gaps        1, and 1 acknowledged" in ended.stdout
    assert second.rpartition("/")[0] in ended.stdout
    (trail,) = [row for row in game.rows("quarantine") if row["shardId"]["S"] == "#audit"]
    assert (trail["target"]["S"], trail["why"]["S"]) == (first, "no game was written")
