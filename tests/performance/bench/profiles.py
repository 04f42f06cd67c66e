"""Where a worker's processor time goes, in a full stream: hot and wide, on boards with known rows."""

import json
import os
import tempfile
from collections.abc import Mapping, Sequence
from itertools import islice
from pathlib import Path

from tests.performance.bench.draining import fill_stream, game_of
from tests.performance.bench.live import make_rows
from tests.performance.bench.report import Report
from tests.performance.bench.runs import different, zipf
from tests.performance.figures import markdown_table, rounded

_RECORDS = 10_000
_HOT_PLAYERS = 1_000
_WIDE_PLAYERS = 100_000
_DRAIN_SECONDS = 180.0
_ENTRY = ("-m", "tests.performance.bench.profiled")


def profiles(engine: str, seed: int, records: int = _RECORDS) -> Report:
    """Shares of the processor time; the profiler slows the worker, so times are not shown."""
    hot = _seconds(engine, list(islice(zipf(_HOT_PLAYERS, 1.0, seed), records)))
    wide = _seconds(engine, different(_WIDE_PLAYERS, seed)[:records])
    parts = sorted(hot | wide, key=lambda part: -wide.get(part, 0.0))
    rows = [[part, *(_share(found, part) for found in (hot, wide))] for part in parts]
    return Report(rest=[markdown_table(("part", "hot", "wide"), rows)])


def _seconds(engine: str, players: Sequence[str]) -> dict[str, float]:
    """Seconds by part."""
    with game_of(engine) as game, tempfile.TemporaryDirectory() as folder:
        make_rows(game, players)
        fill_stream(game, players)
        file = Path(folder) / "profile.json"
        os.environ["PROFILE_INTO"] = os.fspath(file)
        worker = game.worker(entry=_ENTRY, log_level="INFO")
        game.wait_until_consumed(_DRAIN_SECONDS)
        worker.terminate()
        found: dict[str, float] = json.loads(file.read_text())
        return found


def _share(seconds: Mapping[str, float], part: str) -> str:
    return rounded(seconds.get(part, 0.0) / sum(seconds.values()) * 100, "%")
