"""The table engine behind the server: a small HTTP client with a bounded pool of connections."""

import asyncio
import time
from collections.abc import Mapping
from typing import NamedTuple
from urllib.parse import urlsplit

_MOST_CONNECTIONS = 64
_IDLE_SECONDS = 2.0
_MOST_CALLS = 500
"""On one connection: ministack closes it after a thousand, without notice."""
_REPLY_SECONDS = 30.0
_PASSED_ON = ("x-amz-target", "content-type", "authorization", "x-amz-date", "x-amz-security-token")


class Response(NamedTuple):
    """The status and body that are sent to the client. `checksum` None: that of the body."""

    status: int
    body: bytes
    checksum: int | None = None


class _Wire(NamedTuple):
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    used: float
    calls: int


class Engine:
    """Use it from one event loop; `close` it there."""

    def __init__(self, url: str) -> None:
        address = urlsplit(url)
        assert address.hostname
        assert address.port
        self._host, self._port = address.hostname, address.port
        self._idle: list[_Wire] = []
        self._slots = asyncio.Semaphore(_MOST_CONNECTIONS)

    async def send(self, headers: Mapping[str, str], body: bytes, target: str | None = None) -> Response | None:
        """The engine's response; None: there was none, and the outcome is unknown.

        `target` is another operation of the table service than that of the headers.
        """
        kept = {name: headers[name] for name in _PASSED_ON if name in headers}
        if target is not None:
            kept["x-amz-target"] = f"DynamoDB_20120810.{target}"
        lines = [f"{name}: {value}\r\n" for name, value in kept.items()]
        head = (
            f"POST / HTTP/1.1\r\nHost: {self._host}:{self._port}\r\nContent-Length: {len(body)}\r\n{''.join(lines)}\r\n"
        )
        async with self._slots:
            wire: _Wire | None = None
            try:
                async with asyncio.timeout(_REPLY_SECONDS):
                    wire = await self._connect()
                    wire.writer.write(head.encode("latin-1") + body)
                    response = await _read(wire.reader)
            except (OSError, ValueError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
                if wire is not None:
                    wire.writer.transport.abort()
                return None
            except asyncio.CancelledError:
                if wire is not None:
                    wire.writer.transport.abort()
                raise
            self._idle.append(wire._replace(used=time.monotonic(), calls=wire.calls + 1))
            return response

    async def close(self) -> None:
        """Closes the idle connections."""
        for wire in self._idle:
            wire.writer.close()
        self._idle.clear()
        await asyncio.sleep(0)

    async def _connect(self) -> _Wire:
        """An idle connection that the engine still accepts, or a new one."""
        while self._idle:
            wire = self._idle.pop()
            fresh = time.monotonic() - wire.used < _IDLE_SECONDS and wire.calls < _MOST_CALLS
            if fresh and not wire.reader.at_eof():
                return wire
            wire.writer.close()
        return _Wire(*await asyncio.open_connection(self._host, self._port), used=0.0, calls=0)


async def _read(reader: asyncio.StreamReader) -> Response:
    """ValueError when it is no HTTP response."""
    lines = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
    status = int(lines[0].split(" ")[1])
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines[1:])}
    if headers.get("transfer-encoding", "").lower() != "chunked":
        return Response(status, await reader.readexactly(int(headers["content-length"])))
    body = b""
    while size := int((await reader.readline()).split(b";")[0], 16):
        body += await reader.readexactly(size)
        await reader.readline()
    await reader.readline()
    return Response(status, body)
