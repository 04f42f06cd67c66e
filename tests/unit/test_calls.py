from decimal import Decimal

import pytest

from consumer.domain.errors import DataTrimmed, IteratorExpired, Trouble, TroubleKind
from consumer.domain.leases import LeaseRow, Pin, Vouch
from consumer.domain.outcomes import Children, Committed, Done, Ledger, Lost, Page, Removed
from consumer.domain.position import TRIM_HORIZON
from consumer.domain.records import Game, Ignored, Outcome, Poison, Reason, Rules
from consumer.worker.calls import (
    Beat,
    Bury,
    Call,
    Claim,
    Commit,
    CompletePin,
    EndShard,
    Examine,
    FindChildren,
    FindOrigin,
    FindStream,
    Leave,
    ListShards,
    Load,
    Look,
    Open,
    PinStream,
    Plant,
    Probe,
    Read,
    RecordGap,
    Release,
    Reply,
)
from consumer.worker.lanes import Lane, lane_of
from consumer.worker.perform import World, perform
from tests.builders import ARN, CREATED, ME, OTHER, game, lease, sequence_number, shard
from tests.fakes import FakeTables
from tests.fakes.tables import Score
from tests.talks import Shift, members, stream

IMAGE = {"playerId": {"S": "foo"}, "score": {"N": "150"}, "timestamp": {"S": "2026-01-31"}}


@pytest.fixture
def shift() -> Shift:
    """A world that a worker has begun to work."""
    made = Shift(streams=stream(2, {0: 1}))
    made.streams.write("shard-0", IMAGE)
    made.streams.write("shard-0", IMAGE | {"score": {"S": "150"}})
    made.streams.write("shard-0", IMAGE, event="MODIFY")
    return made


@pytest.mark.parametrize(
    ("call", "lane"),
    [
        (Beat(ME, Vouch(1), joining=False, bump=False), Lane.BEAT),
        (Look(), Lane.BEAT),
        (Bury(OTHER, 3), Lane.BEAT),
        (Leave(ME), Lane.BEAT),
        (Load(), Lane.LOAD),
        (Open(lease(), TRIM_HORIZON), Lane.READ),
        (ListShards(ARN), Lane.LIST),
        (FindChildren(lease()), Lane.LIST),
        (FindStream(), Lane.LIST),
    ],
)
def test_beats_listings_and_the_ledger_have_lanes_of_their_own_and_reads_wait(call: Call, lane: Lane) -> None:
    assert lane_of(call) is lane


def test_a_page_is_decoded_where_it_is_read(shift: Shift) -> None:
    iterator = perform(Open(lease(), TRIM_HORIZON), shift.world)
    assert isinstance(iterator, str)
    read = perform(Read(lease(), iterator, TRIM_HORIZON, None), shift.world)
    assert isinstance(read, Page)
    assert [type(entry) for entry in read.entries] == [Game, Poison, Ignored]
    late = perform(Read(lease(), iterator, TRIM_HORIZON, CREATED + 1), shift.world)
    assert isinstance(late, Page)
    assert {entry.outcome for entry in late.entries if isinstance(entry, Ignored)} == {Outcome.BEFORE_START}
    assert len(late.entries) == 3


def test_every_call_meets_its_port(shift: Shift) -> None:
    world, tables = shift.world, shift.tables
    pin = Pin(ARN, None, ("shard-0",), complete=False)
    root = LeaseRow(shard(0), None, 5, TRIM_HORIZON)
    child = LeaseRow(shard(1), ME, 6, TRIM_HORIZON)
    held = lease(epoch=6)
    conversation: list[tuple[Call, Reply]] = [
        (FindOrigin(ARN), tables.origin(ARN)),
        (ListShards(ARN), shift.streams.list_shards(ARN)),
        (PinStream(pin, None, CREATED), Done()),
        (PinStream(pin, None, CREATED), Lost(None)),
        (Plant(ARN, (root,)), Done()),
        (CompletePin(ARN), Done()),
        (Load(), Ledger((root,), (Pin(ARN, None, ("shard-0",), complete=True),))),
        (Beat(ME, Vouch(1), joining=True, bump=True), Done()),
        (Beat(OTHER, Vouch(1), joining=False, bump=True), Removed()),
        (Look(), members(1, w1_a=1)),
        (Claim(root, held), LeaseRow(shard(0), ME, 6, TRIM_HORIZON)),
        (RecordGap(held, TRIM_HORIZON, CREATED), True),
        (RecordGap(held, TRIM_HORIZON, CREATED), False),
        (FindChildren(held), Children(("shard-1",), leaf=False, served_at=CREATED)),
        (EndShard(held, TRIM_HORIZON, ("shard-1",), (child,)), Committed()),
        (Release(held), Done()),
        (Bury(ME, 7), Done()),
        (Leave(ME), Done()),
        (Look(), members(2)),
    ]
    for call, reply in conversation:
        assert perform(call, world) == reply, call


def test_a_unit_is_committed(shift: Shift) -> None:
    shift.serve(2.0, but=Commit)
    commit = shift.call(Commit)
    assert perform(commit, shift.world) == Committed()
    assert shift.tables.board["foo"].total == Decimal(150)


def test_what_was_refused_alone_is_examined(shift: Shift) -> None:
    fine, huge = game(1), game(2, score="9" * 38)
    assert perform(Examine(lease(), fine, "no", final=False), shift.world) == Done()
    refused = perform(Examine(lease(), fine, "no such type", final=True), shift.world)
    assert isinstance(refused, Poison)
    assert (refused.reason, refused.detail, refused.sequence_number) == (
        Reason.REFUSED,
        "no such type",
        sequence_number(1),
    )
    shift.tables.board["foo"] = Score(1, Decimal(2), "2026-01-31")
    poison = perform(Examine(lease(), huge, "no", final=False), shift.world)
    assert isinstance(poison, Poison)
    assert poison.reason is Reason.TOTAL_OVERFLOW


@pytest.mark.parametrize("failure", [Trouble(TroubleKind.DENIED, "no"), IteratorExpired(), DataTrimmed()], ids=str)
def test_trouble_and_its_kin_are_replies(shift: Shift, failure: Exception) -> None:
    def fail(*_: object) -> None:
        raise failure

    shift.streams.open = fail  # type: ignore[method-assign, assignment]
    assert perform(Open(lease(), TRIM_HORIZON), shift.world) is failure


def test_a_defect_is_none() -> None:
    tables = FakeTables()
    world = World(None, tables, tables, tables, Rules())  # type: ignore[arg-type]
    with pytest.raises(AttributeError):
        perform(Open(lease(), TRIM_HORIZON), world)


@pytest.mark.parametrize(
    ("failure", "told"),
    [
        (DataTrimmed(), True),
        (Trouble(TroubleKind.MISSING, "no such shard"), False),
        (Trouble(TroubleKind.NETWORK, "down"), None),
    ],
)
def test_a_shard_is_there_if_it_can_be_read_whatever_listings_show(
    shift: Shift, monkeypatch: pytest.MonkeyPatch, failure: Exception, told: bool | None
) -> None:
    def fail(*_: object) -> str:
        raise failure

    monkeypatch.setattr(shift.streams, "open", fail)
    reply = perform(Probe(shard(0)), shift.world)
    assert reply is (failure if told is None else told)
