"""Fold: consecutive records of one shard become one commit unit with one delta per player."""

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from decimal import Context, Decimal
from typing import Final, NamedTuple

from consumer.domain.breaker import CLOSED, Breaker, Circuit
from consumer.domain.records import EXACT, Entry, Game, Outcome, Poison

MAX_ACTIONS: Final = 100
"""Actions that one TransactWriteItems may hold. Source: its API reference."""
MAX_UNIT_BYTES: Final = 3_500_000
"""Bytes of data in one transaction. It may hold 4 MB; the rest is for names, keys and expressions. Source: as above."""
MOST_WINDOWS: Final = 36
"""Windows of one row that a write adds to, or removes. Expressions have at most 4 KB. Source: as above."""
DELTA_BYTES: Final = 400
"""About how many bytes a delta takes in a transaction, besides the player's id."""


class WindowSum(NamedTuple):
    """What a delta adds to one window of a row."""

    window: str
    games: int
    total: Decimal


class Delta(NamedTuple):
    """What a unit adds to one player's row. `total` is exact; `date` is the newest game's, empty without games.

    `windows` are the parts of it that count in windows, in the order of their names.
    """

    games: int
    total: Decimal
    date: str
    windows: tuple[WindowSum, ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        """Those of its windows."""
        return tuple([each.window for each in self.windows])


_WIDE: Final = Context(prec=400)
"""Enough digits for the exact sum of any numbers that DynamoDB can hold."""


def add_to(deltas: dict[str, Delta], player: str, more: Delta) -> None:
    """Adds to a player's delta, exactly: DynamoDB may refuse the sum, nothing rounds it."""
    before = deltas.get(player, Delta(0, Decimal(0), more.date))
    windows = {each.window: each for each in before.windows}
    for window, games, total in more.windows:
        had = windows.get(window, WindowSum(window, 0, Decimal(0)))
        windows[window] = WindowSum(window, had.games + games, _WIDE.add(had.total, total))
    deltas[player] = Delta(
        before.games + more.games,
        _WIDE.add(before.total, more.total),
        max(before.date, more.date),
        tuple(windows[window] for window in sorted(windows)),
    )


def delta_of(game: Game) -> Delta:
    """What one game adds."""
    return Delta(1, game.score, game.date, tuple(WindowSum(window, 1, game.score) for window in game.windows))


class Place(NamedTuple):
    """What is known of a player's row before a unit is cut: up to where the player's records are dealt with.

    `dealt_with_to`: a sequence number as a number; -1: none, inf: all. `in_transaction`: the player's records need an
    action of the transaction. `stops`: the unit must end before them.
    """

    dealt_with_to: float = -1
    in_transaction: bool = True
    stops: bool = False


IN_TRANSACTION: Final = Place()


@dataclass(frozen=True, slots=True)
class Unit:
    """What is committed together: consecutive records of one shard, from `first` to `last`, both included.

    `previous` is the checkpoint before them. `records` counts all of them, ignored ones too. `created` is when the last
    record was created and `cut_at` when the unit was cut, both in unix seconds. `circuit` is the shard's circuit after
    them.

    With marks `newest` has each player's newest record that is not dealt with, and its creation time; a player whose
    records are all poison then has an empty delta.
    """

    previous: str
    first: str
    last: str
    records: int
    deltas: Mapping[str, Delta]
    poison: tuple[Poison, ...]
    outcomes: Mapping[Outcome, int]
    created: float
    cut_at: float
    circuit: Circuit = CLOSED
    newest: Mapping[str, tuple[str, float]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Limits:
    """What a unit may hold. `actions` are those left beside the transaction's own (the lease row, a gap row).

    A game of a player in `apart` becomes a unit of its own, so that its failure delays no other game. A game of a
    player in `held`, who is locked by another unit in flight, ends the unit unless it is the first record.
    """

    actions: int = MAX_ACTIONS - 2
    size_bytes: int = MAX_UNIT_BYTES
    records: int | None = None
    apart: Collection[str] = ()
    held: Collection[str] = ()
    breaker: Breaker = Breaker()  # noqa: RUF009  it is frozen


def cut(
    entries: Iterable[Entry],
    previous: str,
    limits: Limits,
    cut_at: float,
    circuit: Circuit = CLOSED,
    place_of: Callable[[str, float], Place] | None = None,
) -> Unit:
    """The longest unit that starts with the first of `entries` and keeps the limits. It has at least one record.

    `cut_at` is in unix seconds. The unit also ends before a record that would make a player's sum too long for a
    DynamoDB number, and before one that would trip the breaker. The caller checks whether the first record trips it.
    `place_of` (marked writes) says what is known of a player's row, given the creation time of the first record.
    """
    # In one piece: one more call per record would cost as much as the fold itself.
    shares: dict[str, _Share] = {}
    poison: list[Poison] = []
    ignored: dict[Outcome, int] = {}
    actions = size = records = settled = 0
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
            share = shares.get(player)
            if share is None:
                place = place_of(player, entry.created) if place_of else IN_TRANSACTION
                needed = DELTA_BYTES + 4 * len(player)
                too_much = (actions >= limits.actions and place.in_transaction) or size + needed > limits.size_bytes
                if records and (too_much or place.stops):
                    break
                actions += place.in_transaction
                size += needed
                share = shares[player] = _Share(place, counted=place.in_transaction)
            if share.newest is None and share.deals_with(entry):
                settled += 1
            elif not share.add(entry):
                break
            had_game = True
            if recent:
                recent = breaker.after(recent, poison=False)
        elif isinstance(entry, Poison):
            flood = recent if circuit.lets_pass(entry) else breaker.after(recent, poison=True)
            rows = 1 + len(entry.parts)
            share, stops = None, False
            if place_of and entry.player is not None:
                share = shares.get(entry.player) or _Share(place_of(entry.player, entry.created), counted=False)
                rows += not share.counted
                stops = share.stops
            needed = rows * DELTA_BYTES + sum(map(len, entry.parts))
            too_much = actions + rows > limits.actions or size + needed > limits.size_bytes
            if records and (too_much or stops or breaker.trips(flood, had_game=had_game)):
                break
            recent = flood
            actions += rows
            size += needed
            if share is not None and entry.player is not None:
                share.counted = True
                shares[entry.player] = share
            if share is not None and share.newest is None and share.deals_with(entry):
                settled += 1
            else:
                poison.append(entry)
                if share is not None:
                    share.newest = entry
        else:
            ignored[entry.outcome] = ignored.get(entry.outcome, 0) + 1
        records += 1
        first, newest = first or entry, entry
    last, created = (newest.sequence_number, newest.created) if newest else (previous, 0.0)
    written = {player: share for player, share in shares.items() if share.newest is not None}
    deltas = {player: its.delta for player, its in written.items()}
    counts = {
        Outcome.APPLIED: sum(delta.games for delta in deltas.values()),
        Outcome.QUARANTINED: len(poison),
        Outcome.ALREADY_SETTLED: settled,
    } | ignored
    outcomes = {outcome: count for outcome, count in counts.items() if count}
    return Unit(
        previous,
        first.sequence_number if first else "",
        last,
        records,
        deltas,
        tuple(poison),
        outcomes,
        created,
        cut_at,
        circuit.after(recent, last, had_game=had_game, ignored=Outcome.IGNORED in ignored),
        newest={} if place_of is None else {player: share.end for player, share in written.items()},
    )


class _Share:
    """The records of one player in a unit that still grows. `counted`: its row is an action of the transaction.

    `newest` is the last record that is not dealt with: those after it have higher numbers. `windows` are those of every
    game, as nearly always; when games differ, `sums` has games and score of each window.
    """

    __slots__ = ("counted", "date", "dealt_with_to", "games", "newest", "stops", "sums", "total", "windows")

    def __init__(self, place: Place, *, counted: bool) -> None:
        self.dealt_with_to, self.stops, self.counted = place.dealt_with_to, place.stops, counted
        self.games, self.total, self.date = 0, NOTHING, ""
        self.newest: Game | Poison | None = None
        self.windows: tuple[str, ...] = ()
        self.sums: dict[str, tuple[int, Decimal]] | None = None

    def deals_with(self, entry: Game | Poison) -> bool:
        """Whether the player's row shows that the record has ended."""
        return self.dealt_with_to >= 0 and int(entry.sequence_number) <= self.dealt_with_to

    @property
    def end(self) -> tuple[str, float]:
        """Number and creation time of the newest record."""
        assert self.newest is not None
        return self.newest.sequence_number, self.newest.created

    @property
    def delta(self) -> Delta:
        """The sum of the games."""
        if self.sums is None:
            windows = tuple(WindowSum(window, self.games, self.total) for window in self.windows)
        else:
            windows = tuple(WindowSum(window, *self.sums[window]) for window in sorted(self.sums))
        return Delta(self.games, self.total, self.date, windows)

    def add(self, game: Game) -> bool:
        """Adds one game. False, and nothing is added, when no DynamoDB number can hold a sum exactly, or when the
        games are of more windows than one write takes.
        """
        if self.games:
            try:
                total = EXACT.add(self.total, game.score)
                if game.windows is not self.windows or self.sums is not None:
                    self.sums = self._sums_with(game)
            except ArithmeticError:
                return False
            self.total = total
        else:
            self.total, self.windows = game.score, game.windows
        self.newest = game
        self.games += 1
        if game.date > self.date:
            self.date = game.date
        return True

    def _sums_with(self, game: Game) -> dict[str, tuple[int, Decimal]]:
        """The sums of all windows after one more game. ArithmeticError: they cannot be written."""
        before = self.sums
        if before is None:
            before = dict.fromkeys(self.windows, (self.games, self.total))
        changed = {}
        for window in game.windows:
            games, total = before.get(window, (0, NOTHING))
            changed[window] = games + 1, EXACT.add(total, game.score)
        after = before | changed
        if len(after) > MOST_WINDOWS:
            raise OverflowError
        return after


NOTHING: Final = Decimal(0)
