"""The server on a port, as a process of its own and as a thread of a test."""

import abc
import asyncio
import os
import sys
import threading
import time
from collections.abc import Coroutine
from email.utils import formatdate
from itertools import count
from pathlib import Path
from typing import Any, Self
from zlib import crc32

from consumer.demo.server import Server
from tests.streams_server.engine import Response
from tests.streams_server.remote import Remote
from tests.streams_server.service import FAULTLESS, Request, Service

_END_OF_HEAD = b"\r\n\r\n"


class Connection(asyncio.Protocol):
    """HTTP/1.1 on one client's connection: one request after the other, each response in one send.

    A request is executed also when its client has gone.
    """

    def __init__(self, service: Service, connections: set["Connection"]) -> None:
        self._service = service
        self._connections = connections
        self._buffer = b""
        self._transport: asyncio.Transport | None = None
        self._running: asyncio.Task[None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See asyncio.Protocol."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._connections.add(self)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002
        """See asyncio.Protocol."""
        self._transport = None
        if self._running is None:
            self._connections.discard(self)

    def data_received(self, data: bytes) -> None:
        """See asyncio.Protocol."""
        self._buffer += data
        self._start_next()

    async def hang_up(self) -> None:
        """Closes the connection: the server stops."""
        if self._running is not None:
            self._running.cancel()
            await asyncio.gather(self._running, return_exceptions=True)
        self._send(None)

    def _start_next(self) -> None:
        while self._running is None and (request := self._next_request()) is not None:
            started = self._service.start(request)
            if started is None or isinstance(started, Response):
                self._send(started)
            else:
                self._running = asyncio.get_running_loop().create_task(self._respond(started))

    def _next_request(self) -> Request | None:
        """The next complete request that has arrived."""
        end = self._buffer.find(_END_OF_HEAD)
        if end < 0:
            return None
        first, *lines = self._buffer[:end].decode("latin-1").split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        begins = end + len(_END_OF_HEAD)
        ends = begins + int(headers.get("content-length", 0))
        if len(self._buffer) < ends:
            return None
        body, self._buffer = self._buffer[begins:ends], self._buffer[ends:]
        return Request(first.split(" ")[1], headers, body)

    async def _respond(self, pending: Coroutine[Any, Any, Response | None]) -> None:
        response: Response | None = None  # a defect of the server closes the connection, and asyncio reports it
        try:
            response = await pending
        finally:
            self._running = None
            self._send(response)
        if self._transport is None:
            self._connections.discard(self)
        else:
            self._start_next()

    def _send(self, response: Response | None) -> None:
        if self._transport is None:
            return
        if response is None:
            self._transport.abort()
            self._transport = None
            return
        self._transport.write(_head(response) + response.body)


_numbers = count(1)
_date = (0, "")


def _head(response: Response) -> bytes:
    checksum = crc32(response.body) if response.checksum is None else response.checksum
    return (
        f"HTTP/1.1 {response.status} -\r\nDate: {_date_of(int(time.time()))}\r\n"
        f"Content-Type: application/x-amz-json-1.0\r\nContent-Length: {len(response.body)}\r\n"
        f"x-amzn-RequestId: {next(_numbers):026d}\r\nx-amz-crc32: {checksum}\r\n\r\n"
    ).encode()


def _date_of(now: int) -> str:
    global _date
    if _date[0] != now:
        _date = (now, formatdate(now, usegmt=True))
    return _date[1]


_ROOT = Path(__file__).parents[2]
_BACKLOG = 1_024


class Reachable(abc.ABC):
    """A server that clients reach at `url`."""

    @property
    @abc.abstractmethod
    def url(self) -> str:
        """Its base URL."""

    @property
    def remote(self) -> Remote:
        """The commands of this server."""
        return Remote(self.url)

    @property
    def faultless_url(self) -> str:
        """For calls without faults that are not counted: for what a test itself writes and reads."""
        return self.url + FAULTLESS

    def variables(self) -> dict[str, str]:
        """The environment variables with which a process uses this server."""
        return {"AWS_ENDPOINT_URL_DYNAMODB": self.url, "AWS_ENDPOINT_URL_DYNAMODB_STREAMS": self.url}


class StreamsServer(Server, Reachable):
    """A process in front of the table engine at `engine_url`, on 127.0.0.1. Its streams end with it."""

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


class StreamsThread(Reachable):
    """The same as a thread of this process; use it in a `with`."""

    def __init__(self, engine_url: str, seed: int = 0) -> None:
        self._engine_url = engine_url
        self._seed = seed
        self._started = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()), daemon=True)

    @property
    def url(self) -> str:
        """Its base URL, inside the `with`."""
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
        """Its base URL."""
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
