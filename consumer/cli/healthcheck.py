"""Whether the worker in this container is alive, for an orchestrator that checks every few seconds, so cheaply."""

import re
import socket
import sys
import time
from typing import Any, Final, NamedTuple

from consumer.domain.errors import UsageFault
from consumer.settings import Settings, load

SETTINGS: Final = ("http_host", "http_port")

TIMEOUT_SECONDS: Final = 2.0
"""For the whole response."""
MOST_BYTES: Final = 2000
"""How much of a response is read."""
LOOPBACKS: Final = {"0.0.0.0": "127.0.0.1", "::": "::1"}
"""Where a worker that listens everywhere can be reached."""


class Health(NamedTuple):
    """The verdict, and a sentence on it."""

    alive: bool
    sentence: str


def healthcheck() -> int:
    """The command with its settings from the environment, and without the command line's library. Raises UsageFault."""
    return print_health(load({}, needs=(), uses=SETTINGS))


def print_health(settings: Settings) -> int:
    """Checks, prints the sentence, and returns the exit code: 0 alive, 1 not."""
    health = check_health(settings.http_host, settings.http_port)
    print(health.sentence, file=sys.stdout if health.alive else sys.stderr)
    return 0 if health.alive else 1


def check_health(host: str, port: int) -> Health:
    """GETs /livez where a worker with these settings listens. Raises UsageFault for port 0, which says not where."""
    if port == 0:
        raise UsageFault(
            "CONSUMER_HTTP_PORT (--http-port) is 0: the worker listens on a free port, which only its log shows "
            "(http.listening); pass that one with --http-port, or give the worker a fixed port"
        )
    host = LOOPBACKS.get(host, host)
    url = f"http://{f'[{host}]' if ':' in host else host}:{port}/livez"
    try:
        response = _get(host, port)
    except TimeoutError:
        return Health(False, f"not alive: {url} does not answer within {TIMEOUT_SECONDS:g} s")
    except (OSError, ValueError) as error:  # ValueError: no host can have this name
        why = (error.strerror if isinstance(error, OSError) else None) or repr(error)
        return Health(False, f"not alive: {url} cannot be checked ({why}); is this where the worker listens?")
    head, _, body = response.partition("\r\n\r\n")
    status = re.match(r"HTTP/1\.[01] ([0-9]{3})\b", head)
    if status is None:
        return Health(False, f"not alive: {url} speaks no HTTP; is this where the worker listens?")
    if status[1] != "200":
        plain = "".join(char for char in body.partition("\n")[0] if char.isprintable())
        return Health(False, f"not alive: {url} answers {status[1]} ({plain})")
    return Health(True, f"alive: {url} answers 200")


def _get(host: str, port: int) -> str:
    """The response, which an HTTP/1.0 server ends by closing. `http.client` would double the command's time."""
    deadline = time.monotonic() + TIMEOUT_SECONDS
    response = b""
    address: Any = host.encode() if host.isascii() else host  # bytes: else Python imports what other alphabets need
    with socket.create_connection((address, port), TIMEOUT_SECONDS) as connection:
        connection.sendall(f"GET /livez HTTP/1.0\r\nHost: {host}\r\n\r\n".encode())
        while len(response) < MOST_BYTES and (more := connection.recv(MOST_BYTES)):
            response += more
            connection.settimeout(max(0.001, deadline - time.monotonic()))
    return response.decode(errors="replace")
