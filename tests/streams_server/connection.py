"""HTTP/1.1 on a client's connection: one request after the other, each answer in one send."""

import asyncio
import time
from collections.abc import Coroutine
from email.utils import formatdate
from itertools import count
from typing import Any

from tests.streams_server.engine import Answer
from tests.streams_server.service import Request, Service

_END_OF_HEAD = b"\r\n\r\n"


class Connection(asyncio.Protocol):
    """What a client that is gone has asked for is done all the same."""

    def __init__(self, service: Service, open_ones: set["Connection"]) -> None:
        self._service = service
        self._open_ones = open_ones
        self._buffer = b""
        self._transport: asyncio.Transport | None = None
        self._answering: asyncio.Task[None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See asyncio.Protocol."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._open_ones.add(self)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002
        """See asyncio.Protocol."""
        self._transport = None
        if self._answering is None:
            self._open_ones.discard(self)

    def data_received(self, data: bytes) -> None:
        """See asyncio.Protocol."""
        self._buffer += data
        self._go_on()

    async def hang_up(self) -> None:
        """The server stops."""
        if self._answering is not None:
            self._answering.cancel()
            await asyncio.gather(self._answering, return_exceptions=True)
        self._send(None)

    def _go_on(self) -> None:
        while self._answering is None and (request := self._next_request()) is not None:
            started = self._service.start(request)
            if started is None or isinstance(started, Answer):
                self._send(started)
            else:
                self._answering = asyncio.get_running_loop().create_task(self._answer(started))

    def _next_request(self) -> Request | None:
        """The next whole one that has arrived."""
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

    async def _answer(self, coming: Coroutine[Any, Any, Answer | None]) -> None:
        answer: Answer | None = None  # a defect of the server closes the connection, and asyncio tells of it
        try:
            answer = await coming
        finally:
            self._answering = None
            self._send(answer)
        if self._transport is None:
            self._open_ones.discard(self)
        else:
            self._go_on()

    def _send(self, answer: Answer | None) -> None:
        if self._transport is None:
            return
        if answer is None:
            self._transport.abort()
            self._transport = None
            return
        self._transport.write(_head(answer) + answer.body)


_numbers = count(1)
_date = (0, "")


def _head(answer: Answer) -> bytes:
    return (
        f"HTTP/1.1 {answer.status} -\r\nDate: {_date_of(int(time.time()))}\r\n"
        f"Content-Type: application/x-amz-json-1.0\r\nContent-Length: {len(answer.body)}\r\n"
        f"x-amzn-RequestId: {next(_numbers):026d}\r\n\r\n"
    ).encode()


def _date_of(now: int) -> str:
    global _date
    if _date[0] != now:
        _date = (now, formatdate(now, usegmt=True))
    return _date[1]
