"""A producer's bug as an operator meets it: the shard halts before the flood, reports it, stays halted after a restart,
goes on with `resume --quarantine-all`, and `quarantine redrive --set` counts every game."""

import json
from collections.abc import Iterator

import pytest

from tests.support.engines import TableEngine
from tests.support.processes import Game, consumer, until
from tests.support.processes.game import Item


@pytest.fixture
def game(engine: TableEngine) -> Iterator[Game]:
    with Game(engine) as game:
        yield game


def ended(game: Game, *arguments: str) -> tuple[int, str, str]:
    """Exit code, stdout and stderr."""
    done = consumer(*arguments, environment=game.environment())
    assert "Traceback" not in done.stderr
    return done.returncode, done.stdout, done.stderr


def bug(game: Game, records: int) -> list[Item]:
    """Games whose score is written as a string: 12, whatever it was."""
    items = [game.make(f"player-{number % 7}", "12") for number in range(records)]
    game.put([item | {"score": {"S": "12"}} for item in items])
    return items


@pytest.mark.proof
def test_an_incident(game: Game) -> None:
    game.play(40, 7)
    first = game.worker(poll_interval_seconds="0.05", lease_ttl_seconds="1")
    game.wait_until_consumed()
    spoiled = bug(game, 150)
    game.play(30, 7)

    halted = first.wait_for_event("shard.halted")
    pending = len(game.quarantined())
    assert 0 < pending < 100, "nothing of the flood is skipped, and most of it is not quarantined"
    cause = "most of its last records are poison, most often score_type: score is of type 'S'; it must be N (record "
    assert cause in halted["detail"]
    sentence = f"{halted['detail']}; fix the producer or the settings, next: `consumer resume {halted['shard_id']}`"
    until(lambda: sentence in first.get("/readyz")[1], "readiness reports it")
    assert first.get("/readyz")[0] == 503
    shard = halted["shard_id"]
    first.kill()

    second = game.worker(poll_interval_seconds="0.05", lease_ttl_seconds="1", idle_poll_interval_seconds="0.1")
    until(lambda: "consumer resume" in second.get("/readyz")[1], "the halt survives a restart")
    checkpoint = game.checkpoint()

    code, out, err = ended(game, "resume", shard)
    assert (code, out) == (4, "")
    assert "add --yes" in err
    code, out, err = ended(game, "resume", shard + "0", "--yes")
    assert (code, out) == (5, "")
    assert shard in err

    code, out, err = ended(game, "resume", shard, "--quarantine-all", "--yes", "--json")
    assert (code, err) == (0, "")
    last = game.played()[-1].sequence_number
    bare = shard.rpartition("/")[2]
    no_mark = dict.fromkeys(("playerId", "appliedShard", "appliedTo"))
    assert json.loads(out) == {"shardId": bare, "checkpoint": checkpoint, "freeTo": last, **no_mark}
    second.wait_for_event("shard.resumed", 5.0)
    game.wait_until_consumed()
    assert len(game.quarantined()) == 150
    assert game.checkpoint() == last
    until(lambda: second.get("/readyz")[0] == 200, "ready again")
    lease = game.lease()
    assert lease is not None
    assert "freeTo" not in lease, "the breaker is armed again"

    code, out, err = ended(game, "resume", shard, "--yes")
    assert (code, out) == (4, "")
    assert "is not halted: nothing to resume" in err

    code, out, err = ended(game, "quarantine", "redrive", "--reason", "score_type", "--set", "score=12", "--yes")
    assert (code, out, err) == (0, "150 records counted\n", "")
    for item in spoiled:
        game.expected.count(item)
    assert game.board() == game.expected.rows

    code, out, err = ended(game, "audit-log", "--json")
    assert (code, err) == (0, "")
    actions = [row["act"] for row in json.loads(out)]
    assert actions == ["redrive"] * 150 + ["resume"]
    assert second.terminate().code == 0


def test_a_new_installation_with_a_wrong_attribute_name(game: Game) -> None:
    """40 of 40 records are poison: the shard halts before the 20th, and names what is there and the setting to mend."""
    game.play(40, 7)
    worker = game.worker(poll_interval_seconds="0.05", lease_ttl_seconds="1", score_attribute="points")
    halted = worker.wait_for_event("shard.halted")
    assert len(game.quarantined()) == 19
    shard, detail = halted["shard_id"], halted["detail"]
    assert detail.startswith(
        "it has had no good record yet, and too much poison, most often score_missing: the record has no points: "
        "it has playerId, score, timestamp"
    )
    assert "CONSUMER_SCORE_ATTRIBUTE" in detail
    until(lambda: detail in worker.get("/readyz")[1], "readiness says what to do")
    assert worker.get("/readyz")[0] == 503
    code, out, err = ended(game, "status")
    assert (code, err) == (12, "")
    assert f"{shard}: {detail}; next: `consumer resume`" in out
    assert worker.terminate().code == 0

    worker = game.worker(poll_interval_seconds="0.05", lease_ttl_seconds="1", idle_poll_interval_seconds="0.1")
    until(lambda: detail in worker.get("/readyz")[1], "the next worker reads why")
    code, _, err = ended(game, "resume", shard, "--yes")
    assert (code, err) == (0, "")
    code, out, err = ended(game, "quarantine", "redrive", "--reason", "score_missing", "--yes")
    assert (code, out, err) == (0, "19 records counted\n", "")
    game.wait_until_consumed()
    assert game.board() == game.expected.rows
    assert worker.terminate().code == 0


def test_a_plain_resume_halts_again_where_the_flood_goes_on(game: Game) -> None:
    game.play(3, 2)
    bug(game, 250)
    worker = game.worker(poll_interval_seconds="0.05", lease_ttl_seconds="1")
    shard = worker.wait_for_event("shard.halted")["shard_id"]
    assert len(game.quarantined()) == 99
    code, out, err = ended(game, "resume", shard, "--yes")
    assert (code, err) == (0, "")
    assert out.startswith(f"Shard {shard} goes on behind ")
    worker.wait_for_event("shard.halted", count=2)
    assert len(game.quarantined()) == 198
    ended(game, "resume", shard, "--yes")
    game.wait_until_consumed()
    assert len(game.quarantined()) == 250


def test_a_shard_without_a_row_is_for_checkpoint_set(game: Game) -> None:
    game.play(3, 2)
    worker = game.worker(lease_ttl_seconds="1")
    game.wait_until_consumed()
    lease = game.lease()
    assert lease is not None
    worker.kill()
    game.client.delete_item(TableName=game.tables["lease"], Key={"leaseKey": lease["leaseKey"]})
    code, out, err = ended(game, "resume", lease["shardId"]["S"], "--yes")
    assert (code, out) == (4, "")
    assert "has no row in the lease table" in err
    assert "next: `consumer checkpoint set " in err
