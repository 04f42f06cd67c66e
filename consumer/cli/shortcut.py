"""`consumer healthcheck` without flags, as a container asks it: past what the other commands need to be imported."""

import re
import sys
from collections.abc import Mapping
from typing import Final

HTTP_HOST: Final = "127.0.0.1"
HTTP_PORT: Final = "9464"
"""The defaults of the settings, whose library costs more than all the rest of the command."""


def plain_address(environment: Mapping[str, str]) -> tuple[str, int] | None:
    """Host and port, when both are plainly right. None: the settings shall look at them, and say what is wrong."""
    host = environment.get("CONSUMER_HTTP_HOST", HTTP_HOST)
    port = environment.get("CONSUMER_HTTP_PORT", HTTP_PORT)
    plain = re.fullmatch(r"[A-Za-z0-9.:_-]{1,255}", host) and re.fullmatch(r"0|[1-9][0-9]{0,4}", port)
    return (host, int(port)) if plain and int(port) <= 65_535 else None


def tell_health(host: str, port: int) -> int:
    """Asks, says it in one sentence, and returns the exit code: 0 alive, 1 not."""
    from consumer.operations.healthcheck import ask

    health = ask(host, port)
    print(health.sentence, file=sys.stdout if health.alive else sys.stderr)
    return 0 if health.alive else 1
