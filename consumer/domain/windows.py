"""Windows: the days, weeks and months of a board, in one time zone.

A window is named as its attributes begin: `day_20261126`, `week_2026W48`, `month_202611`. Names of one kind sort by
time. A game belongs to the windows of its own date. A row keeps, per kind, the newest so many windows and those of
games that are dated ahead. What is exact about that stands in docs/windows.md.
"""

import re
from collections.abc import Iterable, Mapping
from datetime import date, datetime, timedelta
from enum import StrEnum
from functools import lru_cache
from math import inf
from typing import Final, NamedTuple
from zoneinfo import ZoneInfo

DAY_SECONDS: Final = 86_400
STEP_SECONDS: Final = 900
"""Local dates begin at multiples of it: the offsets of all zones since 1972 are quarters of an hour."""
LAST_STEP: Final = 253_402_300_799 // STEP_SECONDS
"""The last one of the year 9999. A creation time that is not known lies after it."""
MARGIN_SECONDS: Final = DAY_SECONDS
"""How long after a change of the windows kept games may still be counted by the old ones, besides those dated ahead: by
a worker that lost its lease, and in a zone that is behind UTC, where a bare date begins later.
"""
NAME: Final = re.compile(r"(day)_(\d{8})|(week)_(\d{4}W\d\d)|(month)_(\d{6})", re.ASCII)
GAMES: Final = "_games"
SCORE: Final = "_score"
"""What follows the name of a window in the names of its two attributes."""


class WindowKind(StrEnum):
    """How long a window is."""

    DAY = "day"
    WEEK = "week"
    MONTH = "month"


Kept = tuple[tuple[WindowKind, int], ...]
"""How many windows of each kind a board keeps, the present one included; in the order of WindowKind."""


def kept_text(kept: Kept) -> str:
    """As an operator gives it."""
    return ",".join(f"{kind}:{number}" for kind, number in kept)


def first_day(kind: WindowKind, day: date) -> date:
    """The first day of the window that holds `day`. Weeks are those of ISO 8601: they begin on Mondays."""
    if kind is WindowKind.DAY:
        return day
    return day - timedelta(day.weekday()) if kind is WindowKind.WEEK else day.replace(day=1)


def earlier(kind: WindowKind, first: date, windows: int) -> date:
    """The first day of the window that is so many before the one that begins on `first`; the year 1 is the limit."""
    try:
        if kind is not WindowKind.MONTH:
            return first - timedelta(windows * (1 if kind is WindowKind.DAY else 7))
        months = first.year * 12 + first.month - 1 - windows
        return date(months // 12, months % 12 + 1, 1)
    except (OverflowError, ValueError):
        return date.min


def name_of(kind: WindowKind, day: date) -> str:
    """The name of the window that holds `day`."""
    if kind is WindowKind.DAY:
        return f"day_{day.isoformat().replace('-', '')}"
    if kind is WindowKind.WEEK:
        year, week, _ = day.isocalendar()
        return f"week_{year:04}W{week:02}"
    return f"month_{day.year:04}{day.month:02}"


def kind_of(window: str) -> WindowKind:
    """The kind of a window with this name."""
    return WindowKind(window.partition("_")[0])


@lru_cache(maxsize=4096)
def window_of(attribute: str) -> str | None:
    """The window that an attribute of a row belongs to; None: it belongs to none."""
    for end in (GAMES, SCORE):
        if attribute.endswith(end):
            name = attribute.removesuffix(end)
            return name if NAME.fullmatch(name) else None
    return None


class Calendar:
    """Which windows a game counts in, and which have expired, for a board that keeps `kept` in `time_zone`.

    `time_zone` is an IANA name. Times are unix seconds. Make it with `calendar_of`: it remembers what it worked out.
    """

    def __init__(self, kept: Kept, time_zone: str) -> None:
        self.kept = kept
        self.is_utc = time_zone == "UTC"
        self._zone = ZoneInfo(time_zone)
        self._oldest = lru_cache(maxsize=4096)(self._oldest_at)
        self._day = lru_cache(maxsize=8192)(self._day_at)
        self._counted = lru_cache(maxsize=8192)(self._counted_at)
        self._windows = lru_cache(maxsize=4096)(self._windows_of)
        self._expired = lru_cache(maxsize=8192)(self._expired_at)

    def local_day(self, at: float) -> str:
        """The date in the zone, as YYYY-MM-DD. The years 1 and 9999 are the limits."""
        return self._day(int(at // STEP_SECONDS))

    def counted(self, day: str, created: float) -> tuple[str, ...]:
        """The windows that a game of this local date counts in, seen from when its record was created, in order.

        Those that are older than the kept ones are left out. A record whose creation is not known counts in all.
        """
        return self._counted(day, int(created // STEP_SECONDS))

    def oldest(self, at: float) -> tuple[str, ...]:
        """The oldest window of each kind that is kept at this time."""
        return self._oldest(int(at // STEP_SECONDS))

    def expired(self, windows: frozenset[str] | tuple[str, ...], at: float) -> tuple[str, ...]:
        """Those that are not kept any more at this time, or whose kind is not kept, in order.

        None at a time that no calendar has: the creation of the record is not known.
        """
        return self._expired(windows, int(at // STEP_SECONDS))

    def begins(self, kind: WindowKind, windows: int, at: float) -> float:
        """When the oldest of so many windows began that are kept at this time."""
        first = earlier(kind, first_day(kind, date.fromisoformat(self.local_day(at))), windows - 1)
        try:
            return datetime(first.year, first.month, first.day, tzinfo=self._zone).timestamp()
        except (OverflowError, ValueError):
            return -inf

    def _day_at(self, step: int) -> str:
        try:
            return datetime.fromtimestamp(step * STEP_SECONDS, self._zone).date().isoformat()
        except (OverflowError, ValueError, OSError):
            return (date.min if step < 0 else date.max).isoformat()

    def _oldest_at(self, step: int) -> tuple[str, ...]:
        day = date.fromisoformat(self._day(step))
        return tuple(name_of(kind, earlier(kind, first_day(kind, day), number - 1)) for kind, number in self.kept)

    def _expired_at(self, windows: frozenset[str] | tuple[str, ...], step: int) -> tuple[str, ...]:
        if step > LAST_STEP:
            return ()
        oldest = {kind_of(name): name for name in self._oldest(step)}
        return tuple(sorted(name for name in windows if name < oldest.get(kind_of(name), "~")))

    def _windows_of(self, day: str) -> tuple[str, ...]:
        return tuple(name_of(kind, date.fromisoformat(day)) for kind, _ in self.kept)

    def _counted_at(self, day: str, step: int) -> tuple[str, ...]:
        windows = self._windows(day)
        if step <= LAST_STEP:
            windows = tuple(name for name, oldest in zip(windows, self._oldest(step), strict=True) if name >= oldest)
        return tuple(sorted(windows))


@lru_cache(maxsize=64)
def calendar_of(kept: Kept, time_zone: str) -> Calendar:
    """The calendar of a board. ZoneInfoNotFoundError: there is no such zone."""
    return Calendar(kept, time_zone)


def widest(several: Iterable[Kept]) -> Kept:
    """As many windows of each kind as any of them keeps: by these an operator counts a record of any time."""
    most: dict[WindowKind, int] = {}
    for kept in several:
        most |= {kind: max(number, most.get(kind, 0)) for kind, number in kept}
    return tuple((kind, most[kind]) for kind in WindowKind if kind in most)


class Kind(NamedTuple):
    """What a shard's row says of one kind: how many windows its games are counted in, and from when on they hold all
    games (unix seconds; None: always). A window that began earlier is incomplete.
    """

    kept: int
    since: float | None = None


KeptSince = Mapping[WindowKind, Kind]


def after_claim(before: KeptSince, kept: Kept, time_zone: str, at: float, max_future_seconds: float) -> KeptSince:
    """What a shard's row says of its windows after a claim at `at` by a worker that keeps `kept`.

    `max_future_seconds`: the most that any rules of the board have allowed a game to be dated ahead of its record.
    """
    calendar = calendar_of(kept, time_zone)
    after: dict[WindowKind, Kind] = {}
    for kind, number in kept:
        had = before.get(kind)
        if had is None:
            after[kind] = Kind(number, at + max_future_seconds + MARGIN_SECONDS)
        elif number > had.kept:
            grown = calendar.begins(kind, had.kept, at + 3_600)  # by then the last worker that kept fewer has ended
            after[kind] = Kind(number, grown if had.since is None else max(had.since, grown))
        else:
            after[kind] = Kind(number, had.since)
    return after


def new_board(kept: Kept) -> KeptSince:
    """What the rows of a board say that has kept these windows from its first game on."""
    return {kind: Kind(number) for kind, number in kept}


def merged(several: Iterable[KeptSince]) -> KeptSince:
    """What is true of the games of all these shards: the kinds that all keep, the fewest windows, the latest time."""
    rows = list(several)
    found: dict[WindowKind, Kind] = {}
    for kind in WindowKind:
        kinds = [row[kind] for row in rows if kind in row]
        if kinds and len(kinds) == len(rows):
            sinces = [each.since for each in kinds if each.since is not None]
            found[kind] = Kind(min(each.kept for each in kinds), max(sinces, default=None))
    return found
