"""What a worker takes for a thousand shards that have nothing for it."""

import time
from collections.abc import Iterator

from tests.measure.figure import Figure
from tests.measure.stage import Stage
from tests.measure.usage import usage

_SHARDS = 1_000
_START_SECONDS = 40.0
"""Shards are polled fast at first; this is the end of it, and of what the start itself stirred up."""
_MEASURED_SECONDS = 60.0


def idle(engine_url: str) -> Iterator[Figure]:
    """All on one worker."""
    with Stage(engine_url, _SHARDS) as stage:
        at = time.monotonic()
        worker = stage.start()
        stage.wait_until_shared(1)
        yield Figure("process start to all 1,000 leases", time.monotonic() - at, "s")
        time.sleep(_START_SECONDS)
        stage.remote.clear_counts()
        before, began = usage(worker.pid), time.monotonic()
        time.sleep(_MEASURED_SECONDS)
        shards, after = stage.remote.shards(), usage(worker.pid)
        seconds = time.monotonic() - began
    reads = [shard.reads for shard in shards]
    note = f"a shard was read {min(reads)} to {max(reads)} times"
    # A shard that was read once has no pause between two reads: it stood still for most of the time.
    pause = max(shard.longest_pause if shard.reads > 1 else seconds for shard in shards)
    yield Figure("polls a second", sum(reads) / seconds, "/s", note=note)
    yield Figure("longest pause between two polls of a shard", pause, "s", 4.0)
    yield Figure("resident memory", after.resident_mib, "MiB", 150.0, f"peak {after.peak_mib:.0f}")
    yield Figure("processor", (after.cpu_seconds - before.cpu_seconds) / seconds, "cores")
    yield Figure("threads", after.threads, limit=40)
