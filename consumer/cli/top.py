"""`consumer top`: the best of the leaderboard."""

import sys
from collections.abc import Sequence
from decimal import Decimal
from functools import partial

import click

from consumer.cli.app import LOGS, json_array, positive, with_settings
from consumer.cli.output import BOARD_COLUMNS, print_array, print_columns, with_count
from consumer.domain.operator_ports import BoardRow
from consumer.operations.top import By
from consumer.settings import Settings


@click.command()
@positive("--limit", default=10, help="How many players are shown.")
@click.option(
    "--by",
    type=click.Choice([by.value for by in By]),
    default=By.TOTAL_SCORE.value,
    help="What they are ranked by; ties by playerId.",
)
@json_array
@with_settings("leaderboard_table", *LOGS)
def top(settings: Settings, limit: int, by: str, json: bool) -> int:
    """Shows the best of the leaderboard.

    Reads the whole table, page by page, with consistent reads: whatever was committed before it began is in it. An
    attribute that a row does not have, or that is of another type, is null, or a dash in the table.

    \b
    Example:
      consumer top --limit 3 --by gamesPlayed
    """
    from consumer.wiring.operators import top as read_top

    rows = read_top(settings, By(by), limit, partial(with_count, title=f"reading {settings.leaderboard_table}"))
    if json:
        print_array([dict(zip(BOARD_COLUMNS, row, strict=True)) for row in rows])
    elif rows:
        _print_board(rows)
    else:
        print(f"The board {settings.leaderboard_table} has no players yet.", file=sys.stderr)
    return 0


def _print_board(rows: Sequence[BoardRow]) -> None:
    cells = [
        (str(place), row.player, _digits(row.games), _digits(row.total), row.date)
        for place, row in enumerate(rows, start=1)
    ]
    print_columns(("#", *BOARD_COLUMNS), cells, right=("#", *BOARD_COLUMNS[1:]))


def _digits(number: Decimal | None) -> str | None:
    """All digits; grouped by thousands on a terminal."""
    if number is None:
        return None
    return f"{number:,f}" if sys.stdout.isatty() else f"{number:f}"
