"""The only retries: tenacity decides whether and when, drawing its jitter from a random source that is handed in."""

import random
from collections.abc import Callable
from threading import Event
from typing import TypeVar

import tenacity

from consumer.domain.errors import Trouble

T = TypeVar("T")


class _JitteredExponential(tenacity.wait.wait_base):
    """Between half and all of an exponential wait. tenacity's own jittered waits draw from the global `random`."""

    def __init__(self, first_seconds: float, most_seconds: float, source: random.Random) -> None:
        self._exponential = tenacity.wait_exponential(multiplier=first_seconds, max=most_seconds)
        self._source = source

    def __call__(self, retry_state: tenacity.RetryCallState) -> float:
        return self._exponential(retry_state) * self._source.uniform(0.5, 1.0)


class JitteredBackoff:
    """A machine's back-off: it only says how long; the retry itself is a due time. See domain.ports.Backoff."""

    def __init__(self, source: random.Random, first_seconds: float = 0.05, most_seconds: float = 5.0) -> None:
        self._wait = _JitteredExponential(first_seconds, most_seconds, source)
        self._state = tenacity.RetryCallState(tenacity.Retrying(), None, (), {})

    def delay(self, attempt: int) -> float:
        """Seconds to wait after failure number `attempt`."""
        self._state.attempt_number = attempt
        return self._wait(self._state)


def persist(
    ask: Callable[[], T],
    *,
    seconds: float,
    stop: Event,
    retry_on: Callable[[BaseException], bool] = lambda error: isinstance(error, Trouble),
) -> T:
    """Calls `ask` until it answers, for at most `seconds`; the last error leaves. Waits on `stop`, never sleeps."""
    retrying = tenacity.Retrying(
        retry=tenacity.retry_if_exception(retry_on),
        wait=_JitteredExponential(0.1, 2.0, random.Random()),
        stop=tenacity.stop_after_delay(seconds) | tenacity.stop_when_event_set(stop),
        sleep=tenacity.sleep_using_event(stop),
        reraise=True,
    )
    return retrying(ask)
