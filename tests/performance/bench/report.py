"""The report of a benchmark: as Markdown, and in its places in the documents, between invisible comments."""

import os
import platform
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from textwrap import fill
from typing import NamedTuple

import botocore

from tests.performance.bench.runs import HANDLER, LOCAL, MINISTACK, ROOT, WORKER, Run, title, version
from tests.performance.figures import Figure, markdown_table, percentile, rounded

RATE, HANDLERS, FLOORS = "records/s, × handler's", "CPU, handler's ÷ ours", "CPU, × floor"  # noqa: RUF001
WRITES = "board: write units/game"
_RATIOS = ("client", RATE, HANDLERS, FLOORS, WRITES, "read units/game", "lease table: write units/s", "read units/s")
_HEADINGS = (*_RATIOS, "write calls/record", "p50", "p99", "RSS", "records/s", "CPU µs/record", "records")

PERFORMANCE = ROOT / "docs" / "performance.md"
README = ROOT / "README.md"
COST = ROOT / "docs" / "cost.md"
SUMMARY = "summary"
MACHINE = "machine"

EMPTY, KNOWN = "empty board", "known rows"
"""Variants of a run: no row is there, or another worker has made a row of each player."""

QUOTED = {"hot", "wide", "trickle", "idle"}
"""The scenarios that the README's summary needs."""

_ROWS = (("hot", LOCAL), ("hot", MINISTACK), ("wide", LOCAL))
_WIDTH = 120


class Report(NamedTuple):
    """The runs and figures of a scenario, on one engine or on several; `rest`: tables of another form, as Markdown."""

    runs: Sequence[Run] = ()
    figures: Sequence[Figure] = ()
    rest: Sequence[str] = ()

    def on(self, engine: str) -> "Report":
        """The same with the engine in the names of the figures."""
        return self._replace(figures=[replace(figure, name=f"{engine}: {figure.name}") for figure in self.figures])

    def and_then(self, other: "Report") -> "Report":
        """Both reports."""
        return Report([*self.runs, *other.runs], [*self.figures, *other.figures], [*self.rest, *other.rest])

    def markdown(self) -> str:
        """The table of the runs, the others, and that of the figures."""
        tables = [*([runs_table(self.runs)] if self.runs else []), *self.rest]
        if self.figures:
            tables.append(markdown_table(("figure", "is", "limit", ""), [_figure_row(each) for each in self.figures]))
        return "\n".join(tables)


def runs_table(runs: Sequence[Run]) -> str:
    """One row per run; ratios are to the handler's run on the same engine, if there is one."""
    handlers = {run.engine: run for run in runs if run.client == HANDLER}
    rows = [_HEADINGS, *(_run_row(run, handlers.get(run.engine)) for run in runs)]
    filled = [column for column in zip(*rows, strict=True) if any(column[1:])]
    headings, *rest = zip(*filled, strict=True)
    return markdown_table(headings, rest)


def _run_row(run: Run, handler: Run | None) -> tuple[str, ...]:
    other = handler if run.client != HANDLER else None
    leases = run.client == WORKER
    return (
        ", ".join(filter(None, (run.client, title(run.engine), run.variant))),
        rounded(run.rate / other.rate) if other else "",
        rounded(other.cpu_micros / run.cpu_micros) if other else "",
        rounded(run.floors) if run.floor_micros else "",
        rounded(run.writes_per_record),
        rounded(run.reads_per_record),
        rounded(run.lease_writes_per_second) if leases else "",
        rounded(run.lease_reads_per_second) if leases else "",
        rounded(run.calls_per_record),
        *(rounded(percentile(run.waits, percent) * 1e3, "ms") if run.waits else "" for percent in (50, 99)),
        rounded(run.resident_mib, "MiB"),
        rounded(run.rate),
        rounded(run.cpu_micros),
        f"{run.records:,}",
    )


def _figure_row(figure: Figure) -> list[str]:
    sign = "≥" if figure.least else "≤"
    limit = "" if figure.limit is None else f"{sign} {figure.limit:g} {figure.unit}".rstrip()
    return [figure.name, rounded(figure.value, figure.unit), limit, figure.verdict]


def machine(engines: Sequence[str], seed: int, load: float) -> str:
    """The machine and the engines; `load` is the load average when the benchmark began."""
    model = next(
        (line.partition(":")[2].strip() for line in _lines("/proc/cpuinfo") if line.startswith("model name")),
        platform.machine(),
    )
    clients = f"Python {platform.python_version()}, botocore {botocore.__version__}"
    engine = ", ".join(map(version, engines))
    return f"{os.cpu_count()} cores ({model}), {clients}; {engine}; seed {seed}; load average at the start {load:.1f}."


def summary(reports: Mapping[str, Report], measured_on: str) -> str:
    """The README's part. KeyError when one of the QUOTED scenarios is missing."""
    quoted = [
        (name, next(run for run in _worker_runs(reports[name]) if run.engine == engine)) for name, engine in _ROWS
    ]
    rows = [_summary_row(name, run, reports[name]) for name, run in quoted]
    headings = ("a full stream", RATE, HANDLERS, FLOORS, WRITES)
    usual = _worker_runs(reports["trickle"])[0]
    p50, p99 = (rounded(percentile(usual.waits, percent) * 1e3, "ms") for percent in (50, 99))
    poll = rounded(reports["idle"].figures[0].value)
    sentences = (
        f"At 20 records/s on {title(usual.engine)} a game is on the leaderboard after {p50} (p50), {p99} (p99). A poll "
        f"of an idle shard costs {poll} times a bare boto3 call. {measured_on}"
    )
    return f"{markdown_table(headings, rows)}\n{fill(sentences, _WIDTH)}\n"


def placed(text: str, place: str, content: str) -> str:
    """`text` with `content` in the named place. ValueError when there is no such place."""
    begin, end = f"<!-- bench:{place} -->\n", f"<!-- /bench:{place} -->"
    before, found, rest = text.partition(begin)
    _, closed, after = rest.partition(end)
    if not found or not closed:
        raise ValueError(f"no place {place}")
    return f"{before}{begin}{content}{end}{after}"


def content_of(text: str, place: str) -> str:
    """What stands in the named place. ValueError when there is no such place."""
    placed(text, place, "")
    return text.partition(f"<!-- bench:{place} -->\n")[2].partition(f"<!-- /bench:{place} -->")[0]


def write(path: Path, contents: Mapping[str, str]) -> None:
    """Writes contents into their places in a document."""
    text = path.read_text()
    for place, content in contents.items():
        text = placed(text, place, content)
    path.write_text(text)


def _worker_runs(report: Report) -> list[Run]:
    return [run for run in report.runs if run.client == WORKER]


def _summary_row(name: str, run: Run, report: Report) -> list[str]:
    handler = next(other for other in report.runs if other.client == HANDLER and other.engine == run.engine)
    ratios = (run.rate / handler.rate, handler.cpu_micros / run.cpu_micros, run.floors, run.writes_per_record)
    return [f"{name}, {title(run.engine)}", *map(rounded, ratios)]


def _lines(path: str) -> list[str]:
    try:
        return Path(path).read_text().splitlines()
    except OSError:
        return []
