"""A worker killed twenty times under load, most times with a transaction in flight: the board stays exact."""

import random
import time
from collections import Counter
from enum import Enum

import pytest

from tests.engines import TableEngine
from tests.processes import Fate, Game, Hold, Proxy, WorkerProcess, is_commit

SEED = 20_260_202
RECORDS = 20_000
PLAYERS = 1_000
KILLS = 20
MOST_COMMITS = 8
"""A life commits fewer units than this before it is killed: about 200 are there for 21 lives."""


class Death(Enum):
    """What a SIGKILL meets."""

    NO_TRANSACTION = "no transaction in flight"
    NEVER_ARRIVES = "in flight, never arrives"
    BEFORE_RESTART = "in flight, arrives before the next start"
    AFTER_CLAIM = "in flight, arrives after the next start has claimed"
    APPLIED = "applied, the reply in flight"

    @property
    def in_flight(self) -> bool:
        return self is not Death.NO_TRANSACTION


@pytest.mark.proof
@pytest.mark.timeout(400)
def test_twenty_kills(fresh_engine: TableEngine) -> None:
    seed = random.Random(SEED)
    deaths = [*Death] * (KILLS // len(Death))
    seed.shuffle(deaths)
    began = time.monotonic()
    with Game(fresh_engine, SEED) as game, Proxy(fresh_engine.url) as proxy:
        game.play(RECORDS, PLAYERS, poison=0.01)
        stream = game.played()
        assert len(stream) == RECORDS
        last = int(stream[-1].sequence_number)
        written = time.monotonic()
        met: Counter[Death] = Counter()
        fenced = 0
        late: Hold | None = None
        for death in deaths:
            worker = game.worker(proxy)
            fenced += _arrive(late, worker)
            late = _die(death, worker, proxy, seed.randrange(MOST_COMMITS))
            checkpoint = game.checkpoint()
            assert checkpoint is not None
            assert checkpoint == "TRIM_HORIZON" or int(checkpoint) < last, "records remain"
            met[death] += 1
        fenced += _arrive(late, game.worker(proxy))
        game.wait_until_consumed(120)
        game.assert_exact()
        ended = time.monotonic()

    in_flight = sum(count for death, count in met.items() if death.in_flight)
    print(
        f"{fresh_engine.name}, seed {SEED}: {RECORDS:,} records of {PLAYERS:,} players, {len(game.poison)} poison; "
        f"{met.total()} SIGKILLs while records remained, {in_flight} of them with a transaction in flight "
        f"({', '.join(f'{count} {death.value}' for death, count in met.items())}); {fenced} late ones fenced off; "
        f"{game.tally.games:,} games exact; written in {written - began:.0f} s, consumed in {ended - written:.0f} s"
    )
    assert met.total() == KILLS
    assert in_flight >= KILLS / 2
    assert len(game.poison) > RECORDS / 200


def _arrive(late: Hold | None, worker: WorkerProcess) -> int:
    """A dead worker's transaction, if one is kept back, arrives after the next one's claim: how many it was."""
    if late is None:
        return 0
    worker.wait_for_event("lease.claimed")
    late.let_go()
    assert late.call is not None
    assert late.call.fenced_off
    return 1


def _die(death: Death, worker: WorkerProcess, proxy: Proxy, commits: int) -> Hold | None:
    """Kills the worker after so many commits of its life; the hold of a transaction that is to arrive late."""
    held = None
    if death.in_flight:
        held = proxy.hold(is_commit, applied=death is Death.APPLIED, skip=commits)
        held.wait_caught()
    elif commits:
        worker.wait_for_event("unit.committed", count=commits)
    else:
        worker.wait_for_event("lease.claimed")
    worker.kill()
    if held is None:
        return None
    if death is Death.AFTER_CLAIM:
        return held
    held.let_go(Fate.DROP_CALL if death is Death.NEVER_ARRIVES else Fate.PASS)
    return None
