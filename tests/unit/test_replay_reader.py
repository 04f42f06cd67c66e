"""A replay's reader: where it starts and ends, and how fast it reads."""

from typing import Any

from consumer.domain.position import SHARD_END, TRIM_HORIZON
from consumer.domain.replay import Range
from consumer.domain.replies import RawPage
from consumer.operations.replay.calls import InvalidSequenceNumber, OpenAt, ShardGone, Throttled
from consumer.operations.replay.reader import CHECKED_PAGES, MOST_EMPTY_PAGES, Reader, number_of
from consumer.operations.resume import Open, Opened, Read, Trimmed
from tests.support.builders import ARN, sequence_number, shard, wire
from tests.support.drivers import LinearBackoff


def reader(first: str = TRIM_HORIZON, last: str = sequence_number(9), position: str = TRIM_HORIZON) -> Reader:
    return Reader(shard(), Range(first, last), position, LinearBackoff())


def page(*numbers: int, then: str | None = "next") -> RawPage:
    return RawPage([wire(number) for number in numbers], then, 1)


def call_of(machine: Reader) -> Any:
    due = machine.due()
    assert due is not None
    return due.call


def read(machine: Reader) -> list[str]:
    return [number_of(each) for each in machine.wires]


def test_it_starts_with_the_first_record_of_the_range() -> None:
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


def test_it_reads_the_next_page_when_all_records_are_done() -> None:
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


def test_a_trimmed_part_is_noticed_and_the_rest_is_read() -> None:
    machine = reader(sequence_number(3))
    machine.take(Trimmed())
    assert call_of(machine) == Open(shard(), TRIM_HORIZON)
    machine.take(Opened("it"))
    machine.take(page(6, 7))
    assert (machine.trimmed, machine.first_found) == (True, sequence_number(6))


def test_records_read_twice_or_before_the_range_are_skipped() -> None:
    """An engine that wrongly calls a position trimmed leads back to records that are done."""
    for machine in (reader(sequence_number(6)), reader(position=sequence_number(5))):
        machine.take(Trimmed())
        machine.take(Opened("it"))
        machine.take(page(4, 5, 6))
        assert read(machine) == [sequence_number(6)]


def test_a_range_whose_end_is_trimmed_ends() -> None:
    """In an idle open shard only the stream can say that no record of the range will come."""
    machine = reader(sequence_number(3))
    machine.take(Trimmed())
    machine.take(Opened("it"))
    for _ in range(CHECKED_PAGES[0]):
        machine.take(page())
    assert call_of(machine) == OpenAt(shard(), sequence_number(9))
    machine.take(Trimmed())
    assert (machine.ended, machine.trimmed) == (True, True)


def test_empty_pages_come_before_data_too() -> None:
    machine = reader(sequence_number(3))
    machine.take(Opened("it"))
    for _ in range(CHECKED_PAGES[0]):
        machine.take(page())
    machine.take(Opened("at the end"))
    assert call_of(machine) == Read(ARN, "next"), "it goes on where it was"
    machine.take(page(3))
    assert read(machine) == [sequence_number(3)]


def test_it_does_not_wait_for_ever_for_an_end_that_is_no_record() -> None:
    machine = reader()
    machine.take(Opened("it"))
    pages = 0
    while machine.due() is not None:
        machine.take(Opened("x") if isinstance(call_of(machine), OpenAt) else page())
        pages += 1
    assert pages == MOST_EMPTY_PAGES + len(CHECKED_PAGES)
    assert machine.trimmed, "a part of the range may be gone"


def test_a_shard_that_is_gone_and_a_number_that_is_not_its_own() -> None:
    machine = reader()
    machine.take(ShardGone())
    assert (machine.ended, machine.trimmed, machine.gone) == (True, True, True)
    machine = reader(sequence_number(3))
    machine.take(InvalidSequenceNumber("no"))
    assert (machine.ended, machine.refusal) == (True, "no")


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
    pauses = []
    for number in range(1, 20):
        machine.take(page(number))
        machine.drop(sequence_number(number))
        due = machine.due()
        assert due is not None
        pauses.append(due.after_seconds)
    assert pauses[0] == 0.8
    assert pauses == sorted(pauses, reverse=True)
    assert pauses[-1] == 0.0
    assert machine.throttles == 3


def test_a_range_that_was_read_has_ended() -> None:
    machine = reader(position=sequence_number(9))
    assert (machine.ended, machine.due()) == (True, None)
