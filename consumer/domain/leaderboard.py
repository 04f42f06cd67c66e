"""Fold: consecutive records of one shard become one commit unit with one delta a player."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Final, NamedTuple

from consumer.domain.breaker import CLOSED, Breaker, Circuit
from consumer.domain.records import EXACT, Entry, Game, Outcome, Poison

MAX_ACTIONS: Final = 100
"""Actions of one TransactWriteItems. Source: its API reference."""
MAX_UNIT_BYTES: Final = 3_500_000
"""What we put into a transaction; it may hold 4 MB. The rest is for names, keys and expressions."""


class Delta(NamedTuple):
    """What a unit adds to one player's row. `date` is the newest game's; `total` is exact."""

    games: int
    total: Decimal
    date: str


@dataclass(frozen=True, slots=True)
class Unit:
    """A run of consecutive records of one shard, just after `previous`, from `first` up to and including `last`.

    `records` counts them all, ignored ones included; `cut_at` is in unix seconds; `created` is the last record's.
    `circuit` is the breaker's as it is after them.
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


@dataclass(frozen=True, slots=True)
class Limits:
    """What a unit may hold. `actions` leaves out what the transaction needs besides (the lease row, a gap row).

    A record of a player who is kept `apart` is a unit of its own, so that its neighbours do not suffer with it. One of
    a `busy` player, who is in another unit under way, ends the unit unless it is the first.
    """

    actions: int = MAX_ACTIONS - 2
    size_bytes: int = MAX_UNIT_BYTES
    records: int | None = None
    apart: Collection[str] = ()
    busy: Collection[str] = ()
    breaker: Breaker = Breaker()  # noqa: RUF009  it is frozen


DELTA_BYTES: Final = 400
"""About what a delta takes in a transaction besides the player's id."""


def cut(entries: Iterable[Entry], previous: str, limits: Limits, cut_at: float, circuit: Circuit = CLOSED) -> Unit:
    """The longest unit that begins with the first of `entries` and keeps the limits; at least one record.

    A sum that 38 digits or the number range cannot hold ends the unit before the record that would make it so, and so
    does a record that would trip the breaker. Whether the first one does is for the caller to ask.
    """
    # In one piece: a call a record would cost as much as the fold itself.
    sums: dict[str, _Sum] = {}
    poison: list[Poison] = []
    ignored: dict[Outcome, int] = {}
    actions = size = records = 0
    first = newest = None
    most, apart, busy = limits.records, limits.apart, limits.busy
    recent, breaker = circuit.recent, limits.breaker
    for entry in entries:
        if records == most:
            break
        if isinstance(entry, Game):
            player = entry.player
            if player in apart:
                if records:
                    break
                most = 1
            if records and player in busy:
                break
            known = sums.get(player)
            if known is None:
                needed = DELTA_BYTES + 4 * len(player)
                if records and (actions >= limits.actions or size + needed > limits.size_bytes):
                    break
                actions += 1
                size += needed
                sums[player] = _Sum(entry)
            elif not known.add(entry):
                break
            if recent:
                recent = breaker.after(recent, poison=False)
        elif isinstance(entry, Poison):
            flood = recent if circuit.frees(entry) else breaker.after(recent, poison=True)
            rows = 1 + len(entry.parts)
            needed = rows * DELTA_BYTES + sum(map(len, entry.parts))
            too_much = actions + rows > limits.actions or size + needed > limits.size_bytes
            if records and (too_much or breaker.trips(flood)):
                break
            recent = flood
            actions += rows
            size += needed
            poison.append(entry)
        else:
            ignored[entry.outcome] = ignored.get(entry.outcome, 0) + 1
        records += 1
        first, newest = first or entry, entry
    last, created = (newest.sequence_number, newest.created) if newest else (previous, 0.0)
    deltas = {player: Delta(known.games, known.total, known.date) for player, known in sums.items()}
    counts = {
        Outcome.APPLIED: sum(delta.games for delta in deltas.values()),
        Outcome.QUARANTINED: len(poison),
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
        circuit.after(recent, last),
    )


class _Sum:
    """One player's games of a unit that grows."""

    __slots__ = ("date", "games", "total")

    def __init__(self, game: Game) -> None:
        self.games, self.total, self.date = 1, game.score, game.date

    def add(self, game: Game) -> bool:
        """False, and nothing added, when no number can hold the sum."""
        try:
            self.total = EXACT.add(self.total, game.score)
        except ArithmeticError:
            return False
        self.games += 1
        if game.date > self.date:
            self.date = game.date
        return True
