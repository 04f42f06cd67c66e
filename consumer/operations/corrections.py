"""Quarantined records where corrections count: what is counted of their items, and what a redrive makes of it.

A record counts in place of what is counted of its item, and only while it is the last record of that life of the item:
while the item's index row points at it, or its own head row says what stays counted of a life that is over.
"""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, Final, NamedTuple

from consumer.domain.corrections import FoundItem, IndexRow, ItemWrite
from consumer.domain.fold import Delta, WindowSum, add_to, delta_of_image
from consumer.domain.operator_ports import Quarantine
from consumer.domain.ports import Commits
from consumer.domain.quarantine import QuarantineEntry
from consumer.domain.records import (
    LONG_EXPIRED_SECONDS,
    NEW_IMAGE,
    Correction,
    Game,
    Ignored,
    Image,
    Outcome,
    Poison,
    Rules,
    decode,
    image_of,
)
from consumer.domain.windows import calendar_of
from consumer.operations.steps import Command, OperatorCall, ask

MOST_ITEMS: Final = 100
"""Index rows that one call reads."""
NOT_LAST: Final = "not_last"
"""In place of a Reason: nothing says that the record is still the last one of its item."""
MEND_THE_ITEM: Final = "mend the item: write it again as it should be, and that counts"


class RecordItem(NamedTuple):
    """A quarantined record beside its item. `now`: its entry; None: its row is gone.

    `found`: the index row that points at it; None: none does.
    """

    now: QuarantineEntry | None
    found: FoundItem | None

    @property
    def counted(self) -> Image | None:
        """What is counted of its item, if it is the last record of that life."""
        if self.found is not None:
            return self.found.row.counted
        return self.now.kept.counted if self.now is not None and self.now.kept is not None else None

    @property
    def is_last(self) -> bool:
        """Whether it is."""
        return self.found is not None or (self.now is not None and self.now.kept is not None)

    @property
    def why_not(self) -> str:
        """Why it does not count, as a sentence."""
        if self.now is not None and self.now.item is None:
            return f"the key of its item cannot be read, so what is counted of that is not known; {MEND_THE_ITEM}"
        return f"the index row of its item does not point at it; {MEND_THE_ITEM}"

    def check(self) -> ItemWrite | None:
        """The index row must be as it was found, and stays; None: there is none."""
        return None if self.found is None else ItemWrite(self.found.row.item, self.found, self.found.row)

    def counts(self, image: Image | None) -> ItemWrite | None:
        """From now on this image is what counts of the item."""
        if self.found is None:
            return None
        item = self.found.row.item
        return ItemWrite(item, self.found, IndexRow(item, None, image))


def read_record_items(
    quarantine: Quarantine, commits: Commits, entries: Sequence[QuarantineEntry]
) -> Command[list[RecordItem]]:
    """Of each entry, in order. Where the index row does not point at it, the entry is read again: it may be older."""
    asked = {entry.item: None for entry in entries if entry.item is not None and entry.kept is None}
    rows: dict[str, FoundItem | None] = {}
    while missing := [item for item in asked if item not in rows][:MOST_ITEMS]:
        rows |= yield from ask(OperatorCall.READ_ITEMS, partial(commits.read_items, missing))
    record_items = []
    for entry in entries:
        found = rows.get(entry.item) if entry.item is not None else None
        if found is not None and found.row.record == (entry.shard_id, entry.sequence_number):
            record_items.append(RecordItem(entry, found))
        elif entry.kept is not None:
            record_items.append(RecordItem(entry, None))
        else:
            read = partial(quarantine.entry, entry.shard_id, entry.sequence_number)
            record_items.append(RecordItem((yield from ask(OperatorCall.READ_ENTRIES, read)), None))
    return record_items


def image_again(wire: Mapping[str, Any], rules: Rules) -> Image | Poison | Ignored | None:
    """The game that an item is after a quarantined record, by these rules; None: the item is gone.

    Ignored: the item's time to live removed it.
    """
    match decode(wire, rules, None):
        case Game():
            return image_of(wire["dynamodb"], NEW_IMAGE, rules)
        case Correction(new=new, expired=False):
            return new
        case Poison() as poison:
            return poison
        case entry:
            return Ignored(entry.sequence_number, entry.created, Outcome.EXPIRED)


def correction_of(wire: Mapping[str, Any], new: Image | None, record_item: RecordItem, rules: Rules) -> Correction:
    """A quarantined record as what it changes: `new` counts in place of what is counted of its item."""
    read = decode(wire, rules, None)
    images = [image for image in (new, record_item.counted) if image is not None]
    player = images[0].player if images else None
    item = record_item.now.item if record_item.now is not None else None
    return Correction(read.sequence_number, read.created, player, item or "", new, record_item.counted, False, {})


def deltas_of(change: Correction, rules: Rules, now: float) -> dict[str, Delta]:
    """What a correction adds to the rows of its players, by player, when an operator makes it at `now`.

    Windows are those of its creation, without those that have expired. Equal images change no row.
    """
    deltas: dict[str, Delta] = {}
    if change.new == change.old:
        return deltas
    calendar = calendar_of(rules.windows, rules.time_zone)
    for image, sign in ((change.new, 1), (change.old, -1)):
        if image is not None:
            delta = delta_of_image(image, sign, change.created, calendar)
            expired = calendar.expired(delta.names, now - LONG_EXPIRED_SECONDS)
            kept = tuple(each for each in delta.windows if each.window not in expired)
            add_to(deltas, image.player, delta._replace(windows=kept))
    return {player: delta._replace(windows=tuple(filter(_adds, delta.windows))) for player, delta in deltas.items()}


def _adds(window: WindowSum) -> bool:
    return bool(window.games or window.total)
