"""The floor: what `json.loads` alone takes for a page of the run, at the same time as the run."""

import json
import threading
import time
from collections.abc import Callable
from statistics import median
from typing import Self

_EVERY_SECONDS = 0.25
_LEAST_ROUNDS = 20


class Floor:
    """Use it in a `with`: it parses an answer of GetRecords now and then, so that what slows the run slows it as well.

    `page` gives the answer, or None while there is none yet.
    """

    def __init__(self, page: Callable[[], bytes | None]) -> None:
        self._page = page
        self._stop = threading.Event()
        self._micros: list[float] = []
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    @property
    def micros(self) -> float:
        """Microseconds of processor time a record: the median of all rounds, of which a short run gets some more."""
        page = self._page()
        assert page is not None
        more = _LEAST_ROUNDS - len(self._micros)
        return median([*self._micros, *(parse_micros(page) for _ in range(more))])

    def _run(self) -> None:
        while not self._stop.wait(_EVERY_SECONDS):
            if page := self._page():
                self._micros.append(parse_micros(page))


def parse_micros(page: bytes) -> float:
    """Microseconds of processor time a record, once."""
    began = time.thread_time()
    answer = json.loads(page)
    took = time.thread_time() - began
    return took / len(answer["Records"]) * 1e6
