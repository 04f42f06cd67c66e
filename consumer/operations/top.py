"""`consumer top`: the best players, found in one pass over the leaderboard with only the best so far in memory."""

from collections.abc import Callable, Iterable, Iterator
from decimal import Decimal
from enum import StrEnum
from heapq import nsmallest

from consumer.domain.operator_ports import BoardRow, Boards

Watch = Callable[[Iterator[BoardRow], int], Iterable[BoardRow]]
"""Passes the rows through, and may show progress; the number is about how many rows there will be."""


class By(StrEnum):
    """What players are ranked by. The values are attribute names."""

    TOTAL_SCORE = "totalScore"
    GAMES_PLAYED = "gamesPlayed"


def top(boards: Boards, by: By, limit: int, watch: Watch) -> list[BoardRow]:
    """The best `limit` rows of the leaderboard, which may change while it is read. Raises CallFailed."""
    return best(watch(boards.rows(), boards.about()), by, limit)


def best(rows: Iterable[BoardRow], by: By, limit: int) -> list[BoardRow]:
    """The best `limit` rows, ties by player. Players without such a number come last."""

    def rank(row: BoardRow) -> tuple[bool, Decimal, str]:
        number = row.total if by is By.TOTAL_SCORE else row.games
        # Not `-number`: that rounds to the 28 digits of the context.
        return number is None, (number or Decimal(0)).copy_negate(), row.player

    return nsmallest(limit, rows, key=rank)
