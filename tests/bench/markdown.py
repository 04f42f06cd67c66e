"""The runs and the limits as Markdown: ratios first."""

from collections.abc import Sequence

from tests.bench.check import Check, Report
from tests.bench.engine import title
from tests.bench.percentile import percentile
from tests.bench.run import WORKER, Run

RATE, HANDLERS, FLOORS = "records/s, × handler's", "CPU, handler's ÷ ours", "CPU, × floor"  # noqa: RUF001
_RATIOS = ("client", RATE, HANDLERS, FLOORS, "write calls/record", "write units/record")
_HEADINGS = (*_RATIOS, "p50", "p99", "RSS", "records/s", "CPU µs/record", "records")


def scenario(report: Report) -> str:
    """All of it."""
    parts = [runs(report.runs)] if report.runs else []
    parts += [checks(report.checks)] if report.checks else []
    parts += [f"{note}\n" for note in report.notes]
    return "\n".join(parts)


def runs(all_of: Sequence[Run]) -> str:
    """A row each; ratios are to the handler's run on the same engine, if there is one."""
    handlers = {run.engine: run for run in all_of if run.who != WORKER}
    rows = [_HEADINGS, *(_row(run, handlers.get(run.engine)) for run in all_of)]
    said = [column for column in zip(*rows, strict=True) if any(column[1:])]
    headings, *rest = zip(*said, strict=True)
    return table(headings, rest)


def checks(all_of: Sequence[Check]) -> str:
    """A row each."""
    return table(("figure", "is", "limit", ""), [_checked(check) for check in all_of])


def table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """The first column to the left, the others to the right."""
    lines = [headings, ["---"] + ["---:"] * (len(headings) - 1), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"


def figure(value: float, unit: str = "") -> str:
    """Three digits, or all before the point."""
    places = 0 if abs(value) >= 100 else 1 if abs(value) >= 10 else 2 if abs(value) >= 0.1 else 4
    return f"{value:,.{places}f} {unit}".rstrip()


def _row(run: Run, handler: Run | None) -> tuple[str, ...]:
    beside = handler if run.who == WORKER else None
    return (
        ", ".join(filter(None, (run.who, title(run.engine), run.how))),
        figure(run.rate / beside.rate) if beside else "",
        figure(beside.cpu_micros / run.cpu_micros) if beside else "",
        figure(run.floors) if run.floor_micros else "",
        figure(run.calls_a_record),
        figure(run.units_a_record),
        *(figure(percentile(run.waits, percent) * 1e3, "ms") if run.waits else "" for percent in (50, 99)),
        figure(run.resident_mib, "MiB"),
        figure(run.rate),
        figure(run.cpu_micros),
        f"{run.records:,}",
    )


def _checked(check: Check) -> list[str]:
    limit = "" if check.limit is None else f"{'≥' if check.least else '≤'} {check.limit:g} {check.unit}".rstrip()
    return [check.what, figure(check.value, check.unit), limit, check.verdict]
