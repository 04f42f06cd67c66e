"""A child process that answers HTTP on a free port of this machine for as long as its parent wants it."""

import abc
import http.client
import os
import socket
import subprocess
import tempfile
import time
from typing import IO, Self

from consumer.demo import lifeline

_LAUNCHES = 3  # somebody else may take the free port between our look and the server's bind
_START_SECONDS = 60
_STOP_SECONDS = 5
_POLL_SECONDS = 0.02
_LOG_TAIL_BYTES = 4_000


class ServerError(Exception):
    """The server could not be had; the sentence says why and ends with what the server itself said last."""


class _EndedEarly(ServerError):
    """It ended by itself before it answered: another port may help."""


class Server(abc.ABC):
    """Start and stop it, or use it in a `with`. Start it from a long-lived thread (see `lifeline.spawn`)."""

    name: str
    ready_path: str
    """Asked until it is answered, whatever the status: then the server is up."""

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
        """Where it answers; only between `start` and `stop`."""
        if self._port is None:
            raise ServerError(f"{self.name} is not running")
        return f"http://127.0.0.1:{self._port}"

    def start(self) -> None:
        """Return once it answers; ServerError when it does not come up within a minute."""
        if self._process is not None:
            raise ServerError(f"{self.name} runs already")
        for launch in range(1, _LAUNCHES + 1):
            # Nameless: it is gone with the last process that has it open, however that ended.
            with tempfile.TemporaryFile() as log:
                try:
                    self._launch(log)
                    return
                except _EndedEarly:
                    self.stop()
                    if launch == _LAUNCHES:
                        raise
                except BaseException:
                    self.stop()
                    raise

    def stop(self) -> None:
        """Ask it to end, then make it end. Does nothing when it is not running."""
        process, self._process, self._port = self._process, None, None
        if process is None:
            return
        process.terminate()
        try:
            process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _launch(self, log: IO[bytes]) -> None:
        port = _free_port()
        self._process = lifeline.spawn(
            self.command(port), env=self.environment(port), stdout=log, stderr=subprocess.STDOUT
        )
        deadline = time.monotonic() + _START_SECONDS
        while not _answers(port, self.ready_path):
            try:
                status = self._process.wait(_POLL_SECONDS)
            except subprocess.TimeoutExpired:
                if time.monotonic() < deadline:
                    continue
                raise ServerError(f"{self.name} did not answer within {_START_SECONDS} s\n{_tail(log)}") from None
            raise _EndedEarly(f"{self.name} ended with status {status} before it answered\n{_tail(log)}")
        self._port = port


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
    tail = os.pread(log.fileno(), _LOG_TAIL_BYTES, max(0, size - _LOG_TAIL_BYTES))
    return tail.decode(errors="replace").strip() or "(it wrote nothing)"
