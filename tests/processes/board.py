"""The leaderboard as it is stored, compared with a tally digit by digit."""

from collections.abc import Mapping
from decimal import Decimal
from typing import Any, NamedTuple

from tests.processes.tally import Row


class Difference(NamedTuple):
    """A player whose row is not what it must be; None: no row."""

    player: str
    stored: Row | None
    right: Row | None


def read_board(client: Any, table: str) -> dict[str, Row]:
    """All rows, by a consistent scan over all pages."""
    pages = client.get_paginator("scan").paginate(TableName=table, ConsistentRead=True)
    return {
        item["playerId"]["S"]: Row(
            int(item["gamesPlayed"]["N"]), Decimal(item["totalScore"]["N"]), item["lastPlayedDate"]["S"]
        )
        for page in pages
        for item in page["Items"]
    }


def differences(stored: Mapping[str, Row], right: Mapping[str, Row]) -> list[Difference]:
    """Every player whose row is not exact."""
    return [
        Difference(player, stored.get(player), right.get(player))
        for player in sorted(stored.keys() | right.keys())
        if stored.get(player) != right.get(player)
    ]
