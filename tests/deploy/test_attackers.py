"""The health server of a real worker with slow and malformed clients: the worker goes on, other clients get replies."""

import socket
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from tests.support.engines import TableEngine
from tests.support.processes import Game, WorkerProcess, until

pytestmark = pytest.mark.deploy

SLOW = 200
MALFORMED = (
    b"\r\n\r\n",
    b"GET\r\n\r\n",
    b"GET / HTTP/9.9\r\n\r\n",
    b"GET " + b"/" * 70_000 + b" HTTP/1.1\r\n\r\n",
    b"GET /metrics HTTP/1.1\r\n" + b"X: y\r\n" * 200 + b"\r\n",
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(range(256)),
    b"POST /metrics HTTP/1.1\r\nContent-Length: 999999999\r\n\r\n",
)
NO_PATHS = ("/", "/metrics/", "/../metrics", "/livez/..", "/debug", "/favicon.ico", "/%6detrics")


@pytest.fixture
def game(ministack_url: str) -> Iterator[Game]:
    with Game(TableEngine("ministack", ministack_url)) as game:
        yield game


def test_slow_and_malformed_clients_stop_nothing(game: Game) -> None:
    worker = game.worker()
    port = worker.port
    with ExitStack() as held:
        for _ in range(SLOW):
            slow = held.enter_context(socket.create_connection(("127.0.0.1", port), timeout=5))
            slow.sendall(b"GET /metrics HTTP/1.1\r\nX-Slow: ")
        for request in MALFORMED:
            send(port, request)
        game.play(2_000, 50)
        game.wait_until_consumed()
        until(lambda: is_alive(worker), "replies to others, after the slow clients' time-out")
    game.assert_exact()
    assert worker.terminate().code == 0


def test_only_three_paths_are_served(game: Game) -> None:
    worker = game.worker()
    assert [worker.get(path)[0] for path in ("/metrics", "/livez")] == [200, 200]
    assert worker.get("/readyz")[0] in (200, 503)
    assert {path: worker.get(path)[0] for path in NO_PATHS} == dict.fromkeys(NO_PATHS, 404)


def send(port: int, request: bytes) -> None:
    """Sends a request; the server may refuse it."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=1) as client:
            client.sendall(request)
            client.recv(1000)
    except OSError:
        pass  # the connection was refused: that is right too


def is_alive(worker: WorkerProcess) -> bool:
    """Whether /livez returns 200; a full server refuses connections at once."""
    try:
        return worker.get("/livez")[0] == 200
    except OSError:
        return False
