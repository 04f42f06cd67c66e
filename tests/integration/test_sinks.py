"""Sinks that block, are full or are closed: the log of a worker, the output of a command. None stops work or exit."""

import fcntl
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from consumer.demo.child_process import spawn
from consumer.worker.daemon import ECHO_SECONDS
from tests.support.engines import TableEngine
from tests.support.processes import Game, Proxy, is_commit, until
from tests.support.processes.waiting import http_get

PIPE_BYTES = 4096
"""The smallest pipe that Linux makes."""
BUFFERED = {"PYTHONUNBUFFERED": ""}
"""What is printed and not written yet is written when the process ends."""


@pytest.fixture
def game(engine: TableEngine) -> Iterator[Game]:
    with Game(engine) as game:
        yield game


@pytest.fixture
def sinks() -> Iterator["Sinks"]:
    with ExitStack() as stack:
        yield Sinks(stack)


class Sinks:
    """Files that a process may get as stdout or stderr."""

    def __init__(self, stack: ExitStack) -> None:
        self._stack = stack

    def open(self, name: str) -> int:
        match name:
            case "full disk":
                return self._closed_later(os.open("/dev/full", os.O_WRONLY))
            case "pipe without a reader":
                reading, writing = os.pipe()
                os.close(reading)
                return self._closed_later(writing)
            case _:
                return self.full_pipe()

    def full_pipe(self) -> int:
        """It is full, and nothing reads it."""
        reading, writing = map(self._closed_later, os.pipe())
        assert reading != writing
        fcntl.fcntl(writing, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
        os.write(writing, b"\n" * PIPE_BYTES)
        return writing

    def _closed_later(self, file: int) -> int:
        self._stack.callback(os.close, file)
        return file


@contextmanager
def started(
    arguments: list[str],
    environment: dict[str, str],
    *,
    stdout: int | None = None,
    stderr: int | None = None,
    defect: str = "",
) -> Iterator["subprocess.Popen[bytes]"]:
    """A command with these sinks, and a statement that breaks it; it is gone afterwards."""
    entry = ["-c", f"{defect}; from consumer.__main__ import main; main()"] if defect else ["-m", "consumer"]
    process = spawn([sys.executable, *entry, *arguments], env=environment, stdout=stdout, stderr=stderr)
    try:
        yield process
    finally:
        process.kill()
        process.wait()
        if process.stderr is not None:
            process.stderr.close()


def end(process: "subprocess.Popen[bytes]", number: signal.Signals) -> tuple[int, float]:
    """Its exit code, and how long it took to end."""
    since = time.monotonic()
    process.send_signal(number)
    return process.wait(20), time.monotonic() - since


def free_port() -> str:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return str(probe.getsockname()[1])


# --- the log of a worker ---


@pytest.mark.parametrize("sink", ["full pipe", "full disk", "pipe without a reader"])
def test_a_log_that_takes_no_line_stops_no_work_and_no_exit(game: Game, sinks: Sinks, sink: str) -> None:
    port = free_port()
    address = f"127.0.0.1:{port}"
    with started(["run"], game.environment(http_port=port), stderr=sinks.open(sink)) as worker:
        for _ in range(3):
            game.play(200, 50)
            game.wait_until_consumed(20)
        until(lambda: http_get(address, "/readyz")[0] == 200, "a ready worker")
        assert http_get(address, "/livez")[0] == 200
        metrics = http_get(address, "/metrics")[1]
        code, seconds = end(worker, signal.SIGTERM)
    assert (code, seconds < 2) == (0, True), f"{seconds:.2f} s"
    (dropped,) = re.findall(r"^leaderboard_consumer_log_lines_dropped_total (\S+)", metrics, re.MULTILINE)
    assert (float(dropped) > 0) is (sink != "full pipe"), "a full pipe may still be read"
    lease = game.lease()
    assert lease is not None
    assert "leaseOwner" not in lease
    game.assert_exact()


def test_a_second_signal_ends_a_worker_whose_log_blocks(game: Game, sinks: Sinks) -> None:
    game.play(300, 50)
    with Proxy(game.engine.url) as proxy:
        held = proxy.hold(is_commit, applied=True)
        with started(["run"], game.environment(proxy), stderr=sinks.full_pipe()) as worker:
            held.wait_caught()
            worker.send_signal(signal.SIGTERM)
            time.sleep(4 * ECHO_SECONDS)
            code, seconds = end(worker, signal.SIGTERM)
        held.let_go()
    assert (code, seconds < 2) == (7, True), f"{seconds:.2f} s"


DEFECTS = {
    6: "from consumer.worker.daemon import Daemon; Daemon._count_pending = lambda _: 1 / 0",
    1: "from consumer.worker.worker import Worker; Worker.ready = lambda *_: 1 / 0",
}
"""What breaks a worker, by the exit code that it ends with then: a side loop that dies, the loop itself."""


@pytest.mark.parametrize("exit_code", DEFECTS)
def test_a_worker_that_breaks_ends_although_its_log_blocks(game: Game, sinks: Sinks, exit_code: int) -> None:
    with started(["run"], game.environment(), stderr=sinks.full_pipe(), defect=DEFECTS[exit_code]) as worker:
        assert worker.wait(10) == exit_code


@pytest.mark.parametrize(("exit_code", "event"), [(6, "worker.stalled"), (1, "consumer.unexpected")])
def test_a_worker_that_breaks_says_why_in_its_last_line(game: Game, exit_code: int, event: str) -> None:
    environment = game.environment(log_level="INFO")
    with started(["run"], environment, stderr=subprocess.PIPE, defect=DEFECTS[exit_code]) as worker:
        assert worker.wait(10) == exit_code
        assert worker.stderr is not None
        last = json.loads(worker.stderr.read().splitlines()[-1])
    assert last["event"] == event
    assert "ZeroDivisionError" in str(last)


def test_a_refused_start_ends_although_its_log_blocks(game: Game, sinks: Sinks) -> None:
    game.tables["lease"] = "no-such-table"
    with started(["run"], game.environment(), stderr=sinks.full_pipe()) as worker:
        assert worker.wait(20) == 3


# --- the output of a command ---


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_watch_whose_output_blocks_obeys_signals(game: Game, sinks: Sinks, number: signal.Signals) -> None:
    environment = game.environment() | BUFFERED
    with started(["status", "--watch"], environment, stdout=sinks.full_pipe(), stderr=subprocess.PIPE) as watch:
        until(lambda: "pipe" in waits_in(watch.pid), "a write to the full pipe")
        code, seconds = end(watch, number)
        assert watch.stderr is not None
        assert watch.stderr.read() == b""
    assert (code, seconds < 2) == (0, True), f"{seconds:.2f} s"


def waits_in(pid: int) -> str:
    """The kernel's function that the main thread sleeps in."""
    return Path(f"/proc/{pid}/wchan").read_text()


def test_a_watch_without_a_reader_ends(game: Game, sinks: Sinks) -> None:
    output = sinks.open("pipe without a reader")
    with started(["status", "--watch"], game.environment(), stdout=output, stderr=subprocess.PIPE) as watch:
        assert watch.wait(20) == 1
        assert watch.stderr is not None
        assert watch.stderr.read() == b""


@pytest.mark.parametrize("unbuffered", [BUFFERED, {"PYTHONUNBUFFERED": "1"}], ids=["buffered", "unbuffered"])
def test_output_to_a_full_disk_is_an_error(game: Game, sinks: Sinks, unbuffered: dict[str, str]) -> None:
    output = sinks.open("full disk")
    environment = game.environment(log_level="INFO") | unbuffered
    with started(["status", "--json"], environment, stdout=output, stderr=subprocess.PIPE) as status:
        assert status.wait(20) == 1
        assert status.stderr is not None
        (line,) = status.stderr.read().decode().splitlines()
    assert "No space left on device" in line


@pytest.mark.parametrize("closed", [1, 2])
def test_a_sink_that_is_closed_at_the_start_changes_nothing(game: Game, closed: int) -> None:
    """A connection to the database must not get the number of a closed stdout or stderr."""
    close = f"import os, sys; os.close({closed}); os.execv(sys.executable, [sys.executable, *sys.argv[1:]])"
    done = subprocess.run(
        [sys.executable, "-c", close, "-m", "consumer", "status", "--json"],
        env=game.environment(),
        capture_output=True,
        check=False,
        timeout=30,
    )
    assert done.returncode == 10, done.stderr
    assert (done.stdout != b"", done.stderr) == (closed == 2, b"")
