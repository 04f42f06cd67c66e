"""The floor: what `json.loads` alone takes for a page of the run, at the same time as the run."""

import json
import time
from collections.abc import Callable
from statistics import median

from tests.background import Background

_EVERY_SECONDS = 0.25
_LEAST_ROUNDS = 20


class Floor(Background):
    """Use it in a `with`: it parses an answer of GetRecords now and then, so that what slows the run slows it as well.

    `page` gives the answer, or None while there is none yet.
    """

    def __init__(self, page: Callable[[], bytes | None]) -> None:
        super().__init__()
        self._page = page
        self._micros: list[float] = []

    @property
    def micros(self) -> float:
        """Microseconds of processor time a record: the median of all rounds, of which a short run gets some more."""
        page = self._page()
        assert page is not None
        more = _LEAST_ROUNDS - len(self._micros)
        return median([*self._micros, *(parse_micros(page) for _ in range(more))])

    def run(self) -> None:
        while not self.stop.wait(_EVERY_SECONDS):
            if page := self._page():
                self._micros.append(parse_micros(page))


def parse_micros(page: bytes) -> float:
    """Microseconds of processor time a record, once."""
    began = time.thread_time()
    answer = json.loads(page)
    took = time.thread_time() - began
    return took / len(answer["Records"]) * 1e6
