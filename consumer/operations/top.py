"""The best of the leaderboard: one pass over the board, with only the best so far in memory."""

from collections.abc import Callable, Iterable, Iterator
from decimal import Decimal
from enum import StrEnum
from heapq import nsmallest

from consumer.domain.board import BoardRow
from consumer.domain.operator_ports import Boards

Watch = Callable[[Iterator[BoardRow], int], Iterable[BoardRow]]
"""Hands the rows through, and may show how far they are: the number says about how many there will be."""


class By(StrEnum):
    """What players are ranked by; the values are the attributes' names."""

    TOTAL_SCORE = "totalScore"
    GAMES_PLAYED = "gamesPlayed"


def top(boards: Boards, by: By, limit: int, watch: Watch) -> list[BoardRow]:
    """The best `limit` rows of the board as it is while it is read. Raises Trouble."""
    return best(watch(boards.rows(), boards.about()), by, limit)


def best(rows: Iterable[BoardRow], by: By, limit: int) -> list[BoardRow]:
    """The first `limit`, ties by player; who has no such number comes last."""

    def rank(row: BoardRow) -> tuple[bool, Decimal, str]:
        number = row.total if by is By.TOTAL_SCORE else row.games
        # Not `-number`: that rounds to the 28 digits of the context.
        return number is None, (number or Decimal(0)).copy_negate(), row.player

    return nsmallest(limit, rows, key=rank)
