"""Invariants of windows: those that are said to be complete hold the fold of the player's games in them."""

from collections.abc import Callable, Iterator, Sequence
from datetime import date, datetime, timedelta
from decimal import Decimal
from math import inf
from typing import Final
from zoneinfo import ZoneInfo

from consumer.domain.board_windows import board_windows
from consumer.domain.fold import Unit
from consumer.domain.leases import Lease, LeaseRow
from consumer.domain.marks import RowWrite, StoredRow
from consumer.domain.records import Game, Rules
from consumer.domain.timestamps import TimestampFormat, parse_timestamp
from consumer.domain.windows import Kept, WindowKind
from tests.simulation.ledger_invariants import WIDE, LedgerInvariants, Violation
from tests.support.fakes import FakeTables

AHEAD: Final = 3
"""How many windows after the present one are compared: games may be dated ahead."""

Sum = tuple[int, Decimal]
NONE: Final[Sum] = (0, Decimal(0))


class WindowInvariants:
    """Folds every game that counts into all its windows, and compares rows with that. It reckons with dates on its own.

    `clock` is in unix seconds. `compared` windows, and `incomplete` ones, which are not.
    """

    def __init__(
        self, ledger: LedgerInvariants, tables: FakeTables, zone: ZoneInfo, clock: Callable[[], float]
    ) -> None:
        self.compared = self.incomplete = 0
        self.most = 0
        self._ledger = ledger
        self._tables = tables
        self._zone = zone
        self._clock = clock
        self._expected: dict[str, dict[str, Sum]] = {}
        ledger.on_count = self._count
        self._before_commit, self._before_row = tables.on_commit, tables.on_write_row
        tables.on_commit = self._on_commit
        tables.on_write_row = self._on_write_row
        tables.on_forget = self._on_forget
        self._forgotten: dict[WindowKind, float] = {}
        """Up to when rows said of a kind that windows are incomplete which are forgotten now."""

    def _on_commit(self, lease: Lease, unit: Unit, rows: Sequence[RowWrite], fills_gap: bool) -> None:
        self._before_commit(lease, unit, rows, fills_gap)
        for write in rows:
            self._check_paths(write)

    def _on_write_row(self, write: RowWrite, before: StoredRow) -> None:
        self._before_row(write, before)
        self._check_paths(write)

    def _on_forget(self, row: LeaseRow) -> None:
        """With the row of a shard that ended with its stream it is forgotten that other rules have read it last."""
        newest = self._tables.accepted.newest
        for kind, kept in newest.windows if newest is not None and not row.children else ():
            found = row.windows.get(kind)
            if found is None or found.since is not None or found.kept < kept:
                self._forgotten[kind] = self._clock()

    def _check_paths(self, write: RowWrite) -> None:
        """DynamoDB takes no update that names an attribute twice."""
        if both := {each.window for each in write.delta.windows}.intersection(write.drops):
            raise Violation("a write adds to no window that it drops", f"{write.player}: {sorted(both)}")

    def _count(self, game: Game) -> None:
        windows = self._expected.setdefault(game.player, {})
        day = self.day_of(game, self._ledger.records.rules)
        for kind in WindowKind:
            name = name_of(kind, day)
            games, total = windows.get(name, NONE)
            windows[name] = games + 1, WIDE.add(total, game.score)

    def day_of(self, game: Game, rules: Rules) -> date:
        """The date of a game in the board's zone; a bare date is that date in every zone."""
        value = game.wire["dynamodb"]["NewImage"][rules.timestamp_attribute]
        if rules.timestamp_format is not TimestampFormat.ISO:
            unit = 1 if rules.timestamp_format is TimestampFormat.EPOCH_SECONDS else 1000
            return self._local(float(Decimal(value["N"]) / unit))
        text = value["S"]
        return date.fromisoformat(text) if len(text) == len("2026-11-26") else self._local(parse_timestamp(text)[0])

    def _local(self, at: float) -> date:
        return datetime.fromtimestamp(at, self._zone).date()

    # --- what is compared ---

    def check_all(self) -> None:
        """Every row in every window that is kept now and said to be complete."""
        complete = list(self._complete())
        for player, score in self._tables.board.items():
            stored = score.windows
            self.most = max(self.most, len(stored))
            expected = self._expected.get(player, {})
            for name in complete:
                self.compared += 1
                if stored.get(name, NONE) != expected.get(name, NONE):
                    facts = f"{name} of {player} is {stored.get(name, NONE)}, not {expected.get(name, NONE)}"
                    raise Violation("a complete window is the fold of its games", facts)

    def check_kept(self, player: str, kept: Kept) -> None:
        """A player who has played now, and not for long before, has no window that is not kept."""
        today = self._local(self._clock())
        wanted = {name_of(kind, today) for kind, _ in kept}
        if found := self._tables.board[player].windows.keys() - wanted:
            raise Violation("what has expired goes with the player's next write", f"{player} has {sorted(found)}")

    def _complete(self) -> Iterator[str]:
        """The windows that status and top call complete now."""
        board, now = board_windows(self._tables.load()), self._clock()
        today = self._local(now)
        for each in board.kinds if board is not None else ():
            first = back(each.kind, first_day(each.kind, today), each.kept - 1)
            for number in range(each.kept + AHEAD):
                day = back(each.kind, first, -number)
                if each.complete(day, now) and each.begins(day) >= self._forgotten.get(each.kind, -inf):
                    yield name_of(each.kind, day)
                else:
                    self.incomplete += 1


def name_of(kind: WindowKind, day: date) -> str:
    """The name of the window of a day."""
    return f"{kind}_" + day.strftime({"day": "%Y%m%d", "week": "%GW%V", "month": "%Y%m"}[kind])


def first_day(kind: WindowKind, day: date) -> date:
    """The first day of its window."""
    return {"day": day, "week": day - timedelta(day.weekday()), "month": day.replace(day=1)}[kind]


def back(kind: WindowKind, first: date, windows: int) -> date:
    """The first day of the window so many before; less than 0: after."""
    if kind is not WindowKind.MONTH:
        return first - timedelta(windows * (1 if kind is WindowKind.DAY else 7))
    months = first.year * 12 + first.month - 1 - windows
    return date(months // 12, months % 12 + 1, 1)
