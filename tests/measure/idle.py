"""What a worker takes for a thousand shards that have nothing for it."""

import time
from collections.abc import Iterator
from typing import NamedTuple

from tests.measure.figure import Figure
from tests.measure.stage import Stage
from tests.measure.usage import Usage, usage

_SHARDS = 1_000
START_SECONDS = 40.0
"""Shards are polled fast at first; this is the end of it, and of what the start itself stirred up."""
MEASURED_SECONDS = 60.0


def idle(engine_url: str) -> Iterator[Figure]:
    """All on one worker."""
    with Stage(engine_url, _SHARDS) as stage:
        at = time.monotonic()
        worker = stage.start()
        stage.wait_until_shared(1)
        yield Figure("process start to all 1,000 leases", time.monotonic() - at, "s")
        minute = idle_minute(stage, worker.pid)
    note = f"a shard was read {min(minute.reads)} to {max(minute.reads)} times"
    yield Figure("polls a second", sum(minute.reads) / minute.seconds, "/s", note=note)
    yield Figure("longest pause between two polls of a shard", minute.longest_pause, "s", 4.0)
    yield Figure("resident memory", minute.after.resident_mib, "MiB", 150.0, f"peak {minute.after.peak_mib:.0f}")
    yield Figure("processor", minute.cpu_seconds / minute.seconds, "cores")
    yield Figure("threads", minute.after.threads, limit=40)


class IdleMinute(NamedTuple):
    """What a worker took, and how often it polled each shard."""

    seconds: float
    cpu_seconds: float
    after: Usage
    reads: list[int]
    longest_pause: float


def idle_minute(stage: Stage, pid: int) -> IdleMinute:
    """Of a worker that has just got all shards: waits until they are polled rarely, then looks for a minute."""
    time.sleep(START_SECONDS)
    stage.remote.clear_counts()
    before, began = usage(pid), time.monotonic()
    time.sleep(MEASURED_SECONDS)
    shards, after = stage.remote.shards(), usage(pid)
    seconds = time.monotonic() - began
    # A shard that was read once has no pause between two reads: it stood still for most of the time.
    pause = max(shard.longest_pause if shard.reads > 1 else seconds for shard in shards)
    return IdleMinute(seconds, after.cpu_seconds - before.cpu_seconds, after, [shard.reads for shard in shards], pause)
