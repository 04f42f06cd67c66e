"""/metrics, /livez and /readyz on one port, for Prometheus and for whoever restarts containers."""

import socket
import threading
from collections.abc import Callable
from typing import Final

import structlog

from consumer.domain.errors import UsageFault
from consumer.settings import flag, variable
from consumer.telemetry.server import Answer, BoundedServer

METRICS_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"
TEXT_TYPE: Final = "text/plain; charset=utf-8"
STOP_POLL_SECONDS: Final = 0.1
"""How often the server looks whether it should stop: a drain waits that long for it at most."""

log = structlog.get_logger()


class HttpPortTaken(UsageFault):
    """Nobody can listen at the host and port of the settings."""

    def __init__(self, host: str, port: int, detail: str) -> None:
        super().__init__(
            f"{variable('http_host')} ({flag('http_host')}) is {host!r} and "
            f"{variable('http_port')} ({flag('http_port')}) is {port}: cannot listen there ({detail}); "
            "it must be an address of this machine and a port that is free (0 picks one)"
        )


class HealthServer:
    """Serves until it is stopped. `live` says why the process is not alive, `ready` why it is not ready.

    Slow or many clients cost `max_connections` threads and `request_timeout_seconds` a request, never the worker.
    """

    def __init__(
        self,
        host: str,
        port: int,
        meters_render: Callable[[], bytes],
        live: Callable[[], str | None],
        ready: Callable[[], list[str]],
        *,
        max_connections: int = 32,
        request_timeout_seconds: float = 5.0,
    ) -> None:
        self._host, self._port = host, port
        self._render, self._live, self._ready = meters_render, live, ready
        self._max_connections = max_connections
        self._request_timeout_seconds = request_timeout_seconds
        self._server: BoundedServer | None = None

    @property
    def port(self) -> int:
        """The port it listens at; before the start the one it was given."""
        return int(self._server.server_address[1]) if self._server else self._port

    def start(self) -> None:
        """Listens, and answers in threads of its own. Raises HttpPortTaken."""
        try:
            found = socket.getaddrinfo(self._host, self._port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
            family, _, _, _, address = min(found, key=lambda each: each[0] != socket.AF_INET)
            self._server = BoundedServer(
                family, address, self._answer, self._max_connections, self._request_timeout_seconds
            )
        except OSError as error:
            raise HttpPortTaken(self._host, self._port, error.strerror or str(error)) from error
        except UnicodeError as error:
            raise HttpPortTaken(self._host, self._port, "no host can have this name") from error
        threading.Thread(
            target=self._server.serve_forever, args=(STOP_POLL_SECONDS,), name="health", daemon=True
        ).start()

    def stop(self) -> None:
        """Closes the port. Answers under way may still end."""
        server, self._server = self._server, None
        if server:
            server.shutdown()
            server.server_close()

    def _answer(self, path: str) -> Answer | None:
        """Whatever breaks while answering is our defect: 500, and the log says what."""
        try:
            match path:
                case "/metrics":
                    return Answer(200, METRICS_TYPE, self._render())
                case "/livez":
                    why = self._live()
                    return _text(200, ["live"]) if why is None else _text(503, [why])
                case "/readyz":
                    reasons = self._ready()
                    return _text(503, reasons) if reasons else _text(200, ["ready"])
        except Exception:
            log.exception("health.broken", path=path)
            return _text(500, ["internal error"])
        return None


def _text(status: int, lines: list[str]) -> Answer:
    return Answer(status, TEXT_TYPE, "".join(f"{line}\n" for line in lines).encode(errors="replace"))
