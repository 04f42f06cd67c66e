"""How soon shards are committed: after a worker has stopped, after a split, after a join, after a start."""

import signal
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from functools import partial

from consumer.domain.leases import SHARD_END
from tests.performance.figures import Figure, worst
from tests.performance.measure.cluster import (
    DEFAULT_TTL_SECONDS,
    MeasuredCluster,
    Writer,
    number_of,
    owner_of,
    shard_of,
    write,
)
from tests.streams_server import Transaction, shard_id
from tests.streams_server.operations import Delivery
from tests.support.processes import WorkerProcess, until

_SHARDS = 9
_WORKERS = 3
_STOPS = 3
_MOST_SECONDS = 60.0
_SPLITS = 12
_WRITE_SECONDS = 0.05
_AFTER_SECONDS = 3.0
_STARTS = 4
_STARTED_SHARDS = 4


def failover(engine_url: str) -> Iterator[Figure]:
    """From SIGKILL of a worker until other workers commit its shards."""
    for ttl_seconds, limit in ((DEFAULT_TTL_SECONDS, 7.0), (2.0, 3.0)):
        took = _transfers(engine_url, signal.SIGKILL, ttl_seconds)
        yield worst(f"SIGKILL to first commits by others, TTL {ttl_seconds:g} s", took, limit)


def handover(engine_url: str) -> Iterator[Figure]:
    """From SIGTERM of a worker until other workers commit its shards."""
    took = _transfers(engine_url, signal.SIGTERM, DEFAULT_TTL_SECONDS)
    yield worst("SIGTERM to first commits by others", took, 1.0)


def _transfers(engine_url: str, number: signal.Signals, ttl_seconds: float) -> list[float]:
    """Seconds for each shard of each stopped worker, while games are written; a new worker replaces it."""
    shards = [shard_id(number) for number in range(_SHARDS)]
    took: list[float] = []
    with MeasuredCluster(engine_url, _SHARDS, ttl_seconds) as cluster:
        workers = [cluster.start() for _ in range(_WORKERS)]
        with Writer(cluster, shards):
            for _ in range(_STOPS):
                cluster.wait_until_shared(_WORKERS)
                stopped = workers.pop(0)
                took += _transfer(cluster, stopped, number)
                stopped.wait()
                workers.append(cluster.start())
    return took


def _transfer(cluster: MeasuredCluster, stopped: WorkerProcess, number: signal.Signals) -> list[float]:
    owner = owner_of(stopped)
    shards = cluster.shares()[owner]
    until(lambda: shards <= _first_commits(cluster, 0, by=owner).keys(), "the worker commits", _MOST_SECONDS)
    since = len(cluster.remote.transactions())
    at = time.time()
    stopped.send(number)
    until(
        lambda: shards <= _first_commits(cluster, since, without=owner).keys(),
        "other workers commit all its shards",
        _MOST_SECONDS,
    )
    firsts = _first_commits(cluster, since, without=owner)
    return [firsts[shard] - at for shard in shards]


def _first_commits(
    cluster: MeasuredCluster, since: int, *, by: str | None = None, without: str | None = None
) -> dict[str, float]:
    """When each shard was first committed by this owner, or by any other than one (unix seconds)."""
    firsts: dict[str, float] = {}
    for commit in cluster.commits(since):
        if (by is None or commit.owner == by) and commit.owner != without:
            firsts.setdefault(shard_of(commit), commit.at)
    return firsts


def lineage(engine_url: str) -> Iterator[Figure]:
    """From a shard's end until its children are committed. The shards of one worker split one after the other."""
    from_split: list[float] = []
    from_row: list[float] = []
    with MeasuredCluster(engine_url, _SPLITS) as cluster:
        cluster.start()
        shards = [shard_id(number) for number in range(_SPLITS)]
        write(cluster, shards)
        _firsts(cluster, shards)
        for shard in shards:
            at = time.time()
            children = cluster.remote.split(shard)
            write(cluster, children)
            with Writer(cluster, children, _WRITE_SECONDS):
                firsts = _firsts(cluster, children)
            from_split += [firsts[child] - at for child in children]
            from_row += [firsts[child] - _ended_at(cluster, shard) for child in children]
    yield worst("shard end to a child's first commit", from_split, 0.5)
    yield worst("parent's SHARD_END row to a child's first commit", from_row)


def _firsts(cluster: MeasuredCluster, shards: Sequence[str]) -> dict[str, float]:
    """Waits for commits of all these shards; when each was first committed (unix seconds)."""

    def found() -> dict[str, float] | None:
        firsts: dict[str, float] = {}
        for commit in cluster.commits():
            firsts.setdefault(shard_of(commit), commit.at)
        return firsts if firsts.keys() >= set(shards) else None

    firsts = until(found, "all of them are committed", _MOST_SECONDS)
    assert firsts is not None
    return firsts


def _ended_at(cluster: MeasuredCluster, shard: str) -> float:
    ends = (commit.at for commit in cluster.commits() if commit.checkpoint == SHARD_END and shard_of(commit) == shard)
    return next(ends)


def join(
    engine_url: str,
    *,
    workers: int = 3,
    shards: int = 14,
    ttl_seconds: float = DEFAULT_TTL_SECONDS,
    rounds: int = 3,
) -> Iterator[Figure]:
    """One more worker joins `workers` and leaves again, some times, while games are written."""
    took: list[float] = []
    with MeasuredCluster(engine_url, shards, ttl_seconds) as cluster:
        for _ in range(workers):
            cluster.start()
        with Writer(cluster, [shard_id(number) for number in range(shards)], 0.2):
            cluster.wait_until_shared(workers)
            until(lambda: len({shard_of(commit) for commit in cluster.commits()}) == shards, "all shards are read")
            started_at = time.time()
            for _ in range(rounds):
                newcomer = cluster.start()
                took.append(_seconds_to_fair_shares(cluster, newcomer, workers + 1) / cluster.heartbeat_seconds)
                _wait_until_commits(cluster, newcomer)
                newcomer.terminate()
                cluster.wait_until_shared(workers)
            time.sleep(_AFTER_SECONDS)
        pages = [page for page in cluster.remote.deliveries() if page.at >= started_at]
        again = read_again(pages, cluster.commits())
    yield worst("from joining to fair shares", took, 2.0, "heartbeats")
    note = f"of {len(pages)}" + (f", such as {again[0]}" if again else "")
    yield Figure("pages that begin with a committed record", len(again), "pages", 0, note)


def _seconds_to_fair_shares(cluster: MeasuredCluster, newcomer: WorkerProcess, workers: int) -> float:
    """From its first heartbeat on."""
    joined_at = newcomer.started_at + newcomer.seconds_until("worker.joined")
    cluster.wait_until_shared(workers)
    return time.monotonic() - joined_at


def _wait_until_commits(cluster: MeasuredCluster, newcomer: WorkerProcess) -> None:
    """Waits until it has committed each of its shards."""
    owner = owner_of(newcomer)

    def left() -> set[str]:
        return cluster.shares()[owner] - {shard_of(commit) for commit in cluster.commits() if commit.owner == owner}

    until(lambda: not left(), "the newcomer's shards are committed")


def read_again(pages: Iterable[Delivery], commits: Iterable[Transaction]) -> list[tuple[Delivery, Transaction]]:
    """Pages whose first record had been committed before they were requested, with that commit.

    Both logs are the server's, so their times can be compared.
    """
    by_shard: dict[str, list[Transaction]] = defaultdict(list)
    for commit in commits:
        by_shard[shard_of(commit)].append(commit)
    found: list[tuple[Delivery, Transaction]] = []
    for page in pages:
        covering = [
            commit for commit in by_shard[page.shard_id] if commit.at < page.at and number_of(commit) >= int(page.first)
        ]
        found += [(page, covering[0])] if covering else []
    return found


def start(engine_url: str) -> Iterator[Figure]:
    """From a process's start to its first commit. The first worker also starts the stream."""
    took: list[float] = []
    with MeasuredCluster(engine_url, _STARTED_SHARDS) as cluster:
        for _ in range(_STARTS):
            write(cluster, [shard_id(number) for number in range(_STARTED_SHARDS)])
            find = partial(cluster.commits, len(cluster.remote.transactions()))
            at = time.time()
            worker = cluster.start()
            took.append(until(find, "a commit")[0].at - at)
            worker.terminate()
    yield Figure("process start to first commit, a new stream", took[0], "s", 2.0)
    yield worst("process start to first commit, a known stream", took[1:], 2.0)
