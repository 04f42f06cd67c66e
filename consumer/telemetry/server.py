"""A small HTTP server that bounds what clients can cost: connections, time, and what it tells them."""

import socket
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import BufferedReader, RawIOBase
from socketserver import TCPServer
from time import monotonic
from typing import Any, Final, NamedTuple

import structlog

BUSY: Final = b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"

log = structlog.get_logger()


class Answer(NamedTuple):
    """What a path answers."""

    status: int
    content_type: str
    body: bytes


class BoundedServer(ThreadingHTTPServer):
    """Listens from the start on. `answer` tells what a path answers, None when there is no such path."""

    daemon_threads = True

    def __init__(
        self,
        family: int,
        address: Any,
        answer: Callable[[str], Answer | None],
        max_connections: int,
        request_timeout_seconds: float,
    ) -> None:
        self.address_family = socket.AddressFamily(family)
        self.answer = answer
        self.request_timeout_seconds = request_timeout_seconds
        self._room = threading.BoundedSemaphore(max_connections)
        super().__init__(address, _Handler)

    def server_bind(self) -> None:
        """Without the base class's reverse look-up of the host, which may take seconds."""
        TCPServer.server_bind(self)

    def process_request(self, request: Any, client_address: Any) -> None:
        """A thread for this connection; turned away at once when all are taken."""
        if not self._room.acquire(blocking=False):
            log.debug("http.busy")
            with suppress(OSError):
                request.send(BUSY, socket.MSG_DONTWAIT)
            self.shutdown_request(request)
            return
        try:
            super().process_request(request, client_address)
        except RuntimeError:  # no thread could be started
            self._room.release()
            raise

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """Serves one connection, in its thread."""
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._room.release()

    def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ARG002 - the base class's
        """A client that went away is nobody's trouble."""
        log.debug("http.broken", error=repr(sys.exception()))


class _Deadline(RawIOBase):
    """Reads a socket until a moment: a client that trickles bytes gets no longer than one that sends none."""

    def __init__(self, connection: socket.socket, seconds: float) -> None:
        self._connection, self._seconds = connection, seconds
        self.begin()

    def begin(self) -> None:
        self._end = monotonic() + self._seconds

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        left = self._end - monotonic()
        if left <= 0:
            raise TimeoutError("the request took too long")
        self._connection.settimeout(left)
        return self._connection.recv_into(buffer)


class _Handler(BaseHTTPRequestHandler):
    """GET and HEAD. Nothing in an answer says what serves it."""

    server: BoundedServer
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    command = path = ""  # of a request line that could not be read

    def setup(self) -> None:
        super().setup()
        self.rfile.close()
        self._reading = _Deadline(self.connection, self.server.request_timeout_seconds)
        self.rfile = BufferedReader(self._reading)

    def handle_one_request(self) -> None:
        self._reading.begin()
        super().handle_one_request()

    def __getattr__(self, name: str) -> Any:
        """The base class looks for do_METHOD: every method but ours is refused."""
        if name.startswith("do_"):
            return self._refuse
        raise AttributeError(name)

    def do_GET(self) -> None:
        if "Content-Length" in self.headers or "Transfer-Encoding" in self.headers:
            self.close_connection = True  # a body is never read, so it must not pass for the next request
        answer = self.server.answer(self.path.partition("?")[0])
        if answer is None:
            self.send_error(HTTPStatus.NOT_FOUND)
        else:
            self._send(*answer)

    do_HEAD = do_GET  # noqa: N815

    def _refuse(self) -> None:
        self.close_connection = True
        self.send_error(HTTPStatus.METHOD_NOT_ALLOWED)

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:  # noqa: ARG002
        """Also what the base class answers to malformed requests: the bare status."""
        if code != HTTPStatus.NOT_FOUND:
            self.close_connection = True
        self._send(code, "text/plain; charset=utf-8", f"{HTTPStatus(code).phrase}\n".encode())

    def _send(self, status: int, content_type: str, body: bytes) -> None:
        lines = [
            f"HTTP/1.1 {status} {HTTPStatus(status).phrase}",
            f"Content-Type: {content_type}",
            f"Content-Length: {len(body)}",
            "Cache-Control: no-store",
        ]
        if status == HTTPStatus.METHOD_NOT_ALLOWED:
            lines.append("Allow: GET, HEAD")
        if self.close_connection:
            lines.append("Connection: close")
        head = "\r\n".join([*lines, "", ""]).encode()
        self.connection.settimeout(self.server.request_timeout_seconds)
        self.wfile.write(head if self.command == "HEAD" else head + body)  # one send, or each costs a delayed ACK
        log.debug("http.answered", method=str(self.command)[:20], path=self.path[:200], status=status)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class's name
        """What the base class has to say: time-outs."""
        log.debug("http.noted", detail=format % args)
