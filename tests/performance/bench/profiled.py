"""Where a worker's processor time goes: `consumer` with each of its threads under cProfile, by the thread's own time.

`python -m tests.performance.bench.profiled run` is `consumer run`. PROFILE_INTO names the file that gets the seconds of
each part when the worker ends. What the start takes is not in them.
"""

import json
import os
import threading
import time
from collections import defaultdict
from cProfile import Profile
from pathlib import Path
from typing import Any

from consumer.worker.daemon import Daemon

PARTS = (
    ("parse and decode", ("consumer/aws/streams", "consumer/domain/records")),
    ("fold", ("consumer/domain/fold",)),
    ("marks: routes, rows, replies", ("consumer/domain/", "consumer/worker/row_writes", "consumer/worker/known_rows")),
    (
        "HTTP: headers and sockets",
        ("consumer/aws/direct", "/urllib3/", "/http/", "/socket.py", "/ssl.py", "/email/", "/urllib/"),
    ),
    ("the board's requests and replies", ("consumer/aws/",)),
    ("the shard machine, the loop, the threads", ("consumer/worker/", "/threading.py", "/queue.py")),
    ("logs and metrics", ("consumer/telemetry/", "/structlog/", "/prometheus_client/")),
    ("botocore: parameters, signing, replies", ("/botocore/", "/boto3/", "/hmac.py", "/dateutil/", "/jmespath/")),
)
"""The first whose folder is in the name of a function's file."""
OTHER = "other"
_DEPTH = 20

_profiles: list[Profile] = []


def part_of(code: Any) -> str | None:
    """None: a built-in function, or one of a file that is in no part."""
    file = getattr(code, "co_filename", "")
    return next((part for part, folders in PARTS if any(folder in file for folder in folders)), None)


def seconds_by_part(profiles: list[Profile]) -> dict[str, float]:
    """All time of all threads. What is in no part is of those that call it, in proportion to the time it takes them."""
    entries = [entry for profile in profiles for entry in profile.getstats()]
    seconds: defaultdict[str, float] = defaultdict(float)
    callers: defaultdict[Any, list[tuple[Any, float]]] = defaultdict(list)
    left: defaultdict[Any, float] = defaultdict(float)
    for entry in entries:
        left[entry.code] += entry.inlinetime
        for called in entry.calls or ():
            callers[called.code].append((entry.code, called.inlinetime))
    for _ in range(_DEPTH):
        passed_on: defaultdict[Any, float] = defaultdict(float)
        for code, time_left in left.items():
            total = sum(its for _, its in callers[code])
            if (part := part_of(code)) is not None:
                seconds[part] += time_left
            elif not total:
                seconds[OTHER] += time_left
            else:
                for caller, its in callers[code]:
                    passed_on[caller] += time_left * its / total
        left = passed_on
    seconds[OTHER] += sum(left.values())
    return seconds


def _profiled(run: Any) -> Any:
    def run_under_profile(self: Any) -> None:
        profile = Profile(time.thread_time)
        _profiles.append(profile)
        profile.enable()
        run(self)

    return run_under_profile


def _saving(run: Any) -> Any:
    def run_and_save(self: Any) -> None:
        try:
            run(self)
        finally:
            Path(os.environ["PROFILE_INTO"]).write_text(json.dumps(seconds_by_part(_profiles)))

    return run_and_save


def main() -> None:
    """Runs the worker."""
    from consumer import __main__ as consumer  # it catches signals: a test that imports this module must not

    threading.Thread.run = _profiled(threading.Thread.run)  # type: ignore[method-assign]
    Daemon.run = _saving(_profiled(Daemon.run))  # type: ignore[method-assign]
    consumer.main()


if __name__ == "__main__":
    main()
