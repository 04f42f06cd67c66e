"""What corrections stand on, and the seeds in which the board is not what the items say without it."""

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

from consumer.domain import cut
from consumer.domain.corrections import NOT_LOOKED_UP, FoundItem, ItemWrite, corrected, poisoned
from consumer.domain.fold import Unit
from consumer.domain.leases import Ledger
from consumer.domain.records import Image, Poison, Rules
from consumer.operations.corrections import RecordItem
from consumer.worker.row_writes import RowWrites
from tests.simulation.proving import Guard
from tests.simulation.switches import getter_of, switch

FOLD: Final = "totals are the fold of the items"
EXACT: Final = "index rows are exact"
STALE: Final = "a head is never stale"
DRAINS: Final = "after faults everything drains"


@switch(RowWrites.find_item)
def item_has_an_index_row(_original: Any, *_: Any) -> None:
    """Poison leaves no index row: what is counted of an item is its old image."""


@item_has_an_index_row.replaces(poisoned, used_in=cut)
def _no_index_row(_original: Any, *_: Any) -> None:
    return None


@switch(RowWrites.find_item)
def found_is_forgotten(original: Any, self: RowWrites, item: str, player: str | None) -> Any:
    """What was found of an index row first is believed ever after."""
    seen = self.__dict__.setdefault("seen", {})
    found = original(self, item, player)
    if found is not NOT_LOOKED_UP:
        seen.setdefault(item, found)
    return seen.get(item, found)


@switch(RowWrites.find_item)
def found_under_the_mark(original: Any, self: RowWrites, item: str, _: str | None) -> Any:
    """What was found of an index row holds under any mark of its player's row."""
    return original(self, item, None)


@found_under_the_mark.replaces(RowWrites.look_up)
def _look_up_without_marks(original: Any, self: RowWrites, items: Mapping[str, str | None]) -> Any:
    return original(self, dict.fromkeys(items))


@switch(corrected, used_in=cut)
def expired_ends_a_life(original: Any, item: str, found: FoundItem, *, expired: bool) -> ItemWrite:
    """The index row of a broken item stays when the item expires."""
    write: ItemWrite = original(item, found, expired=expired)
    return write._replace(left=found.row) if expired else write


@switch(poisoned, used_in=cut)
def counted_is_counted_on(original: Any, poison: Poison, found: FoundItem | None, shard_id: str) -> Any:
    """An item that is broken once more counts its old image from then on."""
    write: ItemWrite | None = original(poison, found, shard_id)
    if write is None or write.left is None or poison.about is None:
        return write
    return write._replace(left=write.left._replace(counted=poison.about.old))


@switch(poisoned, used_in=cut)
def poison_supersedes(original: Any, *given: Any) -> Any:
    """The record of an item that is broken once more stays as it is."""
    write: ItemWrite | None = original(*given)
    return write and write._replace(supersedes=False)


@switch(poisoned, used_in=cut)
def refused_removal_ends_a_life(original: Any, poison: Poison, found: FoundItem | None, shard_id: str) -> Any:
    """A removal that the player's row refuses has an index row, as other poison has."""
    if poison.about is None:
        return None
    return original(poison._replace(about=poison.about._replace(removal=False)), found, shard_id)


@switch(RowWrites.write)
def indexed_in_the_transaction(original: Any, self: RowWrites, unit: Unit, **more: Any) -> Any:
    """A correction of an item with an index row is a single write."""
    kept = {each.player for each in unit.poison}
    return original(self, replace(unit, transacted=frozenset(unit.transacted & kept)), **more)


@switch(RowWrites.write)
def unreadable_in_the_transaction(original: Any, self: RowWrites, unit: Unit, **more: Any) -> Any:
    """A correction whose old image is no game, of an item without an index row, is a single write."""
    kept = {each.player for each in unit.poison} | {
        json.loads(each.item)[Rules().player_attribute]["S"] for each in unit.items
    }
    return original(self, replace(unit, transacted=frozenset(unit.transacted & kept)), **more)


@switch(RecordItem.counts)
def redrive_moves_what_is_counted(_original: Any, self: RecordItem, _: Image | None) -> Any:
    """A re-drive leaves the index row as it is."""
    return self.check()


@switch(RecordItem.counts)
def redrive_leaves_an_index_row(original: Any, self: RecordItem, image: Image | None) -> Any:
    """A re-drive removes the index row."""
    write: ItemWrite | None = original(self, image)
    return write and write._replace(left=None)


def _guard(name: str, where: str, purpose: str, invariant: str, seed: int, **more: Any) -> Guard:
    return Guard(name, where, purpose, invariant, seed, correcting=True, **more)


@switch(getter_of(Ledger.in_order))
def later_stream_by_newer_rules(_original: Any, self: Ledger) -> Ledger:
    """A later stream is read by workers of any number."""
    return self


CORRECTION_GUARDS: Final = (
    _guard(
        "a later stream is read by the newest rules",
        "domain/leases.py Ledger.in_order; worker/lease_assignment.py LeaseAssignment.take_ledger",
        "who reads a later stream can decode what was counted of its items in an earlier one",
        FOLD,
        2096,
        switches=(later_stream_by_newer_rules,),
        keyed=True,
    ),
    _guard(
        "poison leaves an index row",
        "domain/corrections.py poisoned; worker/row_writes.py RowWrites.find_item",
        "what is counted of an item whose last record was poison is not its old image",
        EXACT,
        0,
        switches=(item_has_an_index_row,),
        keyed=True,
    ),
    _guard(
        "what was found is forgotten",
        "worker/row_writes.py RowWrites.forget_items: after a refusal, and with each unit",
        "what is counted of an item changes with each of its records",
        DRAINS,
        0,
        switches=(found_is_forgotten,),
        keyed=True,
    ),
    _guard(
        "index row as it was found",
        "aws/commits.py DynamoCommits.commit",
        "an operator may have re-driven the record since: then something else is counted",
        EXACT,
        215,
        off=("item_unchanged",),
    ),
    _guard(
        "expired while it is broken",
        "domain/corrections.py corrected: the index row goes, the head keeps what stays counted",
        "the next life of the item begins with nothing, and the last one may still be re-driven",
        EXACT,
        0,
        switches=(expired_ends_a_life,),
    ),
    _guard(
        "counted is counted on",
        "domain/corrections.py poisoned: the counted image of the index row that was found",
        "of an item that is broken twice the last good image counts",
        EXACT,
        0,
        switches=(counted_is_counted_on,),
    ),
    _guard(
        "poison supersedes",
        "domain/corrections.py poisoned: supersedes",
        "of an item only the last record can be re-driven",
        STALE,
        0,
        switches=(poison_supersedes,),
    ),
    _guard(
        "a refused removal ends a life",
        "domain/corrections.py poisoned: removal",
        "the item's next record begins another life, from which nothing is taken away",
        EXACT,
        23,
        switches=(refused_removal_ends_a_life,),
    ),
    _guard(
        "an indexed item in the transaction",
        "domain/cut.py cut; worker/row_writes.py RowWrites.write: unit.transacted",
        "the delta and the index row change in one step",
        EXACT,
        0,
        switches=(indexed_in_the_transaction,),
        keyed=True,
    ),
    _guard(
        "a re-drive moves what is counted",
        "operations/corrections.py RecordItem.counts",
        "the item's next record takes away what the re-drive has counted",
        EXACT,
        16,
        switches=(redrive_moves_what_is_counted,),
    ),
    _guard(
        "a re-drive leaves an index row",
        "operations/corrections.py RecordItem.counts",
        "workers of older rules cannot decode the image that it has counted",
        EXACT,
        16,
        switches=(redrive_leaves_an_index_row,),
    ),
)
"""`invariant` is the one that broke first when the seed was found."""
