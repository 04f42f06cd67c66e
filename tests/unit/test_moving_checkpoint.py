"""A unit of single writes ends without its checkpoint, which follows alone: when it moves, and what a reply means."""

from dataclasses import replace

import pytest

from consumer.domain.breaker import Breaker, Circuit
from consumer.domain.errors import CallFailed, DataTrimmed, FailureKind
from consumer.domain.leases import TRIM_HORIZON, LeaseRow
from consumer.domain.marks import StoredRow
from consumer.domain.records import Outcome
from consumer.domain.replies import Committed, Done, Lost, Refused
from consumer.worker import events
from consumer.worker.calls import Reply
from consumer.worker.reader import CAUGHT_UP_PAGES
from consumer.worker.shard import ShardState
from consumer.worker.shard_calls import Commit, FindChildren, Halt, MoveCheckpoint, Open, Read, RecordGap, Release
from tests.support.builders import CREATED, HAD_GAME, ME, OTHER, game, ignored, page, poison, row, sequence_number
from tests.support.drivers import NO_ANSWER, kinds
from tests.support.marked import ONE_BY_ONE, MarkedShard, marked

INTERVAL = ONE_BY_ONE.checkpoint_interval_seconds


def ahead() -> MarkedShard:
    """The checkpoint has moved to record 1 just now, and record 2 has ended since."""
    driver = MarkedShard(game(1, "a")).knows({})
    driver.write_all()
    driver.answer(MoveCheckpoint, Committed())
    driver.answer(Read, page(game(2, "a")))
    driver.write_all()
    return driver


def moving() -> MarkedShard:
    """The same, and the checkpoint's move to record 2 is in flight."""
    driver = ahead().wait(INTERVAL)
    assert moves(driver) == [(1, 2)]
    return driver


def moves(driver: MarkedShard) -> list[tuple[int, int]]:
    """From where to where the checkpoint moves: the position of its last record; that of none is -1."""
    units = [call.unit for call in driver.start_due() if isinstance(call, MoveCheckpoint)]
    return [(position_of(unit.previous), position_of(unit.last)) for unit in units]


def position_of(checkpoint: str) -> int:
    return -1 if checkpoint == TRIM_HORIZON else int(checkpoint) - int(sequence_number(0))


def ended(driver: MarkedShard) -> list[int]:
    """The last records of the units that have ended."""
    return [position_of(event.unit.last) for event in driver.reported if isinstance(event, events.UnitCommitted)]


def stands(position: int, owner: str = ME, epoch: int = 7) -> LeaseRow:
    return row(owner=owner, epoch=epoch, checkpoint=sequence_number(position))


# --- when it moves ---


def test_it_moves_at_most_once_per_interval() -> None:
    driver = ahead()
    moved_at = driver.now - driver.tuning.poll_interval_seconds
    for position in (3, 4):
        driver.answer(Read, page(game(position, "a")))
        driver.write_all()
        assert ended(driver)[-1] == position
        assert not moves(driver)
    assert driver.machine.checkpoint == sequence_number(1)
    driver.now = moved_at + INTERVAL - 0.01
    assert not moves(driver)
    driver.now = moved_at + INTERVAL
    assert moves(driver) == [(1, 4)]


def test_it_moves_in_time_while_a_row_is_written_and_a_page_is_read() -> None:
    driver = ahead()
    moved_at = driver.now - driver.tuning.poll_interval_seconds
    driver.answer(Read, page(game(3, "a")))
    assert driver.wait(driver.tuning.poll_interval_seconds).has_call(Read)
    assert driver.writes()
    assert driver.machine.wake_at() == moved_at + INTERVAL


def test_it_does_not_move_again_without_a_reason() -> None:
    driver = ahead()
    assert driver.save().unit.circuit == HAD_GAME
    assert driver.machine.checkpoint == sequence_number(2)
    assert not moves(driver.wait(60))


def test_reads_and_single_writes_go_on_while_it_moves() -> None:
    driver = moving()
    driver.answer(Read, page(game(3, "a"), game(4, "b")))
    driver.knows({}).write_all()
    assert ended(driver) == [1, 2, 4]
    assert moves(driver) == [(1, 2)]
    driver.answer(MoveCheckpoint, Committed())
    assert driver.machine.checkpoint == sequence_number(2)
    assert not moves(driver)
    assert moves(driver.wait(INTERVAL)) == [(2, 4)]


def test_it_moves_at_once_when_the_shard_is_drained() -> None:
    driver = ahead()
    driver.machine.drain()
    assert moves(driver) == [(1, 2)]
    assert not driver.has_call(Release)
    driver.answer(MoveCheckpoint, Committed())
    assert kinds(driver.answer(Release, Done())) == ["LeaseReleased"]


def test_a_drained_shard_moves_it_while_rows_are_written_and_again_for_them() -> None:
    driver = ahead()
    driver.answer(Read, page(game(3, "a")))
    assert driver.writes()
    driver.machine.drain()
    assert moves(driver) == [(1, 2)]
    driver.write_all()
    assert not driver.has_call(Release)
    driver.answer(MoveCheckpoint, Committed())
    assert moves(driver) == [(2, 3)]
    driver.answer(MoveCheckpoint, Committed())
    assert driver.has_call(Release)


def test_a_drained_shard_whose_transaction_was_not_sent_moves_it() -> None:
    driver = ahead()
    driver.answer(Read, page(game(3, "fresh")))
    driver.knows({"fresh": StoredRow()})
    driver.call(Commit)
    driver.machine.drain()
    driver.machine.not_sent()
    assert moves(driver) == [(1, 2)]
    driver.answer(MoveCheckpoint, Committed())
    assert driver.has_call(Release)


def test_it_moves_at_once_before_the_shard_ends() -> None:
    driver = ahead()
    driver.answer(Read, page(game(3, "a"), then=None))
    assert moves(driver) == [(1, 2)], "while the last rows are written"
    driver.write_all()
    driver.answer(MoveCheckpoint, Committed())
    assert moves(driver) == [(2, 3)]
    assert not driver.has_call(FindChildren)
    driver.answer(MoveCheckpoint, Committed())
    assert driver.has_call(FindChildren)
    assert driver.machine.state is ShardState.ENDING


def test_it_moves_at_once_before_a_gap_is_recorded() -> None:
    driver = ahead()
    driver.answer(Read, DataTrimmed())
    assert moves(driver) == [(1, 2)]
    assert not driver.has_call(RecordGap)
    driver.answer(MoveCheckpoint, Committed())
    gap = driver.call(RecordGap)
    assert gap.checkpoint == sequence_number(2)
    assert kinds(driver.deliver(gap, True)) == ["GapFound"]


def test_the_unit_after_a_gap_is_a_transaction_which_fills_it() -> None:
    driver = ahead()
    driver.answer(Read, DataTrimmed())
    driver.answer(MoveCheckpoint, Committed())
    driver.answer(RecordGap, True)
    driver.answer(Open, "oldest")
    driver.answer(Read, page(game(40, "a")))
    driver.write_all()
    assert ended(driver) == [1, 2]
    commit = driver.call(Commit)
    assert (commit.unit.previous, commit.rows, commit.fills_gap) == (sequence_number(2), (), True)
    driver.deliver(commit, Committed())
    driver.answer(Read, page(game(41, "a")))
    driver.write_all()
    assert ended(driver) == [1, 2, 40, 41]
    assert not driver.has_call(Commit), "once"


def test_it_moves_before_the_gap_of_a_shard_that_is_gone() -> None:
    driver = ahead()
    driver.may_commit = False
    gone = CallFailed(FailureKind.MISSING, "no such shard")
    driver.answer(Read, gone)
    for _ in range(3):
        driver.wait(301).answer(Open, gone)
        driver.machine.on_listing(None, driver.now)
    assert not driver.wait(60).start_due(), "the gap begins where the row will stand"
    driver.may_commit = True
    driver.answer(MoveCheckpoint, Committed())
    assert driver.call(RecordGap).checkpoint == sequence_number(2)


def test_it_does_not_move_sooner_while_nothing_more_can_be_read_ahead() -> None:
    """The end of a unit empties the buffer, not its checkpoint; a worker that reads little ahead would pay per page."""
    tuning = replace(ONE_BY_ONE, lookahead_bytes=250)
    driver = MarkedShard(game(1, "a"), tuning=tuning).knows({})
    driver.write_all()
    driver.answer(MoveCheckpoint, Committed())
    driver.answer(Read, page(game(2, "a")))
    driver.write_all()
    driver.answer(Read, page(game(3, "a"), size_bytes=250))
    assert not driver.has_call(Read)
    assert not moves(driver)
    driver.write_all()
    driver.answer(Read, page())
    assert moves(driver.wait(INTERVAL)) == [(1, 3)]


def test_it_moves_at_once_before_the_shard_halts() -> None:
    tuning = replace(ONE_BY_ONE, breaker=Breaker(1, 10))
    driver = MarkedShard(game(1, "a"), tuning=tuning).knows({})
    driver.write_all()
    driver.answer(MoveCheckpoint, Committed())
    driver.answer(Read, page(game(2, "a"), poison(3)))
    driver.knows({})
    driver.write_all()
    assert moves(driver) == [(1, 2)]
    driver.answer(MoveCheckpoint, Committed())
    halt = driver.call(Halt)
    assert halt.previous == sequence_number(2)
    driver.deliver(halt, Done())
    assert not driver.wait(60).start_due()
    driver.machine.resume(replace(stands(2), circuit=Circuit(resumes=1, free_to=sequence_number(3))))
    driver.knows({})
    assert driver.call(Commit).unit.previous == sequence_number(2)


def test_without_a_heartbeat_it_does_not_move() -> None:
    driver = ahead()
    driver.may_commit = False
    assert not moves(driver.wait(60))
    driver.may_commit = True
    assert moves(driver) == [(1, 2)]


# --- beside a transaction ---


def test_a_transaction_takes_it_along() -> None:
    driver = ahead()
    driver.answer(Read, page(game(3, "fresh")))
    driver.knows({"fresh": StoredRow()})
    commit = driver.call(Commit)
    assert (commit.unit.previous, commit.unit.last) == (sequence_number(1), sequence_number(3))
    driver.deliver(commit, Committed())
    assert driver.machine.checkpoint == sequence_number(3)
    assert not moves(driver.wait(60))


def test_a_transaction_waits_for_a_move_in_flight_and_begins_where_it_ended() -> None:
    driver = moving()
    driver.answer(Read, page(game(3, "fresh")))
    driver.knows({"fresh": StoredRow()})
    assert not driver.has_call(Commit)
    driver.answer(MoveCheckpoint, Committed())
    assert driver.call(Commit).unit.previous == sequence_number(2)


def test_a_move_with_an_unknown_outcome_comes_before_a_transaction() -> None:
    driver = moving()
    driver.answer(MoveCheckpoint, NO_ANSWER)
    driver.answer(Read, page(game(3, "fresh")))
    driver.knows({"fresh": StoredRow()})
    driver.wait(1)
    assert not driver.has_call(Commit)
    assert moves(driver) == [(1, 2)]
    driver.answer(MoveCheckpoint, Lost(stands(2)))
    assert driver.call(Commit).unit.previous == sequence_number(2)


def test_a_transaction_stores_that_there_was_a_game_in_an_earlier_unit() -> None:
    driver = MarkedShard(ignored(1))
    driver.wait(driver.tuning.ignored_window_seconds).serve()
    driver.answer(Read, page(game(2, "a")))
    driver.serve()
    assert not driver.tables.rows[driver.lease.shard].circuit.had_game
    driver.answer(Read, page(poison(3)))
    driver.serve()
    assert driver.tables.rows[driver.lease.shard].checkpoint == sequence_number(3)
    assert driver.tables.rows[driver.lease.shard].circuit.had_game


def test_a_unit_whose_transaction_may_yet_take_effect_does_not_end_without_it() -> None:
    """It was refused for a mark after an attempt with an unknown outcome: then only single writes are left of it."""
    driver = ahead()
    driver.answer(Read, page(game(3, "fresh"), game(4, "a")))
    driver.knows({"fresh": StoredRow()}).write_all()
    driver.answer(Commit, NO_ANSWER)
    driver.wait(1).answer(Commit, Refused(rows={"fresh": marked(0)}))
    driver.wait(INTERVAL)
    assert driver.writes().keys() == {"fresh"}
    assert not moves(driver), "the unit's own checkpoint decides"
    assert not driver.has_call(Commit)
    driver.write_all()
    assert ended(driver) == [1, 2]
    commit = driver.call(Commit)
    assert (commit.unit.previous, commit.unit.last, commit.rows) == (sequence_number(1), sequence_number(4), ())
    driver.deliver(commit, Lost(stands(4)))
    assert ended(driver) == [1, 2, 4]
    assert driver.machine.checkpoint == sequence_number(4)


# --- what a reply means ---


def test_a_move_with_an_unknown_outcome_is_sent_again_unchanged() -> None:
    driver = moving()
    first = driver.call(MoveCheckpoint)
    (retried,) = driver.deliver(first, NO_ANSWER)
    assert isinstance(retried, events.RetryScheduled)
    assert retried.operation == "move_checkpoint"
    driver.answer(Read, page(game(3, "a")))
    driver.write_all()
    assert not moves(driver)
    again = driver.wait(INTERVAL).call(MoveCheckpoint)
    assert again == first, "although more has ended"
    driver.deliver(again, Committed())
    assert moves(driver.wait(INTERVAL)) == [(2, 3)]


def test_a_move_whose_reply_was_lost_has_taken_effect() -> None:
    driver = moving()
    driver.answer(MoveCheckpoint, NO_ANSWER)
    assert not driver.wait(1).answer(MoveCheckpoint, Lost(stands(2)))
    assert driver.machine.checkpoint == sequence_number(2)
    assert not moves(driver.wait(60))


@pytest.mark.parametrize(
    ("found", "event", "state"),
    [
        (stands(0), "ShardRewound", ShardState.RUNNING),
        (replace(stands(0), circuit=Circuit(halted_at=1.0)), "ShardRewound", ShardState.HALTED),
        (stands(2, OTHER, 8), "LeaseLost", ShardState.GONE),
        (stands(2, ME, 8), "LeaseLost", ShardState.GONE),
        (None, "ShardHalted", ShardState.HALTED),
    ],
)
def test_a_move_that_is_refused(found: LeaseRow | None, event: str, state: ShardState) -> None:
    driver = moving()
    assert kinds(driver.answer(MoveCheckpoint, Lost(found))) == [event]
    assert driver.machine.state is state
    assert not moves(driver.wait(60))


def test_what_is_read_again_after_a_rewind_counts_once() -> None:
    driver = moving()
    driver.answer(MoveCheckpoint, Lost(stands(0)))
    assert driver.machine.checkpoint == sequence_number(0)
    assert not driver.answer(Read, page(game(3, "a"))), "of the earlier iterator"
    driver.answer(Open, "again")
    driver.answer(Read, page(game(1, "a"), game(2, "a"), game(3, "a")))
    assert driver.writes()["a"].delta.games == 1
    driver.write_all()
    last = driver.reported[-1]
    assert isinstance(last, events.UnitCommitted)
    assert last.unit.outcomes == {Outcome.ALREADY_SETTLED: 2, Outcome.APPLIED: 1}
    assert moves(driver.wait(INTERVAL)) == [(0, 3)]


@pytest.mark.parametrize("late", [[Done()], NO_ANSWER], ids=["written", "failed"])
def test_a_reply_from_before_a_rewind_ends_no_unit(late: Reply) -> None:
    """All of the next unit is in the rows, so its checkpoint alone is in flight; it would be dropped twice."""
    driver = moving()
    driver.answer(Read, page(game(3, "b")))
    driver.knows({})
    (write,) = driver.write_calls()
    driver.answer(MoveCheckpoint, Lost(stands(0)))
    driver.answer(Open, "again")
    driver.answer(Read, page(game(1, "a"), game(2, "a")))
    driver.answer(Read, page(game(3, "b")))
    commit = driver.call(Commit)
    assert (position_of(commit.unit.last), commit.rows) == (2, ())
    assert not driver.reply(write, late)
    driver.deliver(commit, Committed())
    assert ended(driver) == [1, 2, 2]
    assert set(driver.writes()) == {"b"}


@pytest.mark.parametrize("found", [stands(2, OTHER, 8), None])
def test_late_replies_change_nothing_after_the_shard_is_lost(found: LeaseRow | None) -> None:
    driver = moving()
    driver.answer(Read, page(game(3, "a")))
    (write,) = driver.write_calls()
    driver.answer(MoveCheckpoint, Lost(found))
    assert not driver.reply(write, [Done()])
    assert ended(driver) == [1, 2]


def test_late_replies_change_nothing_after_a_release() -> None:
    driver = moving()
    driver.answer(Read, page(game(3, "a"), game(4, "b")))
    driver.knows({})
    driver.machine.drain()
    moved = driver.call(MoveCheckpoint)
    driver.reply_rows(a=NO_ANSWER)
    (late,) = [call for call in driver.write_calls() if call.writes[0].player == "b"]
    assert not driver.has_call(Release), "the move gets its reply first"
    driver.deliver(moved, Committed())
    driver.answer(Release, Done())
    assert not driver.reply(late, [Done()])
    assert not driver.start_due()
    assert ended(driver) == [1, 2]


def test_a_drained_shard_repeats_a_failed_move_until_its_outcome_is_known() -> None:
    driver = ahead()
    driver.machine.drain()
    for seconds in (1, 2, 3):
        driver.answer(MoveCheckpoint, NO_ANSWER)
        assert not driver.has_call(Release)
        driver.wait(seconds)
    assert any(failure.startswith("move_checkpoint fails: ") for failure in driver.machine.lasting_failures())
    driver.answer(MoveCheckpoint, Lost(stands(2)))
    assert driver.has_call(Release)


def test_a_drained_shard_that_meets_another_checkpoint_releases() -> None:
    driver = ahead()
    driver.machine.drain()
    assert kinds(driver.answer(MoveCheckpoint, Lost(stands(0)))) == ["ShardRewound"]
    assert kinds(driver.answer(Release, Done())) == ["LeaseReleased"]


def test_units_go_on_while_it_cannot_move() -> None:
    driver = moving()
    for position in range(3, 9):
        driver.answer(MoveCheckpoint, NO_ANSWER)
        driver.wait(10).answer(Read, page(game(position, "a")))
        driver.write_all()
        assert moves(driver) == [(1, 2)]
    assert ended(driver)[-1] == 8
    assert driver.machine.lasting_failures()


# --- what is seen of it ---


def test_lag_counts_what_has_ended_and_not_the_checkpoint() -> None:
    driver = ahead()
    unix_now = CREATED + 1000
    assert driver.machine.lag_seconds(unix_now) == 998, "what comes next may be as old as record 2"
    driver.answer(Read, page(game(995, "a")))
    assert driver.machine.lag_seconds(unix_now) == 5
    driver.write_all()
    for _ in range(CAUGHT_UP_PAGES):
        driver.answer(Read, page())
    assert driver.machine.lag_seconds(unix_now) == 0.0
    assert driver.machine.checkpoint == sequence_number(1)


def test_what_has_ended_is_not_buffered_any_more() -> None:
    tuning = replace(ONE_BY_ONE, total_lookahead_bytes=100)
    driver = MarkedShard(game(1, "a"), tuning=tuning).knows({})
    assert driver.budget.spent
    driver.write_all()
    assert not driver.budget.spent
