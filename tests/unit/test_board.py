from decimal import Decimal
from threading import Event
from typing import Any

import pytest

from consumer.aws.tables import DynamoBoard
from consumer.domain.errors import CallFailed, FailureKind
from consumer.domain.leases import TableNames
from consumer.domain.operator_ports import BoardRow

ROW = {"playerId": {"S": "anna"}, "gamesPlayed": {"N": "2"}, "totalScore": {"N": "-0.5"}}


class Client:
    """Replies to scans with `replies`, in order."""

    def __init__(self, *replies: dict[str, Any]) -> None:
        self.replies = list(replies)
        self.starts: list[Any] = []
        self.columns: list[str] = []

    def scan(self, **request: Any) -> dict[str, Any]:
        self.columns.append(request["ProjectionExpression"])
        self.starts.append(request.get("ExclusiveStartKey"))
        return self.replies.pop(0)

    def describe_table(self, TableName: str) -> dict[str, Any]:  # noqa: N803 - the SDK's name
        return {"Table": {"ItemCount": 7, "TableName": TableName}}


def board(client: Client) -> DynamoBoard:
    return DynamoBoard(client, TableNames(), Event())


def test_pages_are_followed_even_when_one_is_empty() -> None:
    client = Client(
        {"Items": [ROW], "LastEvaluatedKey": {"playerId": {"S": "anna"}}},
        {"Items": [], "LastEvaluatedKey": {"playerId": {"S": "bob"}}},
        {"Items": [{"playerId": {"S": "carl"}, "totalScore": {"S": "2"}, "lastPlayedDate": {"S": "2026-01-31"}}]},
    )
    assert list(board(client).rows()) == [
        BoardRow("anna", Decimal(2), Decimal("-0.5"), None),
        BoardRow("carl", None, None, "2026-01-31"),
    ]
    assert client.starts == [None, {"playerId": {"S": "anna"}}, {"playerId": {"S": "bob"}}]
    assert board(client).about() == 7


def test_a_row_without_games_is_none_of_the_board() -> None:
    """It has the mark of a player whose records were all poison. One that has no number of games stays."""
    marked = {"appliedShard": {"S": "label/shard-0"}, "appliedTo": {"S": "1"}, "appliedAt": {"N": "1"}}
    poison_only = {"playerId": {"S": "bob"}, "gamesPlayed": {"N": "0"}, "totalScore": {"N": "0"}, **marked}
    spoiled = {"playerId": {"S": "carl"}, "gamesPlayed": {"S": "0"}}
    found = board(Client({"Items": [poison_only, ROW | marked, spoiled]})).rows()
    assert [row.player for row in found] == ["anna", "carl"]


@pytest.mark.parametrize(
    "reply",
    [{}, {"Items": [{}]}, {"Items": [{"playerId": {"N": "1"}}]}, {"Items": [ROW | {"totalScore": {"N": "many"}}]}],
)
def test_a_reply_of_another_shape_is_a_failed_call(reply: dict[str, Any]) -> None:
    with pytest.raises(CallFailed) as raised:
        list(board(Client(reply)).rows())
    assert raised.value.kind is FailureKind.MALFORMED


def test_a_window_has_its_own_games_and_only_its_own_players() -> None:
    today = {"day_20261126_games": {"N": "1"}, "day_20261126_score": {"N": "3"}}
    undone = {"playerId": {"S": "carl"}, "day_20261126_games": {"N": "0"}, "day_20261126_score": {"N": "0"}}
    client = Client({"Items": [ROW | today | {"lastPlayedDate": {"S": "2026-11-26"}}, ROW, undone]})
    assert list(board(client).rows("day_20261126")) == [BoardRow("anna", Decimal(1), Decimal(3), "2026-11-26")]
    assert client.columns == ["playerId, day_20261126_games, day_20261126_score, lastPlayedDate"]
