"""An HTTP proxy in front of an engine that sees every call and decides its fate. Standard library only."""

import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from http.client import HTTPConnection, HTTPException, HTTPResponse
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Self
from urllib.parse import urlsplit
from zlib import crc32

from tests.support.damage import damaged
from tests.support.processes.traffic import Call, Fate, Hold

_KEPT_HEADERS = ("content-type", "date", "x-amzn-requestid", "x-amz-crc32")
_UPSTREAM_SECONDS = 30
_JSON = [("Content-Type", "application/x-amz-json-1.0")]
_DENIAL = b'{"__type":"com.amazon.coral.service#AccessDeniedException","Message":"User is not authorized"}'
_UNKNOWN_KEY = (
    b'{"__type":"com.amazon.coral.service#UnrecognizedClientException","message":"The security token is invalid"}'
)
_FAILURE = b'{"__type":"com.amazonaws.dynamodb.v20120810#InternalServerError","message":"a test\'s fault"}'
_REFUSALS = {Fate.DENY: _DENIAL, Fate.UNKNOWN_KEY: _UNKNOWN_KEY}


class Proxy:
    """Use it in a `with`. `decide` returns each call's fate; `hold` stops one call for as long as the test likes."""

    def __init__(self, engine_url: str, decide: Callable[[Call], Fate] | None = None) -> None:
        address = urlsplit(engine_url)
        assert address.hostname
        assert address.port
        self._upstream = (address.hostname, address.port)
        self.decide = decide or (lambda _: Fate.PASS)
        self.calls: list[Call] = []
        self._lock = threading.Lock()
        self._holds: list[Hold] = []
        self._server = _Server(self)

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        with self._lock:
            holds = list(self._holds)
        for hold in holds:
            hold.let_go(Fate.DROP_CALL)
        self._server.shutdown()
        self._server.hang_up()
        self._server.server_close()  # waits for the connections' threads

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def variables(self) -> dict[str, str]:
        """The environment variables that send a process's calls through it."""
        return {"AWS_ENDPOINT_URL_DYNAMODB": self.url, "AWS_ENDPOINT_URL_DYNAMODB_STREAMS": self.url}

    def hold(self, matches: Callable[[Call], bool], *, applied: bool = False, skip: int = 0) -> Hold:
        """Stops the next call that matches, after `skip` others; see Hold."""
        hold = Hold(matches, applied=applied, skip=skip)
        with self._lock:
            self._holds.append(hold)
        return hold

    def counts(self) -> Counter[str]:
        """Calls by operation."""
        return Counter(call.operation for call in list(self.calls))

    def of(self, operation: str, since: int = 0) -> list[Call]:
        """The calls of an operation, leaving out the first `since` calls of any."""
        return [call for call in self.calls[since:] if call.operation == operation]

    def matching(self, matches: Callable[[Call], bool], since: int = 0) -> list[Call]:
        """The calls that match, leaving out the first `since` calls of any."""
        return [call for call in self.calls[since:] if matches(call)]

    def fates(self, calls: Iterable[Call]) -> Counter[str]:
        """How many of the calls had which fate."""
        return Counter(call.fate.value for call in calls)

    def _enter(self, operation: str, body: bytes, authorization: str) -> Call:
        """A new call and its fate."""
        with self._lock:
            call = Call(len(self.calls), operation, body, authorization)
            call.fate = self.decide(call)
            self.calls.append(call)
            return call

    def _hold(self, call: Call, *, applied: bool) -> Hold | None:
        """The hold that matches the call at this point."""
        with self._lock:
            return next((hold for hold in self._holds if hold.applied is applied and hold.wants(call)), None)


class _Server(ThreadingHTTPServer):
    daemon_threads = False  # server_close joins them
    request_queue_size = 128

    def __init__(self, proxy: Proxy) -> None:
        self.proxy = proxy
        self._open: set[socket.socket] = set()
        self._open_lock = threading.Lock()
        super().__init__(("127.0.0.1", 0), _Handler)

    def opened(self, connection: socket.socket) -> None:
        with self._open_lock:
            self._open.add(connection)

    def closed(self, connection: socket.socket) -> None:
        with self._open_lock:
            self._open.discard(connection)

    def hang_up(self) -> None:
        """Ends the connections that clients keep open."""
        with self._open_lock:
            for connection in self._open:
                with suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that was killed is no error: the tests are about them."""


class _Handler(BaseHTTPRequestHandler):
    """One client connection, with a connection to the engine of its own."""

    server: _Server
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def setup(self) -> None:
        super().setup()
        self.server.opened(self.connection)
        self._engine = HTTPConnection(*self.server.proxy._upstream, timeout=_UPSTREAM_SECONDS)

    def finish(self) -> None:
        self._engine.close()
        self.server.closed(self.connection)
        super().finish()

    def do_POST(self) -> None:
        length = int(self.headers.get("Content-Length", 0))
        body = self.rfile.read(length)
        if len(body) < length:  # the client ended between head and body: it is no request
            self.close_connection = True
            return
        operation = self.headers.get("X-Amz-Target", "").rpartition(".")[2]
        self._serve(self.server.proxy._enter(operation, body, self.headers.get("Authorization", "")))

    def _serve(self, call: Call) -> None:
        with self._held(call, applied=False):
            if refusal := _REFUSALS.get(call.fate):
                self._respond(400, _JSON, refusal)
                return
            if call.fate is Fate.TWICE:
                self._forward(call)
            if call.fate is Fate.DROP_CALL or not (headers := self._forward(call)):
                self.close_connection = True
                return
            with self._held(call, applied=True) if call.applied else nullcontext():
                self._respond_by_fate(call, headers)

    @contextmanager
    def _held(self, call: Call, *, applied: bool) -> Iterator[None]:
        """Stops here when a hold matches the call, and ends the hold when the call is finished."""
        hold = self.server.proxy._hold(call, applied=applied)
        if hold is None:
            yield
            return
        hold.stop_here()
        self._engine.close()  # the engine may have closed it meanwhile: the next request opens another
        try:
            yield
        finally:
            hold.finish()

    def _respond_by_fate(self, call: Call, headers: list[tuple[str, str]]) -> None:
        match call.fate:
            case Fate.PASS | Fate.TWICE:
                assert call.status is not None
                self._respond(call.status, headers, call.answer)
            case Fate.FAIL_AFTER:
                self._respond(500, _JSON, _FAILURE)
            case Fate.CORRUPT:
                assert call.status is not None
                named = [(name, value) for name, value in headers if name.lower() != "x-amz-crc32"]
                checksum = ("x-amz-crc32", str(crc32(call.answer)))  # of AWS: engines leave it out of some replies
                self._respond(call.status, [*named, checksum], damaged(call.answer))
            case _:
                self.close_connection = True

    def _forward(self, call: Call) -> list[tuple[str, str]]:
        """The headers of the engine's reply; empty when there was none, which a client must handle too."""
        dropped = ("connection", "expect", "content-length")  # a test may have changed the body
        wanted = {name: value for name, value in self.headers.items() if name.lower() not in dropped}
        try:
            self._engine.request("POST", self.path, call.body, wanted)
            response: HTTPResponse = self._engine.getresponse()
            call.answer = response.read()
        except (OSError, HTTPException):
            self._engine.close()
            return []
        call.status, call.answered_at = response.status, time.time()
        return [(name, value) for name, value in response.getheaders() if name.lower() in _KEPT_HEADERS]

    def _respond(self, status: int, headers: list[tuple[str, str]], body: bytes) -> None:
        """In one send: two of them cost a delayed ACK."""
        lines = [f"HTTP/1.1 {status} -", *(f"{name}: {value}" for name, value in headers)]
        head = "\r\n".join([*lines, f"Content-Length: {len(body)}", "", ""]).encode("latin-1")
        self.wfile.write(head + body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
        """Silent: a test prints what it counts."""
