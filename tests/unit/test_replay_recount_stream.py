"""Recount over all that a stream may have: an end, a trimmed part, longer sequence numbers, nothing at all."""

from dataclasses import replace

from consumer.domain.leases import SHARD_END, TRIM_HORIZON
from consumer.domain.replay import Range
from tests.support.builders import ARN, shard
from tests.support.replay_fixture import ID, ReplayFixture, before_count, delta, images


def test_a_shard_that_has_ended() -> None:
    fixture = ReplayFixture(page_records=2)
    fixture.write(*images("abc"))
    fixture.streams.close(ID)
    fixture.tables.rows[shard()] = replace(fixture.tables.rows[shard()], checkpoint=SHARD_END)
    recount = fixture.recount()
    assert recount.finished
    assert recount.progress.range == Range(TRIM_HORIZON, SHARD_END)
    assert fixture.board.keys() == set("abc")


def test_a_part_that_is_trimmed() -> None:
    fixture = ReplayFixture()
    numbers = fixture.write(*images("abcde"))
    fixture.streams.trim(ID, 2)
    planned = fixture.plan(numbers[0])
    reader = fixture.open_reader(planned)
    assert reader.trimmed
    assert reader.first_found == numbers[2]
    fixture.recount(numbers[0])
    assert fixture.board.keys() == set("cde")


def test_a_part_that_is_trimmed_while_it_runs() -> None:
    fixture = ReplayFixture(page_records=2)
    fixture.write(*images("abcdef"))
    recount = fixture.begin()
    driver = before_count(recount).answer()
    fixture.streams.trim(ID, 4)
    driver.finish()
    assert recount.finished
    assert recount.reader.trimmed
    assert fixture.replays.trail[-1].detail["outcome"] == "finished, a part was trimmed"
    assert fixture.board.keys() == set("abef")


def test_iterators_that_expire_and_empty_pages() -> None:
    fixture = ReplayFixture(page_records=2)
    fixture.streams.empty_pages = 2
    fixture.write(*images("abcde"))
    recount = fixture.begin()
    driver = before_count(recount).answer()
    fixture.streams.expire_iterators()
    driver.finish()
    assert fixture.board == {player: delta(1, "1") for player in "abcde"}
    assert max(fixture.waited) > 0, "empty pages are not read at full speed"


def test_numbers_of_different_lengths() -> None:
    """The fakes' numbers pass from 21 to 22 digits here."""
    fixture = ReplayFixture(page_records=7)
    numbers = fixture.write(*images([f"p{number}" for number in range(60)]))
    assert {len(number) for number in numbers} == {21, 22}
    fixture.recount(numbers[5], numbers[50])
    assert fixture.board.keys() == {f"p{number}" for number in range(5, 51)}


def test_forty_digits() -> None:
    fixture = ReplayFixture()
    first = 10**39 + 7
    fixture.streams.newest.numbers = iter(range(first, first + 10))
    numbers = fixture.write(*images("abcd"))
    fixture.recount(numbers[1], str(10**40 - 1))
    assert fixture.board.keys() == set("bcd")


def test_a_range_with_nothing_in_it() -> None:
    fixture = ReplayFixture()
    fixture.streams.newest.numbers = iter(range(10**21, 10**22, 10))
    fixture.write(*images("abc"))
    recount = fixture.recount(str(10**21 + 1), str(10**21 + 9))
    assert recount.finished
    assert (fixture.board, recount.progress.games) == ({}, 0)


def test_another_target() -> None:
    fixture = ReplayFixture()
    fixture.write(*images("ab"))
    other = type(fixture.tables)()
    fixture.replays.boards["Other"] = other
    recount = fixture.recount(target="Other")
    assert recount.finished
    assert fixture.board == {}
    assert other.board.keys() == {"a", "b"}
    assert ARN in str(recount.progress.shard.stream_arn)
    fixture.recount()
    assert fixture.board.keys() == {"a", "b"}, "another target's history does not count here"
