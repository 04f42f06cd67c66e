"""A replay's reader: where it begins and ends, and at what pace."""

from typing import Any

from consumer.domain.outcomes import RawPage
from consumer.domain.position import SHARD_END, TRIM_HORIZON
from consumer.domain.replay import Range
from consumer.operations.replay.calls import Gone, OpenAt, Strange, Throttled
from consumer.operations.replay.reader import DOUBTED_PAGES, MOST_EMPTY_PAGES, Reader, number_of
from consumer.operations.resume import Open, Opened, Read, Trimmed
from tests.builders import ARN, sequence_number, shard, wire
from tests.talks import Steady


def reader(first: str = TRIM_HORIZON, last: str = sequence_number(9), position: str = TRIM_HORIZON) -> Reader:
    return Reader(shard(), Range(first, last), position, Steady())


def page(*numbers: int, then: str | None = "next") -> RawPage:
    return RawPage([wire(number) for number in numbers], then, 1)


def call_of(machine: Reader) -> Any:
    due = machine.due()
    assert due is not None
    return due.call


def read(machine: Reader) -> list[str]:
    return [number_of(each) for each in machine.wires]


def test_it_begins_with_the_record_that_was_named() -> None:
    assert call_of(reader(sequence_number(3))) == OpenAt(shard(), sequence_number(3))
    assert call_of(reader()) == Open(shard(), TRIM_HORIZON)
    resumed = reader(sequence_number(3), position=sequence_number(5))
    assert call_of(resumed) == Open(shard(), sequence_number(5))


def test_it_ends_with_the_last_record_or_before_a_later_one() -> None:
    for numbers in ((8, 9), (8, 9, 10), (8, 10)):
        machine = reader()
        machine.take(Opened("it"))
        machine.take(page(*numbers))
        assert machine.ended
        assert read(machine) == [sequence_number(number) for number in numbers if number <= 9]


def test_it_asks_for_the_next_page_when_all_is_dealt_with() -> None:
    machine = reader()
    machine.take(Opened("it"))
    assert call_of(machine) == Read(ARN, "it")
    machine.take(page(1, 2))
    assert machine.due() is None
    machine.drop(sequence_number(1))
    assert read(machine) == [sequence_number(2)]
    machine.drop(sequence_number(2))
    assert call_of(machine) == Read(ARN, "next")


def test_the_end_of_the_shard() -> None:
    machine = reader(last=SHARD_END)
    machine.take(Opened("it"))
    machine.take(page(1, then=None))
    machine.drop(sequence_number(1))
    assert (machine.ended, machine.due()) == (True, None)


def test_what_is_trimmed_is_told_and_the_rest_is_read() -> None:
    machine = reader(sequence_number(3))
    machine.take(Trimmed())
    assert call_of(machine) == Open(shard(), TRIM_HORIZON)
    machine.take(Opened("it"))
    machine.take(page(6, 7))
    assert (machine.trimmed, machine.first_found) == (True, sequence_number(6))


def test_what_is_read_twice_or_lies_before_the_range_is_passed_over() -> None:
    """An engine that calls a position trimmed which is not leads back to records that were dealt with."""
    for machine in (reader(sequence_number(6)), reader(position=sequence_number(5))):
        machine.take(Trimmed())
        machine.take(Opened("it"))
        machine.take(page(4, 5, 6))
        assert read(machine) == [sequence_number(6)]


def test_a_range_whose_end_is_trimmed_ends() -> None:
    """An open shard in which nothing happens: only the stream can say that no record of the range will come."""
    machine = reader(sequence_number(3))
    machine.take(Trimmed())
    machine.take(Opened("it"))
    for _ in range(DOUBTED_PAGES[0]):
        machine.take(page())
    assert call_of(machine) == OpenAt(shard(), sequence_number(9))
    machine.take(Trimmed())
    assert (machine.ended, machine.trimmed) == (True, True)


def test_empty_pages_come_before_data_too() -> None:
    machine = reader(sequence_number(3))
    machine.take(Opened("it"))
    for _ in range(DOUBTED_PAGES[0]):
        machine.take(page())
    machine.take(Opened("at the end"))
    assert call_of(machine) == Read(ARN, "next"), "it reads on where it was"
    machine.take(page(3))
    assert read(machine) == [sequence_number(3)]


def test_an_end_that_is_no_record_is_not_waited_for_for_ever() -> None:
    machine = reader()
    machine.take(Opened("it"))
    pages = 0
    while machine.due() is not None:
        machine.take(Opened("x") if isinstance(call_of(machine), OpenAt) else page())
        pages += 1
    assert pages == MOST_EMPTY_PAGES + len(DOUBTED_PAGES)
    assert machine.trimmed, "what should have been there is told"


def test_a_shard_that_is_gone_and_a_number_that_is_none_of_it() -> None:
    machine = reader()
    machine.take(Gone())
    assert (machine.ended, machine.trimmed, machine.gone) == (True, True, True)
    machine = reader(sequence_number(3))
    machine.take(Strange("no"))
    assert (machine.ended, machine.strange) == (True, "no")


def test_it_slows_down_when_throttled_and_recovers() -> None:
    machine = reader(last=SHARD_END)
    machine.take(Opened("it"))
    waits = []
    for _ in range(3):
        machine.take(Throttled())
        due = machine.due()
        assert due is not None
        waits.append(due.after_seconds)
    assert waits == [1.0, 2.0, 3.0], "as the back-off says"
    paces = []
    for number in range(1, 20):
        machine.take(page(number))
        machine.drop(sequence_number(number))
        due = machine.due()
        assert due is not None
        paces.append(due.after_seconds)
    assert paces[0] == 0.8
    assert paces == sorted(paces, reverse=True)
    assert paces[-1] == 0.0
    assert machine.throttles == 3


def test_nothing_is_left_of_a_range_that_was_read() -> None:
    machine = reader(position=sequence_number(9))
    assert (machine.ended, machine.due()) == (True, None)
