"""The windows of a board as its ledger says: which it keeps, from when on they are complete, and how one is named.

Rules that were accepted may be those of no worker yet: what the shards' rows say of their windows decides.
"""

import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import date, datetime
from math import inf
from typing import Final, NamedTuple
from zoneinfo import ZoneInfo

from consumer.domain.errors import NotFound, UsageFault
from consumer.domain.leases import LeaseRow, Ledger
from consumer.domain.text import many
from consumer.domain.windows import DAY_SECONDS, Kept, WindowKind, calendar_of, earlier, first_day, kept_text, name_of

LABELS: Final = {
    WindowKind.DAY: "20261126 or 2026-11-26",
    WindowKind.WEEK: "2026W48 or 2026-W48",
    WindowKind.MONTH: "202611 or 2026-11",
}
"""How an operator may write the label of a window, as examples."""
_SHAPES: Final = {
    WindowKind.DAY: re.compile(r"(\d{4})-?(\d\d)-?(\d\d)", re.ASCII),
    WindowKind.WEEK: re.compile(r"(\d{4})-?W(\d\d)", re.ASCII),
    WindowKind.MONTH: re.compile(r"(\d{4})-?(\d\d)", re.ASCII),
}


class Asked(NamedTuple):
    """The window that an operator asks for: its kind, and a day in it; None: the present one."""

    kind: WindowKind
    day: date | None = None


def asked(text: str) -> Asked:
    """A window by its kind and, behind a colon, its label. Raises UsageFault, which says what would be right."""
    word, colon, label = text.partition(":")
    if word not in list(WindowKind):
        kinds = ", ".join(WindowKind)
        raise UsageFault(f"there is no kind of window {word[:40]!r}: it is one of {kinds}, like day or day:2026-11-26")
    kind = WindowKind(word)
    if not colon:
        return Asked(kind)
    match = _SHAPES[kind].fullmatch(label)
    if match is not None:
        year, number, day = (int(group) for group in (*match.groups(), "1")[:3])
        with suppress(ValueError):  # there is no such date
            of_week = kind is WindowKind.WEEK
            return Asked(kind, date.fromisocalendar(year, number, day) if of_week else date(year, number, day))
    raise UsageFault(f"{label[:40]!r} is no {kind}: it must be like {LABELS[kind]}")


def label_of_window(name: str) -> str:
    """What a window's name says behind its kind."""
    return name.partition("_")[2]


@dataclass(frozen=True, slots=True)
class KindOfBoard:
    """The windows of one kind. The newest accepted rules keep `kept` of them, the rows of all shards `everywhere`.

    `lacking`: of so many shards the rows count none, or are lost. From `since` on (unix seconds; None: always) windows
    hold all games, if they are among those that are kept everywhere.
    """

    kind: WindowKind
    kept: int
    everywhere: int
    since: float | None
    lacking: int
    time_zone: str

    def names(self, now: float) -> list[str]:
        """The windows that are kept at this time, the oldest first."""
        return [name_of(self.kind, first) for first in self._first_days(now)]

    def complete(self, first: date, now: float) -> bool:
        """Whether the window that begins on this day holds all games that are dated in it."""
        oldest = self._back(now, self.everywhere - 1)
        return not self.lacking and first >= oldest and self.begins(first) >= self._since

    def all_complete(self, now: float) -> bool:
        """Whether each window that is kept at this time is."""
        return all(self.complete(first, now) for first in self._first_days(now))

    def first_complete(self, now: float) -> tuple[str, float] | None:
        """The first window that is or will be complete, and when it begins. None: not known."""
        if self.lacking:
            return None
        first = self._back(now, self.everywhere - 1)
        if self.begins(first) < self._since:
            day = date.fromisoformat(calendar_of((), self.time_zone).local_day(self._since))
            first = first_day(self.kind, day)
            if self.begins(first) < self._since:
                first = earlier(self.kind, first, -1)
        return name_of(self.kind, first), self.begins(first)

    def begins(self, first: date) -> float:
        """When a window begins whose first day is this one, in unix seconds."""
        try:
            return datetime(first.year, first.month, first.day, tzinfo=ZoneInfo(self.time_zone)).timestamp()
        except (OverflowError, ValueError):
            return -inf

    @property
    def _since(self) -> float:
        return -inf if self.since is None else self.since

    def _back(self, now: float, windows: int) -> date:
        day = date.fromisoformat(calendar_of((), self.time_zone).local_day(now))
        return earlier(self.kind, first_day(self.kind, day), max(0, windows))

    def _first_days(self, now: float) -> list[date]:
        return [self._back(now, windows) for windows in reversed(range(self.kept))]


@dataclass(frozen=True, slots=True)
class BoardWindows:
    """The windows of a board. `kept` are those of the newest accepted rules."""

    kept: Kept
    time_zone: str
    kinds: tuple[KindOfBoard, ...]

    def find(self, wanted: Asked, now: float) -> tuple[str, str | None]:
        """The name of a window, and a sentence on what is not in it; None: it is complete.

        Raises NotFound for one that the board does not keep, or that has not begun.
        """
        found = next((each for each in self.kinds if each.kind is wanted.kind), None)
        if found is None:
            raise NotFound(f"the board keeps no {wanted.kind} windows: {self._keeps()}")
        day = wanted.day or date.fromisoformat(calendar_of((), self.time_zone).local_day(now))
        first = first_day(wanted.kind, day)
        name, oldest = name_of(wanted.kind, first), found.names(now)[0]
        what = f"{wanted.kind} {label_of_window(name)}"
        if name < oldest:
            raise NotFound(
                f"the board does not keep {what} any more: the oldest {wanted.kind} is now {label_of_window(oldest)} "
                f"({self._keeps()})"
            )
        if found.begins(first) > now + DAY_SECONDS:
            raise NotFound(f"{what} has not begun, in {self.time_zone}")
        return name, None if found.complete(first, now) else f"{what} is incomplete: {missing_in(found, now)}"

    def _keeps(self) -> str:
        if not self.kept:
            return "it keeps no windows at all (CONSUMER_WINDOWS)"
        return f"it keeps {kept_text(self.kept)} in {self.time_zone}"


def missing_in(kind: KindOfBoard, now: float) -> str:
    """Why some windows of this kind are incomplete, and until when."""
    if kind.lacking:
        return f"{many(kind.lacking, 'shard')} must still be claimed by a worker that counts in it"
    found = kind.first_complete(now)
    assert found is not None
    name, begins = found
    when = datetime.fromtimestamp(begins, ZoneInfo(kind.time_zone)).isoformat(timespec="minutes")
    return f"{kind.kind}s are complete from {label_of_window(name)} on ({when})"


def board_windows(ledger: Ledger) -> BoardWindows | None:
    """The windows of the board that this ledger counts. None: no rules are accepted yet, so nothing is known."""
    newest = ledger.accepted.newest
    if newest is None:
        return None
    kinds = tuple(_of_kind(kind, kept, ledger, newest.time_zone) for kind, kept in newest.windows)
    return BoardWindows(newest.windows, newest.time_zone, kinds)


def _of_kind(kind: WindowKind, kept: int, ledger: Ledger, time_zone: str) -> KindOfBoard:
    rows = list(_read_now(ledger))
    counted = [row.windows[kind] for row in rows if kind in row.windows]
    since = [each.since for each in counted if each.since is not None]
    # A lost row does not say by which rules its games were read.
    lacking = len(rows) - len(counted) + len(ledger.missing)
    everywhere = 0 if lacking else min([kept, *(each.kept for each in counted)])
    return KindOfBoard(kind, kept, everywhere, max(since, default=None), lacking, time_zone)


def _read_now(ledger: Ledger) -> Iterator[LeaseRow]:
    """The rows that say how games are counted from now on, and those of shards that ended with their stream: no child
    says how these were counted.
    """
    return (row for row in ledger.rows if not (row.finished and row.children))
