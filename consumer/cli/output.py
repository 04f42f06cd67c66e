"""What commands print: JSON, columns, counts, progress; and the question before a change."""

import json
import sys
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from decimal import Decimal
from io import TextIOWrapper
from typing import TYPE_CHECKING, Final, NamedTuple, TypeVar

import click

from consumer.domain.errors import UnsafeRefused

if TYPE_CHECKING:
    from rich.console import Console, JustifyMethod
    from rich.progress import Progress

    from consumer.domain.fold import Delta

T = TypeVar("T")

BOARD_COLUMNS: Final = ("playerId", "gamesPlayed", "totalScore", "lastPlayedDate")
WIDEST: Final = 100_000
"""Columns where stdout is no terminal."""
WIDEST_ID: Final = 40
"""An id of more columns is left out on a terminal: it would hide the others."""
LEAST_CUT: Final = 12
"""To so many columns a cell may be cut."""
GAP: Final = 2
LEFT_OUT: Final = "…"
NOT_CONFIRMED: Final = "not confirmed: nothing was changed"


def to_json(value: object) -> str:
    """JSON in ASCII. A Decimal is a number with all of its digits and no exponent; `json` knows only floats."""
    match value:
        case Decimal():
            return f"{value:f}"
        case Mapping():
            return "{" + ", ".join(f"{json.dumps(name)}: {to_json(part)}" for name, part in value.items()) + "}"
        case list() | tuple():
            return "[" + ", ".join(map(to_json, value)) + "]"
        case _:
            return json.dumps(value)


def print_array(items: Sequence[Mapping[str, object]]) -> None:
    """A JSON array, one element per line."""
    lines = ",\n".join(f"  {to_json(item)}" for item in items)
    print(f"[\n{lines}\n]" if items else "[]")


def visible(text: str) -> str:
    """Escapes what could move a cursor or hide letters: any player may choose any name."""
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)


def stdout_console() -> "Console":
    """As wide as the terminal; where stdout is none, no line is folded. A character it cannot show is escaped."""
    from rich.console import Console

    if isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")
    width = None if sys.stdout.isatty() else WIDEST
    return Console(width=width, markup=False, emoji=False, highlight=False)


def print_columns(names: Sequence[str], rows: Iterable[Sequence[str | None]], *, right: Collection[str] = ()) -> None:
    """A table as wide as the terminal; plain lines, as wide as they need, where stdout is none. None is a dash.

    `right` names the columns that are aligned on the right.
    """
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    table = Table(box=SIMPLE_HEAD if sys.stdout.isatty() else None, pad_edge=False)
    for name in names:
        table.add_column(name, overflow="fold", justify="right" if name in right else "left")
    for row in rows:
        table.add_row(*("-" if cell is None else visible(cell) for cell in row))
    stdout_console().print(table)


class Column(NamedTuple):
    """A column of `print_records`. `cut`: on a terminal its cells may be cut. `id`: a cell is whole or left out."""

    name: str
    cut: bool = False
    id: bool = False
    right: bool = False


def print_records(columns: Sequence[Column], groups: Mapping[str, Sequence[Sequence[str | None]]]) -> None:
    """One line per row, under the heading of its group: on a terminal no longer than its width, else as it needs.

    What does not fit is left out, and said so on stderr.
    """
    from rich.cells import cell_len
    from rich.table import Table

    shown = {
        heading: [["-" if cell is None else visible(cell) for cell in row] for row in rows]
        for heading, rows in groups.items()
    }
    console, terminal = stdout_console(), sys.stdout.isatty()
    every = [row for rows in shown.values() for row in rows]
    hidden = 0
    for row in every if terminal else ():
        for at, column in enumerate(columns):
            if column.id and cell_len(row[at]) > WIDEST_ID:
                row[at], hidden = LEFT_OUT, hidden + 1
    widths = [max([cell_len(column.name), *(cell_len(row[at]) for row in every)]) for at, column in enumerate(columns)]
    if terminal:
        widths = _fitted(columns, widths, console.width)
    for number, (heading, rows) in enumerate(shown.items()):
        if number:
            console.print()
        for line in visible_lines(heading):
            console.print(line, no_wrap=True, overflow="ellipsis")
        table = Table(box=None, pad_edge=False)
        for column, width in zip(columns, widths, strict=True):
            if width:
                justify: JustifyMethod = "right" if column.right else "left"
                table.add_column(column.name, min_width=width, max_width=width, no_wrap=True, justify=justify)
        for row in rows:
            table.add_row(*(cell for cell, width in zip(row, widths, strict=True) if width))
        console.print(table)
    lost = [column.name for column, width in zip(columns, widths, strict=True) if not width]
    lost += [f"ids of more than {WIDEST_ID} characters ({LEFT_OUT})"] if hidden else []
    if lost:
        print(f"Left out: {', '.join(lost)}. --json has them.", file=sys.stderr)


def _fitted(columns: Sequence[Column], widths: Sequence[int], width: int) -> list[int]:
    """The columns' widths in a terminal of this width; 0: the column is left out."""
    fitted = list(widths)

    def excess() -> int:
        return sum(fitted) + GAP * (len([each for each in fitted if each]) - 1) - width

    for at, column in enumerate(columns):
        if column.cut and excess() > 0:
            fitted[at] = max(fitted[at] - excess(), min(fitted[at], LEAST_CUT))
    for at, column in reversed(list(enumerate(columns))):
        if column.id and excess() > 0:
            fitted[at] = 0
    for at, column in enumerate(columns):  # the width of a column that is left out
        if column.cut and excess() < 0:
            fitted[at] = min(widths[at], fitted[at] - excess())
    return fitted


def visible_lines(text: str) -> list[str]:
    """Its lines, each of them visible."""
    return [visible(line) for line in text.splitlines()]


def print_deltas(deltas: "Mapping[str, Delta]", *, json: bool) -> None:
    """By player, as columns with signs or as a JSON array with the board's keys."""
    if json:
        rows = [(player, delta.games, delta.total, delta.date or None) for player, delta in deltas.items()]
        print_array([dict(zip(BOARD_COLUMNS, row, strict=True)) for row in rows])
    elif deltas:
        signed = [
            (player, f"{delta.games:+}", f"{delta.total:+f}", delta.date or None) for player, delta in deltas.items()
        ]
        print_columns(BOARD_COLUMNS, signed)


def print_all(sentences: Iterable[str]) -> None:
    """Each on a line of stderr."""
    for sentence in sentences:
        print(sentence, file=sys.stderr)


def confirm(question: str, sentences: Iterable[str] = (), *, yes: bool) -> None:
    """Prints what will happen, and raises UnsafeRefused unless the operator says yes. `yes`: without a question."""
    print_all(sentences)
    if yes:
        return
    if not sys.stdin.isatty():
        raise UnsafeRefused(f"{question}\nStandard input is no terminal, so this cannot be asked: add --yes to do it")
    try:
        agreed = click.confirm(question, err=True)
    except click.Abort:  # Ctrl-C, or end of input; the cursor stands behind the question
        print(file=sys.stderr)
        agreed = False
    if not agreed:
        raise UnsafeRefused(NOT_CONFIRMED)


@contextmanager
def counting(total: int, title: str) -> Iterator[Callable[[int], None]]:
    """A bar on a terminal, and what counts so many more. `total`: about how many there will be; 0: not known."""
    if not sys.stderr.isatty():
        yield lambda _: None
        return
    with _progress(counted=True) as progress:
        task = progress.add_task(title, total=total or None)
        yield lambda more: progress.advance(task, more)


def with_count(items: Iterator[T], total: int, title: str) -> Iterator[T]:
    """The items, and a bar that counts them on a terminal while they come."""
    with counting(total, title) as count:
        for item in items:
            yield item
            count(1)


@contextmanager
def sharing(share: Callable[[], float | None], title: Callable[[], str]) -> Iterator[Callable[[], None]]:
    """A bar that shows which `share` is done (0 to 1; None: not known) behind a changing title; and what updates it."""
    if not sys.stderr.isatty():
        yield lambda: None
        return
    with _progress(counted=False) as progress:
        task = progress.add_task(title(), total=None)

        def update() -> None:
            done = share()
            total = None if done is None else 1.0
            progress.update(task, description=title(), total=total, completed=done or 0.0)

        yield update


def _progress(*, counted: bool) -> "Progress":
    """A bar on stderr, which is removed at its end. Behind it stands a count, or a percentage."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskProgressColumn, TextColumn

    title = TextColumn("{task.description}", markup=False)
    done = MofNCompleteColumn() if counted else TaskProgressColumn()
    return Progress(title, BarColumn(), done, console=Console(stderr=True), transient=True)
