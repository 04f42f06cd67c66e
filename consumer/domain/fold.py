"""Fold: consecutive records of one shard become one commit unit with one delta per player."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Final, NamedTuple

from consumer.domain.breaker import CLOSED, Breaker, Circuit
from consumer.domain.records import EXACT, Entry, Game, Outcome, Poison

MAX_ACTIONS: Final = 100
"""Actions that one TransactWriteItems may hold. Source: its API reference."""
MAX_UNIT_BYTES: Final = 3_500_000
"""Bytes of data in one transaction. It may hold 4 MB; the rest is for names, keys and expressions. Source: as above."""
DELTA_BYTES: Final = 400
"""About how many bytes a delta takes in a transaction, besides the player's id."""


class Delta(NamedTuple):
    """What a unit adds to one player's row. `total` is exact; `date` is the newest game's."""

    games: int
    total: Decimal
    date: str


@dataclass(frozen=True, slots=True)
class Unit:
    """What one transaction commits: consecutive records of one shard, from `first` to `last`, both included.

    `previous` is the checkpoint before them. `records` counts all of them, ignored ones too. `created` is when the last
    record was created and `cut_at` when the unit was cut, both in unix seconds. `circuit` is the shard's circuit after
    them. `first_game`: its games are the first of the shard's lineage.
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
    first_game: bool = False


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


def cut(entries: Iterable[Entry], previous: str, limits: Limits, cut_at: float, circuit: Circuit = CLOSED) -> Unit:
    """The longest unit that starts with the first of `entries` and keeps the limits. It has at least one record.

    `cut_at` is in unix seconds. The unit also ends before a record that would make a player's sum too long for a
    DynamoDB number, and before one that would trip the breaker. The caller checks whether the first record trips it.
    """
    # In one piece: one more call per record would cost as much as the fold itself.
    sums: dict[str, _PlayerSum] = {}
    poison: list[Poison] = []
    ignored: dict[Outcome, int] = {}
    actions = size = records = 0
    first = newest = None
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
            player_sum = sums.get(player)
            if player_sum is None:
                needed = DELTA_BYTES + 4 * len(player)
                if records and (actions >= limits.actions or size + needed > limits.size_bytes):
                    break
                actions += 1
                size += needed
                sums[player] = _PlayerSum(entry)
            elif not player_sum.add(entry):
                break
            if recent:
                recent = breaker.after(recent, poison=False)
        elif isinstance(entry, Poison):
            flood = recent if circuit.lets_pass(entry) else breaker.after(recent, poison=True)
            rows = 1 + len(entry.parts)
            needed = rows * DELTA_BYTES + sum(map(len, entry.parts))
            too_much = actions + rows > limits.actions or size + needed > limits.size_bytes
            if records and (too_much or breaker.trips(flood, had_game=circuit.had_game or bool(sums))):
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
    deltas = {player: Delta(its.games, its.total, its.date) for player, its in sums.items()}
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
        circuit.after(recent, last, had_game=circuit.had_game or bool(sums)),
        first_game=bool(sums) and not circuit.had_game,
    )


class _PlayerSum:
    """The games of one player in a unit that still grows."""

    __slots__ = ("date", "games", "total")

    def __init__(self, game: Game) -> None:
        self.games, self.total, self.date = 1, game.score, game.date

    def add(self, game: Game) -> bool:
        """Adds one game. False, and nothing is added, when no DynamoDB number can hold the sum exactly."""
        try:
            self.total = EXACT.add(self.total, game.score)
        except ArithmeticError:
            return False
        self.games += 1
        if game.date > self.date:
            self.date = game.date
        return True
