"""What workers said, as far as it matters here."""

import json
from collections.abc import Iterable, Iterator
from typing import Any

from tests.processes import WorkerProcess

_GAP = "shard.gap"
_LAST = 12
"""Lines of a worker about a shard that are shown."""


def complaints(lines: Iterable[str], *, gaps: bool) -> Iterator[str]:
    """What no worker should ever say: tracebacks and errors. `gaps`: only those of a lost record are in order."""
    for line in lines:
        event = _event(line)
        serious = event.get("level") in ("error", "critical") and not (gaps and event.get("event") == _GAP)
        if serious or "Traceback" in line or "Fatal Python error" in line:
            yield f"it said {line}"


def about(shard_id: str, workers: Iterable[WorkerProcess]) -> str:
    """The last lines of each worker that name a shard."""
    told = []
    for worker in workers:
        lines = [line for line in worker.said if shard_id in line][-_LAST:]
        told += [f"  pid {worker.pid}: {line.rstrip()}" for line in lines]
    return "\n".join(told)


def _event(line: str) -> dict[str, Any]:
    try:
        event = json.loads(line)
    except ValueError:
        return {}
    return event if isinstance(event, dict) else {}
