"""What a process takes of the machine, as the kernel counts it."""

import os
from pathlib import Path
from typing import NamedTuple

_MIB = 1_024


class Usage(NamedTuple):
    """`cpu_seconds` of user and system since its start; memory in MiB, now and at the most; `files` that are open."""

    cpu_seconds: float
    resident_mib: float
    peak_mib: float
    threads: int
    files: int


def usage(pid: int) -> Usage:
    """Of a process of this machine; Linux tells it."""
    of = Path("/proc") / str(pid)
    ticks = (of / "stat").read_text().rpartition(")")[2].split()
    status = dict(line.split(":", 1) for line in (of / "status").read_text().splitlines())
    return Usage(
        cpu_seconds=(int(ticks[11]) + int(ticks[12])) / os.sysconf("SC_CLK_TCK"),
        resident_mib=int(status["VmRSS"].split()[0]) / _MIB,
        peak_mib=int(status["VmHWM"].split()[0]) / _MIB,
        threads=int(status["Threads"]),
        files=len(list((of / "fd").iterdir())),
    )
