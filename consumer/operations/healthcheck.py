"""Whether the worker in this container is alive, asked as an orchestrator asks: every few seconds, so cheaply."""

from http.client import HTTPConnection, HTTPException
from typing import Final, NamedTuple

from consumer.domain.errors import UsageFault

TIMEOUT_SECONDS: Final = 2.0
"""For the connection, and for each part of the answer."""
_TOLD_BYTES: Final = 500
_LOOPBACKS: Final = {"0.0.0.0": "127.0.0.1", "::": "::1"}


class Health(NamedTuple):
    """The verdict, and a sentence on it."""

    alive: bool
    sentence: str


def ask(host: str, port: int) -> Health:
    """Asks /livez where a worker with these settings listens. Raises UsageFault for port 0, which nobody can ask."""
    if port == 0:
        raise UsageFault(
            "CONSUMER_HTTP_PORT (--http-port) is 0: the worker picked a free port, which only its log tells "
            "(http.listening); give that one with --http-port, or give the worker a fixed port"
        )
    host = _LOOPBACKS.get(host, host)
    where = f"http://{f'[{host}]' if ':' in host else host}:{port}/livez"
    connection = HTTPConnection(host, port, timeout=TIMEOUT_SECONDS)
    try:
        connection.request("GET", "/livez")
        answer = connection.getresponse()
        told = answer.read(_TOLD_BYTES).decode(errors="replace").partition("\n")[0]
    except TimeoutError:
        return Health(False, f"not alive: {where} does not answer within {TIMEOUT_SECONDS:g} s")
    except (OSError, HTTPException, ValueError) as error:  # ValueError: no host can have this name
        why = (error.strerror if isinstance(error, OSError) else None) or repr(error)
        return Health(False, f"not alive: {where} cannot be asked ({why}); is this where the worker listens?")
    finally:
        connection.close()
    if answer.status != 200:
        plain = "".join(each for each in told if each.isprintable())
        return Health(False, f"not alive: {where} answers {answer.status} ({plain})")
    return Health(True, f"alive: {where} answers 200")
