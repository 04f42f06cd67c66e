"""`consumer replay` as a process: what it counts, once, by the word of the quarantine's rows, and what it leaves."""

import json
import threading
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pytest

from tests.engines import TableEngine
from tests.processes import Game, Row, Tally, consumer
from tests.processes.absorbed import Absorbed, absorbed
from tests.processes.board import read_board
from tests.processes.game import Item

GAMES = 30


@pytest.fixture
def stage(engine: TableEngine) -> Iterator[Absorbed]:
    """Thirty games, and four scores as strings among them: one redriven, one discarded, two pending."""
    with absorbed(engine) as stage:
        items = [stage.game.make(f"player-{number % 4}") for number in range(GAMES)]
        for number, item in enumerate(items):
            if number % 8 == 5:
                items[number] = item | {"score": {"S": "12"}}
            else:
                stage.game.tally.count(item)
        stage.write(*items)
        yield stage


def ended(stage: Absorbed, *arguments: str, **settings: str) -> tuple[int, str, str]:
    """Exit code, stdout and stderr of `consumer`."""
    done = consumer(*arguments, environment=stage.game.environment(None, **settings))
    assert "Traceback" not in done.stderr
    assert "unexpected" not in done.stderr
    return done.returncode, done.stdout, done.stderr


def replay(stage: Absorbed, *arguments: str, **settings: str) -> tuple[int, str, str]:
    return ended(stage, "replay", stage.shard.shard_id, *arguments, **settings)


def settle(stage: Absorbed) -> Tally:
    """One record is redriven with a repair, one is discarded; what all counts for by then."""
    spoiled = [number for number, wire in zip(stage.numbers, stage.wires, strict=True) if "S" in score_of(wire)]
    assert len(spoiled) == 4
    stage.redrive(spoiled[0], score="7.5")
    stage.discard(spoiled[1])
    wire = stage.wires[stage.numbers.index(spoiled[0])]
    stage.game.tally.count(image_of(wire) | {"score": {"N": "7.5"}})
    assert stage.game.board() == stage.game.tally.rows
    return stage.game.tally


def image_of(wire: Any) -> Item:
    image: Item = wire["dynamodb"]["NewImage"]
    return image


def score_of(wire: Any) -> Item:
    score: Item = image_of(wire)["score"]
    return score


def late_date(item: Item) -> str:
    """The day that a single game is dated."""
    tally = Tally()
    tally.count(item)
    return next(iter(tally.rows.values())).date


def rows_of(said: str) -> dict[str, Row]:
    """What a dry run prints, as a board."""
    told: list[dict[str, Any]] = json.loads(said, parse_float=str, parse_int=str)
    return {
        row["playerId"]: Row(int(row["gamesPlayed"]), Decimal(row["totalScore"]), row["lastPlayedDate"]) for row in told
    }


def doubled(rows: dict[str, Row]) -> dict[str, Row]:
    return {player: Row(2 * row.games, 2 * row.total, row.date) for player, row in rows.items()}


def test_a_recount_counts_once_more_by_the_rows_word_and_the_dry_run_said_so(stage: Absorbed) -> None:
    right = settle(stage).rows
    everything = {table: stage.game.rows(table) for table in stage.game.tables}
    code, said, complained = replay(stage, "--from", "TRIM_HORIZON", "--recount", "--dry-run", "--json")
    assert code == 0, complained
    assert rows_of(said) == right
    assert "one more reader of the shard" in complained
    assert f"{GAMES - 3} games would be counted" in complained
    assert {table: stage.game.rows(table) for table in stage.game.tables} == everything, "nothing was written"

    code, said, complained = replay(stage, "--from", "TRIM_HORIZON", "--recount")
    assert (code, said) == (4, "")
    assert "add --yes" in complained
    assert {table: stage.game.rows(table) for table in stage.game.tables} == everything, "nothing was written"

    code, said, complained = replay(stage, "--from", "TRIM_HORIZON", "--recount", "--yes")
    assert (code, said) == (
        0,
        f"{GAMES - 3} games of shard {stage.shard} counted in {stage.game.tables['leaderboard']}\n",
    )
    assert stage.game.board() == doubled(right)
    assert [row for row in stage.game.rows("quarantine") if not row["shardId"]["S"].startswith("#")] == [
        row for row in everything["quarantine"] if not row["shardId"]["S"].startswith("#")
    ], "no quarantine row is written"

    code, said, complained = replay(stage, "--from", stage.numbers[-1], "--recount", "--yes")
    assert (code, said) == (4, "")
    assert "was counted again" in complained
    assert "add --again" in complained
    assert stage.game.board() == doubled(right)

    stage.reset()
    code, said, complained = replay(stage, "--from", "TRIM_HORIZON", "--recount", "--yes", "--again", "--json")
    assert code == 0, complained
    assert json.loads(said) == {
        "shardId": stage.shard.shard_id,
        "streamArn": stage.shard.stream_arn,
        "leaderboardTable": stage.game.tables["leaderboard"],
        "mode": "recount",
        "from": "TRIM_HORIZON",
        "to": stage.numbers[-1],
        "games": GAMES - 3,
        "skipped": 0,
        "notCounted": {},
    }
    assert stage.game.board() == right

    code, said, _ = ended(stage, "audit-log", "--json")
    acts = [row for row in json.loads(said) if row["act"] == "replay"]
    assert [row["outcome"] for row in acts] == ["finished", "started", "finished", "started"]
    assert acts[0]["target"] == str(stage.shard)
    assert acts[0]["games"] == str(GAMES - 3)
    assert acts[0]["who"]


@pytest.mark.parametrize("engine", ["ministack"], indirect=True)
def test_by_default_only_what_is_pending_and_good_by_now_is_counted(stage: Absorbed) -> None:
    right = settle(stage)
    late = stage.game.make("player-9") | {"points": {"N": "3"}}
    no_score = {name: value for name, value in late.items() if name != "score"}
    (number,) = stage.write(no_score)
    code, said, complained = replay(stage, "--from", "TRIM_HORIZON", "--dry-run", "--json", score_attribute="points")
    assert code == 4
    assert rows_of(said) == {"player-9": Row(1, Decimal(3), late_date(late))}
    code, said, complained = replay(stage, "--from", "TRIM_HORIZON", "--yes", score_attribute="points")
    assert code == 4, "two are poison still"
    assert complained.count("still poison") == 2
    assert "What the worker has counted is left alone" in complained
    assert "one more reader" not in complained, "it reads the quarantine alone"
    right.count(late | {"score": {"N": "3"}})
    assert said.startswith("1 game of shard")
    assert stage.game.board() == right.rows
    (head,) = [row for row in stage.game.rows("quarantine") if row["sequenceNumber"]["S"] == number]
    assert head["state"] == {"S": "applied"}

    code, said, _ = replay(stage, "--from", number, "--to", number, "--yes", score_attribute="points")
    assert (code, said.startswith("0 games of shard")) == (0, True)
    assert stage.game.board() == right.rows


@pytest.mark.parametrize("engine", ["ministack"], indirect=True)
def test_into_a_fresh_table(stage: Absorbed) -> None:
    right = settle(stage).rows
    other = stage.game.tables["leaderboard"] + "-2"
    code, said, complained = replay(stage, "--from", "TRIM_HORIZON", "--into", other, "--yes")
    assert (code, said) == (3, "")
    assert (
        f"table {other} (--into) does not exist: make it with `consumer init --leaderboard-table {other}`" in complained
    )

    assert ended(stage, "init", "--leaderboard-table", other)[0] == 0
    before = stage.game.board()
    code, said, complained = replay(stage, "--from", "TRIM_HORIZON", "--into", other, "--yes")
    assert (code, said) == (0, f"{GAMES - 3} games of shard {stage.shard} counted in {other}\n"), complained
    assert read_board(stage.game.client, other) == right
    assert stage.game.board() == before == right

    code, said, complained = replay(stage, "--from", "TRIM_HORIZON", "--into", stage.game.tables["lease"], "--yes")
    assert (code, said) == (3, "")
    assert "has the key leaseKey (S)" in complained


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
        done = consumer("replay", shard, "--from", "TRIM_HORIZON", "--to", last, "--yes", environment=environment)
        replayed.set()
        playing.join()
        assert (done.returncode, done.stdout[:7]) == (0, "5 games"), done.stderr
        game.wait_until_consumed()
        for item in late:
            game.tally.count(item)
        assert game.board() == game.tally.rows
        heads = {row["sequenceNumber"]["S"]: row for row in game.rows("quarantine") if "state" in row}
        states = [head["state"]["S"] for _, head in sorted(heads.items(), key=lambda each: int(each[0]))]
        assert states == ["applied"] * 5 + ["pending"]
        now = game.lease()
        assert now is not None
        assert (now["leaseOwner"], now["leaseEpoch"]) == (lease["leaseOwner"], lease["leaseEpoch"])
        assert worker.terminate().code == 0
