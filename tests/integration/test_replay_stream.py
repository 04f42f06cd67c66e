"""`consumer replay` over streams as AWS has them: trimmed, ended, split, throttled, with numbers of any length."""

import json
import os
import pty
import sys
from collections.abc import Iterator

import pytest

from consumer.demo.lifeline import spawn
from tests.engines import TableEngine
from tests.processes import Game, Tally, consumer, until
from tests.processes.absorbed import Absorbed
from tests.streams_server import Fault, Rule, StreamsThread, sequence
from tests.streams_server.drain import undrained

GAMES = 20


@pytest.fixture
def server(ministack_url: str) -> Iterator[StreamsThread]:
    with StreamsThread(ministack_url, seed=3) as server:
        yield server


@pytest.fixture
def stage(server: StreamsThread) -> Iterator[Absorbed]:
    """Twenty games of as many players, consumed; the board is empty again."""
    with Game(TableEngine("ministack", server.url)) as game:
        stage = Absorbed(game)
        played(stage)
        yield stage


def played(stage: Absorbed) -> None:
    stage.write(*(stage.game.make(f"player-{number:02}") for number in range(GAMES)))
    stage.reset()


def recount(stage: Absorbed, *arguments: str) -> tuple[int, str, str]:
    done = consumer(
        "replay", stage.shard.shard_id, "--recount", "--yes", *arguments, environment=stage.game.environment()
    )
    assert "Traceback" not in done.stderr
    return done.returncode, done.stdout, done.stderr


def assert_counted(stage: Absorbed, first: int, last: int) -> None:
    """These records and no others, each once."""
    tally = Tally()
    for wire in stage.wires[first : last + 1]:
        tally.count(wire["dynamodb"]["NewImage"])
    assert stage.game.board() == tally.rows


def test_across_a_trimmed_part(stage: Absorbed, server: StreamsThread) -> None:
    server.remote.trim(0, 8)
    numbers = stage.numbers
    code, said, complained = recount(stage, "--from", numbers[3], "--to", numbers[11])
    assert (code, said[:7]) == (0, "4 games"), complained
    assert f"Part of the range is trimmed: {numbers[8]} is the oldest record" in complained
    assert_counted(stage, 8, 11)
    code, said, complained = recount(stage, "--from", numbers[0], "--to", numbers[2])
    assert (code, said) == (5, "")
    assert "is in the stream any more: a record stays for 24 hours" in complained
    assert_counted(stage, 8, 11)


def test_to_the_end_of_a_shard_and_no_further(stage: Absorbed, server: StreamsThread) -> None:
    server.remote.split(0)
    stage.game.play(10, 5)
    stage.finish()
    code, said, complained = recount(stage, "--from", stage.numbers[15])
    assert (code, said[:7]) == (0, "5 games"), complained
    assert "to its end." in complained
    assert_counted(stage, 15, 19)


def test_an_empty_range(stage: Absorbed) -> None:
    between = next(number for number in map(int, stage.numbers) if str(number + 1) not in stage.numbers) + 1
    code, said, complained = recount(stage, "--from", str(between), "--to", str(between))
    assert (code, said[:7]) == (0, "0 games"), complained
    assert stage.game.board() == {}


def test_parts_of_it_one_after_the_other(stage: Absorbed) -> None:
    """The end is capped at the checkpoint; parts that touch do not overlap."""
    numbers = stage.numbers
    code, said, complained = recount(stage, "--from", numbers[6], "--to", numbers[9])
    assert (code, said[:7]) == (0, "4 games"), complained
    code, said, complained = recount(stage, "--from", numbers[10], "--to", "9" * 40)
    assert (code, said[:8]) == (0, "10 games"), complained
    assert f"lies past the checkpoint: it ends with {numbers[-1]}" in complained
    code, said, complained = recount(stage, "--from", numbers[8], "--to", numbers[8])
    assert (code, said) == (4, "")
    assert f"from {numbers[6]} to {numbers[9]} already" in complained
    assert_counted(stage, 6, 19)


def test_one_record(stage: Absorbed) -> None:
    code, said, complained = recount(stage, "--from", stage.numbers[7], "--to", stage.numbers[7])
    assert (code, said[:7]) == (0, "1 game "), complained
    assert_counted(stage, 7, 7)


@pytest.mark.parametrize("digits", [21, 40])
def test_numbers_of_that_many_digits(ministack_url: str, digits: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Some have one digit more or less, so whoever compares them as text goes wrong."""
    fewest = min(digits, 39)
    monkeypatch.setattr(sequence, "FEWEST_DIGITS", fewest)
    monkeypatch.setattr(sequence, "MOST_DIGITS", fewest + 1)
    with StreamsThread(ministack_url, seed=3) as server, Game(TableEngine("ministack", server.url)) as game:
        stage = Absorbed(game)
        played(stage)
        lengths = [len(number) for number in stage.numbers]
        turn = lengths.index(fewest + 1)
        assert digits in set(lengths) == {fewest, fewest + 1}
        code, said, complained = recount(stage, "--from", stage.numbers[turn - 1], "--to", stage.numbers[turn + 2])
        assert (code, said[:7]) == (0, "4 games"), complained
        assert_counted(stage, turn - 1, turn + 2)


@pytest.mark.timeout(90)
def test_children_and_theirs(server: StreamsThread) -> None:
    remote = server.remote
    with Game(TableEngine("ministack", server.url)) as game:
        (arn,) = remote.streams()
        game.play(60, 20)
        remote.split(0)
        game.play(60, 20)
        remote.split(1)
        game.play(60, 20)
        worker = game.worker(poll_interval_seconds="0.05")
        until(lambda: not undrained(remote.shards(), game.rows("lease"), arn), "all is drained", 40)
        assert worker.terminate().code == 0
        assert game.board() == game.tally.rows
        for row in game.rows("leaderboard"):
            game.client.delete_item(TableName=game.tables["leaderboard"], Key={"playerId": row["playerId"]})
        root = remote.shards()[0].shard_id

        def replay(*arguments: str) -> tuple[int, str, str]:
            done = consumer(
                "replay", root, "--from", "TRIM_HORIZON", "--recount", *arguments, environment=game.environment()
            )
            return done.returncode, done.stdout, done.stderr

        code, said, complained = replay("--children", "--yes", "--json")
        assert code == 0, complained
        told = json.loads(said)
        assert sum(row["games"] for row in told) == 180
        assert {row["shardId"] for row in told} == {shard.shard_id for shard in remote.shards() if shard.records}
        assert game.board() == game.tally.rows
        code, said, complained = replay("--children", "--yes")
        assert (code, said) == (4, "")
        assert "add --again" in complained
        code, said, complained = replay("--children", "--to", "5", "--yes")
        assert (code, said) == (2, "")
        assert "--children begin where the shard ends" in complained
        assert game.board() == game.tally.rows


def test_it_slows_down_when_it_is_throttled(stage: Absorbed, server: StreamsThread) -> None:
    server.remote.set_options(page_records=5)
    server.remote.set_faults(Rule(Fault.THROTTLE, rate=1.0, times=4, operations=("GetRecords",)))
    code, said, complained = recount(stage, "--from", "TRIM_HORIZON")
    assert (code, said[:8]) == (0, "20 games"), complained
    assert "one more reader of the shard" in complained
    assert "The stream is throttled" in complained
    assert server.remote.counts().faults["GetRecords/throttle"] == 4
    assert_counted(stage, 0, 19)


def test_a_bar_on_a_terminal(stage: Absorbed, server: StreamsThread) -> None:
    server.remote.set_options(page_records=2)
    outer, inner = pty.openpty()
    arguments = ["replay", stage.shard.shard_id, "--from", stage.numbers[0], "--recount", "--yes"]
    with spawn(
        [sys.executable, "-m", "consumer", *arguments],
        env=stage.game.environment() | {"TERM": "xterm", "COLUMNS": "100"},
        stdout=inner,
        stderr=inner,
    ) as process:
        os.close(inner)
        shown = read_all(outer)
        assert process.wait(30) == 0
    assert "━" in shown
    assert "%" in shown
    assert "20 games of shard" in shown


def read_all(terminal: int) -> str:
    shown = b""
    while True:
        try:
            told = os.read(terminal, 65_536)
        except OSError:  # the other end is closed
            break
        if not told:
            break
        shown += told
    os.close(terminal)
    return shown.decode()
