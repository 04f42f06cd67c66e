"""Text for a person: nothing in it moves a cursor, and no line is folded where stdout is no terminal."""

import sys
from collections.abc import Iterable, Sequence
from io import TextIOWrapper
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from rich.console import Console

WIDEST: Final = 100_000
"""Columns where stdout is no terminal."""


def visible(text: str) -> str:
    """Without what could move a cursor or hide letters: anybody may choose a player's name."""
    return "".join(each if each.isprintable() else each.encode("unicode_escape").decode() for each in text)


def stdout_console() -> "Console":
    """As wide as the terminal; no line is folded where stdout is none. What it cannot show is no reason to fail."""
    from rich.console import Console

    if isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")
    width = None if sys.stdout.isatty() else WIDEST
    return Console(width=width, markup=False, emoji=False, highlight=False)


def print_columns(names: Sequence[str], rows: Iterable[Sequence[str | None]]) -> None:
    """A table as wide as the terminal; plain lines, as wide as they need, where stdout is none. None is a dash."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    table = Table(box=SIMPLE_HEAD if sys.stdout.isatty() else None, pad_edge=False)
    for name in names:
        table.add_column(name, overflow="fold")
    for row in rows:
        table.add_row(*("-" if cell is None else visible(cell) for cell in row))
    stdout_console().print(table)


def many(count: int, what: str) -> str:
    """`1 record`, `2 records`."""
    return f"{count:,} {what}{'' if count == 1 else 's'}"
