"""How soon a worker works: from the start of its process to its first commit."""

import time
from collections.abc import Iterator
from functools import partial

from tests.measure.figure import Figure, worst
from tests.measure.stage import Stage
from tests.measure.writer import write
from tests.processes import until
from tests.streams_server import shard_id

_ROUNDS = 4
_SHARDS = 4


def start(engine_url: str) -> Iterator[Figure]:
    """The first worker ever also pins the stream; later ones find everything free, as after an orderly stop."""
    took: list[float] = []
    with Stage(engine_url, _SHARDS) as stage:
        for _ in range(_ROUNDS):
            write(stage, [shard_id(number) for number in range(_SHARDS)])
            find = partial(stage.commits, len(stage.remote.transactions()))
            at = time.time()
            worker = stage.start()
            took.append(until(find, "a commit")[0].at - at)
            worker.terminate()
    yield Figure("process start to first commit, a new stream", took[0], "s", 2.0)
    yield worst("process start to first commit, a known stream", took[1:], 2.0)
