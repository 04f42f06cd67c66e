"""What the board and the quarantine must be at the end, computed without the worker's code."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from decimal import Context, Decimal, Inexact
from typing import Any, Final, NamedTuple

from consumer.demo.games import Image, Record, Score
from consumer.domain.operator_ports import BoardRow
from consumer.domain.records import Reason

_EXACT: Final = Context(prec=60, traps=[Inexact])


class Row(NamedTuple):
    """A player's expected row."""

    games: int
    total: Decimal
    date: str


@dataclass(slots=True)
class Expected:
    """The expected board and quarantine of the records added so far."""

    board: dict[str, Row] = field(default_factory=dict)
    poison: dict[str, tuple[Reason, Image]] = field(default_factory=dict)
    games: int = 0

    def add(self, record: Record) -> None:
        """Adds a record that was written."""
        match record.outcome:
            case Score(player, score, date):
                self.games += 1
                row = self.board.get(player, Row(0, Decimal(0), ""))
                self.board[player] = Row(row.games + 1, _EXACT.add(row.total, score), max(row.date, date))
            case reason:
                self.poison[record.game_id] = (reason, record.image)


class Quarantined(NamedTuple):
    """A quarantined record, as it is."""

    reason: str
    state: str
    record: Mapping[str, Any]


def compare_board(expected: Expected, found: Iterable[BoardRow]) -> list[str]:
    """One sentence per row that is not exactly as expected; sums are compared as exact decimals."""
    differences = []
    missing = dict(expected.board)
    for row in sorted(found, key=lambda row: row.player):
        must = missing.pop(row.player, None)
        if must is None:
            differences.append(f"{row.player}: on the board, and never played")
            continue
        numbers = (("gamesPlayed", row.games, Decimal(must.games)), ("totalScore", row.total, must.total))
        wrong = [f"{name} is {_shown(is_)}, not {right:f}" for name, is_, right in numbers if is_ != right]
        if row.date != must.date:
            wrong.append(f"lastPlayedDate is {row.date or 'missing'}, not {must.date}")
        if wrong:
            differences.append(f"{row.player}: {'; '.join(wrong)}")
    return differences + [f"{player}: not on the board" for player in sorted(missing)]


def compare_quarantine(expected: Expected, found: Iterable[Quarantined]) -> list[str]:
    """One sentence per record that is missing, too many, or has another reason, state or image than expected."""
    differences = []
    missing = dict(expected.poison)
    for entry in found:
        image = entry.record.get("dynamodb", {}).get("NewImage", {})
        game_id = image.get("gameId", {}).get("S", "a record without gameId")
        reason, written = missing.pop(game_id, (None, None))
        if reason is None:
            differences.append(f"{game_id}: in the quarantine, and is no poison or is there twice")
        elif (entry.reason, entry.state) != (reason, "pending"):
            differences.append(f"{game_id}: quarantined as {entry.reason} ({entry.state}), not {reason} (pending)")
        elif image != written:
            differences.append(f"{game_id}: quarantined with another image than the one that was written")
    return differences + [f"{game_id}: {reason}, not in the quarantine" for game_id, (reason, _) in missing.items()]


def _shown(number: Decimal | None) -> str:
    return "missing" if number is None else f"{number:f}"
