"""Bounded waits for what no event tells."""

import threading
import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

_POLL_SECONDS = 0.02


def until(look: Callable[[], T], what: str, seconds: float = 30.0) -> T:
    """Looks until it sees something true, and returns that. AssertionError with `what` when it does not come."""
    deadline = time.monotonic() + seconds
    pause = threading.Event()
    while True:
        seen = look()
        if seen:
            return seen
        if time.monotonic() > deadline:
            raise AssertionError(f"after {seconds:g} s not yet: {what}; last seen: {seen!r}")
        pause.wait(_POLL_SECONDS)
