"""What a worker knows of the board and of the shards' lineage: a cache, protected by the conditions of the writes.

All shards of the worker share it, on the one thread that owns all state.
"""

from collections import OrderedDict
from collections.abc import Mapping
from typing import Final

from consumer.domain.leases import LeaseRow, Ledger
from consumer.domain.marks import Lineage, StoredRow, lineage_of, parent_of
from consumer.domain.windows import Calendar, calendar_of

MOST_GONE_SHARDS: Final = 10_000
"""Shards that are known to be gone. A forgotten one costs a look at the ledger and a listing, nothing else."""

NO_CALENDAR: Final = calendar_of((), "UTC")


class KnownRows:
    """The rows of players, as they were read, written or refused last: `most` of them, some 600 bytes each. The longest
    unused ones are forgotten.

    `lineage` is that of the ledger as it was last read, and of what was looked up since. `calendar` is that of the
    worker's rules; `corrects`: by them corrections count. `have_windows`: some accepted rules keep windows, so that
    rows may have some.
    """

    def __init__(self, most: int, calendar: Calendar = NO_CALENDAR, *, corrects: bool = False) -> None:
        self.lineage = Lineage()
        self.calendar = calendar
        self.corrects = corrects
        self.have_windows = bool(calendar.kept)
        self._most = most
        self._rows: OrderedDict[str, StoredRow] = OrderedDict()
        self._new_shards: dict[str, str | None] = {}

    def __len__(self) -> int:
        return len(self._rows)

    def get(self, player: str) -> StoredRow | None:
        """The row; None: nothing is known of it."""
        row = self._rows.get(player)
        if row is not None:
            self._rows.move_to_end(player)
        return row

    def learn(self, rows: Mapping[str, StoredRow]) -> None:
        """These rows are as given."""
        known = self._rows
        for player, row in rows.items():
            known[player] = row
            known.move_to_end(player)
        while len(known) > self._most:
            known.popitem(last=False)

    def learn_date(self, player: str, date: str) -> None:
        """At least this date is stored. Nothing else is known of the row, if nothing was."""
        row = self._rows.get(player) or StoredRow()
        if date > (row.date or ""):
            self.learn({player: row._replace(date=date)})

    def forget(self, player: str) -> None:
        """The row is to be read again, and the shard of its mark to be looked up again if it was gone."""
        row = self._rows.pop(player, None)
        if row is not None and row.mark is not None:
            self.lineage = self.lineage._replace(gone=self.lineage.gone - {row.mark.shard})

    def take_ledger(self, ledger: Ledger) -> None:
        """The ledger was read. Shards that are newer than what it shows are known on, and those that are gone."""
        lineage = lineage_of(ledger)
        self._new_shards = {shard: parent for shard, parent in self._new_shards.items() if not lineage.knows(shard)}
        self.lineage = lineage._replace(parents={**self._new_shards, **lineage.parents}, gone=self.lineage.gone)
        self.have_windows = bool(self.calendar.kept or ledger.accepted.widest_windows)

    def own(self, row: LeaseRow) -> None:
        """The worker owns this shard from now on; the ledger may not have shown it yet."""
        if not self.lineage.knows(str(row.shard)):
            self._new_shards[str(row.shard)] = parent_of(row)
            self.lineage = self.lineage._replace(parents={**self.lineage.parents, **self._new_shards})

    def looked_up(self, shard: str, found: Lineage) -> None:
        """`shard`, of a mark, was looked up in the ledger and in a listing: this is all that they know.

        What an earlier listing showed is known on until the ledger is read: a unit may need both.
        """
        gone = self.lineage.gone if found.knows(shard) else self.lineage.gone | {shard}
        few = gone if len(gone) <= MOST_GONE_SHARDS else frozenset([shard])
        self.lineage = found._replace(parents={**self.lineage.parents, **found.parents}, gone=few)
