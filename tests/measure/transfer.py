"""How long a stopped worker's shards stand still: from its SIGKILL or SIGTERM to their first commits elsewhere."""

import signal
import time
from collections.abc import Iterator

from tests.measure.figure import Figure, worst
from tests.measure.stage import DEFAULT_TTL_SECONDS, Stage, owner_of, shard_of
from tests.measure.writer import Writer
from tests.processes import WorkerProcess, until
from tests.streams_server import shard_id

_SHARDS = 9
_WORKERS = 3
_ROUNDS = 3
_LONGEST_SECONDS = 60.0


def failover(engine_url: str) -> Iterator[Figure]:
    """SIGKILL."""
    for ttl_seconds, limit in ((DEFAULT_TTL_SECONDS, 7.0), (2.0, 3.0)):
        took = _transfers(engine_url, signal.SIGKILL, ttl_seconds)
        yield worst(f"SIGKILL to first commits elsewhere, TTL {ttl_seconds:g} s", took, limit)


def handover(engine_url: str) -> Iterator[Figure]:
    """SIGTERM."""
    took = _transfers(engine_url, signal.SIGTERM, DEFAULT_TTL_SECONDS)
    yield worst("SIGTERM to first commits elsewhere", took, 1.0)


def _transfers(engine_url: str, number: signal.Signals, ttl_seconds: float) -> list[float]:
    """Seconds for each shard of each stopped worker, while games keep coming; another worker takes its place."""
    shards = [shard_id(each) for each in range(_SHARDS)]
    took: list[float] = []
    with Stage(engine_url, _SHARDS, ttl_seconds) as stage:
        workers = [stage.start() for _ in range(_WORKERS)]
        with Writer(stage, shards):
            for _ in range(_ROUNDS):
                stage.wait_until_shared(_WORKERS)
                victim = workers.pop(0)
                took += _transfer(stage, victim, number)
                victim.wait()
                workers.append(stage.start())
    return took


def _transfer(stage: Stage, victim: WorkerProcess, number: signal.Signals) -> list[float]:
    owner = owner_of(victim)
    shards = stage.shares()[owner]
    until(lambda: shards <= _first_commits(stage, 0, by=owner).keys(), "the victim commits", _LONGEST_SECONDS)
    since = len(stage.remote.transactions())
    at = time.time()
    victim.send(number)
    until(
        lambda: shards <= _first_commits(stage, since, but=owner).keys(),
        "all its shards are committed elsewhere",
        _LONGEST_SECONDS,
    )
    elsewhere = _first_commits(stage, since, but=owner)
    return [elsewhere[shard] - at for shard in shards]


def _first_commits(stage: Stage, since: int, *, by: str | None = None, but: str | None = None) -> dict[str, float]:
    """When each shard was first committed by this owner, or by any but one (unix seconds)."""
    firsts: dict[str, float] = {}
    for commit in stage.commits(since):
        if (by is None or commit.owner == by) and commit.owner != but:
            firsts.setdefault(shard_of(commit), commit.at)
    return firsts
