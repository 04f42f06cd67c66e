"""What the board must be, computed without the product's code, and the stored board compared with it."""

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


class Expected:
    """Games, total and last UTC date per player."""

    def __init__(self) -> None:
        self.rows: dict[str, Row] = {}
        self.games = 0

    def count(self, item: Mapping[str, Any]) -> None:
        """Adds one game's item (DynamoDB JSON)."""
        time = datetime.fromisoformat(item["timestamp"]["S"])
        date = (time if time.tzinfo else time.replace(tzinfo=UTC)).astimezone(UTC).date().isoformat()
        player = item["playerId"]["S"]
        games, total, last = self.rows.get(player, Row(0, Decimal(0), ""))
        self.rows[player] = Row(games + 1, EXACT.add(total, Decimal(item["score"]["N"])), max(last, date))
        self.games += 1


class Difference(NamedTuple):
    """A player whose row is not what it must be; None: no row."""

    player: str
    stored: Row | None
    right: Row | None


def read_board(client: Any, table: str) -> dict[str, Row]:
    """All rows with games, by a consistent scan over all pages. One without games holds a mark, after poison alone."""
    pages = client.get_paginator("scan").paginate(TableName=table, ConsistentRead=True)
    return {
        item["playerId"]["S"]: Row(
            int(item["gamesPlayed"]["N"]), Decimal(item["totalScore"]["N"]), item["lastPlayedDate"]["S"]
        )
        for page in pages
        for item in page["Items"]
        if int(item["gamesPlayed"]["N"])
    }


def differences(stored: Mapping[str, Row], right: Mapping[str, Row]) -> list[Difference]:
    """Every player whose row is not exact."""
    return [
        Difference(player, stored.get(player), right.get(player))
        for player in sorted(stored.keys() | right.keys())
        if stored.get(player) != right.get(player)
    ]
