"""What a process takes, sampled while it works."""

import time
from typing import NamedTuple

from tests.background import Background
from tests.measure.usage import usage

_EVERY_SECONDS = 0.01


class Sample(NamedTuple):
    """`at` in unix seconds; processor seconds of user and system since the process's start; memory in MiB."""

    at: float
    cpu_seconds: float
    resident_mib: float


class Watch(Background):
    """Use it in a `with`: it samples a process of this machine until the end, or until the process is gone."""

    def __init__(self, pid: int) -> None:
        super().__init__()
        self._pid = pid
        self._samples = [self._look()]

    def cpu_seconds(self, since: float, until: float) -> float:
        """Of processor time between two moments (unix seconds)."""
        return cpu_between(self._samples, since, until)

    @property
    def peak_mib(self) -> float:
        """The most memory that was seen."""
        return max(sample.resident_mib for sample in self._samples)

    def run(self) -> None:
        while not self.stop.wait(_EVERY_SECONDS):
            try:
                self._samples.append(self._look())
            except OSError:
                return

    def _look(self) -> Sample:
        seen = usage(self._pid)
        return Sample(time.time(), seen.cpu_seconds, seen.resident_mib)


def cpu_between(samples: list[Sample], since: float, until: float) -> float:
    """From the last sample that is not after `since` to the first that is not before `until`."""
    first = max((sample for sample in samples if sample.at <= since), default=samples[0])
    last = min((sample for sample in samples if sample.at >= until), default=samples[-1])
    return last.cpu_seconds - first.cpu_seconds
