"""Recount, call by call: each record counts once, as its quarantine entry says, whatever the replies are."""

from dataclasses import replace

import pytest

from consumer.domain.audit import AuditEntry
from consumer.domain.leases import TRIM_HORIZON
from consumer.domain.quarantine import EntryState
from consumer.domain.records import Rules
from consumer.domain.replay import Changed, Range
from consumer.domain.replies import Committed, Refused
from consumer.operations.replay import Recount
from consumer.operations.steps import OperatorCall
from tests.support.builders import shard
from tests.support.replay_fixture import ID, ReplayFixture, before_count, delta, due_batch, image, images

DAY = "2026-01-31"
BAD = {"S": "12"}


def test_each_record_counts_once_and_its_entry_decides() -> None:
    fixture = ReplayFixture(page_records=3)
    numbers = fixture.write(*(image(score=score) for score in ("1", "2", BAD, BAD, BAD, "4")))
    fixture.resolve(numbers[3], EntryState.DISCARDED)
    fixture.resolve(numbers[4], EntryState.APPLIED, score="0.5")
    recount = fixture.begin()
    batches = fixture.batches(recount)
    assert recount.finished
    assert fixture.board == {"foo": delta(4, "7.5")}
    assert (recount.progress.games, recount.progress.skipped) == (4, 0)
    stored = fixture.replays.rows[shard(), "Leaderboards"]
    assert stored == recount.progress
    assert (stored.running, stored.position, stored.range) == (False, numbers[-1], Range(TRIM_HORIZON, numbers[-1]))
    assert [audit_entry.detail["outcome"] for audit_entry in fixture.replays.trail] == ["started", "finished"]
    checked = {number: state for batch in batches for number, state in batch.states.items()}
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
    assert later.batches(Recount(later.service, planned, later.open_reader(planned)))
    assert later.board == {}


def test_poison_by_the_current_rules_without_an_entry_is_skipped() -> None:
    fixture = ReplayFixture()
    (number,) = fixture.write(image())
    fixture.rules = Rules(score_attribute="points")
    recount = fixture.begin()
    (batch,) = fixture.batches(recount)
    assert batch.skipped == {
        number: "score_missing: the record has no points: it has playerId, score, timestamp "
        "(CONSUMER_SCORE_ATTRIBUTE names it)"
    }
    assert (fixture.board, recount.progress.skipped) == ({}, 1)
    assert fixture.tables.quarantine == {}


def test_a_batch_and_its_checks_fit_a_transaction() -> None:
    fixture = ReplayFixture()
    fixture.write(*images([f"p{number}" for number in range(150)]), *(image(score=BAD) for _ in range(120)))
    recount = fixture.begin()
    batches = fixture.batches(recount)
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
    driver = before_count(fixture.begin())
    assert due_batch(driver).states == {number: "pending"}
    fixture.resolve(number, EntryState.APPLIED, score="5")
    changed = driver.make()
    assert changed == Changed(frozenset([number]))
    assert driver.answer(changed).due is OperatorCall.READ_ENTRIES
    driver.finish()
    assert fixture.board == {"foo": delta(2, "6")}


def test_a_lost_reply_counts_nothing_twice() -> None:
    fixture = ReplayFixture()
    fixture.write(*images("abc"))
    recount = fixture.begin()
    driver = before_count(recount)
    assert driver.make() == Committed()
    driver.answer()  # the first reply was lost
    assert driver.due is OperatorCall.PUT_PROGRESS, "nothing is left to count"
    driver.finish()
    assert recount.finished
    assert fixture.board.keys() == {"a", "b", "c"}
    assert recount.progress.games == 3


def test_a_replay_that_is_overtaken_stops() -> None:
    fixture = ReplayFixture()
    fixture.write(*images("abc"))
    recount = fixture.begin()
    driver = before_count(recount)
    other = replace(recount.progress, runner="other")
    fixture.replays.put(recount.progress, other, AuditEntry("you", 0.0, "replay", "x"))
    assert driver.answer().step is None
    assert recount.overtaken is not None
    assert recount.overtaken.row == other
    assert (fixture.board, recount.finished) == ({}, False)


def test_of_two_that_start_one_stops() -> None:
    fixture = ReplayFixture()
    fixture.write(*images("abc"))
    one, two = fixture.begin(), fixture.begin()
    for recount in (one, two):
        fixture.run(recount.begin())
    assert (one.overtaken, two.overtaken is not None) == (None, True)
    fixture.calls.clear()
    fixture.run(two.run())
    assert fixture.calls == []


def test_it_goes_on_where_it_was_interrupted() -> None:
    fixture = ReplayFixture(page_records=2)
    numbers = fixture.write(*images("abcde"))
    first = fixture.begin()
    driver = before_count(first).answer()
    planned = fixture.plan()
    assert planned.resumes
    assert planned.progress.position == numbers[1]
    second = fixture.recount()
    assert second.finished
    assert fixture.board == {player: delta(1, "1") for player in "abcde"}
    assert fixture.replays.trail[-2].detail["outcome"] == "resumed"
    driver.finish()
    assert first.overtaken is not None, "the first one counts nothing more"
    assert fixture.board == {player: delta(1, "1") for player in "abcde"}


def test_one_that_was_interrupted_before_its_last_write_only_ends() -> None:
    fixture = ReplayFixture()
    fixture.write(*images("abc"))
    assert before_count(fixture.begin()).answer().due is OperatorCall.PUT_PROGRESS
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
    assert fixture.calls.count(OperatorCall.COUNT_BATCH) == 11, "one of them was refused"
    assert fixture.board == {"foo": delta(10, "10", "2026-02-01")}


def test_after_conflicts_it_waits_and_cuts_shorter_batches() -> None:
    fixture = ReplayFixture()
    fixture.write(*images("abcdefgh"))
    driver = before_count(fixture.begin())
    records = []
    for _ in range(3):
        records.append(due_batch(driver).unit.records)
        driver.answer(Refused(conflict=True))
    assert records == [8, 8, 4]
    assert driver.step is not None
    assert driver.step.after_seconds == 3.0
    driver.finish()
    assert fixture.board.keys() == set("abcdefgh")


@pytest.mark.parametrize("attribute", ["totalScore", "lastPlayedDate"])
def test_only_the_game_that_dynamodb_refuses_is_left_out(attribute: str) -> None:
    fixture = ReplayFixture()
    numbers = fixture.write(*images("abcde"))
    fixture.recount(numbers[2], numbers[2])
    fixture.tables.board["c"].wrong[attribute] = "what"
    recount = fixture.begin(again=True)
    skipped: dict[str, str] = {}
    for batch in fixture.batches(recount):
        skipped |= batch.skipped
    assert recount.finished
    assert skipped.keys() == {numbers[2]}
    assert (recount.progress.games, recount.progress.skipped) == (4, 1)
    assert {player: delta.games for player, delta in fixture.board.items()} == dict.fromkeys("abcde", 1)


def test_games_of_a_refused_player_get_batches_of_their_own() -> None:
    """Else each of them would halve the batches of the others."""
    fixture = ReplayFixture()
    fixture.write(*images("c"))
    fixture.recount()
    fixture.tables.board["c"].wrong["lastPlayedDate"] = "what"
    first, *_ = fixture.write(*images("abdcefgh" * 10))
    fixture.calls.clear()
    recount = fixture.recount(first)
    assert (recount.progress.games, recount.progress.skipped) == (70, 10)
    assert fixture.calls.count(OperatorCall.COUNT_BATCH) < 50


def test_an_entry_of_another_stream_with_the_same_shard_id_does_not_count() -> None:
    fixture = ReplayFixture()
    (number,) = fixture.write(image(score=BAD))
    fixture.tables.quarantine[ID, number].stream_arn = "another"
    recount = fixture.begin()
    (batch,) = fixture.batches(recount)
    assert batch.states == {}
    assert batch.skipped.keys() == {number}
