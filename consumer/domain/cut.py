"""Cut: the records of a shard that come next become one commit unit."""

from collections.abc import Callable, Iterable
from decimal import Decimal
from itertools import repeat
from typing import Final, NamedTuple

from consumer.domain.breaker import CLOSED, Circuit
from consumer.domain.corrections import NOT_LOOKED_UP, FindItem, FoundItem, ItemWrite, corrected, poisoned
from consumer.domain.fold import (
    DELTA_BYTES,
    IN_TRANSACTION,
    MOST_WINDOWS,
    NO_DELTA,
    Delta,
    Limits,
    Place,
    Unit,
    WindowSum,
    add_to,
    delta_of_image,
)
from consumer.domain.numbers import EXACT
from consumer.domain.records import IGNORED_CORRECTIONS, Correction, Entry, Game, Outcome, Poison
from consumer.domain.windows import Calendar, calendar_of


class Corrects(NamedTuple):
    """What a unit must know where corrections count: how windows are named, and what was found of index rows.

    `shard_id`: the shard of the records.
    """

    shard_id: str
    calendar: Calendar
    find: FindItem


NOTHING_CORRECTED: Final = Corrects("", calendar_of((), "UTC"), lambda *_: None)
"""Where corrections do not count."""


def cut(
    entries: Iterable[Entry],
    previous: str,
    limits: Limits,
    cut_at: float,
    circuit: Circuit = CLOSED,
    place_of: Callable[[str, float], Place] | None = None,
    corrects: Corrects = NOTHING_CORRECTED,
) -> Unit:
    """The longest unit that starts with the first of `entries` and keeps the limits. It has at least one record.

    `cut_at` is in unix seconds. The unit also ends before a record that would make a player's sum too long for a
    DynamoDB number, before one that would trip the breaker, and before a second record of an item whose index row it
    changes. The caller checks whether the first record trips it. `place_of` (marked writes) says what is known of a
    player's row, given the creation time of the first record; `corrects` what is known of index rows.
    """
    # In one piece: one more call per record would cost as much as the fold itself.
    grown = _Grown(limits, place_of, corrects)
    shares, settled = grown.shares, 0
    ignored: dict[Outcome, int] = {}
    records = 0
    first = newest = None
    had_game = circuit.had_game
    max_records, apart, held = limits.records, limits.apart, limits.held
    recent, breaker = circuit.recent, limits.breaker
    for entry in entries:
        if records == max_records:
            break
        if isinstance(entry, Game):
            player = entry.player
            if player in apart:
                if records:
                    break
                max_records = 1
            if records and player in held:
                break
            share = shares.get(player) or grown.open(player, entry.created, must=not records)
            if share is None:
                break
            if share.newest is None and share.deals_with(entry):
                settled += 1
            elif not share.add(entry):
                break
            had_game = True
            if recent:
                recent = breaker.after(recent, poison=False)
        elif isinstance(entry, Poison):
            flood = recent if circuit.lets_pass(entry) else breaker.after(recent, poison=True)
            if records and breaker.trips(flood, had_game=had_game):
                break
            dealt_with = grown.quarantine(entry, must=not records)
            if dealt_with is None:
                break
            recent = flood
            settled += dealt_with
        elif isinstance(entry, Correction):
            if any(player in apart for player in entry.players):
                if records:
                    break
                max_records = 1
            if records and any(player in held for player in entry.players):
                break
            dealt_with = grown.correct(entry, must=not records)
            if dealt_with is None:
                break
            settled += dealt_with
            if entry.expired:
                ignored[Outcome.EXPIRED] = ignored.get(Outcome.EXPIRED, 0) + (not dealt_with)
            else:
                had_game = True
                recent = breaker.after(recent, poison=False)
                if grown.mended(entry):
                    recent &= recent - 1
        else:
            ignored[entry.outcome] = ignored.get(entry.outcome, 0) + 1
        records += 1
        first, newest = first or entry, entry
    last, created = (newest.sequence_number, newest.created) if newest else (previous, 0.0)
    written = {player: share for player, share in shares.items() if share.newest is not None}
    counts = {
        Outcome.APPLIED: records - len(grown.poison) - settled - sum(ignored.values()),
        Outcome.QUARANTINED: len(grown.poison),
        Outcome.ALREADY_SETTLED: settled,
    } | ignored
    outcomes = {outcome: count for outcome, count in counts.items() if count}
    went_by = not IGNORED_CORRECTIONS.isdisjoint(ignored)  # also where a row shows that its record has ended before
    return Unit(
        previous,
        first.sequence_number if first else "",
        last,
        records,
        {player: share.delta for player, share in written.items()},
        tuple(grown.poison),
        outcomes,
        created,
        cut_at,
        circuit.after(recent, last, had_game=had_game, ignored=went_by),
        newest={} if place_of is None else {player: share.end for player, share in written.items()},
        applied={} if place_of is None else {player: share.records for player, share in written.items()},
        transacted=frozenset(player for player, share in written.items() if share.counted and place_of),
        items=tuple(grown.items.values()),
        not_looked_up=grown.not_looked_up,
    )


class _Grown:
    """A unit as far as it has grown: the share of each player, its quarantine rows and changes of index rows.

    `actions` and `size` are those of its transaction. `must`: a record is the unit's first, so that no limit holds.
    """

    def __init__(self, limits: Limits, place_of: Callable[[str, float], Place] | None, corrects: Corrects) -> None:
        self.shares: dict[str, _Share] = {}
        self.poison: list[Poison] = []
        self.items: dict[str, ItemWrite] = {}
        self.not_looked_up: dict[str, str | None] = {}
        self._limits = limits
        self._place_of = place_of
        self._corrects = corrects
        self._actions = self._size = 0

    def open(self, player: str, created: float, *, must: bool) -> "_Share | None":
        """The share of a player of whom a game counts; None: the unit must end before it."""
        place = self._place_of(player, created) if self._place_of else IN_TRANSACTION
        needed = DELTA_BYTES + 4 * len(player)
        actions = int(place.in_transaction)
        if not must and (place.stops or self._is_too_much(actions, needed)):
            return None
        self._take(actions, needed)
        share = self.shares[player] = _Share(place, counted=place.in_transaction)
        return share

    def quarantine(self, entry: Poison, *, must: bool) -> bool | None:
        """Adds a poison record. Whether it has ended before; None: the unit must end before it."""
        about, rows, item = entry.about, 1 + len(entry.parts), None
        share, stops = None, False
        if self._place_of and entry.player is not None:
            share = self.shares.get(entry.player) or _Share(self._place_of(entry.player, entry.created), counted=False)
            rows += not share.counted
            stops = share.stops
        if about is not None:
            if about.item in self.items:
                return None
            found = None if about.insertion else self._find(about.item, entry.player)
            item = poisoned(entry, found, self._corrects.shard_id)
            rows += item.actions if item is not None else 0
        needed = rows * DELTA_BYTES + sum(map(len, entry.parts))
        if not must and (stops or self._is_too_much(rows, needed)):
            return None
        self._take(rows, needed)
        if share is not None and entry.player is not None:
            share.counted = True
            self.shares[entry.player] = share
            if share.newest is None and share.deals_with(entry):
                return True
            share.newest = entry
        self.poison.append(entry)
        if item is not None:
            self.items[item.item] = item
        return False

    def correct(self, entry: Correction, *, must: bool) -> bool | None:
        """Adds a correction. Whether it has ended before; None: the unit must end before it.

        Its player goes into the transaction with an index row; and where the old image is no game by these rules
        without one, since a worker that reads more may have counted it.
        """
        if entry.item in self.items:
            return None
        share = None
        if self._place_of and entry.player is not None:
            share = self.shares.get(entry.player) or self.open(entry.player, entry.created, must=must)
            if share is None:
                return None
            if share.newest is None and share.deals_with(entry):
                return True
        found = self._find(entry.item, entry.player)
        item = None if found is None else corrected(entry.item, found, expired=entry.expired)
        parts = self._parts(entry, found)
        actions = item.actions if item is not None else 0
        rows = len(parts) or int(item is not None)
        if not must and self._is_too_much(actions + rows, actions * DELTA_BYTES):
            return None
        shares = {player: self.shares.get(player) or self.open(player, entry.created, must=must) for player in parts}
        if share is not None and item is not None and entry.player is not None:
            shares[entry.player] = share
        doubtful = found is None and entry.old is None and not entry.expired
        for player, each in shares.items():
            if each is None or not each.fits(parts.get(player, NO_DELTA)):
                return None
            if (item is not None or doubtful) and not each.counted:
                each.counted = True
                actions += 1
        for player, each in shares.items():
            assert each is not None
            each.correct(entry, parts.get(player))
        self._take(actions, actions * DELTA_BYTES)
        if item is not None:
            self.items[entry.item] = item
        return False

    def mended(self, entry: Correction) -> bool:
        """Whether this correction, which was added last, makes up for a record in quarantine."""
        item = self.items.get(entry.item)
        return item is not None and item.supersedes

    def _find(self, item: str, player: str | None) -> FoundItem | None:
        found = self._corrects.find(item, player)
        if found is not NOT_LOOKED_UP:
            return found
        self.not_looked_up[item] = player
        return None

    def _parts(self, entry: Correction, found: FoundItem | None) -> dict[str, Delta]:
        """What the correction adds to the rows of players: its new image, less what is counted of its item."""
        counted = entry.old if found is None else found.row.counted
        parts: dict[str, Delta] = {}
        if entry.expired or entry.new == counted:
            return parts
        for image, sign in ((entry.new, 1), (counted, -1)):
            if image is not None:
                add_to(parts, image.player, delta_of_image(image, sign, entry.created, self._corrects.calendar))
        return parts

    def _is_too_much(self, actions: int, size: int) -> bool:
        limits = self._limits
        return (actions > 0 and self._actions + actions > limits.actions) or self._size + size > limits.size_bytes

    def _take(self, actions: int, size: int) -> None:
        self._actions += actions
        self._size += size


class _Share:
    """The records of one player in a unit that still grows. `counted`: its row is an action of the transaction.

    `newest` is the last record that is not dealt with: those after it have higher numbers. `records` counts those that
    are in the sums. `windows` are those of every game, as nearly always; when games differ, and with corrections,
    `sums` has games and score of each window.
    """

    __slots__ = (
        "counted", "date", "dealt_with_to", "games", "newest", "records", "stops", "sums", "total", "windows",
    )  # fmt: skip

    def __init__(self, place: Place, *, counted: bool) -> None:
        self.dealt_with_to, self.stops, self.counted = place.dealt_with_to, place.stops, counted
        self.records = self.games = 0
        self.total, self.date = NOTHING, ""
        self.newest: Game | Correction | Poison | None = None
        self.windows: tuple[str, ...] = ()
        self.sums: dict[str, tuple[int, Decimal]] | None = None

    def deals_with(self, entry: Game | Correction | Poison) -> bool:
        """Whether the player's row shows that the record has ended."""
        return self.dealt_with_to >= 0 and int(entry.sequence_number) <= self.dealt_with_to

    @property
    def end(self) -> tuple[str, float]:
        """Number and creation time of the newest record."""
        assert self.newest is not None
        return self.newest.sequence_number, self.newest.created

    @property
    def delta(self) -> Delta:
        """The sum of the games. Windows to which corrections have added nothing are left out."""
        if self.sums is None:
            windows = tuple(WindowSum(window, self.games, self.total) for window in self.windows)
        else:
            sums = self.sums
            windows = tuple(WindowSum(window, *sums[window]) for window in sorted(sums) if any(sums[window]))
        return Delta(self.games, self.total, self.date, windows)

    def add(self, game: Game) -> bool:
        """Adds one game. False, and nothing is added, when no DynamoDB number can hold a sum exactly, or when the
        games are of more windows than one write takes.
        """
        if self.records:
            try:
                total = EXACT.add(self.total, game.score)
                if game.windows is not self.windows or self.sums is not None:
                    self.sums = self._sums_with(zip(game.windows, repeat(1), repeat(game.score)))
            except ArithmeticError:
                return False
            self.total = total
        else:
            self.total, self.windows = game.score, game.windows
        self.newest = game
        self.records += 1
        self.games += 1
        if game.date > self.date:
            self.date = game.date
        return True

    def fits(self, delta: Delta) -> bool:
        """Whether a correction's part can be added: see `add`. The first one always can: DynamoDB may refuse it."""
        if not self.records:
            return True
        try:
            EXACT.add(self.total, delta.total)
            self._sums_with(delta.windows)
        except ArithmeticError:
            return False
        return True

    def correct(self, entry: Correction, part: Delta | None) -> None:
        """Adds a correction's part; None: it has none for this player, whose mark alone moves."""
        self.newest = entry
        if part is None:
            return
        self.sums = self._sums_with(part.windows)
        self.total = EXACT.add(self.total, part.total) if self.records else part.total
        self.records += 1
        self.games += part.games
        self.date = max(self.date, part.date)

    def _sums_with(self, more: Iterable[tuple[str, int, Decimal]]) -> dict[str, tuple[int, Decimal]]:
        """The sums of all windows with some more. ArithmeticError: they cannot be written."""
        before = self.sums
        if before is None:
            before = dict.fromkeys(self.windows, (self.games, self.total))
        changed = {}
        for window, games, total in more:
            had = before.get(window)
            changed[window] = (games, total) if had is None else (had[0] + games, EXACT.add(had[1], total))
        after = before | changed
        if len(after) > MOST_WINDOWS:
            raise OverflowError
        return after


NOTHING: Final = Decimal(0)
