"""Whatever is wrong with `consumer replay` ends in a sentence and its exit code, and nothing is changed."""

import logging
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from itertools import pairwise

import pytest
import structlog

from consumer.cli.app import main
from consumer.demo.child_process import spawn
from tests.support.engines import TableEngine
from tests.support.processes import Call, Proxy, consumer
from tests.support.processes.committed_shard import CommittedShard, committed_shard

SHORT = "1" * 20
BEFORE, AFTER = "1" * 21, "9" * 40


@pytest.fixture(scope="module")
def committed(ministack_url: str) -> Iterator[CommittedShard]:
    with committed_shard(TableEngine("ministack", ministack_url)) as committed:
        committed.write(*(committed.game.make(f"player-{number}") for number in range(5)))
        yield committed


def ended(committed: CommittedShard, *arguments: str, **settings: str) -> tuple[int, str, str]:
    done = consumer("replay", *arguments, environment=committed.game.environment(None, **settings))
    assert "Traceback" not in done.stderr
    assert "unexpected" not in done.stderr
    return done.returncode, done.stdout, done.stderr


@pytest.mark.parametrize(
    ("arguments", "settings", "code", "text"),
    [
        (["SHARD", "--from", AFTER, "--recount"], {}, 4, "is past that checkpoint: its worker will come to it"),
        (["SHARDx", "--from", BEFORE], {}, 5, "the nearest ones are"),
        (["elsewhere", "--from", BEFORE], {}, 5, "there is no shard 'elsewhere'"),
        (["SHARD", "--from", "TRIM_HORIZON"], {"lease_table": "nowhere"}, 3, "table nowhere (CONSUMER_LEASE_TABLE)"),
        (["SHARD", "--from", "TRIM_HORIZON"], {"quarantine_table": "nowhere"}, 3, "create it with `consumer init`"),
        (["SHARD", "--from", "TRIM_HORIZON", "--recount"], {}, 4, "this cannot be asked: add --yes"),
    ],
)
def test_bad_input(
    committed: CommittedShard, arguments: list[str], settings: dict[str, str], code: int, text: str
) -> None:
    names = {"SHARD": committed.shard.shard_id, "SHARDx": committed.shard.shard_id + "x"}
    before = {table: committed.game.rows(table) for table in committed.game.tables}
    result = ended(committed, *(names.get(argument, argument) for argument in arguments), **settings)
    assert result[:2] == (code, "")
    assert text in result[2]
    assert {table: committed.game.rows(table) for table in committed.game.tables} == before


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["SHARD"], "Missing option '--from'"),
        (["SHARD", "--from", "first"], "--from is 'first': it must be TRIM_HORIZON or a sequence number"),
        (["SHARD", "--from", SHORT, "--to", "9" * 41], "--to is '" + "9" * 41),
        (["SHARD", "--from", AFTER, "--to", BEFORE], f"--from {AFTER} is after --to {BEFORE}"),
        (["SHARD", "--from", BEFORE, "--into", "x"], "--into is 'x': it must be 3 to 255 characters"),
        (["SHARD", "--from", BEFORE, "--into", "BOARD"], "is the configured leaderboard"),
    ],
)
def test_what_could_never_be_right(
    arguments: list[str], text: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before any call to AWS, so that no process is needed to see it."""
    monkeypatch.setenv("CONSUMER_LEADERBOARD_TABLE", "BOARD")
    with pytest.raises(SystemExit) as end:
        main(["replay", *arguments, "--log-format", "json"])
    structlog.reset_defaults()
    logging.captureWarnings(False)
    logging.getLogger().handlers.clear()
    printed = capsys.readouterr()
    assert (end.value.code, printed.out) == (2, "")
    assert text in printed.err


def is_count(call: Call) -> bool:
    return call.operation == "TransactWriteItems" and "SET #position = :last" in call.body.decode()


def start(committed: CommittedShard, proxy: Proxy, *arguments: str) -> subprocess.Popen[bytes]:
    return spawn(
        [
            sys.executable,
            "-m",
            "consumer",
            "replay",
            committed.shard.shard_id,
            "--from",
            committed.numbers[0],
            *arguments,
        ],
        env=committed.game.environment(proxy),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


@pytest.mark.proof
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_then_a_takeover_then_the_old_one_wakes_too_late(ministack_url: str, number: signal.Signals) -> None:
    """A replay is interrupted, and goes on; it hangs, and is taken over; when it wakes it counts nothing."""
    engine = TableEngine("ministack", ministack_url)
    with committed_shard(engine) as committed, Proxy(engine.url) as proxy:
        committed.write(*(committed.game.make(f"player-{each:03}") for each in range(250)))
        committed.reset()
        held = proxy.hold(is_count, skip=1)
        first = start(committed, proxy, "--recount", "--yes")
        held.wait_caught()
        first.send_signal(number)
        held.let_go()
        _, stderr = first.communicate(timeout=30)
        assert first.returncode == 130
        assert b"Stopped: the same command goes on from here, and counts nothing twice." in stderr

        code, out, err = ended(
            committed, committed.shard.shard_id, "--from", committed.numbers[5], "--recount", "--yes"
        )
        assert (code, out) == (4, "")
        assert "was interrupted behind" in err
        status = consumer("status", environment=committed.game.environment())
        assert f"replay      {committed.shard}#{committed.game.tables['leaderboard']}: " in status.stdout

        held = proxy.hold(is_count)
        second = start(committed, proxy, "--recount", "--yes")
        held.wait_caught()
        second.send_signal(signal.SIGSTOP)
        code, out, err = ended(
            committed, committed.shard.shard_id, "--from", committed.numbers[0], "--recount", "--yes"
        )
        assert code == 0, err
        assert "It continues what" in err
        assert committed.game.board() == committed.expected().rows
        held.let_go()
        second.send_signal(signal.SIGCONT)
        _, stderr = second.communicate(timeout=30)
        assert second.returncode == 4, stderr
        assert b"changed concurrently: another command took this replay over" in stderr
        assert committed.game.board() == committed.expected().rows


def test_a_running_replay_is_left_alone(ministack_url: str) -> None:
    engine = TableEngine("ministack", ministack_url)
    with committed_shard(engine) as committed, Proxy(engine.url) as proxy:
        committed.write(*(committed.game.make(f"player-{number:04}") for number in range(1200)))
        committed.reset()
        holds = [proxy.hold(is_count) for _ in range(4)]
        first = start(committed, proxy, "--recount", "--yes")
        holds[0].wait_caught()

        def go_on() -> None:
            for one, other in pairwise(holds):
                one.let_go()
                other.wait_caught()
                pause.wait(0.8)

        pause = threading.Event()
        going = threading.Thread(target=go_on)
        second = start(committed, proxy, "--recount", "--yes")
        before = len(proxy.of("GetItem"))
        while len(proxy.of("GetItem")) == before:
            pause.wait(0.02)
        going.start()
        out, err = second.communicate(timeout=30)
        pause.set()
        going.join()
        holds[-1].let_go()
        assert (second.returncode, out) == (4, b""), err
        assert b"is running: " in err
        first.communicate(timeout=60)
        assert first.returncode == 0
        assert committed.game.board() == committed.expected().rows
