"""The resume machine: how it finds the newest record of the moment, and which shards it is for."""

from collections.abc import Iterable, Iterator
from dataclasses import replace

import pytest

from consumer.domain.breaker import Circuit
from consumer.domain.errors import NotFound, UnsafeRefused
from consumer.domain.leases import LeaseRow, Pin, Shard
from consumer.domain.outcomes import Done, Ledger, Lost
from consumer.domain.position import TRIM_HORIZON
from consumer.operations.resume import Call, Close, Expired, Read, Reply, Resume, drive, find_halted, perform
from tests.builders import ARN, CREATED, finished, row
from tests.fakes import FakeOperators, FakeStreams, FakeTables

IMAGE = {"score": {"S": "12"}}


class Desk:
    """A halted shard of a stream on fakes."""

    def __init__(self, *off: str) -> None:
        self.now = CREATED
        self.streams = FakeStreams(lambda: self.now, ARN, page_records=3)
        self.streams.add_shard("shard-0")
        self.tables = FakeTables(off=off)
        self.operators = FakeOperators(self.tables)
        self.asked: list[Call] = []

    def halt(self, checkpoint: str) -> LeaseRow:
        self.row = replace(row(checkpoint=checkpoint), circuit=Circuit(recent=7, halted_at=CREATED))
        self.tables.rows[self.row.shard] = self.row
        return self.row

    def ask(self, call: Call) -> Reply:
        self.asked.append(call)
        return perform(call, self.operators, lambda _: self.streams)

    def resume(self) -> Resume:
        machine = Resume(self.row, "me", CREATED, "mine", quarantine_all=True)
        drive(machine, self.ask, straight)
        return machine

    @property
    def circuit(self) -> Circuit:
        return self.tables.rows[self.row.shard].circuit


def straight(steps: Iterator[int], _: int) -> Iterable[int]:
    return steps


@pytest.fixture
def desk() -> Desk:
    return Desk()


def test_all_that_the_shard_holds_passes(desk: Desk) -> None:
    numbers = [desk.streams.write("shard-0", IMAGE) for _ in range(8)]
    desk.halt(numbers[1])
    machine = desk.resume()
    assert (machine.free_to, machine.read) == (numbers[-1], 6)
    assert desk.circuit == Circuit(free_to=numbers[-1], resumes=1)
    (trace,) = desk.operators.audit
    assert trace.detail == {"outcome": "resumed", "checkpoint": numbers[1], "freeTo": numbers[-1]}
    assert desk.tables.changes == 1


def test_what_comes_later_than_this_moment_does_not(desk: Desk) -> None:
    numbers = [desk.streams.write("shard-0", IMAGE) for _ in range(4)]
    desk.halt(TRIM_HORIZON)

    def ask(call: Call) -> Reply:
        reply = desk.ask(call)
        if len(desk.asked) == 1:
            desk.now += 2
        desk.streams.write("shard-0", IMAGE)
        return reply

    machine = Resume(desk.row, "me", CREATED, "mine", quarantine_all=True)
    drive(machine, ask, straight)
    assert machine.free_to is not None
    assert int(numbers[-1]) <= int(machine.free_to) <= int(numbers[-1]) + 1


def test_to_the_end_of_a_closed_shard(desk: Desk) -> None:
    numbers = [desk.streams.write("shard-0", IMAGE) for _ in range(3)]
    desk.streams.close("shard-0")
    desk.halt(TRIM_HORIZON)
    assert desk.resume().free_to == numbers[-1]
    assert sum(isinstance(call, Read) for call in desk.asked) == 1


def test_nothing_waits(desk: Desk) -> None:
    last = desk.streams.write("shard-0", IMAGE)
    desk.halt(last)
    machine = desk.resume()
    assert (machine.free_to, machine.read) == (None, 0)
    assert desk.circuit == Circuit(resumes=1)


def test_a_trimmed_checkpoint_and_an_old_iterator(desk: Desk) -> None:
    numbers = [desk.streams.write("shard-0", IMAGE) for _ in range(9)]
    desk.streams.trim("shard-0", 4)
    desk.halt(numbers[0])

    def ask(call: Call) -> Reply:
        reply = desk.ask(call)
        if sum(isinstance(call, Read) for call in desk.asked) == 1 and isinstance(call, Read):
            return Expired()
        return reply

    machine = Resume(desk.row, "me", CREATED, "mine", quarantine_all=True)
    drive(machine, ask, straight)
    assert (machine.free_to, machine.read) == (numbers[-1], 5)


def test_an_open_answer_is_asked_again_unchanged(desk: Desk) -> None:
    desk.halt(TRIM_HORIZON)
    machine = Resume(desk.row, "me", CREATED, "mine", quarantine_all=False)
    call = machine.due()
    assert call == machine.due()
    assert isinstance(call, Close)
    assert desk.ask(call) == desk.ask(call) == Done()
    assert desk.circuit.resumes == 1


def test_a_halt_that_was_not_seen_stays(desk: Desk) -> None:
    desk.halt(TRIM_HORIZON)
    machine = Resume(desk.row, "me", CREATED, "mine", quarantine_all=False)
    again = Circuit(halted_at=CREATED + 9, resumes=1)
    desk.tables.rows[desk.row.shard] = replace(desk.row, circuit=again)
    with pytest.raises(UnsafeRefused, match="somebody was faster: it was resumed 1 times by now; nothing was changed"):
        drive(machine, desk.ask, straight)
    assert isinstance(machine.lost, Lost)
    assert desk.circuit == again


def test_without_the_guard_of_resumes_it_would_be_closed_unseen() -> None:
    desk = Desk("resume_unresumed", "resume_halted")
    desk.halt(TRIM_HORIZON)
    machine = Resume(desk.row, "me", CREATED, "mine", quarantine_all=False)
    desk.tables.rows[desk.row.shard] = replace(desk.row, circuit=Circuit(halted_at=CREATED + 9, resumes=1))
    drive(machine, desk.ask, straight)
    assert desk.circuit.halted_at is None


# --- which shard ---

HALTED = replace(row(2), circuit=Circuit(halted_at=CREATED))
LEDGER = Ledger((row(1), HALTED, finished(3, 4)), (Pin(ARN, None, ("shard-1", "shard-5"), complete=True),))


def test_a_halted_shard_by_id_or_with_its_label() -> None:
    assert find_halted("shard-2", LEDGER) is HALTED
    assert find_halted(str(HALTED.shard), LEDGER) is HALTED


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("shard-1", "is not halted: nothing to resume"),
        ("shard-3", "is finished: nothing to resume"),
        ("shard-4", "has no row in the lease table"),
        ("shard-5", "`consumer checkpoint set` makes it again"),
    ],
)
def test_one_that_is_not_halted(name: str, words: str) -> None:
    with pytest.raises(UnsafeRefused, match=words):
        find_halted(name, LEDGER)


def test_one_that_nobody_knows() -> None:
    with pytest.raises(NotFound, match="there is no shard 'shard-9': the nearest ones are shard-"):
        find_halted("shard-9", LEDGER)
    with pytest.raises(NotFound, match="no worker has run with it"):
        find_halted("shard-9", Ledger((), ()))
    two = Ledger((HALTED, replace(HALTED, shard=Shard(ARN + "9", "shard-2"))), ())
    with pytest.raises(NotFound, match="'shard-2' is a shard of 2 streams: name "):
        find_halted("shard-2", two)
