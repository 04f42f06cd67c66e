"""What must be counted of each item, by what became of its records: the oracle of correcting runs.

Of each life of an item the last image counts that was applied or re-driven; after an applied removal none; an expired
life keeps its own. It reckons with lives alone: no old image, and no row of the tables, is asked.
"""

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from decimal import Context, Decimal
from enum import StrEnum
from typing import Final, NamedTuple

from consumer.domain.quarantine import EntryState

WIDE: Final = Context(prec=400)


class Worth(NamedTuple):
    """What an image counts."""

    player: str
    score: Decimal
    date: str


class Change(StrEnum):
    """What a record says of its item."""

    INSERTED = "inserted"
    MODIFIED = "modified"
    REMOVED = "removed"
    EXPIRED = "expired"


@dataclass
class Life:
    """An item from its insertion to its removal. `real`: what is counted was counted from a record, not before them."""

    counted: Worth | None = None
    over: bool = False
    real: bool = True


@dataclass
class ItemState:
    """`last`: the number of the last record, if that went into quarantine."""

    life: Life = field(default_factory=Life)
    begun: bool = False
    last: int | None = None


class BrokenRecord(NamedTuple):
    """A quarantined record: its item, and the life that it was part of."""

    item: str
    life: Life
    change: Change


@dataclass
class Sum:
    """What a player's row must hold. `newest`: the newest date that was ever counted."""

    games: int = 0
    total: Decimal = Decimal(0)
    newest: str = ""


class Book:
    """The lives of all items. `base`: what an item counted when counting began. `states`: see LedgerInvariants."""

    def __init__(self, base: Callable[[str], Worth | None], states: dict[str, str]) -> None:
        self.sums: dict[str, Sum] = {}
        self.heads: dict[int, BrokenRecord] = {}
        self.items: dict[str, ItemState] = {}
        self.happened: Counter[str] = Counter()
        self._base = base
        self._states = states
        self._lives: list[Life] = []

    def end(self, number: int, item: str, change: Change, new: Worth | None, *, quarantined: bool) -> None:
        """A record has ended. `new`: what its new image counts; None: nothing."""
        state = self._begun(item, change)
        if change is Change.INSERTED and state.begun:
            state.life = self._new_life(Life())
        state.begun = True
        life, before = state.life, state.last
        if change is Change.EXPIRED and not quarantined:
            self._end_life(state)
            return
        if before is not None and self._states.get(str(before)) in (EntryState.PENDING, EntryState.DISCARDED):
            self._states[str(before)] = EntryState.SUPERSEDED
            self.happened["superseded"] += 1
        if quarantined:
            self._note("broken", "broken again", before)
            self.heads[number] = BrokenRecord(item, life, change)
            self._states[str(number)] = EntryState.PENDING
            state.last = number
        else:
            if before is not None:
                self.happened["a broken item is " + ("mended" if change is Change.MODIFIED else "removed")] += 1
            self._count(life, new)
            state.last = None
        if change in (Change.REMOVED, Change.EXPIRED):
            self.happened["a removal is refused"] += quarantined
            self._end_life(state)

    def redrive(self, number: int, new: Worth | None) -> set[str]:
        """An operator has re-driven a record. The players whose rows change."""
        head = self.heads[number]
        self.happened["re-driven after its life" if head.life.over else "re-driven"] += 1
        before = head.life.counted
        self._count(head.life, new)
        return {each.player for each in (before, new) if each is not None}

    def fill(self, item: str) -> None:
        """What the item counted when counting began is counted now, by a back-fill."""
        base = self._base(item)
        if base is not None:
            self._add(base, 1)

    def newest_of(self, player: str) -> str:
        """The newest date of what is counted of a player's records."""
        lives = (each.counted for each in self._lives if each.real)
        return max((each.date for each in lives if each is not None and each.player == player), default="")

    def rows(self) -> Iterator[tuple[str, int | None, Worth | None]]:
        """The index rows that there must be: item, number of the record (None: re-driven), what is counted."""
        for item, state in self.items.items():
            if state.last is not None and not state.life.over:
                done = self._states[str(state.last)] == EntryState.APPLIED
                yield item, None if done else state.last, state.life.counted

    def add_stored(self, player: str, games: int, total: Decimal, date: str) -> None:
        """Something else than a record was counted."""
        expected = self.sums.setdefault(player, Sum())
        expected.games += games
        expected.total = WIDE.add(expected.total, total)
        expected.newest = max(expected.newest, date)

    def _begun(self, item: str, change: Change) -> ItemState:
        state = self.items.get(item)
        if state is None:
            base = None if change is Change.INSERTED else self._base(item)
            self.happened["the first record corrects what was there before"] += base is not None
            state = self.items[item] = ItemState(self._new_life(Life(base, real=base is None)))
        return state

    def _new_life(self, life: Life) -> Life:
        self._lives.append(life)
        return life

    def _end_life(self, state: ItemState) -> None:
        """What belongs to it is no longer the item's."""
        if state.last is not None and self._states[str(state.last)] != EntryState.APPLIED:
            self.happened["a life ends while it is broken"] += 1
        state.life.over = True
        state.last = None

    def _note(self, first: str, again: str, before: int | None) -> None:
        self.happened[f"an item is {first if before is None else again}"] += 1

    def _count(self, life: Life, new: Worth | None) -> None:
        if new == life.counted:
            return
        if new is not None and life.counted is not None and new.player != life.counted.player:
            self.happened["a game moves to another player"] += 1
        if life.counted is not None:
            self._add(life.counted, -1)
        if new is not None:
            self._add(new, 1)
        life.counted, life.real = new, True

    def _add(self, worth: Worth, sign: int) -> None:
        score = worth.score if sign > 0 else -worth.score
        self.add_stored(worth.player, sign, score, worth.date if sign > 0 else "")
