"""Corrections: what is counted of an item whose last record is in quarantine, and how its next record changes that.

Normally it is the item's old image. Where the item's last record was poison it is not: then an *index row* in the
quarantine table says which quarantined record that was, and what is counted. Executable model: docs/protocol.md.
"""

from collections.abc import Callable
from typing import Final, NamedTuple

from consumer.domain.records import Image, Poison


class RecordKey(NamedTuple):
    """The key of a quarantined record's head row."""

    shard_id: str
    sequence_number: str


class IndexRow(NamedTuple):
    """What the quarantine table says of an item, whose key is `item` (see records.item_of).

    `record`: its last record, which is in quarantine; None: an operator has re-driven that. `counted`: the game that
    is counted of the item; None: none is.
    """

    item: str
    record: RecordKey | None
    counted: Image | None


class FoundItem(NamedTuple):
    """An index row as it was read, with the state and the number of parts of its record's head row.

    `state` None: the index row belongs to no record, or the head row has expired.
    """

    row: IndexRow
    state: str | None = None
    parts: int = 0

    @property
    def head(self) -> RecordKey | None:
        """The record, if its head row is there."""
        return self.row.record if self.state is not None else None


class KeptImage(NamedTuple):
    """The life of an item is over while its record is in quarantine: the record's head row says what stays counted."""

    record: RecordKey
    counted: Image | None


class ItemWrite(NamedTuple):
    """How a unit changes the index row of an item: from `found` (None: there is none) to `left` (None: no row).

    `supersedes`: the record that `found` belongs to is superseded. `kept`: see KeptImage. `inserted`: the item is a new
    one and was not looked up. An index row that is there all the same is of a life whose end was lost in a gap, and
    gives way.
    """

    item: str
    found: FoundItem | None
    left: IndexRow | None
    supersedes: bool = False
    kept: KeptImage | None = None
    inserted: bool = False

    @property
    def actions(self) -> int:
        """How many actions of a transaction it takes, beside those of the unit's own quarantine rows."""
        found = self.found
        return 1 if found is None or found.head is None else 2 + found.parts


NOT_LOOKED_UP: Final = FoundItem(IndexRow("", None, None))
"""Of an item whose index row is not known."""

FindItem = Callable[[str, str | None], FoundItem | None]
"""What is known of an item's index row, under the mark that its player's row has now; NOT_LOOKED_UP: nothing is."""


def poisoned(poison: Poison, found: FoundItem | None, shard_id: str) -> ItemWrite | None:
    """What a poison record does to its item's index row: what was counted of the item is counted on.

    None: its item is not known. A removal ends the item's life: no later record asks what is counted.
    """
    about = poison.about
    if about is None:
        return None
    key = RecordKey(shard_id, poison.sequence_number)
    counted = about.old if found is None else found.row.counted
    supersedes = found is not None and found.row.record is not None
    if about.removal:
        return ItemWrite(about.item, found, None, supersedes, KeptImage(key, counted))
    return ItemWrite(about.item, found, IndexRow(about.item, key, counted), supersedes, inserted=about.insertion)


def corrected(item: str, found: FoundItem, *, expired: bool) -> ItemWrite:
    """What a correction does to the index row of its item: it goes. An expired life keeps what is counted of it."""
    record = found.row.record
    if expired and record is not None:
        return ItemWrite(item, found, None, kept=KeptImage(record, found.row.counted))
    return ItemWrite(item, found, None, supersedes=record is not None)
