"""Resume: how it finds the newest record, and which shards it is for."""

import re
from dataclasses import replace

import pytest

from consumer.domain.breaker import Circuit
from consumer.domain.errors import IteratorExpired, NotFound, UnsafeRefused
from consumer.domain.leases import TRIM_HORIZON, LeaseRow, Ledger, Shard, StreamStart
from consumer.domain.replies import Lost
from consumer.operations.resume import Resumed, changed_concurrently, find_halted, resume
from consumer.operations.steps import Command, OperatorCall, Step
from tests.support.builders import ARN, CREATED, finished, row, shard
from tests.support.commands import finish, make_twice
from tests.support.fakes import FakeQuarantine, FakeStreams, FakeTables

IMAGE = {"score": {"S": "12"}}


class HaltedShard:
    """A halted shard of a stream on fakes."""

    def __init__(self, *off: str) -> None:
        self.now = CREATED
        self.streams = FakeStreams(lambda: self.now, ARN, page_records=3)
        self.streams.add_shard("shard-0")
        self.tables = FakeTables(off=off)
        self.quarantine = FakeQuarantine(self.tables)
        self.calls: list[OperatorCall] = []

    def halt(self, checkpoint: str) -> LeaseRow:
        self.row = replace(row(checkpoint=checkpoint), circuit=Circuit(recent=7, halted_at=CREATED))
        self.tables.rows[self.row.shard] = self.row
        return self.row

    def resume(self, *, quarantine_all: bool = True) -> Command[Resumed | Lost]:
        return resume(self.row, self.quarantine, self.streams, "me", CREATED, "mine", quarantine_all=quarantine_all)

    def make(self, step: Step) -> object:
        self.calls.append(step.call)
        return step.effect()

    def run(self) -> Resumed:
        done = finish(self.resume(), self.make)
        assert isinstance(done, Resumed)
        return done

    @property
    def circuit(self) -> Circuit:
        return self.tables.rows[self.row.shard].circuit


@pytest.fixture
def halted() -> HaltedShard:
    return HaltedShard()


def test_everything_that_the_shard_holds_passes(halted: HaltedShard) -> None:
    numbers = [halted.streams.write("shard-0", IMAGE) for _ in range(8)]
    halted.halt(numbers[1])
    assert halted.run() == Resumed(halted.row.shard, numbers[1], 6, numbers[-1])
    assert halted.circuit == Circuit(free_to=numbers[-1], resumes=1)
    (audit_entry,) = halted.quarantine.audit
    assert audit_entry.detail == {"outcome": "resumed", "checkpoint": numbers[1], "freeTo": numbers[-1]}
    assert halted.tables.changes == 1


def test_records_created_later_do_not_pass(halted: HaltedShard) -> None:
    numbers = [halted.streams.write("shard-0", IMAGE) for _ in range(4)]
    halted.halt(TRIM_HORIZON)

    def make(step: Step) -> object:
        reply = halted.make(step)
        if len(halted.calls) == 1:
            halted.now += 2
        halted.streams.write("shard-0", IMAGE)
        return reply

    done = finish(halted.resume(), make)
    assert isinstance(done, Resumed)
    assert done.free_to is not None
    assert int(numbers[-1]) <= int(done.free_to) <= int(numbers[-1]) + 1


def test_it_reads_to_the_end_of_a_closed_shard(halted: HaltedShard) -> None:
    numbers = [halted.streams.write("shard-0", IMAGE) for _ in range(3)]
    halted.streams.close("shard-0")
    halted.halt(TRIM_HORIZON)
    assert halted.run().free_to == numbers[-1]
    assert halted.calls.count(OperatorCall.GET_RECORDS) == 1


def test_a_shard_without_new_records(halted: HaltedShard) -> None:
    last = halted.streams.write("shard-0", IMAGE)
    halted.halt(last)
    assert halted.run() == Resumed(halted.row.shard, last)
    assert halted.circuit == Circuit(resumes=1)


def test_without_quarantine_all_nothing_is_read(halted: HaltedShard) -> None:
    halted.streams.write("shard-0", IMAGE)
    halted.halt(TRIM_HORIZON)
    done = finish(halted.resume(quarantine_all=False), halted.make)
    assert done == Resumed(halted.row.shard, TRIM_HORIZON)
    assert halted.calls == [OperatorCall.RESUME]


def test_a_trimmed_checkpoint_and_an_old_iterator(halted: HaltedShard) -> None:
    numbers = [halted.streams.write("shard-0", IMAGE) for _ in range(9)]
    halted.streams.trim("shard-0", 4)
    halted.halt(numbers[0])

    def make(step: Step) -> object:
        reply = halted.make(step)
        if step.call is OperatorCall.GET_RECORDS and halted.calls.count(OperatorCall.GET_RECORDS) == 1:
            raise IteratorExpired
        return reply

    done = finish(halted.resume(), make)
    assert isinstance(done, Resumed)
    assert (done.free_to, done.read) == (numbers[-1], 5)
    assert halted.calls.count(OperatorCall.GET_SHARD_ITERATOR) == 3, "at the checkpoint, the horizon, and again"


def test_after_an_unknown_outcome_the_same_call_is_made(halted: HaltedShard) -> None:
    halted.halt(TRIM_HORIZON)
    done = finish(halted.resume(quarantine_all=False), make_twice)
    assert isinstance(done, Resumed)
    assert halted.circuit.resumes == 1


def test_a_later_halt_stays(halted: HaltedShard) -> None:
    halted.halt(TRIM_HORIZON)
    again = Circuit(halted_at=CREATED + 9, resumes=1)
    halted.tables.rows[halted.row.shard] = replace(halted.row, circuit=again)
    lost = finish(halted.resume(quarantine_all=False))
    assert isinstance(lost, Lost)
    assert re.search("changed concurrently: .* it was resumed 1 times by now", str(changed_concurrently(shard(), lost)))
    assert halted.circuit == again


def test_without_the_guard_of_resumes_it_would_be_closed() -> None:
    halted = HaltedShard("resume_unresumed", "resume_halted")
    halted.halt(TRIM_HORIZON)
    halted.tables.rows[halted.row.shard] = replace(halted.row, circuit=Circuit(halted_at=CREATED + 9, resumes=1))
    finish(halted.resume(quarantine_all=False))
    assert halted.circuit.halted_at is None


# --- which shard ---

HALTED = replace(row(2), circuit=Circuit(halted_at=CREATED))
LEDGER = Ledger((row(1), HALTED, finished(3, 4)), (StreamStart(ARN, None, ("shard-1", "shard-5"), complete=True),))


def test_a_halted_shard_by_id_or_with_its_label() -> None:
    assert find_halted(LEDGER, "shard-2") is HALTED
    assert find_halted(LEDGER, str(HALTED.shard)) is HALTED


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("shard-1", "is not halted: nothing to resume"),
        ("shard-3", "is finished: nothing to resume"),
        ("shard-4", "has no row in the lease table"),
        ("shard-5", "next: `consumer checkpoint set .*/shard-5 POSITION`"),
    ],
)
def test_a_shard_that_is_not_halted(name: str, sentence: str) -> None:
    with pytest.raises(UnsafeRefused, match=sentence):
        find_halted(LEDGER, name)


def test_an_unknown_shard() -> None:
    with pytest.raises(NotFound, match="there is no shard 'shard-9': the nearest ones are shard-"):
        find_halted(LEDGER, "shard-9")
    with pytest.raises(NotFound, match="no worker has run with it"):
        find_halted(Ledger((), ()), "shard-9")
    two = Ledger((HALTED, replace(HALTED, shard=Shard(ARN + "9", "shard-2"))), ())
    with pytest.raises(NotFound, match="'shard-2' is a shard of 2 streams: name "):
        find_halted(two, "shard-2")
