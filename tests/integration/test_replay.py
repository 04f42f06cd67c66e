"""`consumer replay` as a process: what it counts, once, as the quarantine's rows decide, and what it leaves alone."""

import json
import threading
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pytest

from tests.support.engines import TableEngine
from tests.support.processes import Expected, Game, Row, consumer
from tests.support.processes.committed_shard import CommittedShard, committed_shard
from tests.support.processes.expected import read_board
from tests.support.processes.game import Item

GAMES = 30


@pytest.fixture
def committed(engine: TableEngine) -> Iterator[CommittedShard]:
    """Thirty games, and four scores as strings among them: one redriven, one discarded, two pending."""
    with committed_shard(engine) as committed:
        items = [committed.game.make(f"player-{number % 4}") for number in range(GAMES)]
        for number, item in enumerate(items):
            if number % 8 == 5:
                items[number] = item | {"score": {"S": "12"}}
            else:
                committed.game.expected.count(item)
        committed.write(*items)
        yield committed


def ended(committed: CommittedShard, *arguments: str, **settings: str) -> tuple[int, str, str]:
    """Exit code, stdout and stderr of `consumer`."""
    done = consumer(*arguments, environment=committed.game.environment(None, **settings))
    assert "Traceback" not in done.stderr
    assert "unexpected" not in done.stderr
    return done.returncode, done.stdout, done.stderr


def replay(committed: CommittedShard, *arguments: str, **settings: str) -> tuple[int, str, str]:
    return ended(committed, "replay", committed.shard.shard_id, *arguments, **settings)


def resolve_two(committed: CommittedShard) -> Expected:
    """One record is redriven with a repair, one is discarded; returns the expected board."""
    spoiled = [number for number, wire in zip(committed.numbers, committed.wires, strict=True) if "S" in score_of(wire)]
    assert len(spoiled) == 4
    committed.redrive(spoiled[0], score="7.5")
    committed.discard(spoiled[1])
    wire = committed.wires[committed.numbers.index(spoiled[0])]
    committed.game.expected.count(image_of(wire) | {"score": {"N": "7.5"}})
    assert committed.game.board() == committed.game.expected.rows
    return committed.game.expected


def image_of(wire: Any) -> Item:
    image: Item = wire["dynamodb"]["NewImage"]
    return image


def score_of(wire: Any) -> Item:
    score: Item = image_of(wire)["score"]
    return score


def late_date(item: Item) -> str:
    """The day that a single game is dated."""
    expected = Expected()
    expected.count(item)
    return next(iter(expected.rows.values())).date


def rows_of(out: str) -> dict[str, Row]:
    """What a dry run prints, as a board."""
    rows: list[dict[str, Any]] = json.loads(out, parse_float=str, parse_int=str)
    return {
        row["playerId"]: Row(int(row["gamesPlayed"]), Decimal(row["totalScore"]), row["lastPlayedDate"]) for row in rows
    }


def doubled(rows: dict[str, Row]) -> dict[str, Row]:
    return {player: Row(2 * row.games, 2 * row.total, row.date) for player, row in rows.items()}


@pytest.mark.proof
def test_a_recount_counts_once_more_as_the_rows_decide_and_its_dry_run_agrees(committed: CommittedShard) -> None:
    right = resolve_two(committed).rows
    everything = {table: committed.game.rows(table) for table in committed.game.tables}
    code, out, err = replay(committed, "--from", "TRIM_HORIZON", "--recount", "--dry-run", "--json")
    assert code == 0, err
    assert rows_of(out) == right
    assert "one more reader of the shard" in err
    assert f"{GAMES - 3} games would be counted" in err
    assert {table: committed.game.rows(table) for table in committed.game.tables} == everything, "nothing was written"

    code, out, err = replay(committed, "--from", "TRIM_HORIZON", "--recount")
    assert (code, out) == (4, "")
    assert "add --yes" in err
    assert {table: committed.game.rows(table) for table in committed.game.tables} == everything, "nothing was written"

    code, out, err = replay(committed, "--from", "TRIM_HORIZON", "--recount", "--yes")
    assert (code, out) == (
        0,
        f"{GAMES - 3} games of shard {committed.shard} counted in {committed.game.tables['leaderboard']}\n",
    )
    assert committed.game.board() == doubled(right)
    assert [row for row in committed.game.rows("quarantine") if not row["shardId"]["S"].startswith("#")] == [
        row for row in everything["quarantine"] if not row["shardId"]["S"].startswith("#")
    ], "no quarantine row is written"

    code, out, err = replay(committed, "--from", committed.numbers[-1], "--recount", "--yes")
    assert (code, out) == (4, "")
    assert "was counted again" in err
    assert "add --again" in err
    assert committed.game.board() == doubled(right)

    committed.reset()
    code, out, err = replay(committed, "--from", "TRIM_HORIZON", "--recount", "--yes", "--again", "--json")
    assert code == 0, err
    assert json.loads(out) == {
        "shardId": committed.shard.shard_id,
        "streamArn": committed.shard.stream_arn,
        "leaderboardTable": committed.game.tables["leaderboard"],
        "mode": "recount",
        "from": "TRIM_HORIZON",
        "to": committed.numbers[-1],
        "games": GAMES - 3,
        "skipped": 0,
        "notCounted": {},
    }
    assert committed.game.board() == right

    code, out, _ = ended(committed, "audit-log", "--json")
    actions = [row for row in json.loads(out) if row["act"] == "replay"]
    assert [row["outcome"] for row in actions] == ["finished", "started", "finished", "started"]
    assert actions[0]["target"] == str(committed.shard)
    assert actions[0]["games"] == str(GAMES - 3)
    assert actions[0]["who"]


@pytest.mark.parametrize("engine", ["ministack"], indirect=True)
def test_by_default_only_pending_records_that_can_be_counted_now_are_counted(committed: CommittedShard) -> None:
    right = resolve_two(committed)
    late = committed.game.make("player-9") | {"points": {"N": "3"}}
    no_score = {name: value for name, value in late.items() if name != "score"}
    (number,) = committed.write(no_score)
    code, out, err = replay(committed, "--from", "TRIM_HORIZON", "--dry-run", "--json", score_attribute="points")
    assert code == 0, "it has shown what would not count"
    assert err.count("still poison") == 2
    assert "1 game would be counted" in err
    assert "2 not counted" in err
    assert rows_of(out) == {"player-9": Row(1, Decimal(3), late_date(late))}
    code, out, err = replay(committed, "--from", "TRIM_HORIZON", "--yes", score_attribute="points")
    assert code == 4, "two are poison still"
    assert err.count("still poison") == 2
    assert "What the worker has counted is left alone" in err
    assert "one more reader" not in err, "it reads the quarantine alone"
    right.count(late | {"score": {"N": "3"}})
    assert out.startswith("1 game of shard")
    assert committed.game.board() == right.rows
    (entry,) = [row for row in committed.game.rows("quarantine") if row["sequenceNumber"]["S"] == number]
    assert entry["state"] == {"S": "applied"}

    code, out, _ = replay(committed, "--from", number, "--to", number, "--yes", score_attribute="points")
    assert (code, out.startswith("0 games of shard")) == (0, True)
    assert committed.game.board() == right.rows


@pytest.mark.proof
@pytest.mark.parametrize("engine", ["ministack"], indirect=True)
def test_into_a_fresh_table(committed: CommittedShard) -> None:
    right = resolve_two(committed).rows
    other = committed.game.tables["leaderboard"] + "-2"
    code, out, err = replay(committed, "--from", "TRIM_HORIZON", "--into", other, "--yes")
    assert (code, out) == (3, "")
    assert f"table {other} (--into) does not exist: check its name and the region" in err
    assert f"create it with `consumer init --leaderboard-table {other}`" in err

    assert ended(committed, "init", "--leaderboard-table", other)[0] == 0
    before = committed.game.board()
    code, out, err = replay(committed, "--from", "TRIM_HORIZON", "--into", other, "--yes")
    assert (code, out) == (0, f"{GAMES - 3} games of shard {committed.shard} counted in {other}\n"), err
    assert read_board(committed.game.client, other) == right
    assert committed.game.board() == before == right

    code, out, err = replay(committed, "--from", "TRIM_HORIZON", "--into", committed.game.tables["lease"], "--yes")
    assert (code, out) == (3, "")
    assert "has the key leaseKey (S)" in err


def test_beside_a_running_worker_nothing_but_pending_rows_of_the_range_changes(engine: TableEngine) -> None:
    with Game(engine) as game:
        game.play(40, 8)
        late = [game.make(f"player-{number}", "3") for number in range(5)]
        renamed = [{"points" if name == "score" else name: value for name, value in item.items()} for item in late]
        game.put(renamed)
        worker = game.worker(poll_interval_seconds="0.05", lease_ttl_seconds="1")
        game.wait_until_consumed()
        last = game.played()[-1].sequence_number
        lease = game.lease()
        assert lease is not None
        game.put([game.make("player-0") | {"score": {"S": "4"}}])

        replayed = threading.Event()

        def play() -> None:
            while not replayed.wait(0.05):
                game.play(10, 8)

        playing = threading.Thread(target=play)
        playing.start()
        shard = lease["shardId"]["S"]
        environment = game.environment(None, score_attribute="points")
        accepted = consumer("init", "--accept-rules", "--yes", environment=environment)
        assert accepted.returncode == 0, accepted.stderr
        done = consumer("replay", shard, "--from", "TRIM_HORIZON", "--to", last, "--yes", environment=environment)
        replayed.set()
        playing.join()
        assert (done.returncode, done.stdout[:7]) == (0, "5 games"), done.stderr
        game.wait_until_consumed()
        for item in late:
            game.expected.count(item)
        assert game.board() == game.expected.rows
        entries = {row["sequenceNumber"]["S"]: row for row in game.rows("quarantine") if "state" in row}
        states = [entry["state"]["S"] for _, entry in sorted(entries.items(), key=lambda entry: int(entry[0]))]
        assert states == ["applied"] * 5 + ["pending"]
        now = game.lease()
        assert now is not None
        assert (now["leaseOwner"], now["leaseEpoch"]) == (lease["leaseOwner"], lease["leaseEpoch"])
        assert worker.terminate().code == 0
