"""Fold: consecutive records of one shard become one commit unit with one delta per player."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Final, NamedTuple

from consumer.domain.breaker import CLOSED, Breaker, Circuit
from consumer.domain.corrections import ItemWrite
from consumer.domain.numbers import WIDE
from consumer.domain.records import Game, Image, Outcome, Poison, windows_of
from consumer.domain.windows import Calendar

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
    def adds(self) -> bool:
        """Whether it changes the row: not if it is of poison alone, or of corrections that undo each other."""
        return bool(self.games or self.total or self.date or self.windows)

    @property
    def names(self) -> tuple[str, ...]:
        """Those of its windows."""
        return tuple([each.window for each in self.windows])


NO_DELTA: Final = Delta(0, Decimal(0), "")


def add_to(deltas: dict[str, Delta], player: str, more: Delta) -> None:
    """Adds to a player's delta, exactly: DynamoDB may refuse the sum, nothing rounds it."""
    before = deltas.get(player, Delta(0, Decimal(0), more.date))
    windows = {each.window: each for each in before.windows}
    for window, games, total in more.windows:
        had = windows.get(window, WindowSum(window, 0, Decimal(0)))
        windows[window] = WindowSum(window, had.games + games, WIDE.add(had.total, total))
    deltas[player] = Delta(
        before.games + more.games,
        WIDE.add(before.total, more.total),
        max(before.date, more.date),
        tuple(windows[window] for window in sorted(windows)),
    )


def delta_of_image(image: Image, sign: int, created: float, calendar: Calendar) -> Delta:
    """What an image adds, or with the sign -1 takes away, seen from when its record was created (unix seconds)."""
    score = image.score if sign > 0 else image.score.copy_negate()
    windows = windows_of(image.played, calendar, created)
    date = image.played[0] if sign > 0 else ""
    return Delta(sign, score, date, tuple(WindowSum(window, sign, score) for window in windows))


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

    `items` are the changes of index rows (see domain.corrections) that must be in the transaction. `not_looked_up`:
    items whose index rows were not known, with their players: the unit must be cut again when they are.

    With marks `newest` has each player's newest record that is not dealt with, and its creation time; a player whose
    records are all poison then has an empty delta. `applied` counts each player's records in the delta. `transacted`:
    players whose rows must be in the transaction.
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
    applied: Mapping[str, int] = field(default_factory=dict)
    transacted: frozenset[str] = frozenset()
    items: tuple[ItemWrite, ...] = ()
    not_looked_up: Mapping[str, str | None] = field(default_factory=dict)


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
