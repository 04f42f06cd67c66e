"""The runs as Markdown."""

from collections.abc import Sequence

from tests.bench.check import Check
from tests.bench.percentile import percentile
from tests.bench.run import WORKER, Run

_HEADINGS = (
    "client",
    "records",
    "records/s",
    "× handler's",  # noqa: RUF001
    "CPU µs/record",
    "× floor",  # noqa: RUF001
    "handler's ÷ ours",
    "write calls/record",
    "write units/record",
    "p50",
    "p99",
    "RSS",
)


def table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """The first column to the left, the others to the right."""
    lines = [headings, ["---"] + ["---:"] * (len(headings) - 1), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"


def runs(all_of: Sequence[Run]) -> str:
    """A row each; ratios are to the handler's run on the same engine, if there is one."""
    handlers = {run.engine: run for run in all_of if run.who != WORKER}
    return table(_HEADINGS, [_row(run, handlers.get(run.engine)) for run in all_of])


def checks(all_of: Sequence[Check]) -> str:
    """A row each."""
    return table(("figure", "is", "limit", ""), [_checked(check) for check in all_of])


def figure(value: float, unit: str = "") -> str:
    """Three digits, or all before the point."""
    places = 0 if abs(value) >= 100 else 1 if abs(value) >= 10 else 2 if abs(value) >= 0.1 else 4
    return f"{value:,.{places}f} {unit}".rstrip()


def _row(run: Run, handler: Run | None) -> list[str]:
    ours = run.who == WORKER and handler is not None
    return [
        ", ".join(filter(None, (run.who, run.engine, run.how))),
        f"{run.records:,}",
        figure(run.rate),
        figure(run.rate / handler.rate) if ours and handler else "",
        figure(run.cpu_micros),
        figure(run.floors) if run.floor_micros else "",
        figure(handler.cpu_micros / run.cpu_micros) if ours and handler else "",
        figure(run.calls_a_record),
        figure(run.units_a_record),
        *(figure(percentile(run.waits, percent) * 1e3, "ms") if run.waits else "" for percent in (50, 99)),
        figure(run.resident_mib, "MiB"),
    ]


def _checked(check: Check) -> list[str]:
    limit = "" if check.limit is None else f"{'≥' if check.least else '≤'} {check.limit:g} {check.unit}".rstrip()
    return [check.what, figure(check.value, check.unit), limit, check.verdict]
