"""Recount, call by call: each record counts once, as its quarantine entry says, whatever the replies are."""

from dataclasses import replace

import pytest

from consumer.domain.audit import AuditEntry
from consumer.domain.position import TRIM_HORIZON
from consumer.domain.quarantine import EntryState
from consumer.domain.records import Rules
from consumer.domain.replay import Changed, Range
from consumer.domain.replies import Committed, Refused
from consumer.operations.replay.calls import Count, Put, ReadEntries
from tests.support.builders import shard
from tests.support.replay_fixture import ID, ReplayFixture, delta, due_count, image, images

DAY = "2026-01-31"
BAD = {"S": "12"}


def test_each_record_counts_once_and_its_entry_decides() -> None:
    fixture = ReplayFixture(page_records=3)
    numbers = fixture.write(*(image(score=score) for score in ("1", "2", BAD, BAD, BAD, "4")))
    fixture.resolve(numbers[3], EntryState.DISCARDED)
    fixture.resolve(numbers[4], EntryState.APPLIED, score="0.5")
    machine = fixture.recount()
    assert machine.finished
    assert fixture.board == {"foo": delta(4, "7.5")}
    assert (machine.progress.games, machine.progress.skipped) == (4, 0)
    stored = fixture.replays.rows[shard(), "Leaderboards"]
    assert stored == machine.progress
    assert (stored.running, stored.position, stored.range) == (False, numbers[-1], Range(TRIM_HORIZON, numbers[-1]))
    assert [audit_entry.detail["outcome"] for audit_entry in fixture.replays.trail] == ["started", "finished"]
    checked = {
        number: state
        for call in fixture.calls
        if isinstance(call, Count)
        for number, state in call.batch.states.items()
    }
    assert checked == {numbers[2]: "pending", numbers[3]: "discarded", numbers[4]: "applied"}


def test_changes_removals_and_records_from_before_the_start_time_count_as_nothing() -> None:
    fixture = ReplayFixture()
    fixture.write(image())
    fixture.write(image(), event="MODIFY")
    fixture.write(image(), event="REMOVE")
    assert fixture.recount().progress.games == 1
    later = ReplayFixture()
    later.write(image())
    planned = later.plan()
    planned = replace(planned, plan=replace(planned.plan, start_time=1e11))
    machine = later.service.recount(planned, later.service.open_reader(planned))
    assert list(later.service.steps(machine))
    assert later.board == {}


def test_poison_by_the_current_rules_without_an_entry_is_skipped() -> None:
    fixture = ReplayFixture()
    (number,) = fixture.write(image())
    fixture.rules = Rules(score_attribute="points")
    machine = fixture.begin()
    (batch,) = fixture.service.steps(machine)
    assert batch.skipped == {number: "score_missing: the record has no points"}
    assert (fixture.board, machine.progress.skipped) == ({}, 1)
    assert fixture.tables.quarantine == {}


def test_a_batch_and_its_checks_fit_a_transaction() -> None:
    fixture = ReplayFixture()
    fixture.write(*images([f"p{number}" for number in range(150)]), *(image(score=BAD) for _ in range(120)))
    machine = fixture.begin()
    batches = list(fixture.service.steps(machine))
    assert sum(batch.unit.records for batch in batches) == 270
    assert max(1 + len(batch.unit.deltas) + len(batch.states) for batch in batches) <= 100
    assert sum(len(batch.states) for batch in batches) == 120
    assert fixture.board == {f"p{number}": delta(1, "1") for number in range(150)}


def test_an_end_within_the_shard() -> None:
    fixture = ReplayFixture(page_records=2)
    numbers = fixture.write(*images("abcdefg"))
    fixture.recount(numbers[2], numbers[4])
    assert fixture.board.keys() == {"c", "d", "e"}


def test_an_entry_that_changed_meanwhile_is_read_again() -> None:
    fixture = ReplayFixture()
    (_, number) = fixture.write(image(), image(score=BAD))
    machine = fixture.begin()
    call = due_count(fixture, machine)
    assert call.batch.states == {number: "pending"}
    fixture.resolve(number, EntryState.APPLIED, score="5")
    changed = fixture.ask(call)
    assert changed == Changed(frozenset([number]))
    machine.take(changed)
    due = machine.due()
    assert due is not None
    assert isinstance(due.call, ReadEntries)
    assert list(fixture.service.steps(machine))
    assert fixture.board == {"foo": delta(2, "6")}


def test_a_lost_reply_counts_nothing_twice() -> None:
    fixture = ReplayFixture()
    fixture.write(*images("abc"))
    machine = fixture.begin()
    call = due_count(fixture, machine)
    assert fixture.ask(call) == Committed()
    machine.take(fixture.ask(call))  # the first reply was lost
    assert not list(fixture.service.steps(machine))
    assert machine.finished
    assert fixture.board.keys() == {"a", "b", "c"}
    assert machine.progress.games == 3


def test_a_replay_that_is_overtaken_stops() -> None:
    fixture = ReplayFixture()
    fixture.write(*images("abc"))
    machine = fixture.begin()
    call = due_count(fixture, machine)
    other = replace(machine.progress, runner="other")
    fixture.replays.put(machine.progress, other, AuditEntry("you", 0.0, "replay", "x"))
    machine.take(fixture.ask(call))
    assert machine.due() is None
    assert machine.overtaken is not None
    assert machine.overtaken.row == other
    assert (fixture.board, machine.finished) == ({}, False)


def test_of_two_that_start_one_stops() -> None:
    fixture = ReplayFixture()
    fixture.write(*images("abc"))
    one, two = fixture.begin(), fixture.begin()
    for machine in (one, two):
        due = machine.due()
        assert due is not None
        assert isinstance(due.call, Put)
        machine.take(fixture.ask(due.call))
    assert (one.overtaken, two.overtaken is not None) == (None, True)
    assert two.due() is None


def test_it_goes_on_where_it_was_interrupted() -> None:
    fixture = ReplayFixture(page_records=2)
    numbers = fixture.write(*images("abcde"))
    first = fixture.begin()
    call = due_count(fixture, first)
    first.take(fixture.ask(call))
    planned = fixture.plan()
    assert planned.resumes
    assert planned.progress.position == numbers[1]
    second = fixture.recount()
    assert second.finished
    assert fixture.board == {player: delta(1, "1") for player in "abcde"}
    assert fixture.replays.trail[-2].detail["outcome"] == "resumed"
    first.take(fixture.ask(due_count(fixture, first)))
    assert first.overtaken is not None, "the first one counts nothing more"
    assert fixture.board == {player: delta(1, "1") for player in "abcde"}


def test_one_that_was_interrupted_before_its_last_write_only_ends() -> None:
    fixture = ReplayFixture()
    fixture.write(*images("abc"))
    first = fixture.begin()
    first.take(fixture.ask(due_count(fixture, first)))
    second = fixture.recount()
    assert second.finished
    assert fixture.board == {player: delta(1, "1") for player in "abc"}


def test_a_later_date_is_kept() -> None:
    fixture = ReplayFixture()
    fixture.write(image(day="2026-02-01"))
    fixture.recount()
    (number,) = fixture.write(image(day="2026-01-01"))
    fixture.recount(number)
    assert fixture.board == {"foo": delta(2, "2", "2026-02-01")}


def test_a_stored_date_is_remembered() -> None:
    """On a leaderboard that was not reset each batch would be refused once for its dates."""
    fixture = ReplayFixture(page_records=1)
    fixture.write(image(day="2026-02-01"), *(image(day="2026-01-01") for _ in range(9)))
    fixture.recount()
    assert sum(isinstance(call, Count) for call in fixture.calls) == 11, "one of them was refused"
    assert fixture.board == {"foo": delta(10, "10", "2026-02-01")}


def test_after_conflicts_it_waits_and_cuts_shorter_batches() -> None:
    fixture = ReplayFixture()
    fixture.write(*images("abcdefgh"))
    machine = fixture.begin()
    records = []
    for _ in range(3):
        call = due_count(fixture, machine)
        records.append(call.batch.unit.records)
        machine.take(Refused(conflict=True))
    assert records == [8, 8, 4]
    due = machine.due()
    assert due is not None
    assert due.after_seconds == 3.0
    assert list(fixture.service.steps(machine))
    assert fixture.board.keys() == set("abcdefgh")


@pytest.mark.parametrize("attribute", ["totalScore", "lastPlayedDate"])
def test_only_the_game_that_dynamodb_refuses_is_left_out(attribute: str) -> None:
    fixture = ReplayFixture()
    numbers = fixture.write(*images("abcde"))
    fixture.recount(numbers[2], numbers[2])
    fixture.tables.board["c"].wrong[attribute] = "what"
    machine = fixture.begin(again=True)
    skipped: dict[str, str] = {}
    for batch in fixture.service.steps(machine):
        skipped |= batch.skipped
    assert machine.finished
    assert skipped.keys() == {numbers[2]}
    assert (machine.progress.games, machine.progress.skipped) == (4, 1)
    assert {player: games for player, (games, _, _) in fixture.board.items()} == dict.fromkeys("abcde", 1)


def test_games_of_a_refused_player_get_batches_of_their_own() -> None:
    """Else each of them would halve the batches of the others."""
    fixture = ReplayFixture()
    fixture.write(*images("c"))
    fixture.recount()
    fixture.tables.board["c"].wrong["lastPlayedDate"] = "what"
    first, *_ = fixture.write(*images("abdcefgh" * 10))
    fixture.calls.clear()
    machine = fixture.recount(first)
    assert (machine.progress.games, machine.progress.skipped) == (70, 10)
    assert sum(isinstance(call, Count) for call in fixture.calls) < 50


def test_an_entry_of_another_stream_with_the_same_shard_id_does_not_count() -> None:
    fixture = ReplayFixture()
    (number,) = fixture.write(image(score=BAD))
    fixture.tables.quarantine[ID, number].stream_arn = "another"
    machine = fixture.begin()
    (batch,) = fixture.service.steps(machine)
    assert batch.states == {}
    assert batch.skipped.keys() == {number}
