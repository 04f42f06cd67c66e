"""Why the database refuses a record alone: what is stored for its player, if the tables are still those we know."""

from typing import Any

from consumer.aws.errors import translated
from consumer.aws.items import Item, is_date, text
from consumer.aws.tables import LEADERBOARD_KEYS, LEASE_KEYS, QUARANTINE_KEYS, keys_of
from consumer.domain.errors import Trouble, TroubleKind
from consumer.domain.records import EXACT, Game, Reason, Verdict


def examine(client: Any, leases: str, leaderboard: str, quarantine: str, game: Game) -> Verdict | None:
    """The reason why `game` can never be applied as things are; None when nothing speaks against it.

    Raises Trouble when a table cannot be asked or has another key by now: then no record is to blame. Any of the three
    may be what the transaction was refused for.
    """
    with translated():
        for table, keys in ((leases, LEASE_KEYS), (leaderboard, LEADERBOARD_KEYS), (quarantine, QUARANTINE_KEYS)):
            if keys_of(client.describe_table(TableName=table)["Table"]) != keys:
                raise Trouble(TroubleKind.REJECTED, f"table {table} has another key by now; no record is to blame")
        answer = client.get_item(TableName=leaderboard, Key={"playerId": {"S": game.player}}, ConsistentRead=True)
    return _verdict(answer.get("Item") or {}, game)


def _verdict(stored: Item, game: Game) -> Verdict | None:
    for name in ("totalScore", "gamesPlayed"):
        if name in stored and text(stored, name, "N") is None:
            return Reason.TOTAL_TYPE, f"the stored {name} is of type {_type(stored, name)}; N is right"
    date = text(stored, "lastPlayedDate")
    if "lastPlayedDate" in stored and (date is None or not is_date(date)):
        return Reason.DATE_TYPE, f"the stored lastPlayedDate ({_type(stored, 'lastPlayedDate')}) is no date"
    try:
        EXACT.add(EXACT.create_decimal(text(stored, "totalScore", "N") or "0"), game.score)
    except ArithmeticError:
        return Reason.TOTAL_OVERFLOW, "with it the stored totalScore leaves what a DynamoDB number can hold"
    return None


def _type(stored: Item, name: str) -> str:
    return ", ".join(stored[name])
