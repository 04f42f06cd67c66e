"""`consumer verify` of a whole board: how fast it reads, and how much memory that takes."""

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Final

from consumer.demo.child_process import spawn
from tests.performance.bench.runs import ENGINES, fresh_engine, missing, title
from tests.performance.figures import Figure
from tests.performance.usage import Sampler
from tests.support.processes import Game, until

ITEMS: Final = {"ministack": 100_000, "dynamodb-local": 1_000_000}
"""By engine. The embedded one sorts the whole table for each page of a scan."""
ITEMS_PER_PLAYER: Final = 10
LIMIT_MIB = 200.0
_PART = 10_000
_WAITING_SECONDS = 60.0
"""What it waits for at least: until the stream has been seen empty a minute after the games were read."""
_MOST_SECONDS = 7_200.0


def verify(_engine_url: str, most: int = max(ITEMS.values())) -> Iterator[Figure]:
    """On a fresh engine each, when a worker has counted all: the whole table once, the whole board twice."""
    for engine_name in ENGINES:
        if missing(engine_name) is not None:
            continue
        items = min(most, ITEMS[engine_name])
        players = max(1, items // ITEMS_PER_PLAYER)
        with ExitStack() as stack:
            game = stack.enter_context(Game(stack.enter_context(fresh_engine(engine_name))))
            worker = game.worker(log_level="INFO")
            until(lambda game=game: game.lease() is not None, "the stream is started")  # type: ignore[misc]
            for _ in range(0, items, _PART):
                game.play(min(_PART, items), players)
            game.wait_until_consumed(_MOST_SECONDS)
            worker.terminate()
            began = time.monotonic()
            command = (sys.executable, "-m", "consumer", "verify", "--timeout", f"{_MOST_SECONDS:.0f}")
            with spawn(command, env=game.environment(), stdout=subprocess.PIPE) as process, Sampler(process.pid) as use:
                said = process.communicate()[0].decode()
            took = time.monotonic() - began
            assert process.returncode == 0, said
        of = f"{items:,} items of {players:,} players, {title(engine_name)}"
        yield Figure(f"memory, {of}", use.peak_mib, "MiB", LIMIT_MIB)
        note = f"{items / max(1.0, took - _WAITING_SECONDS):,.0f} items/s besides a minute of waiting"
        yield Figure(f"time, {of}", took, "s", note=note)
