"""What a person's commands read and write, over the fakes of the tables, with the conditions of the real ones."""

from collections.abc import Callable

from consumer.domain.audit import Trace
from consumer.domain.leases import Amendment, Birth, LeaseRow, Members
from consumer.domain.outcomes import Done, Lost
from consumer.domain.overview import Gap, LeaseTable
from tests.fakes.tables import FakeTables


class FakeOverviews:
    """The Overviews port."""

    def __init__(self, tables: FakeTables) -> None:
        self._tables = tables

    def lease_table(self) -> LeaseTable:
        """See operator_ports.Overviews."""
        return LeaseTable(self._tables.load(), self._tables.look())

    def gaps(self) -> tuple[Gap, ...]:
        """See operator_ports.Overviews."""
        return tuple(
            Gap(shard.stream_arn, shard.shard_id, checkpoint, gap.to, "possible", "")
            for (shard, checkpoint), gap in self._tables.gaps.items()
        )

    def births(self) -> tuple[Birth, ...]:
        """See operator_ports.Overviews."""
        return tuple(self._tables.births.values())

    def pending(self) -> int:
        """See operator_ports.Overviews."""
        return self._tables.pending()


class FakePlacements:
    """The Placements port; `trail` are the audit rows. Guards in `tables.off`: place_owner, place_epoch,
    place_checkpoint, place_if_absent, place_pinned."""

    def __init__(self, tables: FakeTables, clock: Callable[[], float]) -> None:
        self.trail: list[Trace] = []
        self.on_place: Callable[[LeaseRow | None, LeaseRow | None, LeaseRow], None] = lambda *_: None
        self._tables = tables
        self._clock = clock

    def look(self) -> tuple[Members, float]:
        """See operator_ports.Placements."""
        return self._tables.look(), self._clock()

    def place(self, before: LeaseRow | None, after: LeaseRow, trace: Trace) -> Done | Lost:
        """See operator_ports.Placements."""
        rows, off = self._tables.rows, self._tables.off
        stored = rows.get(after.shard)
        if before is None:
            if stored is not None and "place_if_absent" not in off:
                return Lost(stored)
            if after.shard.stream_arn not in self._tables.pins and "place_pinned" not in off:
                return Lost(stored)
        elif (
            stored is None
            or (stored.owner != before.owner and "place_owner" not in off)
            or (stored.epoch != before.epoch and "place_epoch" not in off)
            or (stored.checkpoint != before.checkpoint and "place_checkpoint" not in off)
        ):
            return Lost(stored)
        rows[after.shard] = after
        self._tables.changes += 1
        self.trail.append(trace)
        self.on_place(before, stored, after)
        return Done()


class FakeBirths:
    """The Births port; `trail` are the audit rows. Guards in `tables.off`: amend_unchanged, amend_pinned."""

    def __init__(self, tables: FakeTables) -> None:
        self.trail: list[Trace] = []
        self.on_amend: Callable[[Amendment, Birth | None, bool], None] = lambda *_: None
        self._tables = tables

    def births(self) -> tuple[Birth, ...]:
        """See operator_ports.Births."""
        return tuple(self._tables.births.values())

    def amend(self, amendment: Amendment, trace: Trace) -> Done | Lost:
        """See operator_ports.Births."""
        births, arn, off = self._tables.births, amendment.stream_arn, self._tables.off
        stored, pinned = births.get(arn), arn in self._tables.pins
        if stored != amendment.before and "amend_unchanged" not in off:
            return Lost(None)
        if pinned is not amendment.pinned and "amend_pinned" not in off:
            return Lost(None)
        if amendment.after is None:
            births.pop(arn, None)
        else:
            births[arn] = amendment.after
        self.trail.append(trace)
        self.on_amend(amendment, stored, pinned)
        return Done()
