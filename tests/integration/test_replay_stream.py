"""`consumer replay` over streams as AWS has them: trimmed, ended, split, throttled, with numbers of any length."""

import json
import os
import pty
import sys
from collections.abc import Iterator

import pytest

from consumer.demo.child_process import spawn
from tests.streams_server import Fault, Rule, StreamsThread, shard
from tests.streams_server.remote import undrained
from tests.support.engines import TableEngine
from tests.support.processes import Expected, Game, consumer, until
from tests.support.processes.committed_shard import CommittedShard

GAMES = 20


@pytest.fixture
def server(ministack_url: str) -> Iterator[StreamsThread]:
    with StreamsThread(ministack_url, seed=3) as server:
        yield server


@pytest.fixture
def committed(server: StreamsThread) -> Iterator[CommittedShard]:
    """Twenty games of as many players, consumed; the board is empty again."""
    with Game(TableEngine("ministack", server.url)) as game:
        committed = CommittedShard(game)
        played(committed)
        yield committed


def played(committed: CommittedShard) -> None:
    committed.write(*(committed.game.make(f"player-{number:02}") for number in range(GAMES)))
    committed.reset()


def recount(committed: CommittedShard, *arguments: str) -> tuple[int, str, str]:
    done = consumer(
        "replay", committed.shard.shard_id, "--recount", "--yes", *arguments, environment=committed.game.environment()
    )
    assert "Traceback" not in done.stderr
    return done.returncode, done.stdout, done.stderr


def assert_counted(committed: CommittedShard, first: int, last: int) -> None:
    """These records and no others, each once."""
    expected = Expected()
    for wire in committed.wires[first : last + 1]:
        expected.count(wire["dynamodb"]["NewImage"])
    assert committed.game.board() == expected.rows


def test_across_a_trimmed_part(committed: CommittedShard, server: StreamsThread) -> None:
    server.remote.trim(0, 8)
    numbers = committed.numbers
    code, out, err = recount(committed, "--from", numbers[3], "--to", numbers[11])
    assert (code, out[:7]) == (0, "4 games"), err
    assert f"Part of the range is trimmed: {numbers[8]} is the oldest record" in err
    assert_counted(committed, 8, 11)
    code, out, err = recount(committed, "--from", numbers[0], "--to", numbers[2])
    assert (code, out) == (5, "")
    assert "is in the stream any more: a record stays for 24 hours" in err
    assert_counted(committed, 8, 11)


def test_to_the_end_of_a_shard_and_no_further(committed: CommittedShard, server: StreamsThread) -> None:
    server.remote.split(0)
    committed.game.play(10, 5)
    committed.finish()
    code, out, err = recount(committed, "--from", committed.numbers[15])
    assert (code, out[:7]) == (0, "5 games"), err
    assert "to its end." in err
    assert_counted(committed, 15, 19)


def test_an_empty_range(committed: CommittedShard) -> None:
    between = next(number for number in map(int, committed.numbers) if str(number + 1) not in committed.numbers) + 1
    code, out, err = recount(committed, "--from", str(between), "--to", str(between))
    assert (code, out[:7]) == (0, "0 games"), err
    assert committed.game.board() == {}


def test_parts_of_it_one_after_the_other(committed: CommittedShard) -> None:
    """The end is capped at the checkpoint; parts that touch do not overlap."""
    numbers = committed.numbers
    code, out, err = recount(committed, "--from", numbers[6], "--to", numbers[9])
    assert (code, out[:7]) == (0, "4 games"), err
    code, out, err = recount(committed, "--from", numbers[10], "--to", "9" * 40)
    assert (code, out[:8]) == (0, "10 games"), err
    assert f"lies past the checkpoint: it ends with {numbers[-1]}" in err
    code, out, err = recount(committed, "--from", numbers[8], "--to", numbers[8])
    assert (code, out) == (4, "")
    assert f"from {numbers[6]} to {numbers[9]} already" in err
    assert_counted(committed, 6, 19)


def test_one_record(committed: CommittedShard) -> None:
    code, out, err = recount(committed, "--from", committed.numbers[7], "--to", committed.numbers[7])
    assert (code, out[:7]) == (0, "1 game "), err
    assert_counted(committed, 7, 7)


@pytest.mark.parametrize("digits", [21, 40])
def test_numbers_of_that_many_digits(ministack_url: str, digits: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Some have one digit more or less, so that a comparison as text would be wrong."""
    fewest = min(digits, 39)
    monkeypatch.setattr(shard, "FEWEST_DIGITS", fewest)
    monkeypatch.setattr(shard, "MOST_DIGITS", fewest + 1)
    with StreamsThread(ministack_url, seed=3) as server, Game(TableEngine("ministack", server.url)) as game:
        committed = CommittedShard(game)
        played(committed)
        lengths = [len(number) for number in committed.numbers]
        turn = lengths.index(fewest + 1)
        assert digits in set(lengths) == {fewest, fewest + 1}
        code, out, err = recount(committed, "--from", committed.numbers[turn - 1], "--to", committed.numbers[turn + 2])
        assert (code, out[:7]) == (0, "4 games"), err
        assert_counted(committed, turn - 1, turn + 2)


@pytest.mark.timeout(90)
def test_children_and_their_children(server: StreamsThread) -> None:
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
        assert game.board() == game.expected.rows
        for row in game.rows("leaderboard"):
            game.client.delete_item(TableName=game.tables["leaderboard"], Key={"playerId": row["playerId"]})
        root = remote.shards()[0].shard_id

        def replay(*arguments: str) -> tuple[int, str, str]:
            done = consumer(
                "replay", root, "--from", "TRIM_HORIZON", "--recount", *arguments, environment=game.environment()
            )
            return done.returncode, done.stdout, done.stderr

        code, out, err = replay("--children", "--yes", "--json")
        assert code == 0, err
        rows = json.loads(out)
        assert sum(row["games"] for row in rows) == 180
        assert {row["shardId"] for row in rows} == {shard.shard_id for shard in remote.shards() if shard.records}
        assert game.board() == game.expected.rows
        code, out, err = replay("--children", "--yes")
        assert (code, out) == (4, "")
        assert "add --again" in err
        code, out, err = replay("--children", "--to", "5", "--yes")
        assert (code, out) == (2, "")
        assert "--children begin where the shard ends" in err
        assert game.board() == game.expected.rows


def test_it_slows_down_when_it_is_throttled(committed: CommittedShard, server: StreamsThread) -> None:
    server.remote.set_options(page_records=5)
    server.remote.set_faults(Rule(Fault.THROTTLE, rate=1.0, times=4, operations=("GetRecords",)))
    code, out, err = recount(committed, "--from", "TRIM_HORIZON")
    assert (code, out[:8]) == (0, "20 games"), err
    assert "one more reader of the shard" in err
    assert "The stream is throttled" in err
    assert server.remote.counts().faults["GetRecords/throttle"] == 4
    assert_counted(committed, 0, 19)


def test_a_bar_on_a_terminal(committed: CommittedShard, server: StreamsThread) -> None:
    server.remote.set_options(page_records=2)
    outer, inner = pty.openpty()
    arguments = ["replay", committed.shard.shard_id, "--from", committed.numbers[0], "--recount", "--yes"]
    with spawn(
        [sys.executable, "-m", "consumer", *arguments],
        env=committed.game.environment() | {"TERM": "xterm", "COLUMNS": "100"},
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
            data = os.read(terminal, 65_536)
        except OSError:  # the other end is closed
            break
        if not data:
            break
        shown += data
    os.close(terminal)
    return shown.decode()
