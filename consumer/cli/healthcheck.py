"""Whether the worker in this container is alive, for an orchestrator that checks every few seconds, so cheaply."""

import re
import sys
from collections.abc import Mapping
from http.client import HTTPConnection, HTTPException
from typing import Final, NamedTuple

from consumer.domain.errors import UsageFault

TIMEOUT_SECONDS: Final = 2.0
"""For the connection, and for each part of the response."""
SHOWN_BYTES: Final = 500
"""How much of a response is shown."""
HTTP_HOST: Final = "127.0.0.1"
HTTP_PORT: Final = "9464"
"""The defaults of the settings, whose library costs more than all the rest of the command."""
LOOPBACKS: Final = {"0.0.0.0": "127.0.0.1", "::": "::1"}
"""Where a worker that listens everywhere can be reached."""


class Health(NamedTuple):
    """The verdict, and a sentence on it."""

    alive: bool
    sentence: str


def print_health(host: str, port: int) -> int:
    """Checks, prints the sentence, and returns the exit code: 0 alive, 1 not."""
    health = check_health(host, port)
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
    connection = HTTPConnection(host, port, timeout=TIMEOUT_SECONDS)
    try:
        connection.request("GET", "/livez")
        response = connection.getresponse()
        line = response.read(SHOWN_BYTES).decode(errors="replace").partition("\n")[0]
    except TimeoutError:
        return Health(False, f"not alive: {url} does not answer within {TIMEOUT_SECONDS:g} s")
    except (OSError, HTTPException, ValueError) as error:  # ValueError: no host can have this name
        why = (error.strerror if isinstance(error, OSError) else None) or repr(error)
        return Health(False, f"not alive: {url} cannot be checked ({why}); is this where the worker listens?")
    finally:
        connection.close()
    if response.status != 200:
        plain = "".join(char for char in line if char.isprintable())
        return Health(False, f"not alive: {url} answers {response.status} ({plain})")
    return Health(True, f"alive: {url} answers 200")


def plain_address(environment: Mapping[str, str]) -> tuple[str, int] | None:
    """Host and port, when both are plainly right. None: the settings must check them, and report what is wrong."""
    host = environment.get("CONSUMER_HTTP_HOST", HTTP_HOST)
    port = environment.get("CONSUMER_HTTP_PORT", HTTP_PORT)
    plain = re.fullmatch(r"[A-Za-z0-9.:_-]{1,255}", host) and re.fullmatch(r"0|[1-9][0-9]{0,4}", port)
    return (host, int(port)) if plain and int(port) <= 65_535 else None
