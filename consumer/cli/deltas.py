"""What each player would get."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from consumer.cli.document import print_array
from consumer.cli.text import print_columns

if TYPE_CHECKING:
    from consumer.domain.leaderboard import Delta

COLUMNS = ("playerId", "gamesPlayed", "totalScore", "lastPlayedDate")


def print_deltas(deltas: "Mapping[str, Delta]", *, json: bool) -> None:
    """By player, as columns with signs or as a JSON array with the board's keys."""
    if json:
        rows = [(player, delta.games, delta.total, delta.date) for player, delta in deltas.items()]
        print_array([dict(zip(COLUMNS, row, strict=True)) for row in rows])
    elif deltas:
        told = [(name, f"+{delta.games}", f"{delta.total:+f}", delta.date) for name, delta in deltas.items()]
        print_columns(COLUMNS, told)
