"""The server as a process of its own, and as a thread of a test."""

import abc
import asyncio
import os
import sys
import threading
from pathlib import Path
from typing import Self

from consumer.demo.server import Server
from tests.streams_server.connection import Connection
from tests.streams_server.remote import Remote
from tests.streams_server.service import CALM, Service

_ROOT = Path(__file__).parents[2]
_BACKLOG = 1_024


class Reached(abc.ABC):
    """How clients come to a server at `url`."""

    @property
    @abc.abstractmethod
    def url(self) -> str:
        """Where it answers."""

    @property
    def remote(self) -> Remote:
        """Its commands."""
        return Remote(self.url)

    @property
    def calm_url(self) -> str:
        """Where calls meet no fault and are not counted: for what a test itself writes and looks at."""
        return self.url + CALM

    def variables(self) -> dict[str, str]:
        """The variables that lead a process to it."""
        return {"AWS_ENDPOINT_URL_DYNAMODB": self.url, "AWS_ENDPOINT_URL_DYNAMODB_STREAMS": self.url}


class StreamsServer(Server, Reached):
    """In front of the table engine at `engine_url`, on 127.0.0.1. What was streamed is gone when it stops."""

    name = "the streams server"
    ready_path = "/control/ready"

    def __init__(self, engine_url: str, seed: int = 0) -> None:
        super().__init__()
        self._engine_url = engine_url
        self._seed = seed

    def command(self, port: int) -> list[str]:
        arguments = ["--engine", self._engine_url, "--port", str(port), "--seed", str(self._seed)]
        return [sys.executable, "-m", "tests.streams_server", *arguments]

    def environment(self, port: int) -> dict[str, str]:  # noqa: ARG002  the port is on the command line
        return {**os.environ, "PYTHONPATH": os.fspath(_ROOT)}


class StreamsThread(Reached):
    """The same in a thread of this process; use it in a `with`."""

    def __init__(self, engine_url: str, seed: int = 0) -> None:
        self._engine_url = engine_url
        self._seed = seed
        self._started = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()), daemon=True)

    @property
    def url(self) -> str:
        """Where it answers, once it is entered."""
        return self._url

    def __enter__(self) -> Self:
        self._thread.start()
        assert self._started.wait(10)
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(10)

    async def _serve(self) -> None:
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        async with Listener(Service(self._engine_url, self._seed), 0) as listener:
            self._url = listener.url
            self._started.set()
            await self._stop.wait()


class Listener:
    """Accepts connections on 127.0.0.1; `port` 0 is a free one."""

    def __init__(self, service: Service, port: int) -> None:
        self._service = service
        self._port = port
        self._connections: set[Connection] = set()

    @property
    def url(self) -> str:
        """Where it answers."""
        return f"http://127.0.0.1:{self._port}"

    async def __aenter__(self) -> Self:
        self._server = await asyncio.get_running_loop().create_server(
            lambda: Connection(self._service, self._connections), "127.0.0.1", self._port, backlog=_BACKLOG
        )
        self._port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for connection in list(self._connections):
            await connection.hang_up()
        await self._service.close()
        await asyncio.sleep(0)
