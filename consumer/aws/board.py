"""The leaderboard, read: rows with every digit, as they stand in the table."""

from collections.abc import Iterator
from decimal import Decimal
from threading import Event
from typing import Any, NamedTuple

from consumer.aws.items import Item, text
from consumer.aws.pages import scan


class BoardRow(NamedTuple):
    """One player. None where the row has no such attribute, or one of another type."""

    player: str
    games: Decimal | None
    total: Decimal | None
    date: str | None


class DynamoBoard:
    """Reads over a boto3 client, which wait on `stop` when they must be tried again."""

    def __init__(self, client: Any, leaderboard: str, stop: Event) -> None:
        self._client = client
        self._leaderboard = leaderboard
        self._stop = stop

    def rows(self) -> Iterator[BoardRow]:
        """The whole board, in no order, each page as it is when it is read. Raises Trouble."""
        for item in scan(self._client, self._stop, TableName=self._leaderboard):
            yield _row(item)


def _row(item: Item) -> BoardRow:
    return BoardRow(
        item["playerId"]["S"],
        _number(item, "gamesPlayed"),
        _number(item, "totalScore"),
        text(item, "lastPlayedDate"),
    )


def _number(item: Item, name: str) -> Decimal | None:
    """Made from the digits as they came: nothing is rounded."""
    digits = text(item, name, "N")
    return None if digits is None else Decimal(digits)
