"""`consumer healthcheck` against real servers: alive, not alive, none there, another program there."""

import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator

import pytest
from structlog.testing import capture_logs

from consumer.cli import healthcheck
from consumer.cli.healthcheck import check_health
from consumer.telemetry.health import HealthServer

Serve = Callable[..., HealthServer]


@pytest.fixture
def serve() -> Iterator[Serve]:
    started: list[HealthServer] = []

    def serve(host: str = "127.0.0.1", not_alive: str | None = None) -> HealthServer:
        server = HealthServer(host, 0, lambda: b"", lambda: not_alive, list)
        server.start()
        started.append(server)
        return server

    with capture_logs():  # the server's
        yield serve
    for server in started:
        server.stop()


@pytest.fixture(autouse=True)
def _clean(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("CONSUMER_")]:
        monkeypatch.delenv(name)


def end(*arguments: str) -> tuple[int, str, str]:
    """Exit code, stdout and stderr of the command, as a process."""
    command = [sys.executable, "-m", "consumer", "healthcheck", *arguments]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    return ended.returncode, ended.stdout, ended.stderr


@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0", "localhost"])
def test_alive(serve: Serve, host: str) -> None:
    port = serve(host).port
    health = check_health(host, port)
    assert health.alive
    assert health.sentence.startswith("alive: http://")


def has_ipv6() -> bool:
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        return False
    return True


@pytest.mark.parametrize("host", ["::", "::1"])
def test_over_ipv6(serve: Serve, host: str) -> None:
    """Where a machine has no IPv6 the address is the same, and nothing answers."""
    available = has_ipv6()
    port = serve(host).port if available else 9464
    alive, sentence = check_health(host, port)
    assert f"http://[::1]:{port}/livez" in sentence
    assert alive is available


def test_not_alive(serve: Serve) -> None:
    port = serve(not_alive="the loop has stood still for 20 s").port
    assert check_health("127.0.0.1", port) == (
        False,
        f"not alive: http://127.0.0.1:{port}/livez answers 503 (the loop has stood still for 20 s)",
    )


def test_no_server(serve: Serve) -> None:
    server = serve()
    port = server.port
    server.stop()
    alive, sentence = check_health("127.0.0.1", port)
    assert not alive
    assert "cannot be checked (Connection refused)" in sentence


@pytest.mark.parametrize("host", ["no-such-host.invalid", ".a.b.", "a" * 200])
def test_no_such_host(host: str) -> None:
    alive, sentence = check_health(host, 9464)
    assert not alive
    assert "cannot be checked" in sentence


@pytest.mark.parametrize(
    ("response", "closes", "sentence"),
    [
        (b"", False, "does not answer within"),
        (b"", True, "speaks no HTTP"),
        (b"SSH-2.0-OpenSSH\r\n", True, "speaks no HTTP"),
        (b"HTTP/1.1 404 Not Found\r\nContent-Length: 9\r\n\r\n\x1b[2Jgone\n", True, "answers 404 ([2Jgone)"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n", False, "does not answer within"),
    ],
)
def test_another_program_there(response: bytes, closes: bool, sentence: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(healthcheck, "TIMEOUT_SECONDS", 0.2)
    done = threading.Event()

    def respond(listening: socket.socket) -> None:
        connection, _ = listening.accept()
        with connection:
            connection.recv(1000)
            connection.sendall(response)
            if not closes:
                done.wait(10)

    with socket.create_server(("127.0.0.1", 0)) as listening:
        responder = threading.Thread(target=respond, args=(listening,))
        responder.start()
        try:
            alive, found = check_health("127.0.0.1", listening.getsockname()[1])
        finally:
            done.set()
            responder.join()
    assert not alive
    assert sentence in found
    assert found.isprintable()


@pytest.mark.parametrize("flags", [[], ["--http-host", "127.0.0.1"]], ids=["shortcut", "settings"])
def test_the_command(serve: Serve, flags: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    server = serve()
    monkeypatch.setenv("CONSUMER_HTTP_PORT", str(server.port))
    assert end(*flags) == (0, f"alive: http://127.0.0.1:{server.port}/livez answers 200\n", "")
    server.stop()
    code, out, err = end(*flags)
    assert (code, out) == (1, "")
    assert err.startswith("not alive: ")


@pytest.mark.parametrize("flags", [[], ["--http-host", "127.0.0.1"]], ids=["shortcut", "settings"])
@pytest.mark.parametrize("port", ["0", "x", "65536", "-1", ""])
def test_a_port_that_cannot_be_checked(flags: list[str], port: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CONSUMER_HTTP_PORT", port)
    code, out, err = end(*flags)
    assert (code, out) == (2, "")
    assert err.startswith("CONSUMER_HTTP_PORT (--http-port) is ")
    assert len(err.splitlines()) == 1


def test_it_imports_the_standard_library_only(serve: Serve) -> None:
    """A whole process: what it imported is on its stderr."""
    environment = {**os.environ, "CONSUMER_HTTP_PORT": str(serve().port)}
    since = time.monotonic()
    ended = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "consumer", "healthcheck"],
        capture_output=True,
        text=True,
        check=False,
        env=environment,
    )
    print(f"consumer healthcheck: {1000 * (time.monotonic() - since):.0f} ms")
    assert ended.returncode == 0, ended.stderr
    imported = {line.rpartition("|")[2].strip() for line in ended.stderr.splitlines() if "import time:" in line}
    assert {name for name in imported if name.startswith("consumer")} == {
        "consumer",
        "consumer.cli",
        "consumer.cli.healthcheck",
        "consumer.domain",
        "consumer.domain.windows",
        "consumer.domain.errors",
        "consumer.settings",
    }
    heavy = {"boto3", "click", "http", "msgspec", "rich", "structlog", "prometheus_client", "tenacity"}
    assert imported.isdisjoint(heavy)
