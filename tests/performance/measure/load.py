"""A worker under extreme load: a thousand idle shards, and one player in every shard."""

import time
from collections.abc import Iterator
from contextlib import suppress
from typing import NamedTuple

from tests.performance.figures import Figure, worst
from tests.performance.measure.cluster import MeasuredCluster, Writer, waits
from tests.performance.usage import Usage, usage
from tests.streams_server import shard_id
from tests.streams_server.remote import undrained
from tests.support.processes import differences, until

_SHARDS = 1_000
START_SECONDS = 75.0
"""After it the shards are polled rarely, and the work of the start is done."""
MEASURED_SECONDS = 60.0
_HOT_SHARDS = 64
_HOLD_SECONDS = 0.02
_WRITE_EVERY_SECONDS = 0.5
_WRITE_SECONDS = 20.0
_DRAIN_SECONDS = 60.0


def idle(engine_url: str) -> Iterator[Figure]:
    """A thousand idle shards on one worker."""
    with MeasuredCluster(engine_url, _SHARDS) as cluster:
        at = time.monotonic()
        worker = cluster.start()
        cluster.wait_until_shared(1)
        yield Figure("process start to all 1,000 leases", time.monotonic() - at, "s")
        minute = idle_minute(cluster, worker.pid)
    note = f"a shard was read {min(minute.reads)} to {max(minute.reads)} times"
    yield Figure("polls per second", sum(minute.reads) / minute.seconds, "/s", note=note)
    yield Figure("longest pause between two polls of a shard", minute.longest_pause, "s", 4.0)
    yield Figure("resident memory", minute.after.resident_mib, "MiB", 150.0, f"peak {minute.after.peak_mib:.0f}")
    yield Figure("processor", minute.cpu_seconds / minute.seconds, "cores")
    yield Figure("threads", minute.after.threads, limit=40)


class IdleMinute(NamedTuple):
    """What a worker used, and how often it polled each shard."""

    seconds: float
    cpu_seconds: float
    after: Usage
    reads: list[int]
    longest_pause: float


def idle_minute(cluster: MeasuredCluster, pid: int) -> IdleMinute:
    """Waits until a worker that has just claimed all shards polls them rarely, then measures for a minute."""
    time.sleep(START_SECONDS)
    cluster.remote.clear_counts()
    before, began = usage(pid), time.monotonic()
    time.sleep(MEASURED_SECONDS)
    shards, after = cluster.remote.shards(), usage(pid)
    seconds = time.monotonic() - began
    # A shard that was read only once has no pause between two reads: it waited most of the time.
    pause = max(shard.longest_pause if shard.reads > 1 else seconds for shard in shards)
    return IdleMinute(seconds, after.cpu_seconds - before.cpu_seconds, after, [shard.reads for shard in shards], pause)


def hot(engine_url: str) -> Iterator[Figure]:
    """One player in every shard of one worker: all commits need the same row, and each locks it for a while."""
    shards = [shard_id(number) for number in range(_HOT_SHARDS)]
    with MeasuredCluster(engine_url, _HOT_SHARDS) as cluster:
        cluster.remote.set_options(hold_seconds=_HOLD_SECONDS)
        cluster.start()
        cluster.wait_until_shared(1)
        began = time.monotonic()
        with Writer(cluster, shards, _WRITE_EVERY_SECONDS, "every-shard") as writer:
            time.sleep(_WRITE_SECONDS)
        stopped = time.monotonic()

        def left() -> list[str]:
            return undrained(cluster.remote.shards(), cluster.game.rows("lease"), cluster.arn)

        with suppress(AssertionError):  # the figures show it
            until(lambda: not left(), "everything is drained", _DRAIN_SECONDS)
        ended = time.monotonic()
        commits = cluster.commits()
        waited = waits(writer.written, commits, time.time())
        wrong = len(differences(cluster.game.board(), cluster.game.expected.rows))
        conflicts = cluster.remote.counts().conflicts
        yield worst("a record's wait for its commit", list(waited.values()), 5.0)
        yield Figure("shards not drained", len(left()), "shards", 0, f"{ended - stopped:.1f} s after the last record")
        yield Figure("players whose row is wrong", wrong, "players", 0)
        rate = len(waited) / (ended - began)
        yield Figure("records per second", rate, "/s", note=f"{len(waited)} records, {len(commits)} commits")
        yield Figure("transactions refused as conflicts", conflicts)
