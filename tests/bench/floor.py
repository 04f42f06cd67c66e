"""The floor: what `json.loads` alone takes for the pages of a run."""

import json
import time
from collections.abc import Sequence
from statistics import median

_ROUNDS = 15


def floor_micros(pages: Sequence[bytes]) -> float:
    """Microseconds of processor time a record: the median of some rounds over answers of GetRecords."""
    records = sum(len(json.loads(page)["Records"]) for page in pages)
    took = []
    for _ in range(_ROUNDS):
        began = time.thread_time()
        for page in pages:
            json.loads(page)
        took.append(time.thread_time() - began)
    return median(took) / records * 1e6
