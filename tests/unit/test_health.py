"""The health endpoint over real connections."""

import http.client
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

import pytest

from consumer.telemetry.health import HealthServer, HttpPortTaken


@contextmanager
def serving(
    live: Callable[[], str | None] = lambda: None,
    ready: Callable[[], list[str]] = lambda: [],  # noqa: PIE807 - `list` is not typed as a callable of list[str]
    render: Callable[[], bytes] = lambda: b"a_total 1\n",
    max_connections: int = 32,
    request_timeout_seconds: float = 5.0,
) -> Iterator[HealthServer]:
    server = HealthServer(
        "127.0.0.1",
        0,
        render,
        live,
        ready,
        max_connections=max_connections,
        request_timeout_seconds=request_timeout_seconds,
    )
    server.start()
    try:
        yield server
    finally:
        server.stop()


def fetch(server: HealthServer, path: str, method: str = "GET") -> tuple[int, str, http.client.HTTPMessage]:
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)
    try:
        connection.request(method, path)
        response = connection.getresponse()
        return response.status, response.read().decode(), response.headers
    finally:
        connection.close()


def exchange(server: HealthServer, raw: bytes) -> bytes:
    """Sends bytes and reads until the server closes."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as connection:
        connection.sendall(raw)
        return b"".join(iter(lambda: connection.recv(65_536), b""))


def test_the_three_paths() -> None:
    with serving() as server:
        status, body, headers = fetch(server, "/metrics")
        assert (status, body) == (200, "a_total 1\n")
        assert headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
        assert fetch(server, "/livez")[:2] == (200, "live\n")
        assert fetch(server, "/readyz?verbose")[:2] == (200, "ready\n")


def test_the_reasons_why_it_is_not_alive_and_not_ready() -> None:
    with serving(live=lambda: "the loop stands still", ready=lambda: ["no stream", "no lease table"]) as server:
        assert fetch(server, "/livez")[:2] == (503, "the loop stands still\n")
        assert fetch(server, "/readyz")[:2] == (503, "no stream\nno lease table\n")


def test_other_paths_and_methods() -> None:
    with serving() as server:
        assert fetch(server, "/")[0] == 404
        assert fetch(server, "/metrics/")[0] == 404
        status, _, headers = fetch(server, "/metrics", "POST")
        assert (status, headers["Allow"]) == (405, "GET, HEAD")
        assert fetch(server, "/livez", "BREW")[0] == 405


def test_head_has_the_length_and_no_body() -> None:
    with serving() as server:
        status, body, headers = fetch(server, "/metrics", "HEAD")
        assert (status, body, headers["Content-Length"]) == (200, "", "10")


REQUESTS = [
    b"GET /livez HTTP/1.1",
    b"GET /secret HTTP/1.1",
    b"DELETE /livez HTTP/1.1",
    b"nonsense and more of it",
    b"GET /" + b"x" * 65_531,
]


def test_no_response_reveals_what_serves_it() -> None:
    with serving() as server:
        responses = [exchange(server, line + b"\r\nConnection: close\r\n\r\n") for line in REQUESTS]
    assert [response.split(b" ")[1] for response in responses] == [b"200", b"404", b"405", b"400", b"414"]
    assert not any(b"Server:" in text or b"Python" in text or b"<html" in text for text in responses)


def test_a_connection_serves_many_requests() -> None:
    with serving() as server:
        connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)
        with ExitStack() as stack:
            stack.callback(connection.close)
            for path in ("/livez", "/nothing", "/readyz"):
                connection.request("GET", path)
                connection.getresponse().read()
                assert connection.sock is not None


def test_a_body_is_not_parsed_as_a_request() -> None:
    with serving() as server:
        inner = b"GET /metrics HTTP/1.1\r\n\r\n"
        responses = exchange(server, b"GET /livez HTTP/1.1\r\nContent-Length: %d\r\n\r\n%s" % (len(inner), inner))
    assert responses.count(b"HTTP/1.1") == 1


def test_a_defect_in_a_probe_is_an_internal_error_and_the_server_goes_on() -> None:
    def broken() -> str | None:
        raise LookupError("secret detail")

    with serving(live=broken) as server:
        assert fetch(server, "/livez")[:2] == (500, "internal error\n")
        assert fetch(server, "/readyz")[0] == 200


def test_connections_over_the_limit_are_refused_and_freed_ones_are_reused() -> None:
    with serving(max_connections=1) as server:
        first = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)
        first.request("GET", "/livez")
        first.getresponse().read()  # its thread holds the only connection now
        with socket.create_connection(("127.0.0.1", server.port), timeout=10) as second:
            assert second.recv(1000).startswith(b"HTTP/1.1 503 ")
        first.request("GET", "/livez", headers={"Connection": "close"})
        assert first.getresponse().read() == b"live\n"
        first.close()
        statuses = (status_or_none(server) for _ in range(10_000))
        assert 200 in statuses


def status_or_none(server: HealthServer) -> int | None:
    try:
        return fetch(server, "/livez")[0]
    except ConnectionError:  # refused before the request was sent
        return None


def test_a_request_that_trickles_in_is_cut_off() -> None:
    with ExitStack() as stack:
        server = stack.enter_context(serving(request_timeout_seconds=0.2))
        connection = stack.enter_context(socket.create_connection(("127.0.0.1", server.port), timeout=0.05))
        for _ in range(100):
            try:
                connection.sendall(b"G")
                if connection.recv(1) == b"":
                    break
            except TimeoutError:
                continue
            except ConnectionError:
                break
        else:
            pytest.fail("a client that sends a byte every 50 ms kept its thread for 5 s")


def test_a_client_that_reads_nothing_is_cut_off() -> None:
    """More than the kernel takes for a connection: the reply stands still in its thread."""
    with serving(render=lambda: b"x" * 30_000_000, max_connections=1, request_timeout_seconds=0.2) as server:
        with socket.create_connection(("127.0.0.1", server.port), timeout=10) as idle:
            idle.sendall(b"GET /metrics HTTP/1.1\r\n\r\n")
            assert idle.recv(8).startswith(b"HTTP/1.1"), "it holds the only connection"
            statuses = (status_or_none(server) for _ in range(10_000))
            assert 200 in statuses
        stopping = time.monotonic()
        server.stop()
        assert time.monotonic() - stopping < 2


def test_a_port_that_is_taken() -> None:
    with serving() as server:
        other = HealthServer("127.0.0.1", server.port, bytes, lambda: None, list)
        with pytest.raises(HttpPortTaken, match=r"CONSUMER_HTTP_PORT .* in use") as raised:
            other.start()
        assert raised.value.exit_code == 2
        assert str(server.port) in str(raised.value)


@pytest.mark.parametrize("host", ["192.0.2.1", "2001:db8::1", "x" * 300, "a..b"])
def test_a_host_that_is_not_of_this_machine(host: str) -> None:
    with pytest.raises(HttpPortTaken, match="CONSUMER_HTTP_HOST"):
        HealthServer(host, 0, bytes, lambda: None, list).start()


def test_stopped_it_frees_its_port_and_may_be_stopped_again() -> None:
    with serving() as server:
        port = server.port
        server.stop()
        server.stop()
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", port), timeout=10)
