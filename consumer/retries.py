"""How failed calls are retried: `JitteredBackoff` computes the waits, `persist` is the one loop that waits them out."""

import random
from collections.abc import Callable
from threading import Event
from typing import Final, TypeVar

import tenacity

from consumer.domain.errors import CallFailed

T = TypeVar("T")

MOST_DOUBLINGS: Final = 64
"""By then every wait has reached its longest; more would leave the range of a float."""


class JitteredBackoff:
    """Exponential waits with jitter, from a random source that is handed in: a simulation's seed repeats them.

    It only computes: a machine's retry is a due time. See domain.ports.Backoff.
    """

    def __init__(self, source: random.Random, first_seconds: float = 0.05, most_seconds: float = 5.0) -> None:
        self._source = source
        self._first_seconds = first_seconds
        self._most_seconds = most_seconds

    def delay(self, attempt: int) -> float:
        """Seconds to wait after failed attempt number `attempt`, from 1: between half and all of the doubling wait."""
        longest = min(self._first_seconds * 2.0 ** min(attempt - 1, MOST_DOUBLINGS), self._most_seconds)
        return longest * self._source.uniform(0.5, 1.0)


def persist(
    ask: Callable[[], T],
    *,
    seconds: float,
    stop: Event,
    retry_on: Callable[[BaseException], bool] = lambda error: isinstance(error, CallFailed),
) -> T:
    """Calls `ask` until it returns, for at most `seconds`; then raises its last error. Waits on `stop`."""
    backoff = JitteredBackoff(random.Random(), first_seconds=0.1, most_seconds=2.0)
    retrying = tenacity.Retrying(
        retry=tenacity.retry_if_exception(retry_on),
        wait=lambda state: backoff.delay(state.attempt_number),
        stop=tenacity.stop_after_delay(seconds) | tenacity.stop_when_event_set(stop),
        sleep=tenacity.sleep_using_event(stop),
        reraise=True,
    )
    return retrying(ask)
