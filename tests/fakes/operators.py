"""What operators do to the tables in memory, with the conditions of the real thing."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any

from consumer.aws.items import iso
from consumer.domain.audit import Trace
from consumer.domain.leaderboard import Unit
from consumer.domain.leases import LeaseRow
from consumer.domain.outcomes import Done, Lost, Refused
from consumer.domain.parcel import unpack
from consumer.domain.position import TRIM_HORIZON
from consumer.domain.quarantine import Act, Application, Head, Settled, State, Taken
from tests.fakes.tables import FakeTables, Quarantined

NOBODY: frozenset[str] = frozenset()


class FakeOperators:
    """The Quarantine and Circuits ports over FakeTables. Guards in its `off`: apply_pending, discard_pending,
    act_token, resume_halted, resume_unresumed.

    `audit` has the traces as they came; `acts` who dealt with a record, by its key; `resumed` who closed a circuit.
    """

    def __init__(self, tables: FakeTables) -> None:
        self.tables = tables
        self.audit: list[Trace] = []
        self.acts: dict[tuple[str, str], tuple[str, Settled]] = {}
        self.resumed: dict[object, str] = {}
        self.on_settle: Callable[[Act, Application | None], None] = lambda *_: None
        self.on_resume: Callable[[LeaseRow, LeaseRow, str | None], None] = lambda *_: None

    # --- operator_ports.Quarantine ---

    def heads(self, shard_id: str | None = None) -> Iterator[Head]:
        """See operator_ports.Quarantine."""
        for key in list(self.tables.quarantine):
            head = self.head(*key)
            if head is not None and shard_id in (None, head.shard_id):
                yield head

    def head(self, shard_id: str, sequence_number: str) -> Head | None:
        """See operator_ports.Quarantine."""
        row = self.tables.quarantine.get((shard_id, sequence_number))
        if row is None:
            return None
        _, settled = self.acts.get((shard_id, sequence_number), ("", None))
        if settled is None and row.state != State.PENDING:
            settled = Settled("", "")  # by another hand than ours
        return Head(
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
            settled=settled,
        )

    def record(self, head: Head) -> Mapping[str, Any]:
        """See operator_ports.Quarantine."""
        return unpack(self.tables.quarantine[head.shard_id, head.sequence_number].poison.parts)

    def apply(self, application: Application) -> Done | Taken | Refused:
        """See operator_ports.Quarantine."""
        act, player = application.act, application.player
        row, settled = self._pending(act, "apply_pending")
        if row is None:
            return settled
        unit = Unit(TRIM_HORIZON, "", "", 1, {player: application.delta}, (), {}, 0.0, act.trace.at)
        later = NOBODY if application.dated else frozenset([player])
        refused = self.tables.refusal(unit, later)
        if refused is not None:
            return replace(refused, suspects=refused.suspects or (frozenset([player]) if refused.invalid else NOBODY))
        self.tables.add(unit, later)
        self._settle(act, row, State.APPLIED, Settled(act.trace.who, iso(act.trace.at), dict(application.repairs)))
        self.on_settle(act, application)
        return Done()

    def discard(self, act: Act, why: str) -> Done | Taken:
        """See operator_ports.Quarantine."""
        row, settled = self._pending(act, "discard_pending")
        if row is None:
            return settled
        self._settle(act, row, State.DISCARDED, Settled(act.trace.who, iso(act.trace.at), why=why))
        self.on_settle(act, None)
        return Done()

    def _pending(self, act: Act, guard: str) -> tuple[Quarantined | None, Done | Taken]:
        """The row, if this act may deal with it; else what it is told."""
        key = (act.head.shard_id, act.head.sequence_number)
        row = self.tables.quarantine.get(key)
        if row is None or (row.state != State.PENDING and guard not in self.tables.off):
            mine = self.acts.get(key, ("", None))[0] == act.token and "act_token" not in self.tables.off
            return None, Done() if mine else Taken(self.head(*key))
        return row, Done()

    def _settle(self, act: Act, row: Quarantined, state: State, settled: Settled) -> None:
        row.state = state.value
        self.acts[act.head.shard_id, act.head.sequence_number] = (act.token, settled)
        self._trace(act.trace)

    def _trace(self, trace: Trace) -> None:
        """The same act is the same row."""
        if trace not in self.audit:
            self.audit.append(trace)

    # --- operator_ports.Circuits ---

    def resume(self, row: LeaseRow, free_to: str | None, token: str, trace: Trace) -> Done | Lost:
        """See operator_ports.Circuits."""
        stored = self.tables.rows.get(row.shard)
        if stored is None:
            return Lost(None)
        circuit = stored.circuit
        same = circuit.halted_at is not None and circuit.halted_at == row.circuit.halted_at
        other = not same and "resume_halted" not in self.tables.off
        changed = circuit.resumes != row.circuit.resumes and "resume_unresumed" not in self.tables.off
        if other or changed:
            mine = circuit.resumes and self.resumed.get(row.shard) == token and "act_token" not in self.tables.off
            return Done() if mine else Lost(stored)
        closed = replace(
            circuit,
            halted_at=None,
            recent=0,
            resumes=row.circuit.resumes + 1,
            free_to=circuit.free_to if free_to is None else free_to,
        )
        self.tables.rows[row.shard] = replace(stored, circuit=closed)
        self.tables.changes += 1
        self.resumed[row.shard] = token
        self._trace(trace)
        self.on_resume(row, stored, free_to)
        return Done()
