"""Items are inserted, edited, broken, mended and removed while the worker is killed twenty times.

The board is the fold of the items then, and `consumer verify` says so.
"""

import random
import threading
import time
from contextlib import suppress

import pytest

from tests.integration.test_verify import verify
from tests.support.background import Background
from tests.support.engines import TableEngine
from tests.support.processes import Call, Fate, Hold, Proxy, WorkerProcess, is_commit, is_row_write, until
from tests.support.processes.items import Items

SEED = 20_270_131
CHANGES = 10_000
ITEMS = 500
PLAYERS = 60
KILLS = 20
AT_ONCE = 25
MOST_CALLS = 6
"""Each start makes fewer calls that write than this before it is killed, mostly with one in flight."""
IN_FLIGHT_SECONDS = 20.0
"""After so long there is nothing left to write: it is killed all the same."""


class Changes(Background):
    """Changes items while a worker starts and works, a share of all changes each time."""

    def __init__(self, game: Items) -> None:
        super().__init__()
        self._game = game
        self._shares = threading.Semaphore(0)

    def more(self) -> None:
        """The next share."""
        self._shares.release()

    def run(self) -> None:
        for _ in range(KILLS):
            while not self._shares.acquire(timeout=0.5):
                if self.stop.is_set():
                    return
            for _ in range(CHANGES // KILLS // AT_ONCE):
                self._game.change(AT_ONCE, ITEMS, PLAYERS)


def writes(call: Call) -> bool:
    """Whether it is one of the worker's writes: a transaction, single writes or a moved checkpoint."""
    return is_commit(call) or is_row_write(call)


@pytest.mark.proof
@pytest.mark.timeout(400)
@pytest.mark.parametrize("keyed", [True, False], ids=["keyed", "by match"])
def test_twenty_kills_while_items_change(fresh_engine: TableEngine, *, keyed: bool) -> None:
    seed = random.Random(SEED)
    began = time.monotonic()
    in_flight = late = 0
    with Items(fresh_engine, SEED, keyed=keyed) as game, Proxy(fresh_engine.url) as proxy, Changes(game) as changes:
        held: Hold | None = None
        for _ in range(KILLS):
            changes.more()
            worker = game.worker(proxy)
            late += deliver(held, worker)
            held = kill(worker, proxy, seed)
            in_flight += held is not None
            if held is not None and seed.random() < 0.6:
                held.let_go(seed.choice((Fate.PASS, Fate.DROP_CALL)))
                held = None
        late += deliver(held, game.worker(proxy))
        until(lambda: not changes.running, "all changes are made")
        game.wait_until_consumed(120)
        game.assert_exact()
        ended = time.monotonic()
        code, found = verify(game)
        assert (code, found["verdict"], found["notProven"]) == (0, "equal", []), found
    print(
        f"{fresh_engine.name}, {'keyed' if keyed else 'by match'}, seed {SEED}: {CHANGES:,} changes of {ITEMS} items "
        f"({', '.join(f'{number:,} {kind}' for kind, number in sorted(game.happened.items()))}); {KILLS} SIGKILLs, "
        f"{in_flight} with a write in flight, {late} of which arrived after the next claim; board and index rows "
        f"exact after {ended - began:.0f} s, verified in {time.monotonic() - ended:.0f} s: {found['players']} players"
    )
    assert in_flight >= KILLS / 2


def kill(worker: WorkerProcess, proxy: Proxy, seed: random.Random) -> Hold | None:
    """Kills the worker at one of its writes, which is then in flight, or after its claim."""
    if seed.random() < 0.2:
        worker.wait_for_event("lease.claimed", 60)
        worker.kill()
        return None
    held = proxy.hold(writes, applied=seed.random() < 0.3, skip=seed.randrange(MOST_CALLS))
    with suppress(AssertionError):
        held.wait_caught(IN_FLIGHT_SECONDS)
    caught = held.cancel()
    worker.kill()
    return held if caught else None


def deliver(held: Hold | None, worker: WorkerProcess) -> int:
    """Delivers a killed worker's write, if one is held back, after the next worker's claim; how many."""
    if held is None:
        return 0
    worker.wait_for_event("lease.claimed", 60)
    held.let_go()
    return 1
