"""The games of items: what each counts by the rules, or by what the quarantine says of it."""

import json
from collections.abc import Collection, Mapping, Sequence
from typing import Any, Final, NamedTuple

from consumer.domain.fold import Delta, WindowSum, add_to
from consumer.domain.quarantine import EntryState, QuarantineEntry, decode_again
from consumer.domain.records import Entry, Game, Poison, Rules, decode
from consumer.domain.verification import same_reading
from consumer.domain.windows import calendar_of, kind_of
from consumer.operations.sums import Note, Sums, Uncertain

Item = Mapping[str, Any]
UNEXPLAINED: Final = "poison"
"""Of an item that is poison, and of which the quarantine says nothing."""
COUNTED: Final = "counted"


class GameLine(NamedTuple):
    """What became of an item: it is counted, or what the quarantine says of it. `item` is the item as it is.

    `counts` is what it counts; None: nothing. `why` says why it is no game.
    """

    item: Item
    state: str
    counts: Delta | None
    why: str | None = None


class GameFold:
    """Folds items of the source table. `keys`: the names of its key; `at`: when that began (unix seconds).

    `only`: the players who are of interest; None: all. `lines`: what became of their items, if it is wanted.
    """

    def __init__(
        self, keys: Sequence[str], rules: Sequence[Rules], at: float, sums: Sums, only: Collection[str] | None = None
    ) -> None:
        newest = rules[-1]
        self._rules = newest
        self._others = [each for each in rules if not same_reading(each, newest)]
        self._keys, self._sums = keys, sums
        self._oldest = {kind_of(name): name for name in calendar_of(newest.windows, newest.time_zone).oldest(at)}
        self._noted = sums.has_notes
        self._only = only
        self.lines: list[GameLine] | None = None

    def take(self, items: Sequence[Item]) -> None:
        """A page of items."""
        keys = [key_of(item, self._keys) for item in items] if self._noted else []
        notes = self._sums.noted(keys) if keys else {}
        page: dict[str, Delta] = {}
        strays: list[tuple[str, str | None]] = []
        uncertain: set[str] = set()
        for at, item in enumerate(items):
            if keys and keys[at] in notes:
                note = notes[keys[at]]
                if note.player is not None and note.counted is not None:
                    add_to(page, note.player, self._kept(note.counted))
                self._explain(note.player, GameLine(item, note.state, note.counted))
                continue
            entry = decode(wire_of(item), self._rules, None)
            if self._others:
                uncertain |= self._read_otherwise(item, entry)
            if isinstance(entry, Game):
                delta = self._kept(delta_of(entry))
                add_to(page, entry.player, delta)
                self._explain(entry.player, GameLine(item, COUNTED, delta))
            elif isinstance(entry, Poison):
                strays.append((key_of(item, self._keys), entry.player))
                self._explain(entry.player, GameLine(item, UNEXPLAINED, None, entry.detail))
        if self._only is not None:
            page = {player: delta for player, delta in page.items() if player in self._only}
        self._sums.play(page)
        self._sums.strays(strays)
        self._sums.mark_uncertain(uncertain, Uncertain.RULES)

    def _explain(self, player: str | None, line: GameLine) -> None:
        if self.lines is not None and self._only is not None and player in self._only:
            self.lines.append(line)

    def _kept(self, delta: Delta) -> Delta:
        """Without windows that nothing compares any more."""
        if not delta.windows:
            return delta
        return delta._replace(
            windows=tuple(w for w in delta.windows if w.window >= self._oldest.get(kind_of(w.window), "~"))
        )

    def _read_otherwise(self, item: Item, entry: Entry) -> set[str]:
        """The players of whom an item says something else by other rules that records were read by."""
        others = [decode(wire_of(item), rules, None) for rules in self._others]
        if all(_reading(other) == _reading(entry) for other in others):
            return set()
        return {each.player for each in (entry, *others) if isinstance(each, Game)}


def _reading(entry: Entry) -> object:
    return (entry.player, entry.score, entry.date) if isinstance(entry, Game) else None


def wire_of(item: Item) -> Mapping[str, Any]:
    """An item as the record of its own insertion, without a creation time: no rule on time speaks against it then."""
    return {"eventName": "INSERT", "dynamodb": {"SequenceNumber": "0", "NewImage": item}}


def delta_of(game: Game) -> Delta:
    """What a game adds to its player's row."""
    return Delta(1, game.score, game.date, tuple(WindowSum(window, 1, game.score) for window in game.windows))


def key_of(item: Item, names: Sequence[str]) -> str:
    """An item's key as a text."""
    return json.dumps([item.get(name) for name in names])


def note_of(entry: QuarantineEntry, record: Mapping[str, Any] | ValueError, rules: Rules, keys: Sequence[str]) -> Note:
    """What a row of the quarantine says of its item. One that cannot be read, or not any more, says nothing of it."""
    name, version = name_of(entry), version_of(entry)
    if isinstance(record, ValueError):
        return Note(name, version, None, entry.player)
    change = record["dynamodb"]
    key = key_of(change.get("Keys") or change.get("NewImage") or {}, keys)
    if entry.state != EntryState.APPLIED:
        return Note(name, version, key, entry.player)
    repairs = entry.resolution.repairs if entry.resolution is not None else {}
    game, _ = decode_again(record, repairs, rules, only_wrong=False)
    if not isinstance(game, Game):
        return Note(name, version, None, entry.player)
    return Note(name, version, key, game.player, delta_of(game))


def name_of(entry: QuarantineEntry) -> str:
    """A row of the quarantine, as notes name it."""
    return f"{entry.shard_id} {entry.sequence_number}"


def version_of(entry: QuarantineEntry) -> str:
    """Changes with each action of an operator on the row."""
    return f"{entry.state} {entry.token or ''}"
