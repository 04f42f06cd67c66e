"""What the board must say: an oracle of its own, with nothing of the product in it."""

from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Context, Decimal, Inexact
from typing import Any, NamedTuple

EXACT = Context(prec=100, traps=[Inexact])


class Row(NamedTuple):
    """A player's row."""

    games: int
    total: Decimal
    date: str


class Tally:
    """Games, total and last UTC date a player."""

    def __init__(self) -> None:
        self.rows: dict[str, Row] = {}
        self.games = 0

    def count(self, item: Mapping[str, Any]) -> None:
        """Adds one game's item (DynamoDB JSON)."""
        moment = datetime.fromisoformat(item["timestamp"]["S"])
        date = (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).astimezone(UTC).date().isoformat()
        player = item["playerId"]["S"]
        games, total, last = self.rows.get(player, Row(0, Decimal(0), ""))
        self.rows[player] = Row(games + 1, EXACT.add(total, Decimal(item["score"]["N"])), max(last, date))
        self.games += 1
