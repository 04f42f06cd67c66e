"""A replay's reader: where it starts and ends, and how fast it reads."""

from functools import partial

import pytest

from consumer.domain.errors import CallFailed, DataTrimmed, FailureKind
from consumer.domain.leases import SHARD_END, TRIM_HORIZON
from consumer.domain.replay import Range
from consumer.domain.replies import RawPage
from consumer.operations.replay_plan import CHECKED_PAGES, MOST_EMPTY_PAGES, Reader, number_of
from consumer.operations.steps import OperatorCall
from tests.support.builders import ARN, CREATED, sequence_number, shard, wire
from tests.support.commands import CommandDriver
from tests.support.drivers import LinearBackoff
from tests.support.fakes import FakeStreams

THROTTLED = CallFailed(FailureKind.THROTTLED, "slow down")
OPEN, OPEN_AT, READ = OperatorCall.GET_SHARD_ITERATOR, OperatorCall.GET_ITERATOR_AT, OperatorCall.GET_RECORDS


class ReaderDriver:
    """A reader, and the replies to its calls. What it reads is dropped on request."""

    def __init__(self, first: str = TRIM_HORIZON, last: str = sequence_number(9), position: str = TRIM_HORIZON) -> None:
        streams = FakeStreams(lambda: CREATED, ARN)
        self.reader = Reader(streams, shard(), Range(first, last), position, LinearBackoff())
        self._fill = CommandDriver(self.reader.fill())

    def due(self) -> tuple[OperatorCall, object] | None:
        """The next call, and the position or iterator that it is about."""
        step = self._fill.step
        if step is None:
            return None
        assert isinstance(step.effect, partial)
        return step.call, step.effect.args[0 if step.call is READ else 1]

    @property
    def wait(self) -> float:
        assert self._fill.step is not None
        return self._fill.step.after_seconds

    @property
    def read(self) -> list[str]:
        return [number_of(wire) for wire in self.reader.wires]

    def take(self, *replies: object) -> "ReaderDriver":
        for reply in replies:
            self._fill.answer(reply)
        return self

    def drop(self, number: int) -> None:
        self.reader.drop(sequence_number(number))
        self._fill = CommandDriver(self.reader.fill())


def page(*numbers: int, then: str | None = "next") -> RawPage:
    return RawPage([wire(number) for number in numbers], then, 1)


def test_it_starts_with_the_first_record_of_the_range() -> None:
    assert ReaderDriver(sequence_number(3)).due() == (OPEN_AT, sequence_number(3))
    assert ReaderDriver().due() == (OPEN, TRIM_HORIZON)
    assert ReaderDriver(sequence_number(3), position=sequence_number(5)).due() == (OPEN, sequence_number(5))


def test_it_ends_with_the_last_record_or_before_a_later_one() -> None:
    for numbers in ((8, 9), (8, 9, 10), (8, 10)):
        driver = ReaderDriver().take("it", page(*numbers))
        assert driver.reader.ended
        assert driver.read == [sequence_number(number) for number in numbers if number <= 9]


def test_it_reads_the_next_page_when_all_records_are_done() -> None:
    driver = ReaderDriver().take("it")
    assert driver.due() == (READ, "it")
    driver.take(page(1, 2))
    assert driver.due() is None
    driver.drop(1)
    assert (driver.due(), driver.read) == (None, [sequence_number(2)])
    driver.drop(2)
    assert driver.due() == (READ, "next")


def test_the_end_of_the_shard() -> None:
    driver = ReaderDriver(last=SHARD_END).take("it", page(1, then=None))
    driver.drop(1)
    assert (driver.reader.ended, driver.due()) == (True, None)


def test_a_trimmed_part_is_noticed_and_the_rest_is_read() -> None:
    driver = ReaderDriver(sequence_number(3)).take(DataTrimmed())
    assert driver.due() == (OPEN, TRIM_HORIZON)
    driver.take("it", page(6, 7))
    assert (driver.reader.trimmed, driver.reader.first_found) == (True, sequence_number(6))


def test_records_read_twice_or_before_the_range_are_skipped() -> None:
    """An engine that wrongly calls a position trimmed leads back to records that are done."""
    for driver in (ReaderDriver(sequence_number(6)), ReaderDriver(position=sequence_number(5))):
        assert driver.take(DataTrimmed(), "it", page(4, 5, 6)).read == [sequence_number(6)]


def test_a_range_whose_end_is_trimmed_ends() -> None:
    """In an idle open shard only the stream can say that no record of the range will come."""
    driver = ReaderDriver(sequence_number(3)).take(DataTrimmed(), "it", *[page()] * CHECKED_PAGES[0])
    assert driver.due() == (OPEN_AT, sequence_number(9))
    driver.take(DataTrimmed())
    assert (driver.reader.ended, driver.reader.trimmed) == (True, True)


def test_empty_pages_come_before_data_too() -> None:
    for at_end in ("at the end", CallFailed(FailureKind.REJECTED, "no such record")):
        driver = ReaderDriver(sequence_number(3)).take("it", *[page()] * CHECKED_PAGES[0], at_end)
        assert driver.due() == (READ, "next"), "it goes on where it was"
        assert driver.take(page(3)).read == [sequence_number(3)]


def test_hundreds_of_empty_pages_come_before_data() -> None:
    driver = ReaderDriver(sequence_number(3)).take("it")
    for _ in range(400 + len(CHECKED_PAGES)):
        driver.take("at the end" if driver.due() == (OPEN_AT, sequence_number(9)) else page())
    assert driver.take(page(3)).read == [sequence_number(3)]
    assert not driver.reader.trimmed


def test_it_does_not_wait_for_ever_for_an_end_that_is_no_record() -> None:
    driver = ReaderDriver().take("it")
    calls = 0
    while driver.due() is not None:
        driver.take("x" if driver.due() == (OPEN_AT, sequence_number(9)) else page())
        calls += 1
    assert calls == MOST_EMPTY_PAGES + len(CHECKED_PAGES)
    assert driver.reader.trimmed, "a part of the range may be gone"


def test_a_shard_that_is_gone_and_a_number_that_is_not_its_own() -> None:
    reader = ReaderDriver().take(CallFailed(FailureKind.MISSING, "no such shard")).reader
    assert (reader.ended, reader.trimmed) == (True, True)
    reader = ReaderDriver(sequence_number(3)).take(CallFailed(FailureKind.REJECTED, "no")).reader
    assert (reader.ended, reader.refusal) == (True, "no")


@pytest.mark.parametrize("kind", [FailureKind.DENIED, FailureKind.REJECTED])
def test_other_failures_end_the_command(kind: FailureKind) -> None:
    """At TRIM_HORIZON no number can be wrong."""
    with pytest.raises(CallFailed):
        ReaderDriver().take(CallFailed(kind, "no"))


def test_it_slows_down_when_throttled_and_recovers() -> None:
    driver = ReaderDriver(last=SHARD_END).take("it")
    waits = [driver.take(THROTTLED).wait for _ in range(3)]
    assert waits == [1.0, 2.0, 3.0], "as the back-off says"
    pauses = []
    for number in range(1, 20):
        driver.take(page(number))
        driver.drop(number)
        pauses.append(driver.wait)
    assert pauses[0] == 0.8
    assert pauses == sorted(pauses, reverse=True)
    assert pauses[-1] == 0.0
    assert driver.reader.throttles == 3


def test_a_range_that_was_read_has_ended() -> None:
    driver = ReaderDriver(position=sequence_number(9))
    assert (driver.reader.ended, driver.due()) == (True, None)
