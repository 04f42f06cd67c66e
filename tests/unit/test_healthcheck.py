import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pytest
from structlog.testing import capture_logs

from consumer.cli import main
from consumer.cli.shortcut import HTTP_HOST, HTTP_PORT, plain_address
from consumer.operations import healthcheck
from consumer.operations.healthcheck import ask
from consumer.settings import Settings
from consumer.telemetry.health import HealthServer

Serve = Callable[..., HealthServer]


@pytest.fixture
def serve() -> Iterator[Serve]:
    started: list[HealthServer] = []

    def serve(host: str = "127.0.0.1", why: str | None = None) -> HealthServer:
        server = HealthServer(host, 0, lambda: b"", lambda: why, list)
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


def end(*arguments: str) -> Any:
    with pytest.raises(SystemExit) as ended:
        main(["healthcheck", *arguments])
    return ended.value.code


@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0", "localhost"])
def test_alive(serve: Serve, host: str) -> None:
    port = serve(host).port
    health = ask(host, port)
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
    """Where a machine has none the question is the same, and nobody answers it."""
    there = has_ipv6()
    port = serve(host).port if there else 9464
    alive, sentence = ask(host, port)
    assert f"http://[::1]:{port}/livez" in sentence
    assert alive is there


def test_not_alive(serve: Serve) -> None:
    port = serve(why="the loop has stood still for 20 s").port
    assert ask("127.0.0.1", port) == (
        False,
        f"not alive: http://127.0.0.1:{port}/livez answers 503 (the loop has stood still for 20 s)",
    )


def test_nobody_there(serve: Serve) -> None:
    server = serve()
    port = server.port
    server.stop()
    alive, sentence = ask("127.0.0.1", port)
    assert not alive
    assert "cannot be asked (Connection refused)" in sentence


@pytest.mark.parametrize("host", ["nobody.invalid", ".a.b.", "a" * 200])
def test_no_such_host(host: str) -> None:
    alive, sentence = ask(host, 9464)
    assert not alive
    assert "cannot be asked" in sentence


@pytest.mark.parametrize(
    ("answer", "sentence"),
    [
        (b"", "does not answer within"),
        (b"SSH-2.0-OpenSSH\r\n", "cannot be asked (BadStatusLine"),
        (b"HTTP/1.1 404 Not Found\r\nContent-Length: 9\r\n\r\n\x1b[2Jgone\n", "answers 404 ([2Jgone)"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n", "does not answer within"),
    ],
)
def test_somebody_else_there(answer: bytes, sentence: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(healthcheck, "TIMEOUT_SECONDS", 0.2)
    done = threading.Event()

    def speak(listening: socket.socket) -> None:
        connection, _ = listening.accept()
        with connection:
            connection.recv(1000)
            connection.sendall(answer)
            done.wait(10)

    with socket.create_server(("127.0.0.1", 0)) as listening:
        speaker = threading.Thread(target=speak, args=(listening,))
        speaker.start()
        try:
            alive, told = ask("127.0.0.1", listening.getsockname()[1])
        finally:
            done.set()
            speaker.join()
    assert not alive
    assert sentence in told
    assert told.isprintable()


@pytest.mark.parametrize("flags", [[], ["--http-host", "127.0.0.1"]], ids=["shortcut", "settings"])
def test_the_command(
    serve: Serve, flags: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    server = serve()
    monkeypatch.setenv("CONSUMER_HTTP_PORT", str(server.port))
    assert end(*flags) == 0
    told = capsys.readouterr()
    assert told == (f"alive: http://127.0.0.1:{server.port}/livez answers 200\n", "")
    server.stop()
    assert end(*flags) == 1
    told = capsys.readouterr()
    assert told.out == ""
    assert told.err.startswith("not alive: ")


@pytest.mark.parametrize("flags", [[], ["--http-host", "127.0.0.1"]], ids=["shortcut", "settings"])
@pytest.mark.parametrize("port", ["0", "x", "65536", "-1", ""])
def test_a_port_that_cannot_be_asked(
    flags: list[str], port: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("CONSUMER_HTTP_PORT", port)
    assert end(*flags) == 2
    told = capsys.readouterr()
    assert told.out == ""
    assert told.err.startswith("CONSUMER_HTTP_PORT (--http-port) is ")
    assert len(told.err.splitlines()) == 1


@pytest.mark.parametrize(
    ("environment", "address"),
    [
        ({}, ("127.0.0.1", 9464)),
        ({"CONSUMER_HTTP_HOST": "::", "CONSUMER_HTTP_PORT": "65535"}, ("::", 65_535)),
        ({"CONSUMER_HTTP_PORT": "0"}, ("127.0.0.1", 0)),
        *(({"CONSUMER_HTTP_PORT": port}, None) for port in ("", "x", "65536", "99999", "007", "+1", " 1", "1\n", "٣")),
        *(({"CONSUMER_HTTP_HOST": host}, None) for host in ("", "a b", "a\n", "é", "a" * 256, "http://a")),
    ],
)
def test_the_shortcut_takes_only_what_is_plainly_right(
    environment: Mapping[str, str], address: tuple[str, int] | None
) -> None:
    """All else is the settings' to judge."""
    assert plain_address(environment) == address


def test_the_shortcut_has_the_settings_defaults() -> None:
    fields = Settings.model_fields
    assert fields["http_host"].default == HTTP_HOST
    assert str(fields["http_port"].default) == HTTP_PORT


def test_it_imports_nothing_that_is_not_pythons_own(serve: Serve) -> None:
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
        "consumer.cli.shortcut",
        "consumer.domain",
        "consumer.domain.errors",
        "consumer.operations",
        "consumer.operations.healthcheck",
    }
    heavy = {"boto3", "pydantic", "pydantic_settings", "typer", "rich", "structlog", "prometheus_client", "tenacity"}
    assert imported.isdisjoint(heavy)
