"""A worker is killed twenty times under load, mostly with a transaction in flight: the board stays exact.

The source is keyed by match. One keyed by player is in test_late_row_writes.py.
"""

import random
import time
from collections import Counter
from enum import Enum

import pytest

from tests.support.engines import TableEngine
from tests.support.processes import Fate, Game, Hold, Proxy, WorkerProcess, is_commit

SEED = 20_260_202
RECORDS = 20_000
PLAYERS = 1_000
KILLS = 20
MOST_COMMITS = 8
"""Each start commits fewer units than this before it is killed: 21 starts share about 200 units."""


class Kill(Enum):
    """What is in flight when SIGKILL comes, and what becomes of it."""

    NO_TRANSACTION = "no transaction in flight"
    NEVER_ARRIVES = "in flight, never arrives"
    BEFORE_RESTART = "in flight, arrives before the next start"
    AFTER_CLAIM = "in flight, arrives after the next start has claimed"
    APPLIED = "applied, the reply in flight"

    @property
    def in_flight(self) -> bool:
        return self is not Kill.NO_TRANSACTION


@pytest.mark.proof
@pytest.mark.timeout(400)
def test_twenty_kills(fresh_engine: TableEngine) -> None:
    seed = random.Random(SEED)
    kills = [*Kill] * (KILLS // len(Kill))
    seed.shuffle(kills)
    began = time.monotonic()
    with Game(fresh_engine, SEED, keyed=False) as game, Proxy(fresh_engine.url) as proxy:
        game.play(RECORDS, PLAYERS, poison=0.01)
        stream = game.played()
        assert len(stream) == RECORDS
        last = int(stream[-1].sequence_number)
        written = time.monotonic()
        met: Counter[Kill] = Counter()
        fenced = 0
        late: Hold | None = None
        for kill in kills:
            worker = game.worker(proxy)
            fenced += _deliver(late, worker)
            late = _kill(kill, worker, proxy, seed.randrange(MOST_COMMITS))
            checkpoint = game.checkpoint()
            assert checkpoint is not None
            assert checkpoint == "TRIM_HORIZON" or int(checkpoint) < last, "records remain"
            met[kill] += 1
        fenced += _deliver(late, game.worker(proxy))
        game.wait_until_consumed(120)
        game.assert_exact()
        ended = time.monotonic()

    in_flight = sum(count for kill, count in met.items() if kill.in_flight)
    print(
        f"{fresh_engine.name}, seed {SEED}: {RECORDS:,} records of {PLAYERS:,} players, {len(game.poison)} poison; "
        f"{met.total()} SIGKILLs while records remained, {in_flight} of them with a transaction in flight "
        f"({', '.join(f'{count} {kill.value}' for kill, count in met.items())}); {fenced} late ones fenced; "
        f"{game.expected.games:,} games exact; written in {written - began:.0f} s, consumed in {ended - written:.0f} s"
    )
    assert met.total() == KILLS
    assert in_flight >= KILLS / 2
    assert len(game.poison) > RECORDS / 200


def _deliver(late: Hold | None, worker: WorkerProcess) -> int:
    """Delivers a killed worker's transaction, if one is held back, after the next worker's claim; how many."""
    if late is None:
        return 0
    worker.wait_for_event("lease.claimed")
    late.let_go()
    assert late.call is not None
    assert late.call.fenced_off
    return 1


def _kill(kill: Kill, worker: WorkerProcess, proxy: Proxy, commits: int) -> Hold | None:
    """Kills the worker after so many commits of its own; the hold of a transaction that arrives late."""
    held = None
    if kill.in_flight:
        held = proxy.hold(is_commit, applied=kill is Kill.APPLIED, skip=commits)
        held.wait_caught()
    elif commits:
        worker.wait_for_event("unit.committed", count=commits)
    else:
        worker.wait_for_event("lease.claimed")
    worker.kill()
    if held is None:
        return None
    if kill is Kill.AFTER_CLAIM:
        return held
    held.let_go(Fate.DROP_CALL if kill is Kill.NEVER_ARRIVES else Fate.PASS)
    return None
