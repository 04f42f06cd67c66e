"""The lease table in memory, with the conditions of the real one."""

from collections.abc import Callable, Collection
from dataclasses import replace
from typing import NamedTuple

from consumer.domain.leases import Adoption, Birth, Lease, LeaseRow, Members, Origin, Pin, Shard, Vouch
from consumer.domain.outcomes import Done, Ledger, Lost, Refused, Removed


class Names(NamedTuple):
    """The tables' names."""

    leases: str = "consumer-leases"
    leaderboard: str = "Leaderboards"


class FakeLedgers:
    """The Ledgers and Membership ports. `off` names guards that are taken away (see FakeTables).

    `stream_gaps`: when the gap between a stream and its predecessor (ARNs) was found.
    """

    def __init__(self, names: Names, off: Collection[str]) -> None:
        self.names = names
        self.off = frozenset(off)
        self.rows: dict[Shard, LeaseRow] = {}
        self.pins: dict[str, Pin] = {}
        self.births: dict[str, Birth] = {}
        self.stream_gaps: dict[tuple[str, str], float] = {}
        self.workers: dict[str, Vouch] = {}
        self.changes = 0
        self.on_adopt: Callable[[Adoption], None] = lambda *_: None
        self.on_plant: Callable[[tuple[LeaseRow, ...]], None] = lambda *_: None
        self.on_claim: Callable[[LeaseRow, LeaseRow], None] = lambda *_: None
        self.on_release: Callable[[LeaseRow, Lease], None] = lambda *_: None
        self.on_beat: Callable[[str, Vouch | None, bool], None] = lambda *_: None
        self.on_bury: Callable[[str], None] = lambda *_: None
        self.on_forget: Callable[[LeaseRow], None] = lambda *_: None

    # --- ports.Ledgers ---

    def origin(self, stream_arn: str) -> Origin:
        """See ports.Ledgers."""
        origin = Origin(self.pins.get(stream_arn), self.births.get(stream_arn))
        if not origin.begins:
            return origin
        births = [birth for arn, birth in sorted(self.births.items()) if arn != stream_arn]
        return replace(origin, others=tuple((birth, self.pins.get(birth.stream_arn)) for birth in births))

    def pin(self, pin: Pin, predecessor: str | None, found_at: float) -> Done | Lost:
        """See ports.Ledgers."""
        if self._guards("pin_if_absent", pin.stream_arn not in self.pins):
            return Lost(None)
        if self._guards("birth_if_absent", pin.stream_arn not in self.births):
            return Lost(None)
        self.pins[pin.stream_arn] = replace(pin, pinned_at=found_at)
        self.births[pin.stream_arn] = Birth(pin.stream_arn, self.names.leases, self.names.leaderboard)
        if predecessor is not None:
            self.stream_gaps.setdefault((pin.stream_arn, predecessor), found_at)
        return Done()

    def plant(self, stream_arn: str, rows: tuple[LeaseRow, ...]) -> Done | Lost | Refused:
        """See ports.Ledgers."""
        pin = self.pins.get(stream_arn)
        if pin is None or self._guards("plant_while_incomplete", not pin.complete):
            return Lost(None)
        existing = frozenset(row.shard.shard_id for row in rows if row.shard in self.rows)
        if self._guards("plant_if_absent", not existing):
            return Refused(existing=existing)
        self.rows |= {row.shard: row for row in rows}
        self.on_plant(rows)
        return Done()

    def complete_pin(self, stream_arn: str) -> Done:
        """See ports.Ledgers."""
        pin = self.pins.get(stream_arn)
        if not self._guards("complete_if_there", pin is not None):
            self.pins[stream_arn] = replace(pin or Pin(stream_arn, None, (), complete=True), complete=True)
        return Done()

    def adopt(self, adoption: Adoption) -> Done | Lost:
        """See ports.Ledgers."""
        into = adoption.into
        if isinstance(into, Pin):
            pin = self.pins.get(into.stream_arn)
            open_to_all, found = pin is not None and pin.complete, pin.roots if pin else ()
        else:
            row = self.rows.get(into.shard)
            open_to_all, found = row is not None and row.finished, row.children if row else ()
        finished = "adopt_if_pinned" if isinstance(into, Pin) else "adopt_if_finished"
        if self._guards(finished, open_to_all) or self._guards("adopt_unchanged", found == adoption.before):
            return Lost(None)
        if self._guards("adopt_if_absent", not any(row.shard in self.rows for row in adoption.rows)):
            return Lost(None)
        if isinstance(into, Pin):
            self.pins[into.stream_arn] = replace(self.pins.get(into.stream_arn, into), roots=adoption.after)
        else:
            self.rows[into.shard] = replace(self.rows.get(into.shard, into), children=adoption.after)
        self.rows |= {row.shard: row for row in adoption.rows}
        self.on_adopt(adoption)
        return Done()

    def mark(self, row: LeaseRow, unlisted_since: float | None) -> Done:
        """See ports.Ledgers."""
        stored = self.rows.get(row.shard)
        if stored is not None:
            if unlisted_since is not None:
                refused = self._guards("mark_finished", stored.finished)
                refused |= self._guards("mark_first", stored.unlisted_since is None)
            else:
                refused = self._guards("mark_unchanged", stored.unlisted_since == row.unlisted_since)
            if not refused:
                self.rows[row.shard] = replace(stored, unlisted_since=unlisted_since)
        return Done()

    def forget(self, row: LeaseRow, pin: Pin | None) -> Done | Lost:
        """See ports.Ledgers."""
        stored = self.rows.get(row.shard)
        if stored is None or self._guards("forget_finished", stored.finished):
            return Lost(None)
        if self._guards("forget_unchanged", stored.children == row.children):
            return Lost(None)
        noted = stored.unlisted_since is not None and stored.unlisted_since == row.unlisted_since
        if self._guards("forget_noted", noted):
            return Lost(None)
        if pin is not None:
            held = self.pins.get(pin.stream_arn)
            if held is None or self._guards("forget_roots_unchanged", held.complete and held.roots == pin.roots):
                return Lost(None)
            left = tuple(root for root in pin.roots if root != row.shard.shard_id)
            self.pins[pin.stream_arn] = replace(held, roots=left)
        del self.rows[row.shard]
        self.on_forget(row)
        return Done()

    def load(self) -> Ledger:
        """See ports.Ledgers."""
        return Ledger(tuple(self.rows.values()), tuple(self.pins.values()))

    def claim(self, row: LeaseRow, lease: Lease) -> LeaseRow | Lost:
        """See ports.Ledgers."""
        stored = self.rows.get(row.shard)
        if stored is None:
            return Lost(None)
        if self._guards("claim_owner", stored.owner == row.owner):
            return Lost(stored)
        if self._guards("claim_epoch", stored.epoch == row.epoch):
            return Lost(stored)
        claimed = self.rows[row.shard] = replace(stored, owner=lease.owner, epoch=lease.epoch)
        self.on_claim(stored, claimed)
        return claimed

    def release(self, lease: Lease) -> Done:
        """See ports.Ledgers."""
        row = self.rows.get(lease.shard)
        if row is not None and self._fenced("release", row, lease):
            self.rows[lease.shard] = replace(row, owner=None)
            self.on_release(row, lease)
        return Done()

    # --- ports.Membership ---

    def beat(self, owner: str, vouch: Vouch, *, joining: bool, bump: bool) -> Done | Removed:
        """See ports.Membership."""
        if not joining and self._guards("beat_if_member", owner in self.workers):
            return Removed()
        before = self.workers.get(owner)
        self.workers[owner] = vouch
        self.on_beat(owner, before, joining)
        self.changes += bump
        return Done()

    def look(self) -> Members:
        """See ports.Membership."""
        return Members(self.changes, dict(self.workers))

    def leave(self, owner: str) -> Done:
        """See ports.Membership."""
        if self.workers.pop(owner, None) is not None:
            self.changes += 1
        return Done()

    def bury(self, owner: str, beat: int) -> Done:
        """See ports.Membership."""
        there = owner in self.workers
        if there and not self._guards("bury_unchanged", self.workers[owner].beat == beat):
            self.on_bury(owner)
            del self.workers[owner]
            self.changes += 1
        return Done()

    def _guards(self, guard: str, holds: object) -> bool:
        """Whether `guard` stands in the way: what it wants does not hold, and it was not taken away."""
        return not holds and guard not in self.off

    def _fenced(self, write: str, row: LeaseRow, lease: Lease) -> bool:
        strange = self._guards(f"{write}_owner", row.owner == lease.owner)
        return not (strange or self._guards(f"{write}_epoch", row.epoch == lease.epoch))
