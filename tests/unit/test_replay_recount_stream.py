"""Recount over what a stream may have: ended, trimmed, numbers that get longer, nothing at all."""

from dataclasses import replace

from consumer.domain.position import SHARD_END, TRIM_HORIZON
from consumer.domain.replay import Range
from tests.builders import ARN, shard
from tests.replays import ID, Scene, delta, due_count, images


def test_a_shard_that_has_ended() -> None:
    scene = Scene(page_records=2)
    scene.write(*images("abc"))
    scene.streams.close(ID)
    scene.tables.rows[shard()] = replace(scene.tables.rows[shard()], checkpoint=SHARD_END)
    machine = scene.recount()
    assert machine.finished
    assert machine.progress.range == Range(TRIM_HORIZON, SHARD_END)
    assert scene.board.keys() == set("abc")


def test_a_part_that_is_trimmed() -> None:
    scene = Scene()
    numbers = scene.write(*images("abcde"))
    scene.streams.trim(ID, 2)
    planned = scene.plan(numbers[0])
    reader = scene.desk.scout(planned)
    assert reader.trimmed
    assert reader.first_found == numbers[2]
    scene.recount(numbers[0])
    assert scene.board.keys() == set("cde")


def test_what_is_trimmed_while_it_runs() -> None:
    scene = Scene(page_records=2)
    scene.write(*images("abcdef"))
    machine = scene.begin()
    machine.take(scene.ask(due_count(scene, machine)))
    scene.streams.trim(ID, 4)
    assert list(scene.desk.steps(machine))
    assert machine.finished
    assert machine.reader.trimmed
    assert scene.replays.trail[-1].detail["outcome"] == "finished, a part was trimmed"
    assert scene.board.keys() == set("abef")


def test_iterators_that_expire_and_empty_pages() -> None:
    scene = Scene(page_records=2)
    scene.streams.empty_pages = 2
    scene.write(*images("abcde"))
    machine = scene.begin()
    machine.take(scene.ask(due_count(scene, machine)))
    scene.streams.expire_iterators()
    assert list(scene.desk.steps(machine))
    assert scene.board == {player: delta(1, "1") for player in "abcde"}
    assert max(scene.waited) > 0, "empty pages are not asked for at full speed"


def test_numbers_of_different_lengths() -> None:
    """The fakes' numbers pass from 21 to 22 digits here."""
    scene = Scene(page_records=7)
    numbers = scene.write(*images([f"p{number}" for number in range(60)]))
    assert {len(number) for number in numbers} == {21, 22}
    scene.recount(numbers[5], numbers[50])
    assert scene.board.keys() == {f"p{number}" for number in range(5, 51)}


def test_forty_digits() -> None:
    scene = Scene()
    first = 10**39 + 7
    scene.streams.newest.numbers = iter(range(first, first + 10))
    numbers = scene.write(*images("abcd"))
    scene.recount(numbers[1], str(10**40 - 1))
    assert scene.board.keys() == set("bcd")


def test_a_range_with_nothing_in_it() -> None:
    scene = Scene()
    scene.streams.newest.numbers = iter(range(10**21, 10**22, 10))
    scene.write(*images("abc"))
    machine = scene.recount(str(10**21 + 1), str(10**21 + 9))
    assert machine.finished
    assert (scene.board, machine.progress.games) == ({}, 0)


def test_another_board() -> None:
    scene = Scene()
    scene.write(*images("ab"))
    other = type(scene.tables)()
    scene.replays.boards["Other"] = other
    machine = scene.recount(target="Other")
    assert machine.finished
    assert scene.board == {}
    assert other.board.keys() == {"a", "b"}
    assert ARN in str(machine.progress.shard.stream_arn)
    scene.recount()
    assert scene.board.keys() == {"a", "b"}, "another target's history does not count here"
