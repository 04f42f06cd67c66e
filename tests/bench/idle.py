"""A thousand idle shards on one worker, beside a bare loop of the same calls."""

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from statistics import mean

from consumer.demo.lifeline import spawn
from tests.bench.check import Check, Report
from tests.bench.engine import fresh
from tests.measure.idle import idle_minute
from tests.measure.stage import Stage

_ROOT = Path(__file__).parents[2]

_SHARDS = 1_000
_BARE_CALLS = 4_000
_BARE_SECONDS = 60.0


def idle(engine: str, seed: int) -> Report:  # noqa: ARG001  nothing is drawn
    """The bare loop runs before and after, so that what the machine does meanwhile weighs on both."""
    with fresh(engine) as tables, Stage(tables.url, _SHARDS) as stage:
        environment = stage.game.environment() | stage.variables()
        bare = [_bare_micros(environment, stage.arn)]
        worker = stage.start()
        stage.wait_until_shared(1)
        minute = idle_minute(stage, worker.pid)
        worker.terminate()
        bare.append(_bare_micros(environment, stage.arn))
    polls = sum(minute.reads)
    poll = minute.cpu_seconds / polls * 1e6
    return Report(
        checks=[
            Check("CPU of a poll, times a bare boto3 get_records", poll / mean(bare), 1.15),
            Check("CPU of a poll, beats and all else included", poll, unit="µs"),
            Check("CPU of a bare boto3 get_records", mean(bare), unit="µs"),
            Check("resident memory", minute.after.resident_mib, 150, "MiB"),
            Check("polls/s", polls / minute.seconds),
            Check("cores", minute.cpu_seconds / minute.seconds),
            Check("longest time between two polls of a shard", minute.longest_pause, unit="s"),
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
