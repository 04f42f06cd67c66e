"""One player's delta as an action of a transaction: the only way in which anything is added to a leaderboard."""

from decimal import Decimal
from typing import Any, Final

from consumer.aws.items import is_date, number
from consumer.aws.transaction import Action
from consumer.domain.leaderboard import Delta

DATE_GROWS: Final = "attribute_not_exists(lastPlayedDate) OR lastPlayedDate <= :date"


def add(leaderboard: str, player: str, delta: Delta, *, dated: bool) -> Action:
    """Adds the delta. Not `dated`: the player's stored date is a later one, and is kept."""
    update: dict[str, Any] = {
        "TableName": leaderboard,
        "Key": {"playerId": {"S": player}},
        "UpdateExpression": "ADD gamesPlayed :games, totalScore :total",
        "ExpressionAttributeValues": {":games": number(delta.games), ":total": _exact(delta.total)},
    }
    if dated:
        update["UpdateExpression"] += " SET lastPlayedDate = :date"
        update["ExpressionAttributeValues"][":date"] = {"S": delta.date}
        update["ConditionExpression"] = DATE_GROWS
        update["ReturnValuesOnConditionCheckFailure"] = "ALL_OLD"
    return {"Update": update}


def is_later(stored: str, date: str) -> bool:
    """Whether what is stored is a date, and a later one: then the delta counts without its date."""
    return stored > date and is_date(stored)


def _exact(total: Decimal) -> dict[str, str]:
    """Every digit. Zero without its exponent: a sum may leave 0E-167, which an engine may take for too small."""
    return {"N": str(total or 0)}
