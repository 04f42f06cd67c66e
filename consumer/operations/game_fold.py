"""The games of items: what each counts by the rules, or by what the quarantine says of it."""

import json
from collections.abc import Collection, Mapping, Sequence
from typing import Any, Final, NamedTuple

from consumer.domain.corrections import IndexRow
from consumer.domain.fold import Delta, add_to, delta_of, delta_of_image
from consumer.domain.operator_ports import LifeOver
from consumer.domain.quarantine import EntryState, QuarantineEntry, decode_again
from consumer.domain.records import (
    UNKNOWN_CREATION,
    Entry,
    Game,
    Ignored,
    Image,
    Poison,
    Rules,
    decode,
    item_of,
)
from consumer.domain.verification import same_reading
from consumer.domain.windows import calendar_of, kind_of
from consumer.operations.corrections import image_again
from consumer.operations.sums import LIFE, Note, Sums, Uncertain

Item = Mapping[str, Any]
UNEXPLAINED: Final = "poison"
"""Of an item that is poison, and of which the quarantine says nothing."""
COUNTED: Final = "counted"
QUARANTINED: Final = "quarantined"
"""Of an item whose last record is in quarantine, where corrections count: what counted before it still does."""
KEPT: Final = "kept"
"""Of an item that is gone, and of which something still counts."""


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
                whose = note.player or item.get(self._rules.player_attribute, {}).get("S")
                self._explain(whose, GameLine(item, note.state, note.counted))
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
        self._play(page)
        self._sums.strays(strays)
        self._sums.mark_uncertain(uncertain, Uncertain.RULES)

    def take_kept(self) -> None:
        """What still counts of items that are gone."""
        kept: dict[str, Delta] = {}
        for note in self._sums.standing():
            if note.player is not None and note.counted is not None:
                add_to(kept, note.player, self._kept(note.counted))
                self._explain(
                    note.player, GameLine(json.loads((note.key or LIFE).removeprefix(LIFE)), note.state, note.counted)
                )
        self._play(kept)

    def _play(self, sums: Mapping[str, Delta]) -> None:
        only = self._only
        self._sums.play(sums if only is None else {player: sums[player] for player in sums if player in only})

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


def key_of(item: Item, names: Sequence[str]) -> str:
    """An item's key as a text, which is the one in its records."""
    return item_of({name: item.get(name) for name in names})


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


def note_of_item(row: IndexRow, rules: Rules) -> Note:
    """What an index row says of its item."""
    state = EntryState.APPLIED.value if row.record is None else QUARANTINED
    said = json.dumps((row.record, row.counted), default=str)
    return Note(f"#item {row.item}", f"{state} {said}", row.item, *_counted(row.counted, rules))


def note_of_life(life: LifeOver, record: Mapping[str, Any] | ValueError | None, rules: Rules) -> Note:
    """What still counts of an item that is gone. `record`: the whole one, if an operator has re-driven it.

    Its key is that of no item of the source table, which may have the same key again.
    """
    name = f"#life {life.record.shard_id} {life.record.sequence_number}"
    said = json.dumps((life.state, life.token, life.counted), default=str)
    image = life.counted
    if life.state == EntryState.APPLIED:
        again = record if record is None or isinstance(record, ValueError) else image_again(record, rules)
        if record is None or isinstance(again, Poison | Ignored | ValueError):
            return Note(name, f"{life.state} {said}", None, None if image is None else image.player)
        image = again
    return Note(name, f"{KEPT} {said}", LIFE + life.item, *_counted(image, rules))


def _counted(image: Image | None, rules: Rules) -> tuple[str | None, Delta | None]:
    """The player and the game that an image counts as. Windows that have expired are left out where it is folded."""
    if image is None:
        return None, None
    calendar = calendar_of(rules.windows, rules.time_zone)
    return image.player, delta_of_image(image, 1, UNKNOWN_CREATION, calendar)


def name_of(entry: QuarantineEntry) -> str:
    """A row of the quarantine, as notes name it."""
    return f"{entry.shard_id} {entry.sequence_number}"


def version_of(entry: QuarantineEntry) -> str:
    """Changes with each action of an operator on the row."""
    return f"{entry.state} {entry.token or ''}"
