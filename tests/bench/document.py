"""The places in documents where the figures stand: between two comments that a reader of the page does not see."""

import os
import platform
from collections.abc import Mapping, Sequence
from pathlib import Path
from textwrap import fill

import botocore

from tests.bench import markdown
from tests.bench.check import Report
from tests.bench.engine import LOCAL, MINISTACK, title, version
from tests.bench.percentile import percentile
from tests.bench.run import WORKER, Run

_ROOT = Path(__file__).parents[2]
PERFORMANCE = _ROOT / "docs" / "performance.md"
README = _ROOT / "README.md"
SUMMARY = "summary"
MACHINE = "machine"

QUOTED = {"hot", "wide", "trickle", "idle"}
"""The scenarios that the README's summary needs."""

_ROWS = (("hot", LOCAL), ("hot", MINISTACK), ("wide", LOCAL))
_WIDTH = 120


def machine(engines: Sequence[str], seed: int, load: float) -> str:
    """What it was measured on; `load` is the load average when it began."""
    model = next(
        (line.partition(":")[2].strip() for line in _lines("/proc/cpuinfo") if line.startswith("model name")),
        platform.machine(),
    )
    clients = f"Python {platform.python_version()}, botocore {botocore.__version__}"
    engine = ", ".join(map(version, engines))
    return f"{os.cpu_count()} cores ({model}), {clients}; {engine}; seed {seed}; load average at the start {load:.1f}."


def summary(reports: Mapping[str, Report], measured_on: str) -> str:
    """What the README quotes. KeyError when one of the scenarios it quotes is not there."""
    quoted = [(name, run) for name, engine in _ROWS for run in _ours(reports[name]) if run.engine == engine]
    rows = [_summed(name, run, reports[name]) for name, run in quoted]
    headings = ("a full stream", markdown.RATE, markdown.HANDLERS, markdown.FLOORS, "write calls/record")
    usual = _ours(reports["trickle"])[0]
    p50, p99 = (markdown.figure(percentile(usual.waits, percent) * 1e3, "ms") for percent in (50, 99))
    poll = markdown.figure(reports["idle"].checks[0].value)
    told = (
        f"At 20 records/s on {title(usual.engine)} a game is on the leaderboard after {p50} (p50), {p99} (p99). A poll "
        f"of an idle shard costs {poll} times a bare boto3 call. {measured_on}"
    )
    return f"{markdown.table(headings, rows)}\n{fill(told, _WIDTH)}\n"


def placed(text: str, place: str, content: str) -> str:
    """`text` with `content` in a place. ValueError when there is no such place."""
    begin, end = f"<!-- bench:{place} -->\n", f"<!-- /bench:{place} -->"
    before, found, rest = text.partition(begin)
    _, closed, after = rest.partition(end)
    if not found or not closed:
        raise ValueError(f"no place {place}")
    return f"{before}{begin}{content}{end}{after}"


def write(path: Path, contents: Mapping[str, str]) -> None:
    """Puts contents into their places."""
    text = path.read_text()
    for place, content in contents.items():
        text = placed(text, place, content)
    path.write_text(text)


def _ours(report: Report) -> list[Run]:
    return [run for run in report.runs if run.who == WORKER]


def _summed(name: str, run: Run, report: Report) -> list[str]:
    handler = next(each for each in report.runs if each.who != WORKER and each.engine == run.engine)
    ratios = (run.rate / handler.rate, handler.cpu_micros / run.cpu_micros, run.floors, run.calls_a_record)
    return [f"{name}, {title(run.engine)}", *map(markdown.figure, ratios)]


def _lines(path: str) -> list[str]:
    try:
        return Path(path).read_text().splitlines()
    except OSError:
        return []
