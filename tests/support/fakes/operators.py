"""What operators' commands read and write, over FakeTables, with the conditions of the real tables."""

from collections.abc import Callable

from consumer.aws.items import iso
from consumer.domain.accepted_rules import AcceptedRules
from consumer.domain.audit import AuditEntry
from consumer.domain.leases import BindingChange, LeaseRow, Shard, TableBinding
from consumer.domain.membership import Members
from consumer.domain.operator_ports import Acknowledgement, Gap, GapChanged, LeaseTable
from consumer.domain.records import Rules
from consumer.domain.replies import Done, Lost
from tests.support.fakes.tables import FakePending, FakeTables
from tests.support.fakes.tables import Gap as GapRow


class FakeTableReader:
    """The TableReader port."""

    def __init__(self, tables: FakeTables) -> None:
        self._tables = tables

    def lease_table(self) -> LeaseTable:
        """See operator_ports.TableReader."""
        return LeaseTable(self._tables.load(), self._tables.read_members())

    def gaps(self) -> tuple[Gap, ...]:
        """See operator_ports.TableReader."""
        return tuple(_gap(shard, checkpoint, gap) for (shard, checkpoint), gap in self._tables.gaps.items())

    def bindings(self) -> tuple[TableBinding, ...]:
        """See operator_ports.TableReader."""
        return tuple(self._tables.bindings.values())

    def pending(self) -> int | None:
        """See operator_ports.TableReader."""
        return FakePending(self._tables).count()


def _gap(shard: Shard, checkpoint: str, gap: GapRow) -> Gap:
    acknowledged = gap.acknowledged[1] if gap.acknowledged else None
    return Gap(shard.stream_arn, shard.shard_id, checkpoint, gap.to, "possible", "", acknowledged)


class FakeGaps:
    """The Gaps port, for gaps of shards; `trail` has the audit entries. Guard in `tables.off`: gap_unacknowledged."""

    def __init__(self, tables: FakeTables) -> None:
        self.trail: list[AuditEntry] = []
        self.on_acknowledge: Callable[[Gap, GapRow], None] = lambda *_: None
        self._tables = tables

    def acknowledge(self, gap: Gap, why: str, token: str, audit_entry: AuditEntry) -> Done | GapChanged:
        """See operator_ports.Gaps."""
        assert gap.shard_id is not None
        shard = Shard(gap.stream_arn, gap.shard_id)
        stored = self._tables.gaps.get((shard, gap.start))
        if stored is None:
            return GapChanged(None)
        if stored.acknowledged is not None and "gap_unacknowledged" not in self._tables.off:
            return Done() if stored.acknowledged[0] == token else GapChanged(_gap(shard, gap.start, stored))
        self.trail.append(audit_entry)
        self.on_acknowledge(gap, stored)
        stored.acknowledged = (token, Acknowledgement(audit_entry.who, iso(audit_entry.at), why))
        return Done()


class FakeLeaseAdmin:
    """The LeaseAdmin port; `trail` has the audit entries. Guards in `tables.off`: place_owner, place_epoch,
    place_checkpoint, place_if_absent, place_if_started.
    """

    def __init__(self, tables: FakeTables, clock: Callable[[], float]) -> None:
        self.trail: list[AuditEntry] = []
        self.on_place: Callable[[LeaseRow | None, LeaseRow | None, LeaseRow], None] = lambda *_: None
        self._tables = tables
        self._clock = clock

    def read_members(self) -> tuple[Members, float]:
        """See operator_ports.LeaseAdmin."""
        return self._tables.read_members(), self._clock()

    def place(self, before: LeaseRow | None, after: LeaseRow, audit_entry: AuditEntry) -> Done | Lost:
        """See operator_ports.LeaseAdmin."""
        rows, off = self._tables.rows, self._tables.off
        stored = rows.get(after.shard)
        if before is None:
            if stored is not None and "place_if_absent" not in off:
                return Lost(stored)
            if after.shard.stream_arn not in self._tables.stream_starts and "place_if_started" not in off:
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
        self.trail.append(audit_entry)
        self.on_place(before, stored, after)
        return Done()


class FakeRuleList:
    """The RuleList port; `trail` has the audit entries. Guard in `tables.off`: rules_unchanged."""

    def __init__(self, tables: FakeTables) -> None:
        self.trail: list[AuditEntry] = []
        self.on_accept: Callable[[AcceptedRules, AcceptedRules], None] = lambda *_: None
        self._tables = tables

    def accept(self, before: AcceptedRules, rules: Rules, audit_entry: AuditEntry) -> Done | Lost:
        """See operator_ports.RuleList."""
        stored, after = self._tables.accepted, AcceptedRules((*before.entries, rules))
        if stored != before and "rules_unchanged" not in self._tables.off:
            return Done() if stored == after else Lost(None)
        self._tables.accepted = after
        self._tables.changes += 1
        self.trail.append(audit_entry)
        self.on_accept(stored, after)
        return Done()


class FakeTableBindings:
    """The TableBindings port; `trail` has the audit entries. Guards in `tables.off`: binding_unchanged,
    binding_start_unchanged.
    """

    def __init__(self, tables: FakeTables) -> None:
        self.trail: list[AuditEntry] = []
        self.on_change_binding: Callable[[BindingChange, TableBinding | None, bool], None] = lambda *_: None
        self._tables = tables

    def change_binding(self, binding_change: BindingChange, audit_entry: AuditEntry) -> Done | Lost:
        """See operator_ports.TableBindings."""
        bindings, arn, off = self._tables.bindings, binding_change.stream_arn, self._tables.off
        stored, pinned = bindings.get(arn), arn in self._tables.stream_starts
        if stored != binding_change.before and "binding_unchanged" not in off:
            return Lost(None)
        if pinned is not binding_change.has_stream_start and "binding_start_unchanged" not in off:
            return Lost(None)
        if binding_change.after is None:
            bindings.pop(arn, None)
        else:
            bindings[arn] = binding_change.after
        self.trail.append(audit_entry)
        self.on_change_binding(binding_change, stored, pinned)
        return Done()
