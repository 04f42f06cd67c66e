"""`consumer` as a process: its log as events, its signals, how it ends."""

import fcntl
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple, Self

from consumer.demo.child_process import spawn
from tests.support.processes.waiting import http_get

_CONSUMER = ("-m", "consumer")
_ROOT = Path(__file__).parents[3]
_SMALLEST_PIPE = 4096  # of Linux


def guards_off(*guards: str) -> tuple[str, ...]:
    """The entry module without these guards, see unguarded.py."""
    return ("-m", "tests.support.processes.unguarded", ",".join(guards))


class Ended(NamedTuple):
    """How a process ended, and how long that took since it was asked to."""

    code: int
    seconds: float
    stderr: str


class WorkerProcess:
    """`consumer run` until it ends; use it in a `with`. Times are monotonic seconds."""

    def __init__(
        self,
        environment: Mapping[str, str],
        entry: tuple[str, ...] = _CONSUMER,
        *,
        command: Sequence[str] | None = None,
    ) -> None:
        """`entry`: what this Python runs; `command`: a whole command line instead, that sees the environment alone."""
        self.started_at = time.monotonic()
        default = [sys.executable, *entry, "run"], {**environment, "PYTHONPATH": os.fspath(_ROOT)}
        argv, env = default if command is None else (command, environment)
        self._process = spawn(argv, env=env, stderr=subprocess.PIPE)
        self._lines: list[str] = []
        self._events: list[tuple[float, dict[str, Any]]] = []
        self._changed = threading.Condition()
        self._log_ended = False
        self._log_is_read = threading.Event()
        self._log_is_read.set()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def code(self) -> int | None:
        """The exit code; None while it runs."""
        return self._process.poll()

    @property
    def log_lines(self) -> list[str]:
        """All lines of its log so far."""
        with self._changed:
            return list(self._lines)

    @property
    def port(self) -> int:
        """Where /metrics, /livez and /readyz are."""
        return int(self.wait_for_event("http.listening")["port"])

    def get(self, path: str) -> tuple[int, str]:
        """The health server's response: status and text."""
        return http_get(f"127.0.0.1:{self.port}", path)

    def events(self, name: str) -> list[dict[str, Any]]:
        """What it has logged under this name so far."""
        with self._changed:
            return [event for _, event in self._events if event["event"] == name]

    def wait_for_event(self, name: str, seconds: float = 30.0, *, count: int = 1) -> dict[str, Any]:
        """The `count`th event of this name; AssertionError with its log when that does not come."""
        return self._wait(name, seconds, count)[1]

    def seconds_until(self, name: str, seconds: float = 30.0) -> float:
        """From the process's start to when its first event of this name was seen."""
        return self._wait(name, seconds, 1)[0] - self.started_at

    def _wait(self, name: str, seconds: float, count: int) -> tuple[float, dict[str, Any]]:
        def found() -> list[tuple[float, dict[str, Any]]]:
            return [seen for seen in self._events if seen[1]["event"] == name]

        with self._changed:
            self._changed.wait_for(lambda: len(found()) >= count or self._log_ended, seconds)
            if len(found()) < count:
                raise AssertionError(f"{len(found())} of {count} {name} after {seconds:g} s; its log:\n{self._tail()}")
            return found()[count - 1]

    def kill(self) -> int:
        """SIGKILL. The exit code, also of one that had ended before."""
        self._process.kill()
        return self._end(10).code

    def terminate(self, seconds: float = 30.0) -> Ended:
        """SIGTERM, and how it ended."""
        return self.send(signal.SIGTERM).wait(seconds)

    def block_log(self) -> None:
        """From now on nothing reads its log, which soon is a full pipe, until it has ended or `unblock_log`."""
        self._log_is_read.clear()
        assert self._process.stderr is not None
        with suppress(OSError):  # it holds more already
            fcntl.fcntl(self._process.stderr, fcntl.F_SETPIPE_SZ, _SMALLEST_PIPE)

    def unblock_log(self) -> None:
        """Its log is read again."""
        self._log_is_read.set()

    def send(self, number: signal.Signals) -> Self:
        """Sends a signal."""
        self._process.send_signal(number)
        return self

    def wait(self, seconds: float = 30.0) -> Ended:
        """How it ended; AssertionError when it does not end."""
        try:
            return self._end(seconds)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"it did not end within {seconds:g} s; its log:\n{self._tail()}") from None

    def _end(self, seconds: float) -> Ended:
        began = time.monotonic()
        code = self._process.wait(seconds)
        took = time.monotonic() - began
        self.unblock_log()
        self._reader.join(10)
        return Ended(code, took, "".join(self._lines))

    def _tail(self) -> str:
        return "".join(self._lines[-40:])

    def _read(self) -> None:
        assert self._process.stderr is not None
        with self._process.stderr as pipe:
            for raw in pipe:
                line = raw.decode(errors="replace")
                seen_at = time.monotonic()
                self._log_is_read.wait()
                try:
                    event = json.loads(line)
                except ValueError:
                    event = None
                with self._changed:
                    self._lines.append(line)
                    if isinstance(event, dict) and "event" in event:
                        self._events.append((seen_at, event))
                    self._changed.notify_all()
        with self._changed:
            self._log_ended = True
            self._changed.notify_all()


def consumer(
    *arguments: str,
    environment: Mapping[str, str],
    seconds: float = 60.0,
    entry: tuple[str, ...] = _CONSUMER,
) -> subprocess.CompletedProcess[str]:
    """Runs one command to its end. `entry`: what this Python runs."""
    with spawn(
        [sys.executable, *entry, *arguments], env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        try:
            out, err = process.communicate(timeout=seconds)
        finally:
            process.kill()
    return subprocess.CompletedProcess(arguments, process.returncode, out.decode(), err.decode())
