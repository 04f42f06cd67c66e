"""Verification: what a board must say by its games, when that can be said, and what cannot be proven on a board.

Moments are the server's, in unix seconds: no worker's clock is believed. Why the margins are needed: docs/verify.md.
"""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from enum import StrEnum
from typing import Final, NamedTuple

from consumer.domain.fold import Delta
from consumer.domain.leases import LeaseRow, Ledger, Shard, StreamStart, enabled_at, is_sequence_number
from consumer.domain.lineage import RETENTION_SECONDS, late_shards
from consumer.domain.operator_ports import BoardState, Gap, TableFacts
from consumer.domain.records import UNKNOWN_CREATION, Corrections, Rules
from consumer.domain.replies import StreamListing
from consumer.domain.text import many
from consumer.domain.windows import GAMES, SCORE, Calendar, Kind, WindowKind, calendar_of, kind_of

MARGIN_SECONDS: Final = 5.0
"""A record that was created so long after a moment follows all that were written before it: creation times are rounded,
and the clocks behind them differ.
"""
SETTLING_SECONDS: Final = 60.0
"""After so long a stream shows what was written, and lists every shard that was opened."""
SURE_PAGES: Final = 4
"""So many consecutive empty pages never come before a record."""
WINDOW_MARGIN_SECONDS: Final = 60.0
"""A window that expires so soon is left out: a row may have dropped it by the creation time of a record."""
AHEAD: Final = 3
"""Windows that have not begun yet, of those that games may count in which are dated ahead."""
BORN_SECONDS: Final = 2.0
"""A stream that is so little younger than its table was made with it: nothing can be written to a table sooner."""


class Verdict(StrEnum):
    """What `verify` concludes."""

    EQUAL = "equal"
    DIFFERENT = "different"
    UNDECIDED = "undecided"

    @property
    def exit_code(self) -> int:
        """The exit code of `verify`."""
        return {Verdict.EQUAL: 0, Verdict.DIFFERENT: 8, Verdict.UNDECIDED: 9}[self]


class Assumption(StrEnum):
    """What an operator may say where the tables cannot show it."""

    EMPTY_START = "empty-start"
    """The source table had no items when the board began."""
    NO_CORRECTIONS = "no-corrections"
    """No item was ever changed or removed."""


class CaveatCode(StrEnum):
    """What cannot be proven on a board, as a stable code."""

    BEFORE_START = "before_start"
    CORRECTIONS_IGNORED = "corrections_ignored"
    ITEMS_EXPIRED = "items_expired"
    GAPS = "gaps"
    WINDOWS_INCOMPLETE = "windows_incomplete"
    RULES_CHANGED = "rules_changed"


class Caveat(NamedTuple):
    """What cannot be proven on this board. `blocks`: nothing can be said of any player then."""

    code: CaveatCode
    sentence: str
    blocks: bool = False


class Field(NamedTuple):
    """A field of a player's row that is not what the games say. None: the row has no such attribute, or no number."""

    name: str
    board: Decimal | str | None
    games: Decimal | str | None


def compare(
    stored: BoardState | None, played: Delta | None, counted: Callable[[str], bool], *, corrected: bool = False
) -> tuple[Field, ...]:
    """The fields in which a row differs from the games. `counted`: whether a window is compared.

    `corrected`: items may have been changed or removed, so the last date may be that of a game that is not there now.
    """
    row = stored or BoardState("", Decimal(0), Decimal(0), None, {}, b"")
    sums = played or Delta(0, Decimal(0), "")
    pairs: list[Field] = [
        Field("gamesPlayed", row.games, Decimal(sums.games)),
        Field("totalScore", row.total, sums.total),
    ]
    if not corrected or (row.date or "") < sums.date:
        pairs.append(Field("lastPlayedDate", row.date, sums.date or None))
    windows = {window: (Decimal(games), total) for window, games, total in sums.windows}
    for window in sorted(filter(counted, windows.keys() | row.windows.keys())):
        shown, right = row.windows.get(window, _NOTHING), windows.get(window, _NOTHING)
        pairs += [Field(window + GAMES, shown[0], right[0]), Field(window + SCORE, shown[1], right[1])]
    return tuple(pair for pair in pairs if pair.board != pair.games)


_NOTHING: Final = (Decimal(0), Decimal(0))


def passed(row: LeaseRow, moment: float) -> bool:
    """Whether the shard's row alone shows that all that was written to it by `moment` has been dealt with.

    The children of a finished shard have rows of their own.
    """
    if row.finished:
        return True
    if not is_sequence_number(row.checkpoint) or row.created is None or row.created >= UNKNOWN_CREATION:
        return False
    return row.created >= moment + MARGIN_SECONDS


def quiet(asked: Sequence[float], moment: float) -> bool:
    """Whether empty pages behind the checkpoint show the same. `asked`: when those were asked for that came last."""
    return len(asked) >= SURE_PAGES and asked[-SURE_PAGES] >= moment + SETTLING_SECONDS


def every_shard_known(listing: StreamListing, ledger: Ledger, moment: float) -> bool:
    """Whether the ledger knows every shard of the stream that can hold what was written by `moment`.

    A child may be listed later than its sibling: then its parent is finished, and no row says that there is more. So
    may a root of a stream that has just been started.
    """
    late = late_shards(listing, ledger, {})
    if late.adoptions or late.orphans:
        return False
    if listing.served_at >= moment + SETTLING_SECONDS:
        return True
    start = ledger.stream_start(listing.stream_arn)
    if start is None or start.started_at is None or start.started_at > listing.served_at - SETTLING_SECONDS:
        return False
    rows = {row.shard: row for row in ledger.rows if row.shard.stream_arn == listing.stream_arn}
    return all(_ended_before(row, rows, listing.served_at - SETTLING_SECONDS) for row in rows.values() if row.finished)


def _ended_before(row: LeaseRow, rows: Mapping[Shard, LeaseRow], moment: float) -> bool:
    """The epoch of a child's row begins with the seconds since 1970 at which its parent ended, and only grows."""
    if row.unlisted_since is not None:
        return True
    children = [rows.get(Shard(row.shard.stream_arn, child)) for child in row.children]
    return any(child is not None and child.epoch <= moment for child in children)


@dataclass(frozen=True, slots=True)
class Compared:
    """Which windows are compared: those that are kept at `at` and complete. `left_out` says which are not, and why."""

    calendar: Calendar
    since: Mapping[WindowKind, Kind]
    at: float
    left_out: tuple[str, ...] = ()

    def counts(self, window: str) -> bool:
        """Whether this one is compared."""
        kind = kind_of(window)
        if kind not in self.since or self.calendar.expired((window,), self.at + WINDOW_MARGIN_SECONDS):
            return False
        return window not in self.left_out


def compared_windows(rules: Rules, rows: Iterable[LeaseRow], at: float) -> Compared:
    """What is compared of the windows of a board. Of a kind that some unfinished shard does not keep: nothing."""
    open_rows = [row.windows for row in rows if not row.finished]
    calendar = calendar_of(rules.windows, rules.time_zone)
    since: dict[WindowKind, Kind] = {}
    left_out: list[str] = []
    for kind, number in rules.windows:
        kinds = [windows[kind] for windows in open_rows if kind in windows]
        if not kinds or len(kinds) < len(open_rows):
            left_out += [_nth(rules, kind, back, at) for back in range(number)]
            continue
        begun = [each.since for each in kinds if each.since is not None]
        since[kind] = Kind(min([number, *(each.kept for each in kinds)]), max(begun, default=None))
        for back in range(-AHEAD, number):
            first = calendar.begins(kind, back + 1, at)
            late = begun and first < max(begun)
            if late or back >= since[kind].kept:
                left_out.append(_nth(rules, kind, back, at))
    return Compared(calendar, since, at, tuple(left_out))


def _nth(rules: Rules, kind: WindowKind, back: int, at: float) -> str:
    """The name of the window so many before the present one; below 0: after it."""
    (name,) = calendar_of(((kind, back + 1),), rules.time_zone).oldest(at)
    return name


def same_reading(first: Rules, second: Rules) -> bool:
    """Whether both read the same game from an item; which windows it counts in is another matter."""
    return _without_windows(first) == _without_windows(second)


def _without_windows(rules: Rules) -> tuple[object, ...]:
    return (
        rules.player_attribute,
        rules.score_attribute,
        rules.timestamp_attribute,
        rules.timestamp_format,
        rules.time_zone,
    )


@dataclass(frozen=True, slots=True)
class Known:
    """What the tables show of a board, before its games are read."""

    ledger: Ledger
    source: TableFacts
    gaps: tuple[Gap, ...] = ()
    assumed: Collection[Assumption] = field(default_factory=frozenset)


def caveats(known: Known, compared: Compared) -> tuple[Caveat, ...]:
    """What cannot be proven on this board."""
    found = [
        _before_start(known),
        corrections_ignored(known.ledger, known.assumed),
        _lost(known.gaps),
        _incomplete(compared),
        _rules_changed(known.ledger),
    ]
    return tuple(caveat for caveat in found if caveat is not None)


def _before_start(known: Known) -> Caveat | None:
    if Assumption.EMPTY_START in known.assumed:
        return None
    first = min(known.ledger.stream_starts, key=lambda start: start.stream_arn)
    if begun_empty(first, known.source):
        return None
    where = "the trim horizon" if first.start_time is None else _time(first.start_time)
    return Caveat(
        CaveatCode.BEFORE_START,
        f"The board counts from {where}, and no back-fill has run: games from before are in the source table and "
        "rightly not on the board. Nothing shows that there are none. If the table was empty then, say so: "
        f"--assume {Assumption.EMPTY_START}",
        blocks=True,
    )


def begun_empty(first: StreamStart, source: TableFacts) -> bool:
    """Whether every item that the source ever had is in its first stream, which was read from its first record."""
    enabled = enabled_at(first.stream_arn)
    if enabled is None or source.created_at is None or first.start_time is not None or first.started_at is None:
        return False
    in_time = first.started_at - enabled < RETENTION_SECONDS - 1_800
    return in_time and abs(enabled - source.created_at) <= BORN_SECONDS


def corrects(rules: Rules | None) -> bool:
    """Whether changes and removals of items count."""
    return rules is not None and rules.corrections is Corrections.APPLY


def corrections_ignored(ledger: Ledger, assumed: Collection[Assumption] = ()) -> Caveat | None:
    """Items that were changed or removed rightly differ from what was counted."""
    where = [row.shard for row in ledger.rows if row.circuit.ignored]
    expired = corrects(ledger.accepted.newest)
    if not where or (Assumption.NO_CORRECTIONS in assumed and not expired):
        return None
    if expired:
        return Caveat(
            CaveatCode.ITEMS_EXPIRED,
            f"In {many(len(where), 'shard')} or before them items were removed because their time to live was over: "
            "their games rightly stay on the board, and the source table has them no more",
            blocks=True,
        )
    return Caveat(
        CaveatCode.CORRECTIONS_IGNORED,
        f"Changes or removals of items were ignored by rule in {many(len(where), 'shard')} or before them, or an "
        "older version counted, which did not note it: such items rightly differ from what was counted. If no item "
        f"was ever changed or removed, say so: --assume {Assumption.NO_CORRECTIONS}",
        blocks=True,
    )


def _lost(gaps: Sequence[Gap]) -> Caveat | None:
    if not gaps:
        return None
    unseen = sum(gap.acknowledged is None for gap in gaps)
    return Caveat(
        CaveatCode.GAPS,
        f"Records may have been lost in {many(len(gaps), 'gap')}, of which {unseen:,} are not acknowledged: games that "
        "were lost there are missing from the board. Next: `consumer gaps list`",
    )


def _incomplete(compared: Compared) -> Caveat | None:
    if not compared.left_out:
        return None
    return Caveat(
        CaveatCode.WINDOWS_INCOMPLETE,
        f"These windows are incomplete, and are not compared: {', '.join(compared.left_out)}",
    )


def _rules_changed(ledger: Ledger) -> Caveat | None:
    entries = ledger.accepted.entries
    if all(same_reading(entries[-1], each) for each in entries):
        return None
    return Caveat(
        CaveatCode.RULES_CHANGED,
        "Records were read by several rules: players with items that these read differently are undecided",
    )


def _time(unix: float) -> str:
    return datetime.fromtimestamp(unix, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
