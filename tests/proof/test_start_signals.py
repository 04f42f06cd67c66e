"""SIGTERM at many moments of a start, as process 1 of a PID namespace (a container) and under an init process.

The kernel drops a signal for process 1 that it does not catch: such a process hears SIGTERM from the first statement of
its program on, and what an init process starts always does.
"""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Final

import pytest

from tests.support.engines import TableEngine
from tests.support.processes import Game, WorkerProcess, until

pytestmark = pytest.mark.proof

MOMENTS: Final = 20
END_SECONDS: Final = 5.0
NAMESPACE: Final = ("unshare", "--pid", "--fork", "--kill-child", "--mount-proc")
INIT: Final = """
import os, signal, subprocess, sys
caught = {signal.SIGTERM, signal.SIGCHLD}
signal.pthread_sigmask(signal.SIG_BLOCK, caught)
child = subprocess.Popen(sys.argv[1:], preexec_fn=lambda: signal.pthread_sigmask(signal.SIG_UNBLOCK, caught))
while child.poll() is None:
    if signal.sigwait(caught) == signal.SIGTERM:
        child.send_signal(signal.SIGTERM)
sys.exit(child.returncode if child.returncode >= 0 else 128 - child.returncode)
"""
"""What `docker run --init` runs, as far as it matters here: starts a command, passes SIGTERM on, ends as it does."""
KILLED_BY_SIGTERM: Final = 128 + signal.SIGTERM
"""What an init process makes of a child that died of SIGTERM: it had not come to its first statement yet."""


@cache
def why_not() -> str:
    """Why no PID namespace can be made here."""
    try:
        done = subprocess.run([*NAMESPACE, "true"], capture_output=True, check=False, text=True)
    except OSError as error:
        return str(error)
    return done.stderr.strip() if done.returncode else ""


@pytest.fixture
def game(ministack_url: str) -> Iterator[Game]:
    if why_not():
        pytest.skip(f"no PID namespace: {why_not()}")
    with Game(TableEngine("ministack", ministack_url)) as game:
        game.play(20, 5)
        yield game


class Contained:
    """A command in a PID namespace of its own: as process 1, or under an init process. Use it in a `with`."""

    def __init__(self, game: Game, arguments: list[str], *, init: bool) -> None:
        entry = [sys.executable, "-c", INIT] if init else []
        command = [*NAMESPACE, *entry, sys.executable, "-m", "consumer", *arguments]
        environment = game.environment(log_level="INFO") | {"PYTHONPATH": str(Path(__file__).parents[2])}
        self.process = WorkerProcess(environment, command=command)
        self.first = until(lambda: children(self.process.pid), "process 1")[0]
        self.consumer = until(lambda: children(self.first), "its child")[0] if init else self.first

    def __enter__(self) -> "Contained":
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()

    def wait_until_it_listens(self) -> float:
        """Waits until it catches SIGTERM; the seconds since it was started."""
        until(lambda: catches(self.consumer, signal.SIGTERM), "that it catches SIGTERM")
        return time.monotonic() - self.process.started_at

    def terminate(self) -> int:
        """The exit code after SIGTERM to process 1, which must come soon."""
        os.kill(self.first, signal.SIGTERM)
        return self.process.wait(END_SECONDS).code


def children(pid: int) -> list[int]:
    try:
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []


def catches(pid: int, number: signal.Signals) -> bool:
    (mask,) = [line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("SigCgt:")]
    return bool(int(mask.split()[1], 16) >> (number - 1) & 1)


def nothing_is_held(game: Game) -> bool:
    rows = game.rows("lease")
    owned = [row for row in rows if "leaseOwner" in row]
    members = [name for row in rows for name in row if row["leaseKey"]["S"] == "members" and name.startswith("worker#")]
    return not owned and not members


def start_seconds(start: Callable[[], Contained]) -> float:
    """From the first statement until a lease is owned."""
    with start() as contained:
        caught = contained.wait_until_it_listens()
        claimed = contained.process.seconds_until("lease.claimed")
        print(f"it catches SIGTERM after {caught:.2f} s, and owns a lease after {claimed:.2f} s")
        assert contained.terminate() == 0
    assert caught < claimed / 3, "its imports take most of the time, and come later"
    return claimed - caught


@pytest.mark.timeout(300)
@pytest.mark.parametrize("init", [False, True], ids=["process 1", "under init"])
def test_a_worker_hears_sigterm_at_every_moment_of_its_start(game: Game, init: bool) -> None:
    def start() -> Contained:
        return Contained(game, ["run"], init=init)

    whole = 1.2 * start_seconds(start)
    for moment in range(MOMENTS):
        with start() as contained:
            if not init:
                contained.wait_until_it_listens()
            threading.Event().wait(whole * moment / (MOMENTS - 1))
            listens = catches(contained.consumer, signal.SIGTERM)
            code = contained.terminate()
        assert code == 0 or (code == KILLED_BY_SIGTERM and not listens), f"moment {moment}: exit code {code}"
        assert nothing_is_held(game), f"moment {moment}"


@pytest.mark.timeout(120)
@pytest.mark.parametrize("arguments", [["status", "--watch"], ["demo"]], ids=" ".join)
def test_a_long_command_as_process_1_hears_sigterm(game: Game, arguments: list[str]) -> None:
    for moment in range(6):
        with Contained(game, arguments, init=False) as contained:
            contained.wait_until_it_listens()
            threading.Event().wait(0.4 * moment)
            assert contained.terminate() in (0, 130), f"moment {moment}"
