"""A thousand idle shards on one worker, beside a bare loop of the same calls."""

import os
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from statistics import mean

from consumer.demo.lifeline import spawn
from tests.bench.check import Check, Report
from tests.bench.engine import fresh
from tests.measure.stage import Stage
from tests.measure.usage import usage

_ROOT = Path(__file__).parents[2]

_SHARDS = 1_000
_START_SECONDS = 40.0
"""Shards are polled fast at first; this is the end of it, and of what the start itself stirred up."""
_MEASURED_SECONDS = 60.0
_BARE_CALLS = 4_000
_BARE_SECONDS = 60.0


def idle(engine: str, seed: int) -> Report:  # noqa: ARG001  nothing is drawn
    """The bare loop runs before and after, so that what the machine does meanwhile weighs on both."""
    with fresh(engine) as tables, Stage(tables.url, _SHARDS) as stage:
        environment = stage.game.environment() | stage.variables()
        bare = [_bare_micros(environment, stage.arn)]
        worker = stage.start()
        stage.wait_until_shared(1)
        time.sleep(_START_SECONDS)
        stage.remote.clear_counts()
        before, began = usage(worker.pid), time.monotonic()
        time.sleep(_MEASURED_SECONDS)
        shards, after = stage.remote.shards(), usage(worker.pid)
        seconds = time.monotonic() - began
        worker.terminate()
        bare.append(_bare_micros(environment, stage.arn))
    polls = sum(shard.reads for shard in shards)
    cpu = after.cpu_seconds - before.cpu_seconds
    poll = cpu / polls * 1e6
    # A shard that was read once has no pause between two reads: it stood still for most of the time.
    pause = max(shard.longest_pause if shard.reads > 1 else seconds for shard in shards)
    return Report(
        checks=[
            Check("CPU of a poll, times a bare boto3 get_records", poll / mean(bare), 1.15),
            Check("CPU of a poll, beats and all else included", poll, unit="µs"),
            Check("CPU of a bare boto3 get_records", mean(bare), unit="µs"),
            Check("resident memory", after.resident_mib, 150, "MiB"),
            Check("polls/s", polls / seconds),
            Check("cores", cpu / seconds),
            Check("longest time between two polls of a shard", pause, unit="s"),
        ],
        notes=[f"Bare loop before and after: {bare[0]:.0f} and {bare[1]:.0f} µs."],
    )


def _bare_micros(environment: Mapping[str, str], stream_arn: str) -> float:
    with spawn(
        [sys.executable, "-m", "tests.bench.bare", stream_arn, str(_BARE_CALLS)],
        env={**environment, "PYTHONPATH": os.fspath(_ROOT)},
        stdout=subprocess.PIPE,
    ) as process:
        try:
            said, _ = process.communicate(timeout=_BARE_SECONDS)
        finally:
            process.kill()
    return float(said)
