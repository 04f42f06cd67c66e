"""`consumer top`: the best of the leaderboard."""

import sys
from collections.abc import Sequence
from decimal import Decimal
from functools import partial

import click

from consumer.cli.app import LOGS, json_array, positive, with_settings
from consumer.cli.output import BOARD_COLUMNS, print_all, print_array, print_columns, with_count
from consumer.domain.board_windows import asked
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
@click.option(
    "--window",
    metavar="KIND[:LABEL]",
    help="Of this day, week or month alone; without a label of the present one.",
)
@json_array
@with_settings("leaderboard_table", "lease_table", *LOGS)
def top(settings: Settings, limit: int, by: str, window: str | None, json: bool) -> int:
    """Shows the best of the leaderboard, or of a day, week or month of it.

    Reads the whole table, page by page, with consistent reads: whatever was committed before it began is in it. An
    attribute that a row does not have, or that is of another type, is null, or a dash in the table.

    With --window, gamesPlayed and totalScore are those of the window; stderr says which one it is, and what is not in
    it where it is incomplete. The lease table says which windows the board keeps (CONSUMER_WINDOWS) and in which zone.

    \b
    Example:
      consumer top --limit 3 --by gamesPlayed
      consumer top --window day
      consumer top --window week:2026-W48
    """
    wanted = asked(window) if window is not None else None
    from consumer.wiring.operators import top as read_top

    progress = partial(with_count, title=f"reading {settings.leaderboard_table}")
    rows, sentences = read_top(settings, By(by), limit, progress, wanted)
    print_all(sentences)
    if json:
        print_array([dict(zip(BOARD_COLUMNS, row, strict=True)) for row in rows])
    elif rows:
        _print_board(rows)
    else:
        where = "window" if wanted is not None else f"board {settings.leaderboard_table}"
        print(f"The {where} has no players yet.", file=sys.stderr)
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
