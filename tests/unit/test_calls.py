"""Calls over ports in memory: which port each one reaches, and what it replies."""

from decimal import Decimal
from typing import get_args

import pytest

from consumer.domain.accepted_rules import AcceptedRules, Reading
from consumer.domain.errors import CallFailed, DataTrimmed, FailureKind, IteratorExpired
from consumer.domain.fold import Delta
from consumer.domain.leases import TRIM_HORIZON, LeaseRow, Ledger, StreamStart
from consumer.domain.marks import ABSENT, Lineage, Mark, Route, RowWrite, StoredRow
from consumer.domain.membership import HeartbeatReport
from consumer.domain.records import Game, Ignored, Outcome, Poison, Reason, Rules
from consumer.domain.replies import Children, Committed, Done, HeartbeatRemoved, Lost, Page, RowRefused, StreamListing
from consumer.worker.calls import Call, Operation, Ports, Reply, execute
from consumer.worker.ledger_calls import (
    Claim,
    CompleteStreamStart,
    CoordinatorCall,
    CreateRootRows,
    EvictMember,
    Leave,
    ListShards,
    Load,
    Probe,
    ReadMembers,
    ReadOrigin,
    RecordStreamStart,
    SendHeartbeat,
    SyncCall,
    UpgradeStream,
)
from consumer.worker.shard_calls import (
    Commit,
    EndShard,
    Examine,
    FindChildren,
    LookUpShard,
    Open,
    Read,
    ReadItems,
    ReadRows,
    RecordGap,
    Release,
    ShardCall,
    WriteRows,
)
from tests.support.builders import ARN, CREATED, ME, OTHER, finished, game, lease, row, sequence_number, shard
from tests.support.drivers import WorkerDriver, members, stream
from tests.support.fakes import FakeTables
from tests.support.fakes.tables import Score

IMAGE = {"playerId": {"S": "foo"}, "score": {"N": "150"}, "timestamp": {"S": "2026-01-31"}}


@pytest.fixture
def driver() -> WorkerDriver:
    """A worker over a stream of two shards, with three records in the first."""
    made = WorkerDriver(streams=stream(2, {0: 1}))
    made.streams.write("shard-0", IMAGE)
    made.streams.write("shard-0", IMAGE | {"score": {"S": "150"}})
    made.streams.write("shard-0", IMAGE, event="MODIFY")
    return made


def test_a_page_is_decoded_where_it_is_read(driver: WorkerDriver) -> None:
    iterator = execute(Open(lease(), TRIM_HORIZON), driver.ports)
    assert isinstance(iterator, str)
    read = execute(Read(lease(), iterator, TRIM_HORIZON, None), driver.ports)
    assert isinstance(read, Page)
    assert [type(entry) for entry in read.entries] == [Game, Poison, Ignored]
    late = execute(Read(lease(), iterator, TRIM_HORIZON, CREATED + 1), driver.ports)
    assert isinstance(late, Page)
    assert {entry.outcome for entry in late.entries if isinstance(entry, Ignored)} == {Outcome.BEFORE_START}
    assert len(late.entries) == 3


def test_every_call_reaches_its_port(driver: WorkerDriver) -> None:
    ports, tables = driver.ports, driver.tables
    stream_start = StreamStart(ARN, None, ("shard-0",), complete=False)
    root = LeaseRow(shard(0), None, 5, TRIM_HORIZON)
    child = LeaseRow(shard(1), ME, 6, TRIM_HORIZON)
    held = lease(epoch=6)
    mark = Mark(str(shard(0)), sequence_number(1), CREATED)
    first = RowWrite("foo", Delta(1, Decimal(9), "2026-01-31"), Route.INSERT, None, mark)
    expected: list[tuple[Call, Reply]] = [
        (ReadOrigin(ARN), tables.read_origin(ARN)),
        (ListShards(ARN), driver.streams.list_shards(ARN)),
        (RecordStreamStart(stream_start, None, CREATED), Done()),
        (RecordStreamStart(stream_start, None, CREATED), Lost(None)),
        (CreateRootRows(ARN, (root,)), Done()),
        (CompleteStreamStart(ARN), Done()),
        (UpgradeStream(ARN, None, Rules()), Done()),
        (UpgradeStream(ARN, None, Rules()), Lost(None)),
        (UpgradeStream(ARN, keyed=True), Lost(None)),
        (Load(), Ledger((root,), (StreamStart(ARN, None, ("shard-0",), complete=True),), AcceptedRules((Rules(),)))),
        (SendHeartbeat(ME, HeartbeatReport(1), joining=True, bump=True), Done()),
        (SendHeartbeat(OTHER, HeartbeatReport(1), joining=False, bump=True), HeartbeatRemoved()),
        (ReadMembers(), members(1, w1_a=1)),
        (Claim(root, held, Reading(1)), LeaseRow(shard(0), ME, 6, TRIM_HORIZON, rules=1)),
        (RecordGap(held, TRIM_HORIZON, CREATED), True),
        (RecordGap(held, TRIM_HORIZON, CREATED), False),
        (ReadRows(held, ("foo",)), {"foo": ABSENT}),
        (WriteRows(held, (first,)), [Done()]),
        (WriteRows(held, (first,)), [RowRefused(first.after(ABSENT))]),
        (ReadRows(held, ("foo",)), {"foo": first.after(ABSENT)}),
        (ReadItems(held, ("{}",)), {"{}": None}),
        (LookUpShard(held, str(shard(1))), Lineage({str(shard(0)): None, str(shard(1)): str(shard(0))})),
        (FindChildren(held), Children(("shard-1",), leaf=False, served_at=CREATED)),
        (EndShard(held, TRIM_HORIZON, ("shard-1",), (child,)), Committed()),
        (Release(held), Done()),
        (EvictMember(ME, 7), Done()),
        (Leave(ME), Done()),
        (ReadMembers(), members(2)),
    ]
    for call, reply in expected:
        assert execute(call, ports) == reply, call


def test_rows_are_read_and_written(driver: WorkerDriver) -> None:
    write = RowWrite("foo", Delta(1, Decimal(5), "2026-01-31"), Route.INSERT, None, Mark(str(shard(0)), "7", CREATED))
    written = StoredRow(mark=write.mark, date="2026-01-31")
    assert execute(ReadRows(lease(), ("foo", "bar")), driver.ports) == {"foo": ABSENT, "bar": ABSENT}
    other = write._replace(player="bar")
    assert execute(WriteRows(lease(), (write,)), driver.ports) == [Done()]
    assert execute(WriteRows(lease(), (write, other)), driver.ports) == [RowRefused(written), Done()]
    assert execute(ReadRows(lease(), ("foo",)), driver.ports) == {"foo": written}


def test_a_shard_is_looked_up_in_the_ledger_and_in_the_listing(driver: WorkerDriver) -> None:
    driver.tables.rows = {shard(0): finished(0, 1), shard(7): row(7)}
    found = execute(LookUpShard(lease(), str(shard(1))), driver.ports)
    assert isinstance(found, Lineage)
    assert found.parents == {str(shard(0)): None, str(shard(1)): str(shard(0)), str(shard(7)): None}
    assert found.finished == {str(shard(0))}


@pytest.mark.parametrize("kind", FailureKind)
def test_a_stream_that_is_gone_or_cannot_be_lists_nothing(driver: WorkerDriver, kind: FailureKind) -> None:
    """After every other failure the call is retried: what a listing did not say is not known."""
    driver.tables.rows = {shard(7): row(7)}
    failure = CallFailed(kind, "no listing")

    def fail(stream_arn: str) -> StreamListing:
        assert stream_arn == ARN.replace("2026-01-01", "2025-12-31")
        raise failure

    driver.streams.list_shards = fail  # type: ignore[method-assign]
    reply = execute(LookUpShard(lease(), "2025-12-31T00:00:00.000/shard-3"), driver.ports)
    gone = kind in (FailureKind.MISSING, FailureKind.REJECTED)
    assert reply == (Lineage({str(shard(7)): None}) if gone else failure)


def test_an_older_stream_row_is_upgraded_once(driver: WorkerDriver) -> None:
    driver.tables.stream_starts[ARN] = StreamStart(ARN, None, (), complete=True, protocol=1)
    assert execute(UpgradeStream(ARN, keyed=True), driver.ports) == Done()
    assert execute(UpgradeStream(ARN, keyed=False), driver.ports) == Lost(None)
    assert driver.tables.stream_starts[ARN].keyed


def test_a_unit_is_committed(driver: WorkerDriver) -> None:
    driver.serve(2.0, hold=Commit)
    commit = driver.call(Commit)
    assert execute(commit, driver.ports) == Committed()
    assert driver.tables.board["foo"].total == Decimal(150)


def test_what_was_refused_alone_is_examined(driver: WorkerDriver) -> None:
    fine, huge = game(1), game(2, score="9" * 38)
    driver.tables.board["bar"] = Score(1, Decimal(2), "2026-01-31")
    assert execute(Examine(lease(), fine), driver.ports) == Done()
    refused = execute(Examine(lease(), fine, (Reason.REFUSED, "no such type")), driver.ports)
    assert isinstance(refused, Poison)
    assert (refused.reason, refused.detail, refused.sequence_number) == (
        Reason.REFUSED,
        "no such type",
        sequence_number(1),
    )
    driver.tables.board["foo"] = Score(1, Decimal(2), "2026-01-31")
    poison = execute(Examine(lease(), huge, (Reason.REFUSED, "no such type")), driver.ports)
    assert isinstance(poison, Poison)
    assert poison.reason is Reason.TOTAL_OVERFLOW


@pytest.mark.parametrize("failure", [CallFailed(FailureKind.DENIED, "no"), IteratorExpired(), DataTrimmed()], ids=str)
def test_failures_are_replies(driver: WorkerDriver, failure: Exception) -> None:
    def fail(*_: object) -> None:
        raise failure

    driver.streams.open = fail  # type: ignore[method-assign, assignment]
    assert execute(Open(lease(), TRIM_HORIZON), driver.ports) is failure


def test_a_defect_is_no_reply() -> None:
    tables = FakeTables()
    ports = Ports(None, tables, tables, tables, Rules())  # type: ignore[arg-type]
    with pytest.raises(AttributeError):
        execute(Open(lease(), TRIM_HORIZON), ports)


@pytest.mark.parametrize(
    ("failure", "readable"),
    [
        (DataTrimmed(), True),
        (CallFailed(FailureKind.MISSING, "no such shard"), False),
        (CallFailed(FailureKind.NETWORK, "down"), None),
    ],
)
def test_a_shard_is_there_if_it_can_be_read_whatever_listings_show(
    driver: WorkerDriver, monkeypatch: pytest.MonkeyPatch, failure: Exception, readable: bool | None
) -> None:
    def fail(*_: object) -> str:
        raise failure

    monkeypatch.setattr(driver.streams, "open", fail)
    reply = execute(Probe(shard(0)), driver.ports)
    assert reply is (failure if readable is None else readable)


def test_the_operations_are_the_labels_that_dashboards_and_alerts_use() -> None:
    operations = {call.operation.value: call.__name__ for call in get_args(CoordinatorCall | SyncCall | ShardCall)}
    assert operations == {
        "get_shard_iterator": "Open",
        "get_records": "Read",
        "record_gap": "RecordGap",
        "read_rows": "ReadRows",
        "read_items": "ReadItems",
        "write_rows": "WriteRows",
        "look_up_shard": "LookUpShard",
        "commit": "Commit",
        "move_checkpoint": "MoveCheckpoint",
        "examine": "Examine",
        "halt": "Halt",
        "find_children": "FindChildren",
        "end_shard": "EndShard",
        "release": "Release",
        "heartbeat": "SendHeartbeat",
        "read_members": "ReadMembers",
        "evict_member": "EvictMember",
        "leave": "Leave",
        "read_origin": "ReadOrigin",
        "list_shards": "ListShards",
        "probe_shard": "Probe",
        "record_stream_start": "RecordStreamStart",
        "create_root_rows": "CreateRootRows",
        "complete_stream_start": "CompleteStreamStart",
        "upgrade_stream": "UpgradeStream",
        "load_ledger": "Load",
        "claim": "Claim",
        "find_stream": "FindStream",
        "find_late_children": "FindLate",
        "record_loss": "RecordLoss",
        "adopt": "Adopt",
        "mark_unlisted": "Mark",
        "forget": "Forget",
    }
    assert set(operations) == {operation.value for operation in Operation}
