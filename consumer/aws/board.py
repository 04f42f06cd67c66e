"""The leaderboard, read: rows with every digit, as they stand in the table."""

from collections.abc import Iterator
from decimal import Decimal, InvalidOperation
from threading import Event
from typing import Any, Final

from consumer.aws.errors import translated
from consumer.aws.items import Item, text
from consumer.aws.pages import ask, scan
from consumer.domain.board import BoardRow

_COLUMNS: Final = "playerId, gamesPlayed, totalScore, lastPlayedDate"


class DynamoBoard:
    """The Boards port over a boto3 client. Calls that must be tried again wait on `stop`."""

    def __init__(self, client: Any, leaderboard: str, stop: Event) -> None:
        self._client = client
        self._leaderboard = leaderboard
        self._stop = stop

    def rows(self) -> Iterator[BoardRow]:
        """The whole board, in no order, each page as it is when it is read: what was committed before is in it."""
        for item in scan(self._client, self._stop, TableName=self._leaderboard, ProjectionExpression=_COLUMNS):
            with translated():
                row = _row(item)
            yield row

    def about(self) -> int:
        """The table's ItemCount, which DynamoDB counts about every six hours. Source: DescribeTable's reference."""
        answer = ask(lambda: self._client.describe_table(TableName=self._leaderboard), self._stop)
        return int(answer["Table"].get("ItemCount", 0))


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
    try:
        return None if digits is None else Decimal(digits)
    except InvalidOperation:
        raise ValueError(f"{name} is no number") from None
