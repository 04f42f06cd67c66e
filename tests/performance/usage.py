"""What a process uses, as the Linux kernel counts it: now, and sampled while it works."""

import os
import time
from pathlib import Path
from typing import NamedTuple

from tests.support.background import Background

_MIB = 1_024
_SAMPLE_SECONDS = 0.01


class Usage(NamedTuple):
    """Processor seconds (user and system) since the start; memory in MiB, now and its peak; open files."""

    cpu_seconds: float
    resident_mib: float
    peak_mib: float
    threads: int
    files: int


def usage(pid: int) -> Usage:
    """The usage of a process of this machine."""
    folder = Path("/proc") / str(pid)
    ticks = (folder / "stat").read_text().rpartition(")")[2].split()
    status = dict(line.split(":", 1) for line in (folder / "status").read_text().splitlines())
    return Usage(
        cpu_seconds=(int(ticks[11]) + int(ticks[12])) / os.sysconf("SC_CLK_TCK"),
        resident_mib=int(status["VmRSS"].split()[0]) / _MIB,
        peak_mib=int(status["VmHWM"].split()[0]) / _MIB,
        threads=int(status["Threads"]),
        files=len(list((folder / "fd").iterdir())),
    )


class Sample(NamedTuple):
    """`at` in unix seconds; processor seconds since the process's start; memory in MiB."""

    at: float
    cpu_seconds: float
    resident_mib: float


class Sampler(Background):
    """Use it in a `with`: it samples a process of this machine until the end, or until the process has ended."""

    def __init__(self, pid: int) -> None:
        super().__init__()
        self._pid = pid
        self._samples = [self._sample()]

    def cpu_seconds(self, since: float, until: float) -> float:
        """The processor time between two times (unix seconds)."""
        return cpu_between(self._samples, since, until)

    @property
    def peak_mib(self) -> float:
        """The largest sampled memory."""
        return max(sample.resident_mib for sample in self._samples)

    def run(self) -> None:
        while not self.stop.wait(_SAMPLE_SECONDS):
            try:
                self._samples.append(self._sample())
            except OSError:
                return

    def _sample(self) -> Sample:
        now = usage(self._pid)
        return Sample(time.time(), now.cpu_seconds, now.resident_mib)


def cpu_between(samples: list[Sample], since: float, until: float) -> float:
    """From the last sample that is not after `since` to the first that is not before `until`."""
    first = max((sample for sample in samples if sample.at <= since), default=samples[0])
    last = min((sample for sample in samples if sample.at >= until), default=samples[-1])
    return last.cpu_seconds - first.cpu_seconds
