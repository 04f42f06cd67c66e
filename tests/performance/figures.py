"""Measured numbers beside their limits, and how they are shown: on a terminal and as Markdown."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape
from rich.table import Table

_PLAIN_WIDTH = 160


@dataclass(frozen=True, slots=True)
class Figure:
    """A number and its limit (None: not judged); with `least` it must not be below the limit, else not above."""

    name: str
    value: float
    unit: str = ""
    limit: float | None = None
    note: str = ""
    least: bool = False

    @property
    def ok(self) -> bool:
        """Whether it keeps its limit, if there is one."""
        if self.limit is None:
            return True
        return self.value >= self.limit if self.least else self.value <= self.limit

    @property
    def verdict(self) -> str:
        """`ok`, `over`, or nothing."""
        if self.limit is None:
            return ""
        return "ok" if self.ok else "over"


def worst(name: str, values: Sequence[float], limit: float | None = None, unit: str = "s") -> Figure:
    """The largest value as a figure; the note has the least and the median."""
    note = f"best {min(values):.2f}, median {median(values):.2f} of {len(values)}"
    return Figure(name, max(values), unit, limit, note)


def percentile(values: Sequence[float], percent: float) -> float:
    """The least of `values` that at least `percent` percent of them do not exceed (nearest rank); not empty."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(percent / 100 * len(ordered)) - 1)]


def show(results: Mapping[str, Sequence[Figure]]) -> None:
    """Prints one table to stdout; without a terminal as plain text, one line per figure."""
    console = Console(highlight=False)
    if not console.is_terminal:
        console = Console(highlight=False, color_system=None, width=_PLAIN_WIDTH)
    table = Table(box=SIMPLE_HEAD)
    for heading in ("measurement", "figure"):
        table.add_column(heading)
    for heading in ("value", "limit", ""):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("note")
    colours = {"": "", "ok": "[green]ok[/]", "over": "[bold red]OVER[/]"}
    for name, figures in results.items():
        for position, figure in enumerate(figures):
            limit = "" if figure.limit is None else _whole(figure.limit, figure.unit)
            verdict, note = colours[figure.verdict], escape(figure.note)
            value = _whole(figure.value, figure.unit)
            table.add_row(name if position == 0 else "", figure.name, value, limit, verdict, note)
    console.print(table)


def markdown_table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table with the first column to the left, the others to the right."""
    lines = [headings, ["---"] + ["---:"] * (len(headings) - 1), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"


def rounded(value: float, unit: str = "") -> str:
    """Three digits, or all before the decimal point."""
    places = 0 if abs(value) >= 100 else 1 if abs(value) >= 10 else 2 if abs(value) >= 0.1 else 4
    return f"{value:,.{places}f} {unit}".rstrip()


def _whole(value: float, unit: str) -> str:
    number = f"{value:,.0f}" if value == int(value) else f"{value:,.2f}"
    return f"{number} {unit}".rstrip()
