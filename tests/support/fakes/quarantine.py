"""The quarantine, and the circuits of halted shards, in memory, with the conditions of the real tables."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any

from consumer.aws.items import iso
from consumer.domain.audit import AuditEntry
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
)
from consumer.domain.records import unpack
from consumer.domain.replies import Done, Lost, Refused, RowRefused
from tests.support.fakes.tables import FakeTables, Quarantined

NO_PLAYERS: frozenset[str] = frozenset()


class FakeQuarantine:
    """The Quarantine and Circuits ports over FakeTables. Guards in its `off`: apply_pending, discard_pending,
    action_token, resume_halted, resume_unresumed.

    `audit` has the audit entries in order. `actions` has the token and resolution of each resolved record, by its key;
    `resumed` the token that closed a shard's circuit last.
    """

    def __init__(self, tables: FakeTables) -> None:
        self.tables = tables
        self.audit: list[AuditEntry] = []
        self.actions: dict[tuple[str, str], tuple[str, Resolution]] = {}
        self.resumed: dict[object, str] = {}
        self.on_resolve: Callable[[OperatorAction, Application | None], None] = lambda *_: None
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
        _, resolution = self.actions.get((shard_id, sequence_number), ("", None))
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
        )

    def record(self, entry: QuarantineEntry) -> Mapping[str, Any]:
        """See operator_ports.Quarantine."""
        return unpack(self.tables.quarantine[entry.shard_id, entry.sequence_number].poison.parts)

    def apply(self, application: Application) -> Done | AlreadyResolved | Refused:
        """See operator_ports.Quarantine."""
        action, player = application.action, application.player
        row, reply = self._pending(action, "apply_pending")
        if row is None:
            return reply
        writes = [RowWrite(player, application.delta, dated=application.dated)]
        refused = self.tables.refusal(writes)
        if refused is not None:
            return replace(
                refused, suspects=refused.suspects or (frozenset([player]) if refused.invalid else NO_PLAYERS)
            )
        self.tables.add(writes)
        by = action.audit_entry
        self._resolve(action, row, EntryState.APPLIED, Resolution(by.who, iso(by.at), dict(application.repairs)))
        self.on_resolve(action, application)
        return Done()

    def discard(self, action: OperatorAction, why: str) -> Done | AlreadyResolved:
        """See operator_ports.Quarantine."""
        row, reply = self._pending(action, "discard_pending")
        if row is None:
            return reply
        by = action.audit_entry
        self._resolve(action, row, EntryState.DISCARDED, Resolution(by.who, iso(by.at), why=why))
        self.on_resolve(action, None)
        return Done()

    def _pending(self, action: OperatorAction, guard: str) -> tuple[Quarantined | None, Done | AlreadyResolved]:
        """The row, if this action may resolve it; else the reply."""
        key = (action.entry.shard_id, action.entry.sequence_number)
        row = self.tables.quarantine.get(key)
        if row is None or (row.state != EntryState.PENDING and guard not in self.tables.off):
            mine = self.actions.get(key, ("", None))[0] == action.token and "action_token" not in self.tables.off
            return None, Done() if mine else AlreadyResolved(self.entry(*key))
        return row, Done()

    def _resolve(self, action: OperatorAction, row: Quarantined, state: EntryState, resolution: Resolution) -> None:
        row.state = state.value
        self.actions[action.entry.shard_id, action.entry.sequence_number] = (action.token, resolution)
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
