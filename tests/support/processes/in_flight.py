"""Processes that are killed with a transaction in flight."""

import subprocess
from collections.abc import Callable
from random import Random

from tests.support.processes.proxy import Proxy
from tests.support.processes.traffic import Call, Fate


def end(process: subprocess.Popen[bytes]) -> None:
    """SIGKILL; its output is discarded."""
    process.kill()
    process.communicate()


def kill_in_flight(
    proxy: Proxy, is_wanted: Callable[[Call], bool], kill: Callable[[], object], seed: Random, most: int
) -> str:
    """Lets up to `most` transactions pass, holds the next, kills; returns what became of that one.

    It is applied before the death, applied or refused after it, or never arrives.
    """
    applied = seed.random() < 0.5
    held = proxy.hold(is_wanted, applied=applied, skip=seed.randrange(most))
    held.wait_caught()
    kill()
    arrives = applied or seed.random() < 0.5
    held.let_go(Fate.PASS if arrives else Fate.DROP_CALL)
    assert held.call is not None
    return "applied" if held.call.applied else "refused" if arrives else "never arrived"
