"""A row of the leaderboard, as it is read."""

from decimal import Decimal
from typing import NamedTuple


class BoardRow(NamedTuple):
    """One player, with every digit. None where the row has no such attribute, or one of another type."""

    player: str
    games: Decimal | None
    total: Decimal | None
    date: str | None
