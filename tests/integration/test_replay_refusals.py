"""Whatever is wrong with a `consumer replay` ends in a sentence and its exit code, and nothing is changed."""

import logging
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from itertools import pairwise

import pytest
import structlog

from consumer.cli import main
from consumer.demo.lifeline import spawn
from tests.engines import TableEngine
from tests.processes import Call, Proxy, consumer
from tests.processes.absorbed import Absorbed, absorbed

SHORT = "1" * 20
BEFORE, AFTER = "1" * 21, "9" * 40


@pytest.fixture(scope="module")
def stage(ministack_url: str) -> Iterator[Absorbed]:
    with absorbed(TableEngine("ministack", ministack_url)) as stage:
        stage.write(*(stage.game.make(f"player-{number}") for number in range(5)))
        yield stage


def ended(stage: Absorbed, *arguments: str, **settings: str) -> tuple[int, str, str]:
    done = consumer("replay", *arguments, environment=stage.game.environment(None, **settings))
    assert "Traceback" not in done.stderr
    assert "unexpected" not in done.stderr
    return done.returncode, done.stdout, done.stderr


@pytest.mark.parametrize(
    ("arguments", "settings", "code", "words"),
    [
        (["SHARD", "--from", AFTER, "--recount"], {}, 4, "lies past that checkpoint: the worker will come to it"),
        (["SHARDx", "--from", BEFORE], {}, 5, "the nearest ones are"),
        (["elsewhere", "--from", BEFORE], {}, 5, "there is no shard 'elsewhere'"),
        (["SHARD", "--from", "TRIM_HORIZON"], {"lease_table": "nowhere"}, 3, "table nowhere (CONSUMER_LEASE_TABLE)"),
        (["SHARD", "--from", "TRIM_HORIZON"], {"quarantine_table": "nowhere"}, 3, "make it with `consumer init`"),
        (["SHARD", "--from", "TRIM_HORIZON", "--recount"], {}, 4, "Nobody is there to ask: add --yes"),
    ],
)
def test_bad_input(stage: Absorbed, arguments: list[str], settings: dict[str, str], code: int, words: str) -> None:
    names = {"SHARD": stage.shard.shard_id, "SHARDx": stage.shard.shard_id + "x"}
    before = {table: stage.game.rows(table) for table in stage.game.tables}
    told = ended(stage, *(names.get(each, each) for each in arguments), **settings)
    assert told[:2] == (code, "")
    assert words in told[2]
    assert {table: stage.game.rows(table) for table in stage.game.tables} == before


@pytest.mark.parametrize(
    ("arguments", "words"),
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
    arguments: list[str], words: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before anything is asked of AWS, so that no process is needed to see it."""
    monkeypatch.setenv("CONSUMER_LEADERBOARD_TABLE", "BOARD")
    with pytest.raises(SystemExit) as end:
        main(["replay", *arguments, "--log-format", "json"])
    structlog.reset_defaults()
    logging.captureWarnings(False)
    logging.getLogger().handlers.clear()
    told = capsys.readouterr()
    assert (end.value.code, told.out) == (2, "")
    assert words in told.err


def is_count(call: Call) -> bool:
    return call.operation == "TransactWriteItems" and "SET #position = :last" in call.body.decode()


def start(stage: Absorbed, proxy: Proxy, *arguments: str) -> subprocess.Popen[bytes]:
    return spawn(
        [sys.executable, "-m", "consumer", "replay", stage.shard.shard_id, "--from", stage.numbers[0], *arguments],
        env=stage.game.environment(proxy),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


def test_ctrl_c_another_one_and_one_that_wakes_too_late(ministack_url: str) -> None:
    """A replay is interrupted, and goes on; it hangs, and is taken over; when it wakes it counts nothing."""
    engine = TableEngine("ministack", ministack_url)
    with absorbed(engine) as stage, Proxy(engine.url) as proxy:
        stage.write(*(stage.game.make(f"player-{number:03}") for number in range(250)))
        stage.reset()
        held = proxy.hold(is_count, skip=1)
        first = start(stage, proxy, "--recount", "--yes")
        held.wait_caught()
        first.send_signal(signal.SIGINT)
        held.let_go()
        _, complained = first.communicate(timeout=30)
        assert first.returncode == 130
        assert b"Stopped: the same command goes on from here, and counts nothing twice." in complained

        code, said, told = ended(stage, stage.shard.shard_id, "--from", stage.numbers[5], "--recount", "--yes")
        assert (code, said) == (4, "")
        assert "was interrupted behind" in told
        status = consumer("status", environment=stage.game.environment())
        assert f"replay      {stage.shard}#{stage.game.tables['leaderboard']}: " in status.stdout

        held = proxy.hold(is_count)
        second = start(stage, proxy, "--recount", "--yes")
        held.wait_caught()
        second.send_signal(signal.SIGSTOP)
        code, said, told = ended(stage, stage.shard.shard_id, "--from", stage.numbers[0], "--recount", "--yes")
        assert code == 0, told
        assert "It goes on with what" in told
        assert stage.game.board() == stage.tally().rows
        held.let_go()
        second.send_signal(signal.SIGCONT)
        _, complained = second.communicate(timeout=30)
        assert second.returncode == 4, complained
        assert b"somebody was faster: another replay took this one over" in complained
        assert stage.game.board() == stage.tally().rows


def test_one_that_is_running_is_left_in_peace(ministack_url: str) -> None:
    engine = TableEngine("ministack", ministack_url)
    with absorbed(engine) as stage, Proxy(engine.url) as proxy:
        stage.write(*(stage.game.make(f"player-{number:04}") for number in range(1200)))
        stage.reset()
        holds = [proxy.hold(is_count) for _ in range(4)]
        first = start(stage, proxy, "--recount", "--yes")
        holds[0].wait_caught()

        def go_on() -> None:
            for one, other in pairwise(holds):
                one.let_go()
                other.wait_caught()
                pause.wait(0.8)

        pause = threading.Event()
        going = threading.Thread(target=go_on)
        second = start(stage, proxy, "--recount", "--yes")
        looked = len(proxy.of("GetItem"))
        while len(proxy.of("GetItem")) == looked:
            pause.wait(0.02)
        going.start()
        said, complained = second.communicate(timeout=30)
        pause.set()
        going.join()
        holds[-1].let_go()
        assert (second.returncode, said) == (4, b""), complained
        assert b"is running: " in complained
        first.communicate(timeout=60)
        assert first.returncode == 0
        assert stage.game.board() == stage.tally().rows
