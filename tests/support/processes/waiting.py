"""Bounded waits: until something is true, and for the response to a plain GET."""

import threading
import time
from collections.abc import Callable
from http.client import HTTPConnection
from typing import TypeVar

T = TypeVar("T")

_POLL_SECONDS = 0.02


def until(check: Callable[[], T], what: str, seconds: float = 30.0) -> T:
    """Calls `check` until its result is true, and returns that. AssertionError with `what` when it never is."""
    deadline = time.monotonic() + seconds
    pause = threading.Event()
    while True:
        result = check()
        if result:
            return result
        if time.monotonic() > deadline:
            raise AssertionError(f"after {seconds:g} s not yet: {what}; last result: {result!r}")
        pause.wait(_POLL_SECONDS)


def http_get(address: str, path: str, seconds: float = 5) -> tuple[int, str]:
    """Status and text that a server at `address` (host:port) sends, as a scraper or a health check reads them."""
    connection = HTTPConnection(address, timeout=seconds)
    try:
        connection.request("GET", path)
        response = connection.getresponse()
        return response.status, response.read().decode()
    finally:
        connection.close()
