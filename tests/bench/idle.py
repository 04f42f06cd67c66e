"""A thousand idle shards on one worker, beside a bare loop of the same calls."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from consumer.demo.lifeline import spawn
from tests.bench.check import Check, Report
from tests.bench.engine import fresh
from tests.measure.idle import MEASURED_SECONDS, START_SECONDS, idle_minute
from tests.measure.stage import Stage

_ROOT = Path(__file__).parents[2]

_SHARDS = 1_000
_BARE_SECONDS = 60.0


def idle(engine: str, seed: int) -> Report:  # noqa: ARG001  nothing is drawn
    """The bare loop runs at the same time, in short bursts: what the machine does meanwhile weighs on both."""
    with fresh(engine) as tables, Stage(tables.url, _SHARDS) as stage:
        worker = stage.start()
        stage.wait_until_shared(1)
        with _bare(stage) as bare:
            minute = idle_minute(stage, worker.pid)
            said, _ = bare.communicate(timeout=_BARE_SECONDS)
        worker.terminate()
    polls = sum(minute.reads[1:])  # the bare loop reads the first shard as well
    poll, bare_call = minute.cpu_seconds / polls * 1e6, float(said)
    return Report(
        checks=[
            Check("CPU of a poll, times a bare boto3 get_records", poll / bare_call, 1.15),
            Check("CPU of a poll, beats and all else included", poll, unit="µs"),
            Check("CPU of a bare boto3 get_records at the same time", bare_call, unit="µs"),
            Check("resident memory", minute.after.resident_mib, 150, "MiB"),
            Check("polls/s", polls / minute.seconds),
            Check("cores", minute.cpu_seconds / minute.seconds),
            Check("longest time between two polls of a shard", minute.longest_pause, unit="s"),
        ],
    )


@contextmanager
def _bare(stage: Stage) -> Iterator[subprocess.Popen[bytes]]:
    """Over the minute that is measured."""
    with spawn(
        [sys.executable, "-m", "tests.bench.bare", stage.arn, str(START_SECONDS), str(MEASURED_SECONDS)],
        env={**stage.game.environment(), **stage.variables(), "PYTHONPATH": os.fspath(_ROOT)},
        stdout=subprocess.PIPE,
    ) as process:
        try:
            yield process
        finally:
            process.kill()
