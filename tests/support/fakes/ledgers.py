"""The lease table in memory, with the conditions of the real one."""

from collections.abc import Callable, Collection
from dataclasses import replace

from consumer.domain.accepted_rules import AcceptedRules, Reading
from consumer.domain.leases import (
    PROTOCOL,
    Adoption,
    Lease,
    LeaseRow,
    Ledger,
    Origin,
    Shard,
    StreamStart,
    TableBinding,
    TableNames,
    table_arn_of,
)
from consumer.domain.membership import HeartbeatReport, Members
from consumer.domain.records import Rules
from consumer.domain.replies import Done, HeartbeatRemoved, Lost, Refused


class FakeLedgers:
    """The Ledgers and Membership ports. `off` names guards that are switched off (see FakeTables).

    `stream_gaps` says when the gap between a stream and its predecessor (ARNs) was found.
    """

    def __init__(self, names: TableNames, off: Collection[str]) -> None:
        self.names = names
        self.off = frozenset(off)
        self.rows: dict[Shard, LeaseRow] = {}
        self.stream_starts: dict[str, StreamStart] = {}
        self.bindings: dict[str, TableBinding] = {}
        self.stream_gaps: dict[tuple[str, str], float] = {}
        self.source: str | None = None
        self.accepted = AcceptedRules()
        self.workers: dict[str, HeartbeatReport] = {}
        self.changes = 0
        self.on_adopt: Callable[[Adoption], None] = lambda *_: None
        self.on_create_root_rows: Callable[[tuple[LeaseRow, ...]], None] = lambda *_: None
        self.on_claim: Callable[[LeaseRow, LeaseRow], None] = lambda *_: None
        self.on_release: Callable[[LeaseRow, Lease], None] = lambda *_: None
        self.on_heartbeat: Callable[[str, HeartbeatReport | None, bool], None] = lambda *_: None
        self.on_evict: Callable[[str], None] = lambda *_: None
        self.on_forget: Callable[[LeaseRow], None] = lambda *_: None

    def read_origin(self, stream_arn: str) -> Origin:
        """See ports.Ledgers."""
        origin = Origin(self.stream_starts.get(stream_arn), self.bindings.get(stream_arn), accepted=self.accepted)
        if not origin.starting:
            return origin
        others = [binding for arn, binding in sorted(self.bindings.items()) if arn != stream_arn]
        starts = tuple((other, self.stream_starts.get(other.stream_arn)) for other in others)
        known = {table_arn_of(arn) for arn in self.stream_starts} | ({self.source} if self.source else set())
        readings = tuple(row.reading for row in self.rows.values())
        return replace(origin, others=starts, source_tables=frozenset(known), readings=readings)

    def record_stream_start(
        self, start: StreamStart, predecessor: str | None, found_at: float, rules: Rules | None = None
    ) -> Done | Lost:
        """See ports.Ledgers."""
        arn = start.stream_arn
        if self._guards("start_if_absent", arn not in self.stream_starts):
            return Lost(None)
        if self._guards("binding_if_absent", arn not in self.bindings):
            return Lost(None)
        if rules is not None and not self._record_first(arn, rules):
            return Lost(None)
        self.stream_starts[arn] = replace(start, started_at=found_at)
        self.bindings[arn] = TableBinding(arn, self.names.leases, self.names.leaderboard)
        if predecessor is not None:
            self.stream_gaps.setdefault((arn, predecessor), found_at)
        return Done()

    def _record_first(self, stream_arn: str, rules: Rules) -> bool:
        if self._guards("start_rules", not self.accepted.entries):
            return False
        self.source = self.source or table_arn_of(stream_arn)
        self.accepted = AcceptedRules((rules,))
        return True

    def create_root_rows(self, stream_arn: str, rows: tuple[LeaseRow, ...]) -> Done | Lost | Refused:
        """See ports.Ledgers."""
        start = self.stream_starts.get(stream_arn)
        if start is None or self._guards("roots_while_incomplete", not start.complete):
            return Lost(None)
        existing = frozenset(row.shard.shard_id for row in rows if row.shard in self.rows)
        if self._guards("roots_if_absent", not existing):
            return Refused(existing=existing)
        self.rows |= {row.shard: row for row in rows}
        self.on_create_root_rows(rows)
        return Done()

    def complete_stream_start(self, stream_arn: str) -> Done:
        """See ports.Ledgers."""
        start = self.stream_starts.get(stream_arn)
        if not self._guards("complete_if_started", start is not None):
            start = start or StreamStart(stream_arn, None, (), complete=True)
            self.stream_starts[stream_arn] = replace(start, complete=True)
        return Done()

    def upgrade_stream(self, stream_arn: str, *, keyed: bool | None, rules: Rules | None = None) -> Done | Lost:
        """See ports.Ledgers."""
        start = self.stream_starts.get(stream_arn)
        if keyed is not None and (start is None or start.protocol == PROTOCOL):
            return Lost(None)
        if rules is not None and not self._record_first(stream_arn, rules):
            return Lost(None)
        if keyed is not None and start is not None:
            self.stream_starts[stream_arn] = replace(start, keyed=keyed, protocol=PROTOCOL)
        return Done()

    def adopt(self, adoption: Adoption) -> Done | Lost:
        """See ports.Ledgers."""
        into = adoption.into
        if isinstance(into, StreamStart):
            start = self.stream_starts.get(into.stream_arn)
            guard, open_to_all = "adopt_if_complete", start is not None and start.complete
            found = start.roots if start else ()
        else:
            row = self.rows.get(into.shard)
            guard, open_to_all = "adopt_if_finished", row is not None and row.finished
            found = row.children if row else ()
        if self._guards(guard, open_to_all) or self._guards("adopt_unchanged", found == adoption.before):
            return Lost(None)
        if self._guards("adopt_if_absent", not any(row.shard in self.rows for row in adoption.rows)):
            return Lost(None)
        if isinstance(into, StreamStart):
            start = self.stream_starts.get(into.stream_arn, into)
            self.stream_starts[into.stream_arn] = replace(start, roots=adoption.after)
        else:
            self.rows[into.shard] = replace(self.rows.get(into.shard, into), children=adoption.after)
        self.rows |= {row.shard: row for row in adoption.rows}
        self.on_adopt(adoption)
        return Done()

    def mark_unlisted(self, row: LeaseRow, unlisted_since: float | None) -> Done:
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

    def forget(self, row: LeaseRow, start: StreamStart | None) -> Done | Lost:
        """See ports.Ledgers."""
        stored = self.rows.get(row.shard)
        if stored is None or self._guards("forget_finished", stored.finished):
            return Lost(None)
        if self._guards("forget_unchanged", stored.children == row.children):
            return Lost(None)
        noted = stored.unlisted_since is not None and stored.unlisted_since == row.unlisted_since
        if self._guards("forget_noted", noted):
            return Lost(None)
        if start is not None:
            found = self.stream_starts.get(start.stream_arn)
            if found is None or self._guards("forget_roots_unchanged", found.complete and found.roots == start.roots):
                return Lost(None)
            self.stream_starts[start.stream_arn] = replace(found, roots=start.without(row.shard.shard_id).roots)
        del self.rows[row.shard]
        self.on_forget(row)
        return Done()

    def load(self) -> Ledger:
        """See ports.Ledgers."""
        return Ledger(tuple(self.rows.values()), tuple(self.stream_starts.values()), self.accepted)

    def claim(self, row: LeaseRow, lease: Lease, reading: Reading) -> LeaseRow | Lost:
        """See ports.Ledgers."""
        stored = self.rows.get(row.shard)
        if stored is None:
            return Lost(None)
        if self._guards("claim_owner", stored.owner == row.owner):
            return Lost(stored)
        if self._guards("claim_epoch", stored.epoch == row.epoch):
            return Lost(stored)
        claimed = self.rows[row.shard] = replace(stored, owner=lease.owner, epoch=lease.epoch).read_as(reading)
        self.on_claim(stored, claimed)
        return claimed

    def release(self, lease: Lease) -> Done:
        """See ports.Ledgers."""
        row = self.rows.get(lease.shard)
        if row is not None and self._fenced("release", row, lease):
            self.rows[lease.shard] = replace(row, owner=None)
            self.on_release(row, lease)
        return Done()

    def send_heartbeat(
        self, owner: str, report: HeartbeatReport, *, joining: bool, bump: bool
    ) -> Done | HeartbeatRemoved:
        """See ports.Membership."""
        if not joining and self._guards("heartbeat_if_member", owner in self.workers):
            return HeartbeatRemoved()
        before = self.workers.get(owner)
        self.workers[owner] = report
        self.on_heartbeat(owner, before, joining)
        self.changes += bump
        return Done()

    def read_members(self) -> Members:
        """See ports.Membership."""
        return Members(self.changes, dict(self.workers))

    def leave(self, owner: str) -> Done:
        """See ports.Membership."""
        if self.workers.pop(owner, None) is not None:
            self.changes += 1
        return Done()

    def evict(self, owner: str, heartbeat: int) -> Done:
        """See ports.Membership."""
        report = self.workers.get(owner)
        if report is not None and not self._guards("evict_unchanged", report.number == heartbeat):
            self.on_evict(owner)
            del self.workers[owner]
            self.changes += 1
        return Done()

    def _guards(self, guard: str, holds: object) -> bool:
        """Whether `guard` refuses the write: its condition does not hold, and it is not switched off."""
        return not holds and guard not in self.off

    def _fenced(self, write: str, row: LeaseRow, lease: Lease) -> bool:
        refused = self._guards(f"{write}_owner", row.owner == lease.owner)
        return not (refused or self._guards(f"{write}_epoch", row.epoch == lease.epoch))
