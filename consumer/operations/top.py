"""`consumer top`: the best players, found in one pass over the leaderboard with only the best so far in memory."""

from collections.abc import Callable, Iterable, Iterator
from decimal import Decimal
from enum import StrEnum
from heapq import nsmallest

from consumer.domain.board_windows import Asked, BoardWindows, label_of_window
from consumer.domain.errors import NotFound
from consumer.domain.operator_ports import BoardRow, Boards

Watch = Callable[[Iterator[BoardRow], int], Iterable[BoardRow]]
"""Passes the rows through, and may show progress; the number is about how many rows there will be."""


class By(StrEnum):
    """What players are ranked by. The values are attribute names."""

    TOTAL_SCORE = "totalScore"
    GAMES_PLAYED = "gamesPlayed"


def top(boards: Boards, by: By, limit: int, watch: Watch, window: str | None = None) -> list[BoardRow]:
    """The best `limit` rows of the leaderboard, or of a window of it, which may change while it is read.

    Raises CallFailed.
    """
    return best(watch(boards.rows(window), boards.about()), by, limit)


def window(windows: BoardWindows | None, wanted: Asked, now: float) -> tuple[str, list[str]]:
    """The name of a wanted window of the board, and sentences: which it is, and what is not in it.

    Raises NotFound where the board does not keep it.
    """
    if windows is None:
        raise NotFound("it is not known which windows the board keeps: no worker of this version has begun to read")
    name, incomplete = windows.find(wanted, now)
    return name, [
        f"{wanted.kind} {label_of_window(name)} in {windows.time_zone}",
        *([incomplete] if incomplete else []),
    ]


def best(rows: Iterable[BoardRow], by: By, limit: int) -> list[BoardRow]:
    """The best `limit` rows, ties by player. Players without such a number come last."""

    def rank(row: BoardRow) -> tuple[bool, Decimal, str]:
        number = row.total if by is By.TOTAL_SCORE else row.games
        # Not `-number`: that rounds to the 28 digits of the context.
        return number is None, (number or Decimal(0)).copy_negate(), row.player

    return nsmallest(limit, rows, key=rank)
