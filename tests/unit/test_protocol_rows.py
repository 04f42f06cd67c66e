"""docs/protocol.md: each line of the tables of a lease row and of a member's entry, written on the fakes.

The contract tests hold the fakes to the real tables.
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Final

import pytest

from consumer.domain.accepted_rules import UNNUMBERED
from consumer.domain.audit import AuditEntry
from consumer.domain.breaker import CLOSED, Circuit
from consumer.domain.fold import Delta, Unit
from consumer.domain.leases import TRIM_HORIZON, Adoption, LeaseRow, StreamStart, TableNames
from consumer.domain.lineage import late_row
from consumer.domain.marks import Mark, Route, RowWrite
from consumer.domain.membership import HeartbeatReport
from consumer.domain.records import Rules
from consumer.domain.replies import Done, HeartbeatRemoved
from consumer.operations.checkpoint import plan
from consumer.worker import ledger_calls, shard_calls
from consumer.worker.calls import Call, Ports, Reply
from consumer.worker.stream_start import StreamStarter
from consumer.worker.writer import child_row
from tests.support.builders import ARN, CREATED, ME, OTHER, SYMPTOM, finished, lease, plain_rows, row, shard
from tests.support.fakes import FakeQuarantine, FakeStreams, FakeTables
from tests.support.fakes.operators import FakeLeaseAdmin
from tests.support.fakes.tables import Score

ROOT: Final = Path(__file__).parents[2]
HALTED: Final = Circuit(halted_at=CREATED)
ENTRY: Final = AuditEntry("me", CREATED, "action", "target")
UNIT: Final = Unit(TRIM_HORIZON, "1", "1", 1, {"foo": Delta(1, Decimal(9), "2026-01-31")}, (), {}, CREATED, CREATED)
MOVE: Final = Unit(TRIM_HORIZON, "", "1", 0, {}, (), {}, CREATED, CREATED)
STARTED: Final = StreamStart(ARN, None, ("shard-0",), complete=True)


def lines(heading: str) -> list[list[str]]:
    """The cells of a table, without its title."""
    text = (ROOT / "docs" / "protocol.md").read_text().split(f"\n{heading}\n", 1)[1].partition("\n#")[0]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if line[:1] == "|"]
    return rows[2:]


def names(cell: str) -> list[str]:
    return re.findall(r"`([^`]+)`", cell)


class Written:
    """Tables with one lease row (None: absent), or none, and the writes of the worker and of operators."""

    def __init__(self, stored: LeaseRow | None) -> None:
        self.stored = stored
        self.tables = FakeTables()
        self.tables.stream_starts[ARN] = STARTED
        if stored is not None:
            self.tables.rows[stored.shard] = stored

    def execute(self, call: Call) -> Reply:
        streams = FakeStreams(lambda: CREATED, ARN)
        streams.add_shard("shard-0")
        return call.execute(Ports(streams, self.tables, self.tables, self.tables, Rules()))

    @property
    def before(self) -> LeaseRow:
        assert self.stored is not None
        return self.stored

    def start(self) -> None:
        self.tables.stream_starts.clear()
        starter = StreamStarter(ARN, TRIM_HORIZON, 1, TableNames())
        while not starter.complete:
            call = starter.next_call()
            starter.take(call, self.execute(call))

    def adopt(self) -> None:
        self.tables.rows[shard(9)] = parent = finished(9)
        self.execute(ledger_calls.Adopt(Adoption(parent, (late_row(shard(), parent, CREATED),))))

    def end_parent(self) -> None:
        self.tables.rows[shard(9)] = row(9, owner=ME)
        child = child_row(lease(9), "shard-0", CREATED, None, CLOSED, UNNUMBERED)
        self.execute(shard_calls.EndShard(lease(9), TRIM_HORIZON, ("shard-0",), (child,)))

    def resume(self) -> None:
        FakeQuarantine(self.tables).resume(self.before, None, "token", ENTRY)

    def set_checkpoint(self) -> None:
        change = plan(self.tables.load(), "shard-0", TRIM_HORIZON, CREATED)
        assert FakeLeaseAdmin(self.tables, lambda: CREATED).place(change.before, change.after, ENTRY) == Done()


WRITES: Final[dict[str, Callable[[Written], object]]] = {
    "CreateRootRows": Written.start,
    "Adopt": Written.adopt,
    "EndShard, a child's row": Written.end_parent,
    "Claim": lambda it: it.execute(ledger_calls.Claim(it.before, lease(owner=OTHER, epoch=it.before.epoch + 1))),
    "Commit": lambda it: it.execute(shard_calls.Commit(lease(), UNIT, plain_rows(UNIT), fills_gap=False)),
    "MoveCheckpoint": lambda it: it.execute(shard_calls.MoveCheckpoint(lease(), MOVE)),
    "Halt": lambda it: it.execute(shard_calls.Halt(lease(), TRIM_HORIZON, 0, CREATED, SYMPTOM)),
    "Release": lambda it: it.execute(shard_calls.Release(lease())),
    "EndShard, the shard's own row": lambda it: it.execute(shard_calls.EndShard(lease(), TRIM_HORIZON, (), ())),
    "Mark": lambda it: it.execute(ledger_calls.Mark(it.before, None if it.before.unlisted_since else CREATED)),
    "Forget": lambda it: it.execute(ledger_calls.Forget(it.before, STARTED)),
    "resume": Written.resume,
    "checkpoint set": Written.set_checkpoint,
}
STORED: Final[dict[str, tuple[LeaseRow | None, ...]]] = {
    "absent": (None,),
    "released": (row(),),
    "owned": (row(owner=ME),),
    "halted": (replace(row(), circuit=HALTED), replace(row(owner=ME), circuit=HALTED)),
    "finished": (finished(0, unlisted_since=CREATED),),
}


def state_of(found: LeaseRow | None) -> str:
    if found is None:
        return "absent"
    if found.finished:
        return "finished"
    if found.circuit.halted_at is not None:
        return "halted"
    return "released" if found.owner is None else "owned"


def epoch_of(before: LeaseRow | None, after: LeaseRow | None) -> str:
    if after is None or (before is not None and after.epoch == before.epoch):
        return "stays"
    if before is not None and after.epoch == before.epoch + 1:
        return "raised by one"
    assert after.epoch == int(CREATED)
    return "seconds since 1970"


def changes() -> Iterator[tuple[str, str, str, str]]:
    """Write, state before, states after and epoch of each line."""
    for write, before, after, epoch in lines("## A lease row"):
        writes = [write.replace("`", "")] if write.replace("`", "") in WRITES else names(write)
        yield from ((each, state, after, epoch) for each in writes for state in names(before))


@pytest.mark.parametrize(("write", "state", "after", "epoch"), list(changes()))
def test_a_write_leads_a_lease_row_to_the_state_of_its_line(write: str, state: str, after: str, epoch: str) -> None:
    reached = set()
    for stored in STORED[state]:
        needs_owner = write in ("Halt", "Release") and stored is not None and stored.owner is None
        if needs_owner:
            continue
        written = Written(stored)
        WRITES[write](written)
        found = written.tables.rows.get(shard())
        reached.add(state_of(found))
        assert epoch_of(stored, found) == (epoch.partition(";")[0].partition(",")[0] or "stays")
    assert reached == set(names(after))


def test_every_write_of_a_lease_row_has_a_line() -> None:
    assert {write for write, *_ in changes()} == WRITES.keys()


FOUND, SET, ANOTHER = (Mark(str(shard()), number, CREATED) for number in ("5", "7", "6"))
DELTA: Final = UNIT.deltas["foo"]
SCORES: Final[dict[str, Score | None]] = {
    "absent": None,
    "unmarked": Score(1, Decimal(1), None),
    "marked": Score(1, Decimal(1), None, mark=FOUND),
    "marked with another mark": Score(1, Decimal(1), None, mark=ANOTHER),
}
ROW_WRITES: Final = {
    "WriteRows, insert": RowWrite("foo", DELTA, Route.INSERT, None, SET),
    "WriteRows, follow": RowWrite("foo", DELTA, Route.FOLLOW, FOUND, SET),
    "Commit, fresh": RowWrite("foo", DELTA, Route.FRESH, None, SET),
    "Commit, marked": RowWrite("foo", DELTA, Route.MARKED, FOUND, SET),
    "Commit, shared": RowWrite("foo", DELTA, Route.SHARED, FOUND, None),
    "Commit, plain": RowWrite("foo", DELTA),
    "quarantine redrive": RowWrite("foo", DELTA),
}
"""By write; the fake of a re-drive adds a plain one."""


def score_changes() -> Iterator[tuple[str, str, str, str]]:
    """Write, state before, state after and mark of each line of the table of a player's row."""
    for write, before, after, mark in lines("## A player's row"):
        other = " with another mark" if "another mark" in before else ""
        states = [state + other * (state == "marked") for state in names(before)]
        yield from ((write.replace("`", ""), state, after.strip("`"), mark) for state in states)


@pytest.mark.parametrize(("write", "state", "after", "mark"), list(score_changes()))
def test_a_write_leads_a_players_row_to_the_state_of_its_line(write: str, state: str, after: str, mark: str) -> None:
    written, before, sent = Written(row(owner=ME)), SCORES[state], ROW_WRITES[write]
    if before is not None:
        written.tables.board["foo"] = before
    if write == "quarantine redrive":
        written.tables.add([sent])
    elif write.startswith("WriteRows"):
        written.execute(shard_calls.WriteRows(lease(), (sent,)))
    else:
        written.execute(shard_calls.Commit(lease(), UNIT, (sent,), fills_gap=False))
    found = written.tables.board.get("foo")
    if after == "refused":
        assert found == before
        return
    assert found is not None
    assert found.games == (before.games if before else 0) + DELTA.games
    assert found.mark == (SET if mark == "set" else before and before.mark)
    assert after == ("unmarked" if found.mark is None else "marked")


def test_every_write_of_a_players_row_has_a_line() -> None:
    assert {write for write, *_ in score_changes()} == ROW_WRITES.keys()


REPORT: Final = HeartbeatReport(3)
MEMBER_WRITES: Final[dict[str, Callable[[Written], Reply]]] = {
    "SendHeartbeat, joining": lambda it: it.execute(
        ledger_calls.SendHeartbeat(ME, HeartbeatReport(4), joining=True, bump=True)
    ),
    "SendHeartbeat, not joining": lambda it: it.execute(
        ledger_calls.SendHeartbeat(ME, HeartbeatReport(4), joining=False, bump=False)
    ),
    "EvictMember": lambda it: it.execute(ledger_calls.EvictMember(ME, REPORT.number)),
    "Leave": lambda it: it.execute(ledger_calls.Leave(ME)),
}


def member_changes() -> Iterator[tuple[str, str, bool, str]]:
    """Write, state before, whether another number is stored than the one that was read, and the rest of the line."""
    for write, before, after in lines("## A member's entry"):
        yield from ((write.replace("`", ""), state, "another" in before, after) for state in names(before))


@pytest.mark.parametrize(("write", "state", "grown", "after"), list(member_changes()))
def test_a_write_leads_a_members_entry_to_the_state_of_its_line(
    write: str, state: str, grown: bool, after: str
) -> None:
    written = Written(None)
    if state != "absent":  # the entry of a silent worker differs in what one reader has seen, not in the table
        written.tables.workers[ME] = HeartbeatReport(REPORT.number + grown)
    reply = MEMBER_WRITES[write](written)
    assert ("listed" if ME in written.tables.workers else "absent") == names(after)[0]
    assert isinstance(reply, HeartbeatRemoved) is ("HeartbeatRemoved" in after)


def test_every_write_of_a_members_entry_has_a_line() -> None:
    assert {write for write, *_ in member_changes()} == MEMBER_WRITES.keys()
