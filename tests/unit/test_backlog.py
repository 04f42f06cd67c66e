"""With marks, a unit waits for more pages while they are full: a backlog folds, and what is new does not wait."""

from dataclasses import replace

import pytest

from consumer.domain.marks import ABSENT
from consumer.domain.replies import Page
from consumer.worker import events
from consumer.worker.shard_calls import PAGE_RECORDS, Commit, Read, ReadRows
from consumer.worker.tuning import Tuning
from tests.support.builders import games, page
from tests.support.drivers import opened_shard
from tests.support.marked import ONE_BY_ONE, MarkedShard, mark

INTERVAL = ONE_BY_ONE.checkpoint_interval_seconds


def full_page(number: int = 0, records: int = PAGE_RECORDS, then: str | None = "next") -> Page:
    """The page after `number` full ones, of games of one player."""
    first = number * PAGE_RECORDS + 1
    return page(*games(first, first + records - 1, "a"), then=then)


def behind(pages: int = 1) -> MarkedShard:
    """A shard that has read so many full pages."""
    driver = MarkedShard(*full_page().entries)
    for number in range(1, pages):
        driver.answer(Read, full_page(number))
    return driver


def units(driver: MarkedShard) -> list[int]:
    """The records of each unit that has ended."""
    return [event.unit.records for event in driver.reported if isinstance(event, events.UnitCommitted)]


def test_a_unit_takes_in_full_pages_for_an_interval() -> None:
    driver = behind()
    arrived_at = driver.now
    for number in range(1, 4):
        driver.answer(Read, full_page(number))
        assert not driver.reads()
    assert driver.wait(driver.tuning.poll_interval_seconds).has_call(Read)
    assert driver.machine.wake_at() == arrived_at + INTERVAL
    driver.now = arrived_at + INTERVAL
    driver.knows({}).write_all()
    assert units(driver) == [4 * PAGE_RECORDS]
    row = driver.known.get("a")
    assert row is not None
    assert row.mark == mark(4 * PAGE_RECORDS)


def test_a_page_that_is_not_full_ends_the_wait() -> None:
    driver = behind()
    driver.answer(Read, full_page(1, records=PAGE_RECORDS - 1))
    assert driver.reads()


def test_an_empty_page_ends_the_wait() -> None:
    driver = behind()
    driver.answer(Read, page())
    assert driver.reads()


def test_a_shard_that_is_caught_up_does_not_wait() -> None:
    driver = MarkedShard(*full_page(records=PAGE_RECORDS - 1).entries)
    assert driver.reads()


def test_a_unit_that_waits_longer_by_itself_does_so() -> None:
    driver = MarkedShard(*full_page().entries, tuning=replace(ONE_BY_ONE, batch_window_seconds=5.0))
    assert not driver.wait(4.9).reads()
    assert driver.wait(0.1).reads()


def test_the_last_page_of_a_shard_does_not_wait() -> None:
    driver = behind()
    driver.answer(Read, full_page(1, then=None))
    assert driver.reads()


@pytest.mark.parametrize(
    "tuning", [replace(ONE_BY_ONE, lookahead_records=2 * PAGE_RECORDS), replace(ONE_BY_ONE, lookahead_bytes=200)]
)
def test_a_full_buffer_does_not_wait(tuning: Tuning) -> None:
    driver = MarkedShard(*full_page().entries, tuning=tuning)
    assert not driver.reads()
    driver.answer(Read, full_page(1))
    assert driver.reads()
    assert not driver.has_call(Read)


def test_a_drained_shard_does_not_wait() -> None:
    driver = behind()
    driver.machine.drain()
    assert not driver.has_call(ReadRows)
    assert driver.machine.wake_at() > driver.now, "the release is in flight"


def test_without_marks_no_unit_waits() -> None:
    driver = opened_shard()
    driver.answer(Read, full_page())
    assert driver.has_call(Commit)


def test_a_shard_that_was_behind_and_is_caught_up_does_not_wait() -> None:
    driver = behind()
    driver.answer(Read, full_page(1, records=1))
    driver.knows({}).write_all()
    driver.answer(Read, page(*games(PAGE_RECORDS + 2, PAGE_RECORDS + 2, "a")))
    assert driver.writes()
    assert units(driver) == [PAGE_RECORDS + 1]


def test_what_comes_while_rows_are_read_is_of_the_next_unit() -> None:
    """Else each page that comes would have rows to wait for, and the unit would be cut again and again."""
    driver = MarkedShard(*games(1, 2, "a"))
    (read,) = driver.reads()
    driver.answer(Read, page(*games(3, 4, "b"), then="third"))
    driver.reply(read, {"a": ABSENT})
    assert list(driver.writes()) == ["a"]
    driver.write_all()
    driver.knows({}).write_all()
    assert units(driver) == [2, 2]
