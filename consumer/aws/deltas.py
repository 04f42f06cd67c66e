"""One player's delta as an action of a transaction: the only way in which anything is added to a leaderboard."""

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any, Final

from consumer.aws.items import is_date, number, text
from consumer.aws.transaction import Action, Cancelled
from consumer.domain.leaderboard import Delta
from consumer.domain.outcomes import Refused

ADD: Final = "ADD gamesPlayed :games, totalScore :total"
ADD_DATED: Final = f"{ADD} SET lastPlayedDate = :date"
DATE_GROWS: Final = "attribute_not_exists(lastPlayedDate) OR lastPlayedDate <= :date"


def add(leaderboard: str, player: str, delta: Delta, *, dated: bool) -> Action:
    """Adds the delta. Not `dated`: the player's stored date is a later one, and is kept."""
    key, games, total = {"playerId": {"S": player}}, number(delta.games), _exact(delta.total)
    if not dated:
        update: dict[str, Any] = {
            "TableName": leaderboard,
            "Key": key,
            "UpdateExpression": ADD,
            "ExpressionAttributeValues": {":games": games, ":total": total},
        }
        return {"Update": update}
    return {
        "Update": {
            "TableName": leaderboard,
            "Key": key,
            "UpdateExpression": ADD_DATED,
            "ExpressionAttributeValues": {":games": games, ":total": total, ":date": {"S": delta.date}},
            "ConditionExpression": DATE_GROWS,
            "ReturnValuesOnConditionCheckFailure": "ALL_OLD",
        }
    }


def is_later(stored: str, date: str) -> bool:
    """Whether what is stored is a date, and a later one: then the delta counts without its date."""
    return stored > date and is_date(stored)


def refused(cancelled: Cancelled, players: Sequence[str], deltas: Mapping[str, Delta]) -> Refused:
    """What it means when the players' deltas, actions 1 and on, were refused, of whose conditions only the dates' can
    have failed. A stored date that is no later date makes its player's record suspect.
    """
    failed = {players[index - 1]: text(item or {}, "lastPlayedDate") for index, item in cancelled.failed.items()}
    later = {
        player: stored
        for player, stored in failed.items()
        if stored is not None and is_later(stored, deltas[player].date)
    }
    suspects = failed.keys() - later.keys()
    suspects |= {players[index - 1] for index in cancelled.invalid_at if 0 < index <= len(players)}
    invalid = cancelled.invalid or ("a stored lastPlayedDate is no date" if suspects else None)
    return Refused(later, cancelled.conflict, invalid, frozenset(suspects))


def _exact(total: Decimal) -> dict[str, str]:
    """Every digit. Zero without its exponent: a sum may leave 0E-167, which an engine may take for too small."""
    return {"N": str(total or 0)}
