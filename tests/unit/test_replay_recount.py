"""Recount, call by call: each record once, by its row's word, whatever the answers are."""

from dataclasses import replace

import pytest

from consumer.domain.audit import Trace
from consumer.domain.outcomes import Committed, Refused
from consumer.domain.position import TRIM_HORIZON
from consumer.domain.quarantine import State
from consumer.domain.records import Rules
from consumer.domain.replay import Changed, Range
from consumer.operations.replay.calls import Count, FindRows, Put
from tests.builders import shard
from tests.replays import ID, Scene, delta, due_count, image, images

DAY = "2026-01-31"
BAD = {"S": "12"}


def test_each_record_counts_once_and_its_row_decides() -> None:
    scene = Scene(page_records=3)
    numbers = scene.write(*(image(score=score) for score in ("1", "2", BAD, BAD, BAD, "4")))
    scene.settle(numbers[3], State.DISCARDED)
    scene.settle(numbers[4], State.APPLIED, score="0.5")
    machine = scene.recount()
    assert machine.finished
    assert scene.board == {"foo": delta(4, "7.5")}
    assert (machine.progress.games, machine.progress.skipped) == (4, 0)
    stored = scene.replays.rows[shard(), "Leaderboards"]
    assert stored == machine.progress
    assert (stored.running, stored.position, stored.range) == (False, numbers[-1], Range(TRIM_HORIZON, numbers[-1]))
    assert [trace.detail["outcome"] for trace in scene.replays.trail] == ["started", "finished"]
    checked = {
        number: state for call in scene.calls if isinstance(call, Count) for number, state in call.batch.states.items()
    }
    assert checked == {numbers[2]: "pending", numbers[3]: "discarded", numbers[4]: "applied"}


def test_changes_removals_and_what_came_before_the_start_position_count_as_nothing() -> None:
    scene = Scene()
    scene.write(image())
    scene.write(image(), event="MODIFY")
    scene.write(image(), event="REMOVE")
    assert scene.recount().progress.games == 1
    floored = Scene()
    floored.write(image())
    planned = floored.plan()
    planned = replace(planned, order=replace(planned.order, floor=1e11))
    machine = floored.desk.recount(planned, floored.desk.scout(planned))
    assert list(floored.desk.steps(machine))
    assert floored.board == {}


def test_what_is_poison_by_the_rules_of_now_and_has_no_row_is_told() -> None:
    scene = Scene()
    (number,) = scene.write(image())
    scene.rules = Rules(score_attribute="points")
    machine = scene.begin()
    (batch,) = scene.desk.steps(machine)
    assert batch.skipped == {number: "score_missing: the record has no points"}
    assert (scene.board, machine.progress.skipped) == ({}, 1)
    assert scene.tables.quarantine == {}


def test_a_batch_and_its_checks_fit_a_transaction() -> None:
    scene = Scene()
    scene.write(*images([f"p{number}" for number in range(150)]), *(image(score=BAD) for _ in range(120)))
    machine = scene.begin()
    batches = list(scene.desk.steps(machine))
    assert sum(batch.unit.records for batch in batches) == 270
    assert max(1 + len(batch.unit.deltas) + len(batch.states) for batch in batches) <= 100
    assert sum(len(batch.states) for batch in batches) == 120
    assert scene.board == {f"p{number}": delta(1, "1") for number in range(150)}


def test_an_end_within_the_shard() -> None:
    scene = Scene(page_records=2)
    numbers = scene.write(*images("abcdefg"))
    scene.recount(numbers[2], numbers[4])
    assert scene.board.keys() == {"c", "d", "e"}


def test_a_row_that_changed_meanwhile_is_asked_again() -> None:
    scene = Scene()
    (_, number) = scene.write(image(), image(score=BAD))
    machine = scene.begin()
    call = due_count(scene, machine)
    assert call.batch.states == {number: "pending"}
    scene.settle(number, State.APPLIED, score="5")
    changed = scene.ask(call)
    assert changed == Changed(frozenset([number]))
    machine.take(changed)
    due = machine.due()
    assert due is not None
    assert isinstance(due.call, FindRows)
    assert list(scene.desk.steps(machine))
    assert scene.board == {"foo": delta(2, "6")}


def test_a_lost_reply_is_known_again() -> None:
    scene = Scene()
    scene.write(*images("abc"))
    machine = scene.begin()
    call = due_count(scene, machine)
    assert scene.ask(call) == Committed()
    machine.take(scene.ask(call))  # the first answer was lost
    assert not list(scene.desk.steps(machine))
    assert machine.finished
    assert scene.board.keys() == {"a", "b", "c"}
    assert machine.progress.games == 3


def test_who_is_overtaken_stops() -> None:
    scene = Scene()
    scene.write(*images("abc"))
    machine = scene.begin()
    call = due_count(scene, machine)
    other = replace(machine.progress, runner="other")
    scene.replays.put(machine.progress, other, Trace("you", 0.0, "replay", "x"))
    machine.take(scene.ask(call))
    assert machine.due() is None
    assert machine.overtaken is not None
    assert machine.overtaken.row == other
    assert (scene.board, machine.finished) == ({}, False)


def test_of_two_that_begin_one_stops() -> None:
    scene = Scene()
    scene.write(*images("abc"))
    one, two = scene.begin(), scene.begin()
    for machine in (one, two):
        due = machine.due()
        assert due is not None
        assert isinstance(due.call, Put)
        machine.take(scene.ask(due.call))
    assert (one.overtaken, two.overtaken is not None) == (None, True)
    assert two.due() is None


def test_it_goes_on_where_it_was_interrupted() -> None:
    scene = Scene(page_records=2)
    numbers = scene.write(*images("abcde"))
    first = scene.begin()
    call = due_count(scene, first)
    first.take(scene.ask(call))
    planned = scene.plan()
    assert planned.resumes
    assert planned.progress.position == numbers[1]
    second = scene.recount()
    assert second.finished
    assert scene.board == {player: delta(1, "1") for player in "abcde"}
    assert scene.replays.trail[-2].detail["outcome"] == "resumed"
    first.take(scene.ask(due_count(scene, first)))
    assert first.overtaken is not None, "it wakes, and counts nothing"
    assert scene.board == {player: delta(1, "1") for player in "abcde"}


def test_one_that_was_interrupted_before_its_end_only_ends() -> None:
    scene = Scene()
    scene.write(*images("abc"))
    first = scene.begin()
    first.take(scene.ask(due_count(scene, first)))
    second = scene.recount()
    assert second.finished
    assert scene.board == {player: delta(1, "1") for player in "abc"}


def test_a_later_date_is_kept() -> None:
    scene = Scene()
    scene.write(image(day="2026-02-01"))
    scene.recount()
    (number,) = scene.write(image(day="2026-01-01"))
    scene.recount(number)
    assert scene.board == {"foo": delta(2, "2", "2026-02-01")}


def test_a_stored_date_is_remembered() -> None:
    """On a board that was not reset each batch would be refused once for its dates."""
    scene = Scene(page_records=1)
    scene.write(image(day="2026-02-01"), *(image(day="2026-01-01") for _ in range(9)))
    scene.recount()
    assert sum(isinstance(call, Count) for call in scene.calls) == 11, "one of them was refused"
    assert scene.board == {"foo": delta(10, "10", "2026-02-01")}


def test_conflicts_are_waited_out_and_shorten_the_batch() -> None:
    scene = Scene()
    scene.write(*images("abcdefgh"))
    machine = scene.begin()
    records = []
    for _ in range(3):
        call = due_count(scene, machine)
        records.append(call.batch.unit.records)
        machine.take(Refused(conflict=True))
    assert records == [8, 8, 4]
    due = machine.due()
    assert due is not None
    assert due.after_seconds == 3.0
    assert list(scene.desk.steps(machine))
    assert scene.board.keys() == set("abcdefgh")


@pytest.mark.parametrize("attribute", ["totalScore", "lastPlayedDate"])
def test_what_the_database_refuses_is_left_out_alone(attribute: str) -> None:
    scene = Scene()
    numbers = scene.write(*images("abcde"))
    scene.recount(numbers[2], numbers[2])
    scene.tables.board["c"].wrong[attribute] = "what"
    machine = scene.begin(again=True)
    skipped: dict[str, str] = {}
    for batch in scene.desk.steps(machine):
        skipped |= batch.skipped
    assert machine.finished
    assert skipped.keys() == {numbers[2]}
    assert (machine.progress.games, machine.progress.skipped) == (4, 1)
    assert {player: games for player, (games, _, _) in scene.board.items()} == dict.fromkeys("abcde", 1)


def test_a_player_who_is_refused_is_kept_apart() -> None:
    """Else each of his records would halve the batches of the others."""
    scene = Scene()
    scene.write(*images("c"))
    scene.recount()
    scene.tables.board["c"].wrong["lastPlayedDate"] = "what"
    first, *_ = scene.write(*images("abdcefgh" * 10))
    scene.calls.clear()
    machine = scene.recount(first)
    assert (machine.progress.games, machine.progress.skipped) == (70, 10)
    assert sum(isinstance(call, Count) for call in scene.calls) < 50


def test_a_row_of_another_stream_with_the_same_shard_id_has_no_say() -> None:
    scene = Scene()
    (number,) = scene.write(image(score=BAD))
    scene.tables.quarantine[ID, number].stream_arn = "another"
    machine = scene.begin()
    (batch,) = scene.desk.steps(machine)
    assert batch.states == {}
    assert batch.skipped.keys() == {number}
