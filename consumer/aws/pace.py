"""Pace: calls that AWS wants slow."""

import time
from collections.abc import Callable
from threading import Event, Lock


class Pace:
    """At most `per_second` calls a second, `burst` of them at once. The others wait, in the order in which they came.

    For all threads of the process together. Once `stop` is set nobody waits.
    """

    def __init__(
        self,
        per_second: float,
        burst: int = 1,
        stop: Event | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._interval_seconds = 1 / per_second
        self._ahead_seconds = (burst - 1) * self._interval_seconds
        self._stop = stop or Event()
        self._clock = clock
        self._lock = Lock()
        self._turn_at = float("-inf")

    def wait(self) -> None:
        """Returns when the call may be made."""
        with self._lock:
            now = self._clock()
            self._turn_at = max(self._turn_at + self._interval_seconds, now - self._ahead_seconds)
            pause_seconds = self._turn_at - now
        if pause_seconds > 0:
            self._stop.wait(pause_seconds)
