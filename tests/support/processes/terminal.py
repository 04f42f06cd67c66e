"""`consumer` on a terminal of its own: the test types, reads, and presses Ctrl-C."""

import os
import pty
import select
import subprocess
import sys
import termios
import time
from collections.abc import Mapping
from typing import Self

from consumer.demo import child_process

CTRL_C = "\x03"
CTRL_D = "\x04"

_TAKE_TERMINAL = (
    "import fcntl, os, sys, termios; fcntl.ioctl(0, termios.TIOCSCTTY, 0); os.execv(sys.argv[1], sys.argv[1:])"
)
"""Makes stdin the terminal of the new session: only then Ctrl-C reaches the command."""


class Terminal:
    """One command; use it in a `with`: it is gone after it. `TERM` may be given in the environment."""

    def __init__(self, *arguments: str, environment: Mapping[str, str], columns: int = 200, lines: int = 50) -> None:
        self._outer, inner = pty.openpty()
        termios.tcsetwinsize(inner, (lines, columns))
        command = [sys.executable, "-c", _TAKE_TERMINAL, sys.executable, "-m", "consumer", *arguments]
        self._process = subprocess.Popen(
            [sys.executable, "-I", "-S", child_process.__file__, str(os.getpid()), *command],
            env={"TERM": "xterm", **environment},
            stdin=inner,
            stdout=inner,
            stderr=inner,
            start_new_session=True,
        )
        os.close(inner)
        self.shown = ""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()
        os.close(self._outer)

    def type(self, text: str) -> None:
        """Keys that an operator presses."""
        os.write(self._outer, text.encode())

    def read_until(self, text: str, seconds: float = 60.0, after: int = 0) -> None:
        """Until this text has been shown, behind so many characters."""
        deadline = time.monotonic() + seconds
        while text not in self.shown[after:]:
            assert time.monotonic() < deadline, f"no {text!r} within {seconds:g} s:\n{self.shown}"
            assert self._read(), f"no {text!r} before it ended:\n{self.shown}"

    def wait(self, seconds: float = 60.0) -> int:
        """The exit code; all of its output is in `shown`."""
        deadline = time.monotonic() + seconds
        while self._read():
            assert time.monotonic() < deadline, f"it did not end within {seconds:g} s:\n{self.shown}"
        return self._process.wait(10)

    def _read(self) -> bool:
        """Whether there may be more."""
        if not select.select([self._outer], [], [], 0.1)[0]:
            return True
        try:
            data = os.read(self._outer, 65_536)
        except OSError:  # the command has closed it
            return False
        self.shown += data.decode()
        return bool(data)
