"""The quarantine, and the circuits of halted shards, in memory, with the conditions of the real tables."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from consumer.aws.items import iso
from consumer.domain.audit import AuditEntry
from consumer.domain.fold import Delta, add_to
from consumer.domain.leases import LeaseRow
from consumer.domain.marks import RowWrite, StoredRow
from consumer.domain.operator_ports import AcceptedMark
from consumer.domain.quarantine import (
    AlreadyResolved,
    Application,
    EntryState,
    OperatorAction,
    QuarantineEntry,
    Resolution,
    Unsettled,
)
from consumer.domain.records import unpack
from consumer.domain.replies import Done, Lost, Refused, RowRefused
from tests.support.fakes.tables import FakeTables

NO_PLAYERS: frozenset[str] = frozenset()


def _key(entry: QuarantineEntry) -> tuple[str, str]:
    return entry.shard_id, entry.sequence_number


class FakeQuarantine:
    """The Quarantine and Circuits ports over FakeTables. Guards in its `off`: apply_pending, discard_pending,
    restore_discarded, apply_item, restore_item, action_token, resume_halted, resume_unresumed.

    `audit` has the audit entries in order. `actions` has the token and resolution of each resolved record, by its key;
    `resumed` the token that closed a shard's circuit last.
    """

    def __init__(self, tables: FakeTables) -> None:
        self.tables = tables
        self.audit: list[AuditEntry] = []
        self.actions: dict[tuple[str, str], tuple[str, Resolution | None]] = {}
        self.resumed: dict[object, str] = {}
        self.on_resolve: Callable[[OperatorAction, Application | None], None] = lambda *_: None
        self.on_restore: Callable[[OperatorAction], None] = lambda _: None
        self.on_resume: Callable[[LeaseRow, LeaseRow, str | None], None] = lambda *_: None

    def entries(self, shard_id: str | None = None) -> Iterator[QuarantineEntry]:
        """See operator_ports.Quarantine."""
        for key in list(self.tables.quarantine):
            entry = self.entry(*key)
            if entry is not None and shard_id in (None, entry.shard_id):
                yield entry

    def entry(self, shard_id: str, sequence_number: str) -> QuarantineEntry | None:
        """See operator_ports.Quarantine."""
        row = self.tables.quarantine.get((shard_id, sequence_number))
        if row is None:
            return None
        token, resolution = self.actions.get((shard_id, sequence_number), ("", None))
        if resolution is None and row.state != EntryState.PENDING:
            resolution = Resolution("", "")  # a test has set the state
        return QuarantineEntry(
            shard_id=shard_id,
            sequence_number=sequence_number,
            reason=row.poison.reason,
            state=row.state,
            player=row.poison.player,
            parts=len(row.poison.parts),
            detail=row.poison.detail,
            quarantined_at=iso(row.at),
            created=row.poison.created,
            stream_arn=row.stream_arn,
            resolution=resolution,
            token=token or None,
            item=row.poison.about.item if row.poison.about is not None else None,
            kept=row.kept,
        )

    def records(self, entries: Sequence[QuarantineEntry]) -> list[Mapping[str, Any] | ValueError]:
        """See operator_ports.Quarantine."""
        return [unpack(self.tables.quarantine[_key(entry)].poison.parts) for entry in entries]

    def apply(self, applications: Sequence[Application]) -> Done | Unsettled | Refused:
        """See operator_ports.Quarantine."""
        unsettled = self._unsettled([each.action for each in applications], EntryState.PENDING, "apply_pending")
        if unsettled is not None:
            return unsettled
        deltas: dict[str, Delta] = {}
        undated: set[str] = set()
        for each in applications:
            undated |= each.undated
            for player, delta in each.deltas.items():
                add_to(deltas, player, delta)
        writes = [
            RowWrite(player, delta, dated=bool(delta.date) and player not in undated)
            for player, delta in deltas.items()
        ]
        refused = self.tables.refusal(writes)
        if refused is not None:
            alone = frozenset(deltas) if refused.invalid and len(deltas) == 1 else NO_PLAYERS
            return replace(refused, suspects=refused.suspects or alone)
        self.tables.add(writes)
        for each in applications:
            by = each.action.audit_entry
            self._resolve(each.action, EntryState.APPLIED, Resolution(by.who, iso(by.at), dict(each.repairs)))
            self.on_resolve(each.action, each)
        return Done()

    def discard(self, actions: Sequence[OperatorAction], why: str) -> Done | Unsettled:
        """See operator_ports.Quarantine."""
        unsettled = self._unsettled(actions, EntryState.PENDING, "discard_pending")
        if unsettled is not None:
            return unsettled
        for action in actions:
            by = action.audit_entry
            self._resolve(action, EntryState.DISCARDED, Resolution(by.who, iso(by.at), why=why))
            self.on_resolve(action, None)
        return Done()

    def restore(self, actions: Sequence[OperatorAction]) -> Done | Unsettled | Refused:
        """See operator_ports.Quarantine. Nothing expires here."""
        unsettled = self._unsettled(actions, EntryState.DISCARDED, "restore_discarded")
        if unsettled is not None:
            return unsettled
        for action in actions:
            self._resolve(action, EntryState.PENDING, None)
            self.on_restore(action)
        return Done()

    def _unsettled(self, actions: Sequence[OperatorAction], wanted: EntryState, guard: str) -> Unsettled | Done | None:
        """The reply, unless all rows are as these actions demand: to restore one, its discard is still the last."""
        replies: dict[int, Done | AlreadyResolved] = {}
        for at, action in enumerate(actions):
            key = _key(action.entry)
            row, last = self.tables.quarantine.get(key), self.actions.get(key, ("", None))[0]
            later = wanted is EntryState.DISCARDED and last != (action.entry.token or "")
            if row is None or ((row.state != wanted or later) and guard not in self.tables.off):
                mine = last == action.token and "action_token" not in self.tables.off
                replies[at] = Done() if mine else AlreadyResolved(self.entry(*key))
            elif f"{guard.partition('_')[0]}_item" in self.tables.off:
                continue
            elif action.item is not None and not self.tables.item_fits(action.item):
                replies[at] = AlreadyResolved(action.entry)
        if len(replies) == len(actions) and all(isinstance(reply, Done) for reply in replies.values()):
            return Done()
        return Unsettled(replies) if replies else None

    def _resolve(self, action: OperatorAction, state: EntryState, resolution: Resolution | None) -> None:
        key = _key(action.entry)
        self.tables.quarantine[key].state = state.value
        self.actions[key] = (action.token, resolution)
        if action.item is not None:
            self.tables.change_item(action.item)
        self._put_audit_entry(action.audit_entry)

    def _put_audit_entry(self, audit_entry: AuditEntry) -> None:
        """The same entry is the same row."""
        if audit_entry not in self.audit:
            self.audit.append(audit_entry)

    def read_row(self, player: str) -> StoredRow:
        """See operator_ports.Circuits."""
        return self.tables.stored_row(player)

    def resume(
        self, row: LeaseRow, free_to: str | None, token: str, audit_entry: AuditEntry, mark: AcceptedMark | None = None
    ) -> Done | Lost | RowRefused:
        """See operator_ports.Circuits."""
        stored = self.tables.rows.get(row.shard)
        if stored is None:
            return Lost(None)
        circuit = stored.circuit
        same = circuit.halted_at is not None and circuit.halted_at == row.circuit.halted_at
        other = not same and "resume_halted" not in self.tables.off
        changed = circuit.resumes != row.circuit.resumes and "resume_unresumed" not in self.tables.off
        if other or changed:
            mine = circuit.resumes and self.resumed.get(row.shard) == token and "action_token" not in self.tables.off
            return Done() if mine else Lost(stored)
        if mark is not None:
            found = self.tables.stored_row(mark.player)
            if found.mark is None or found.mark[:2] != mark.mark[:2]:
                return RowRefused(found)
            self.tables.board[mark.player].mark = None
        closed = replace(
            circuit,
            halted_at=None,
            symptom=None,
            recent=0,
            resumes=row.circuit.resumes + 1,
            free_to=circuit.free_to if free_to is None else free_to,
        )
        self.tables.rows[row.shard] = replace(stored, circuit=closed)
        self.tables.changes += 1
        self.resumed[row.shard] = token
        self._put_audit_entry(audit_entry)
        self.on_resume(row, stored, free_to)
        return Done()
