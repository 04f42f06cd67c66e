"""The demonstration's own books: what the board and the quarantine must be, kept apart from the worker's code."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from decimal import Context, Decimal, Inexact
from typing import Any, Final, NamedTuple

from consumer.demo.games import Record, Score
from consumer.demo.poison import Image
from consumer.domain.board import BoardRow
from consumer.domain.records import Reason

_EXACT: Final = Context(prec=60, traps=[Inexact])


class Row(NamedTuple):
    """A player's row as it must be."""

    games: int
    total: Decimal
    date: str


@dataclass(slots=True)
class Tally:
    """Counts records as they are written."""

    board: dict[str, Row] = field(default_factory=dict)
    poison: dict[str, tuple[Reason, Image]] = field(default_factory=dict)
    games: int = 0

    def add(self, record: Record) -> None:
        """One more record was written."""
        match record.outcome:
            case Score(player, score, date):
                self.games += 1
                row = self.board.get(player, Row(0, Decimal(0), ""))
                self.board[player] = Row(row.games + 1, _EXACT.add(row.total, score), max(row.date, date))
            case reason:
                self.poison[record.game_id] = (reason, record.image)


class Kept(NamedTuple):
    """A quarantined record, as it is."""

    reason: str
    state: str
    record: Mapping[str, Any]


def compare_board(tally: Tally, found: Iterable[BoardRow]) -> list[str]:
    """One sentence a row that is not exactly as it must be; sums are compared as exact decimals."""
    differences = []
    missing = dict(tally.board)
    for row in sorted(found, key=lambda row: row.player):
        right = missing.pop(row.player, None)
        if right is None:
            differences.append(f"{row.player}: on the board, and never played")
            continue
        values = (("gamesPlayed", row.games, Decimal(right.games)), ("totalScore", row.total, right.total))
        wrong = [f"{name} is {_shown(is_)}, not {must:f}" for name, is_, must in values if is_ != must]
        if row.date != right.date:
            wrong.append(f"lastPlayedDate is {row.date or 'missing'}, not {right.date}")
        if wrong:
            differences.append(f"{row.player}: {'; '.join(wrong)}")
    return differences + [f"{player}: not on the board" for player in sorted(missing)]


def compare_quarantine(tally: Tally, found: Iterable[Kept]) -> list[str]:
    """One sentence a record that is missing, too many, or has another reason, state or image than it must."""
    differences = []
    missing = dict(tally.poison)
    for kept in found:
        image = kept.record.get("dynamodb", {}).get("NewImage", {})
        game_id = image.get("gameId", {}).get("S", "a record without gameId")
        reason, written = missing.pop(game_id, (None, None))
        if reason is None:
            differences.append(f"{game_id}: in the quarantine, and is no poison or is there twice")
        elif (kept.reason, kept.state) != (reason, "pending"):
            differences.append(f"{game_id}: quarantined as {kept.reason} ({kept.state}), not {reason} (pending)")
        elif image != written:
            differences.append(f"{game_id}: quarantined with another image than the one that was written")
    return differences + [f"{game_id}: {reason}, not in the quarantine" for game_id, (reason, _) in missing.items()]


def _shown(number: Decimal | None) -> str:
    return "missing" if number is None else f"{number:f}"
