"""`consumer top`: the board."""

import sys
from collections.abc import Sequence
from decimal import Decimal
from functools import partial
from typing import Annotated

import typer

from consumer.cli.document import JsonArray, print_array
from consumer.cli.flags import LOGS, with_settings
from consumer.cli.progress import watched
from consumer.cli.text import stdout_console, visible
from consumer.domain.board import BoardRow
from consumer.operations.top import By
from consumer.settings import Settings


@with_settings("leaderboard_table", *LOGS)
def top(
    settings: Settings,
    limit: Annotated[int, typer.Option(min=1, metavar="NUMBER", help="How many players are shown.")] = 10,
    by: Annotated[By, typer.Option(help="What they are ranked by; ties by playerId.")] = By.TOTAL_SCORE,
    json: JsonArray = False,
) -> int:
    """Shows the best of the leaderboard.

    Reads the whole table, page by page, with consistent reads: whatever was committed before it began is in it. An
    attribute that a row does not have, or that is of another type, is null, or a dash in the table.

    \b
    Example:
      consumer top --limit 3 --by gamesPlayed
    """
    from consumer.bootstrap.tables import top as top_of

    rows = top_of(settings, by, limit, partial(watched, what=f"reading {settings.leaderboard_table}"))
    if json:
        print_array([_fields(row) for row in rows])
    else:
        _print_table(rows, settings.leaderboard_table)
    return 0


def _fields(row: BoardRow) -> dict[str, object]:
    return {
        "playerId": row.player,
        "gamesPlayed": row.games,
        "totalScore": row.total,
        "lastPlayedDate": row.date,
    }


def _print_table(rows: Sequence[BoardRow], table_name: str) -> None:
    """A table as wide as the terminal; plain lines, as wide as they need, where stdout is none."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    if not rows:
        typer.echo(f"Nobody is on the board {table_name} yet.", err=True)
        return
    pretty = sys.stdout.isatty()
    table = Table(box=SIMPLE_HEAD if pretty else None, pad_edge=False)
    table.add_column("#", justify="right", no_wrap=True)
    table.add_column("playerId", overflow="fold")
    for name in ("gamesPlayed", "totalScore", "lastPlayedDate"):
        table.add_column(name, justify="right", overflow="fold")
    for place, row in enumerate(rows, start=1):
        date = visible(row.date) if row.date is not None else "-"
        table.add_row(str(place), visible(row.player), _digits(row.games, pretty), _digits(row.total, pretty), date)
    stdout_console().print(table)


def _digits(number: Decimal | None, grouped: bool) -> str:
    if number is None:
        return "-"
    return f"{number:,f}" if grouped else f"{number:f}"
