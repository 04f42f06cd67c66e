"""What the windows of a board must be, computed without the product's code."""

from collections import defaultdict
from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

from tests.support.processes.expected import EXACT

Windows = dict[str, tuple[int, Decimal]]
"""Games and score by the window's name."""


class ExpectedWindows:
    """The games of each player in each day, week and month of a zone, of which a board keeps the newest `kept`."""

    def __init__(self, zone: str, kept: int) -> None:
        self._zone, self._kept = ZoneInfo(zone), kept
        self._sums: dict[str, dict[str, tuple[int, Decimal]]] = defaultdict(dict)

    def count(self, item: Mapping[str, Any]) -> None:
        """Adds one game's item (DynamoDB JSON)."""
        text, score = item["timestamp"]["S"], Decimal(item["score"]["N"])
        time = datetime.fromisoformat(text)
        day = time.date() if len(text) == len("2026-01-31") else _aware(time).astimezone(self._zone).date()
        windows = self._sums[item["playerId"]["S"]]
        for name in _names(day):
            games, total = windows.get(name, (0, Decimal(0)))
            windows[name] = games + 1, EXACT.add(total, score)

    def kept_at(self, at: float) -> dict[str, Windows]:
        """What the row of each player holds of the windows that are kept then, and of later ones."""
        oldest = self.oldest(at)
        return {
            player: {name: sums for name, sums in windows.items() if name >= oldest[name.partition("_")[0]]}
            for player, windows in self._sums.items()
        }

    def oldest(self, at: float) -> dict[str, str]:
        """The oldest window of each kind that is kept then: they are counted back day by day."""
        day = datetime.fromtimestamp(at, self._zone).date()
        met: dict[str, list[str]] = {"day": [], "week": [], "month": []}
        while any(len(names) < self._kept for names in met.values()):
            for name in _names(day):
                names = met[name.partition("_")[0]]
                if name not in names and len(names) < self._kept:
                    names.append(name)
            day -= timedelta(1)
        return {kind: names[-1] for kind, names in met.items()}


def windows_of(row: Mapping[str, Any]) -> Windows:
    """The windows of a row (DynamoDB JSON)."""
    names = {name.removesuffix("_games") for name in row if name.startswith(("day_", "week_", "month_"))}
    names = {name.removesuffix("_score") for name in names}
    return {name: (int(row[f"{name}_games"]["N"]), Decimal(row[f"{name}_score"]["N"])) for name in names}


def _names(day: date) -> tuple[str, str, str]:
    year, week, _ = day.isocalendar()
    return f"day_{day:%Y%m%d}", f"week_{year}W{week:02}", f"month_{day:%Y%m}"


def _aware(time: datetime) -> datetime:
    return time if time.tzinfo else time.replace(tzinfo=UTC)
