"""The figures as a person reads them."""

from collections.abc import Mapping, Sequence

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from tests.measure.figure import Figure

_PLAIN_WIDTH = 160


def show(results: Mapping[str, Sequence[Figure]]) -> None:
    """One table on stdout; without a terminal in plain letters, a line a figure."""
    console = Console(highlight=False)
    if not console.is_terminal:
        console = Console(highlight=False, color_system=None, width=_PLAIN_WIDTH)
    table = Table(box=SIMPLE_HEAD)
    for heading in ("measurement", "figure"):
        table.add_column(heading)
    for heading in ("value", "at most", ""):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("note")
    for name, figures in results.items():
        for place, figure in enumerate(figures):
            limit = "" if figure.limit is None else _written(figure.limit, figure.unit)
            value = _written(figure.value, figure.unit)
            table.add_row(name if place == 0 else "", figure.name, value, limit, _verdict(figure), escape(figure.note))
    console.print(table)


def _written(value: float, unit: str) -> str:
    number = f"{value:,.0f}" if value == int(value) else f"{value:,.2f}"
    return f"{number} {unit}".rstrip()


def _verdict(figure: Figure) -> str:
    if figure.limit is None:
        return ""
    return "[green]ok[/]" if figure.ok else "[bold red]OVER[/]"
