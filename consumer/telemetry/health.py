"""/metrics, /livez and /readyz over HTTP. Connections, time per request and what a reply reveals are all bounded."""

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

from consumer.domain.errors import UsageFault
from consumer.settings import flag, variable

METRICS_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"
TEXT_TYPE: Final = "text/plain; charset=utf-8"
STOP_POLL_SECONDS: Final = 0.1
"""How often the server checks whether it should stop: a drain waits that long for it at most."""
BUSY: Final = b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"

log = structlog.get_logger()


class HttpPortTaken(UsageFault):
    """The host and port of the settings cannot be listened at."""

    def __init__(self, host: str, port: int, detail: str) -> None:
        super().__init__(
            f"{variable('http_host')} ({flag('http_host')}) is {host!r} and "
            f"{variable('http_port')} ({flag('http_port')}) is {port}: cannot listen there ({detail}); "
            "it must be an address of this machine and a free port (0: any free one)"
        )


class HealthServer:
    """Serves until it is stopped. `live` returns why the process is not alive, `ready` why it is not ready.

    `notes` are sentences that readiness adds.
    Slow or many clients cost `max_connections` threads and `request_timeout_seconds` per request, never the worker.
    """

    def __init__(
        self,
        host: str,
        port: int,
        render_metrics: Callable[[], bytes],
        live: Callable[[], str | None],
        ready: Callable[[], list[str]],
        notes: Callable[[], list[str]] = list,
        *,
        max_connections: int = 32,
        request_timeout_seconds: float = 5.0,
    ) -> None:
        self._host, self._port = host, port
        self._render_metrics, self._live, self._ready, self._notes = render_metrics, live, ready, notes
        self._max_connections = max_connections
        self._request_timeout_seconds = request_timeout_seconds
        self._server: BoundedServer | None = None

    @property
    def port(self) -> int:
        """The port that it listens at; before the start the one that it was given."""
        return int(self._server.server_address[1]) if self._server else self._port

    def start(self) -> None:
        """Listens, and serves in threads of its own. Raises HttpPortTaken."""
        try:
            found = socket.getaddrinfo(self._host, self._port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
            family, _, _, _, address = min(found, key=lambda info: info[0] != socket.AF_INET)
            self._server = BoundedServer(
                family, address, self._respond, self._max_connections, self._request_timeout_seconds
            )
        except OSError as error:
            raise HttpPortTaken(self._host, self._port, error.strerror or str(error)) from error
        except UnicodeError as error:
            raise HttpPortTaken(self._host, self._port, "no host can have this name") from error
        threading.Thread(
            target=self._server.serve_forever, args=(STOP_POLL_SECONDS,), name="health", daemon=True
        ).start()

    def stop(self) -> None:
        """Closes the port. Responses in flight may still end."""
        server, self._server = self._server, None
        if server:
            server.shutdown()
            server.server_close()

    def _respond(self, path: str) -> "Response | None":
        """Whatever fails here is a defect of this program: 500, and the details go to the log only."""
        try:
            match path:
                case "/metrics":
                    return Response(200, METRICS_TYPE, self._render_metrics())
                case "/livez":
                    reason = self._live()
                    return _text(200, ["live"]) if reason is None else _text(503, [reason])
                case "/readyz":
                    reasons = self._ready()
                    return _text(503, reasons) if reasons else _text(200, ["ready", *self._notes()])
        except Exception:
            log.exception("health.broken", path=path)
            return _text(500, ["internal error"])
        return None


class Response(NamedTuple):
    """The response to a path."""

    status: int
    content_type: str
    body: bytes


def _text(status: int, lines: list[str]) -> Response:
    return Response(status, TEXT_TYPE, "".join(f"{line}\n" for line in lines).encode(errors="replace"))


class BoundedServer(ThreadingHTTPServer):
    """An HTTP server that listens from its construction on. `respond` returns None for a path that does not exist."""

    daemon_threads = True

    def __init__(
        self,
        family: int,
        address: Any,
        respond: Callable[[str], Response | None],
        max_connections: int,
        request_timeout_seconds: float,
    ) -> None:
        self.address_family = socket.AddressFamily(family)
        self.respond = respond
        self.request_timeout_seconds = request_timeout_seconds
        self._free_connections = threading.BoundedSemaphore(max_connections)
        super().__init__(address, _RequestHandler)

    def server_bind(self) -> None:
        """Without the base class's reverse look-up of the host, which may take seconds."""
        TCPServer.server_bind(self)

    def process_request(self, request: Any, client_address: Any) -> None:
        """Starts a thread for this connection; refuses it at once when all are taken."""
        if not self._free_connections.acquire(blocking=False):
            log.debug("http.busy")
            with suppress(OSError):
                request.send(BUSY, socket.MSG_DONTWAIT)
            self.shutdown_request(request)
            return
        try:
            super().process_request(request, client_address)
        except RuntimeError:  # no thread could be started
            self._free_connections.release()
            raise

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """Serves one connection, in its thread."""
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._free_connections.release()

    def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ARG002 - the base class's
        """A client that went away is no error of this program."""
        log.debug("http.broken", error=repr(sys.exception()))


class _DeadlineReader(RawIOBase):
    """Reads a socket until a deadline: a client that sends a byte now and then gets no longer than a silent one."""

    def __init__(self, connection: socket.socket, seconds: float) -> None:
        self._connection, self._seconds = connection, seconds
        self.restart()

    def restart(self) -> None:
        self._deadline = monotonic() + self._seconds

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        left = self._deadline - monotonic()
        if left <= 0:
            raise TimeoutError("the request took too long")
        self._connection.settimeout(left)
        return self._connection.recv_into(buffer)


class _RequestHandler(BaseHTTPRequestHandler):
    """GET and HEAD. Nothing in a response reveals which software serves it."""

    server: BoundedServer
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    command = path = ""  # of a request line that could not be parsed

    def setup(self) -> None:
        super().setup()
        self.rfile.close()
        self._reader = _DeadlineReader(self.connection, self.server.request_timeout_seconds)
        self.rfile = BufferedReader(self._reader)

    def handle_one_request(self) -> None:
        self._reader.restart()
        super().handle_one_request()

    def __getattr__(self, name: str) -> Any:
        """The base class looks for do_METHOD: every method but GET and HEAD is refused."""
        if name.startswith("do_"):
            return self._refuse
        raise AttributeError(name)

    def do_GET(self) -> None:
        if "Content-Length" in self.headers or "Transfer-Encoding" in self.headers:
            self.close_connection = True  # a body is never read, so it must not be parsed as the next request
        response = self.server.respond(self.path.partition("?")[0])
        if response is None:
            self.send_error(HTTPStatus.NOT_FOUND)
        else:
            self._send(*response)

    do_HEAD = do_GET  # noqa: N815

    def _refuse(self) -> None:
        self.close_connection = True
        self.send_error(HTTPStatus.METHOD_NOT_ALLOWED)

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:  # noqa: ARG002
        """The bare status; the base class calls it for malformed requests too."""
        if code != HTTPStatus.NOT_FOUND:
            self.close_connection = True
        self._send(code, TEXT_TYPE, f"{HTTPStatus(code).phrase}\n".encode())

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
        self.wfile.write(head if self.command == "HEAD" else head + body)  # one send: two would wait for a delayed ACK
        log.debug("http.answered", method=str(self.command)[:20], path=self.path[:200], status=status)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class's name
        """What the base class logs: time-outs."""
        log.debug("http.noted", detail=format % args)
