"""A thousand idle shards on one worker, beside a bare loop of the same calls."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from consumer.demo.child_process import spawn
from tests.performance.bench.report import Report
from tests.performance.bench.runs import fresh_engine
from tests.performance.figures import Figure
from tests.performance.measure.cluster import MeasuredCluster
from tests.performance.measure.load import MEASURED_SECONDS, START_SECONDS, idle_minute

_ROOT = Path(__file__).parents[3]

_SHARDS = 1_000
_BARE_SECONDS = 60.0


def idle(engine: str, seed: int) -> Report:  # noqa: ARG001  nothing is drawn
    """The bare loop runs at the same time, in short bursts: other work of the machine slows both alike."""
    with fresh_engine(engine) as tables, MeasuredCluster(tables.url, _SHARDS) as cluster:
        worker = cluster.start()
        cluster.wait_until_shared(1)
        with _bare(cluster) as bare:
            minute = idle_minute(cluster, worker.pid)
            output, _ = bare.communicate(timeout=_BARE_SECONDS)
        worker.terminate()
    polls = sum(minute.reads[1:])  # the bare loop reads the first shard as well
    poll, bare_call = minute.cpu_seconds / polls * 1e6, float(output)
    return Report(
        figures=[
            Figure("CPU per poll, times a bare boto3 get_records", poll / bare_call, limit=1.15),
            Figure("CPU per poll, with heartbeats and everything else", poll, "µs"),
            Figure("CPU per bare boto3 get_records at the same time", bare_call, "µs"),
            Figure("resident memory", minute.after.resident_mib, "MiB", 150),
            Figure("polls/s", polls / minute.seconds),
            Figure("cores", minute.cpu_seconds / minute.seconds),
            Figure("longest time between two polls of a shard", minute.longest_pause, "s"),
        ],
    )


@contextmanager
def _bare(cluster: MeasuredCluster) -> Iterator[subprocess.Popen[bytes]]:
    """The bare loop, over the minute that is measured."""
    with spawn(
        [sys.executable, "-m", "tests.performance.bench.bare", cluster.arn, str(START_SECONDS), str(MEASURED_SECONDS)],
        env={**cluster.game.environment(), **cluster.variables(), "PYTHONPATH": os.fspath(_ROOT)},
        stdout=subprocess.PIPE,
    ) as process:
        try:
            yield process
        finally:
            process.kill()
