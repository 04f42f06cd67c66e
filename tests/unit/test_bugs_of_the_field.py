"""Bugs that keep coming back in consumers of streams, each as a test over whole workers: reading one shard."""

from dataclasses import replace

import pytest

from consumer.domain.lineage import RETENTION_SECONDS
from consumer.domain.position import TRIM_HORIZON, rank
from consumer.worker import events
from consumer.worker.calls import Claim, Commit, Open, Read
from consumer.worker.perform import perform
from tests.builders import ARN, CREATED, ME, OTHER, shard
from tests.crews import BEGAN, Crew, alone
from tests.talks import NO_ANSWER


def test_the_last_page_comes_with_records_and_no_next_iterator() -> None:
    """Elsewhere: no next iterator is taken for "nothing more to do", and the records beside it are lost."""
    crew = Crew(ME)
    crew.grow(0)
    crew.write(0, 0, 0)
    crew.split(0, 1)
    assert crew.serve(4.0).exact
    assert crew.row(0).finished


def test_a_child_is_read_from_its_horizon() -> None:
    """Elsewhere: a shard first seen at run time is opened at LATEST, and what it held by then is lost."""
    crew, hand = alone(0)
    hand.held = Read
    crew.split(0, 1, 2)
    crew.write(1, 2)
    crew.serve(10.0)  # records have whole seconds: these are older than the moment at which their shards are opened
    hand.held = None
    assert crew.serve(4.0).exact


def test_an_expired_iterator_is_not_asked_again() -> None:
    """Elsewhere: the same iterator is retried for ever, or the shard is opened at its checkpoint beside a read-ahead
    buffer, whose records are then counted twice."""
    crew, hand = alone(0)
    hand.held = Commit
    crew.write(0)
    crew.serve()
    crew.streams.expire_iterators()
    crew.write(0, 0)
    crew.serve()
    hand.held = None
    assert crew.serve(4.0).exact


def test_trimmed_data_leaves_a_gap_row_and_the_shard_goes_on() -> None:
    """Elsewhere: the worker asks for the trimmed position for ever, or jumps to the horizon and tells nobody."""
    crew, _ = alone(0)
    crew.write(0)
    crew.serve()
    checkpoint = crew.row(0).checkpoint
    crew.kill(ME)
    crew.write(0, 0, 0)
    crew.streams.trim("shard-0", 3)
    crew.hire(OTHER)
    crew.serve(10.0)
    assert crew.counted() == [0, 3]
    assert list(crew.tables.gaps) == [(shard(0), checkpoint)]
    assert crew.tables.gaps[shard(0), checkpoint].to == crew.row(0).checkpoint
    assert not crew.hands[OTHER].not_ready


def test_a_shard_never_read_whose_row_is_older_than_the_retention_leaves_a_gap_row() -> None:
    """Elsewhere: TRIM_HORIZON of a shard that has lost its beginning opens without complaint, and nobody is told."""
    crew = Crew(ME)
    crew.grow(0)
    crew.hands[ME].held = Claim
    crew.serve()
    crew.kill(ME)
    crew.write(0, 0)
    crew.streams.trim("shard-0", 1)
    row = crew.row(0)
    crew.tables.rows[shard(0)] = replace(row, created=(row.created or 0.0) - RETENTION_SECONDS)
    crew.hire(OTHER)
    crew.serve(10.0)
    assert crew.counted() == [1]
    assert crew.tables.gaps[shard(0), TRIM_HORIZON].to == crew.row(0).checkpoint


def test_sequence_numbers_of_21_and_of_40_digits_are_in_the_streams_order() -> None:
    """Elsewhere: they are compared as text, in which a 40-digit number may come before one of 21 digits."""
    numbers = (9 * 10**20, 10**21, 10**39, 10**39 + 1)
    assert sorted(map(str, numbers)) != [*map(str, numbers)]
    assert sorted(map(str, numbers), key=rank) == [*map(str, numbers)]
    crew, _ = alone(0)
    crew.streams.newest.numbers = iter(numbers)
    for _ in numbers:
        crew.write(0)
        crew.serve()
    assert crew.exact
    assert crew.row(0).checkpoint == str(numbers[-1])


def test_a_late_page_of_a_lease_that_was_lost_and_claimed_again_is_dropped() -> None:
    """Elsewhere: a page that was asked for under the lease of before goes into the buffer of the new one."""
    crew, hand = alone(0)
    hand.held = Read
    crew.write(0)
    crew.serve()
    late = hand.call(Read)
    page = perform(late, hand.world)
    stored = crew.row(0)
    crew.tables.rows[shard(0)] = replace(stored, owner=OTHER, epoch=stored.epoch + 1)
    hand.machine.coordinator.rescan(hand.now)
    hand.held = Open
    crew.serve()
    assert crew.row(0).epoch == stored.epoch + 2, "lost, and claimed again from a worker that is no member"
    assert hand.tell(late, page) == []
    crew.serve()
    assert len([call for call in hand.under_way if isinstance(call, Open)]) == 1, "one read at a time"
    hand.held = None
    assert crew.serve(4.0).exact


def test_a_late_copy_of_a_commit_moves_no_checkpoint_back() -> None:
    """Elsewhere: an attempt that was given up arrives after the next one, and what lies between is counted twice."""
    crew, hand = alone(0)
    hand.held = Commit
    crew.write(0)
    crew.serve()
    late = hand.call(Commit)
    hand.tell(late, NO_ANSWER)
    hand.held = None
    crew.serve(4.0)
    crew.write(0)
    crew.serve(4.0)
    checkpoint = crew.row(0).checkpoint
    perform(late, hand.world)
    assert crew.row(0).checkpoint == checkpoint
    crew.kill(ME)
    crew.hire(OTHER)
    assert crew.serve(10.0).exact


@pytest.mark.parametrize("before", ["the answer", "the attempt"])
def test_a_commit_without_an_answer_is_settled_by_the_checkpoint(before: str) -> None:
    """Elsewhere: what became of a write that timed out is guessed, and its records are lost or counted twice."""
    crew, hand = alone(0)
    hand.held = Commit
    crew.write(0)
    crew.serve()
    open_ended = hand.call(Commit)
    if before == "the answer":
        perform(open_ended, hand.world)
    hand.tell(open_ended, NO_ANSWER)
    crew.write(0)
    hand.held = None
    assert crew.serve(4.0).exact
    assert not any(isinstance(told, events.ShardRewound) for told in hand.told)


def test_an_idle_shard_begun_at_latest_loses_nothing_to_a_kill_before_its_first_record() -> None:
    """Elsewhere: with no checkpoint yet the restarted worker begins at LATEST again, behind what was written since."""
    crew = Crew(start="LATEST")
    crew.grow(0)
    crew.write(0)
    crew.now += 60.0
    crew.hire(ME)
    crew.serve(10.0)
    assert crew.tables.pins[ARN].floor == CREATED + 60.0 == CREATED + crew.now - BEGAN - 10.0
    crew.kill(ME)
    crew.write(0)
    crew.now += 60.0
    crew.hire(OTHER)
    crew.serve(10.0)
    assert crew.counted() == [1], "not the one of before the start, and the one written while nobody was there"
