"""A child process that serves HTTP on a free port of this machine, for as long as its parent wants it."""

import abc
import http.client
import os
import socket
import subprocess
import tempfile
import time
from typing import IO, Final, Self

from consumer.demo import child_process

LAUNCHES: Final = 3
"""Another program may take the free port before the server listens there."""
START_SECONDS: Final = 60
STOP_SECONDS: Final = 5
POLL_SECONDS: Final = 0.02
LOG_TAIL_BYTES: Final = 4_000


class ServerError(Exception):
    """The server did not come up. The sentence says why, and ends with the end of the server's log."""


class Server(abc.ABC):
    """Start and stop it, or use it in a `with`. Start it from a long-lived thread (see `child_process.spawn`)."""

    name: str
    ready_path: str
    """The server is up once this is answered, with any status."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self._port: int | None = None

    @abc.abstractmethod
    def command(self, port: int) -> list[str]:
        """The command line that serves on `port`."""

    @abc.abstractmethod
    def environment(self, port: int) -> dict[str, str]:
        """The whole environment of the server's process."""

    @property
    def url(self) -> str:
        """Where it listens; only between `start` and `stop`."""
        if self._port is None:
            raise ServerError(f"{self.name} is not running")
        return f"http://127.0.0.1:{self._port}"

    def start(self) -> None:
        """Returns once it answers. Raises ServerError when it ends instead, or does not answer within a minute."""
        if self._process is not None:
            raise ServerError(f"{self.name} runs already")
        for launch in range(1, LAUNCHES + 1):
            # Nameless: it is gone with the last process that has it open, however that ended.
            with tempfile.TemporaryFile() as log:
                port = _free_port()
                try:
                    if (fault := self._launch(port, log)) is None:
                        self._port = port
                        return
                finally:
                    if self._port is None:
                        self.stop()
                if launch == LAUNCHES:
                    raise ServerError(f"{fault}\n{_tail(log)}")

    def stop(self) -> None:
        """Asks it to end, then kills it. Does nothing when it is not running."""
        process, self._process, self._port = self._process, None, None
        if process is None:
            return
        process.terminate()
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _launch(self, port: int, log: IO[bytes]) -> str | None:
        """None once it answers; or why it ended, so that another port may help. Raises ServerError after a minute."""
        self._process = child_process.spawn(
            self.command(port), env=self.environment(port), stdout=log, stderr=subprocess.STDOUT
        )
        deadline = time.monotonic() + START_SECONDS
        while not _answers(port, self.ready_path):
            try:
                status = self._process.wait(POLL_SECONDS)
                return f"{self.name} ended with status {status} before it answered"
            except subprocess.TimeoutExpired:
                if time.monotonic() > deadline:
                    raise ServerError(f"{self.name} did not answer within {START_SECONDS} s\n{_tail(log)}") from None
        return None


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _answers(port: int, path: str) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=1)
    try:
        connection.request("GET", path)
        connection.getresponse().read()
        return True
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def _tail(log: IO[bytes]) -> str:
    size = os.fstat(log.fileno()).st_size
    tail = os.pread(log.fileno(), LOG_TAIL_BYTES, max(0, size - LOG_TAIL_BYTES))
    return tail.decode(errors="replace").strip() or "(it wrote nothing)"
