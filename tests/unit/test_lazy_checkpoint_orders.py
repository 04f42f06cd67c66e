"""Checkpoints that lag behind, and replies that come late: what may end a unit, and what waits for what."""

from consumer.domain.marks import Lineage, Mark, StoredRow
from consumer.domain.replies import Committed, Done, Lost, Refused
from consumer.worker.events import UnitCommitted
from consumer.worker.shard_calls import (
    Commit,
    FindChildren,
    Halt,
    LookUpShard,
    MoveCheckpoint,
    Open,
    Read,
    ReadRows,
    Release,
    WriteRows,
)
from tests.support.builders import CREATED, ME, game, ignored, page, row, sequence_number, shard
from tests.support.drivers import NO_ANSWER, ShardDriver, kinds, opened_shard

HERE = str(shard())
FRESH, ABSENT = StoredRow(), StoredRow(exists=False)


def marked(position: int, of: str = HERE) -> StoredRow:
    """A row with the mark of this record."""
    return StoredRow(mark=Mark(of, sequence_number(position), CREATED))


def lagging() -> ShardDriver:
    """A shard whose checkpoint is at record 1, and that has counted record 2, the first game."""
    driver = opened_shard(keyed=True)
    driver.answer(Read, page(ignored(1)))
    driver.wait(driver.tuning.ignored_window_seconds).answer(Commit, Committed())
    driver.answer(Read, page(game(2)))
    driver.answer(ReadRows, {"foo": ABSENT})
    driver.answer(WriteRows, [Done()])
    assert not driver.has_call(MoveCheckpoint)
    return driver


def with_a_commit_of_unknown_outcome() -> ShardDriver:
    """The same, and a transaction with record 3 of another player was sent twice: the second time it was refused."""
    driver = lagging()
    driver.answer(Read, page(game(3, "bar"), game(4, "bar")))
    driver.answer(ReadRows, {"bar": FRESH})
    driver.answer(Commit, NO_ANSWER)
    driver.wait(1)
    driver.answer(Commit, Refused(rows={"bar": marked(3)}))
    return driver


def units(driver: ShardDriver) -> list[str]:
    """The last record of each unit that was reported."""
    return [event.unit.last for event in driver.reported if isinstance(event, UnitCommitted)]


def test_a_reply_from_before_a_rewind_ends_no_unit_that_is_in_a_transaction() -> None:
    driver = opened_shard(keyed=True)
    driver.answer(Read, page(game(1)))
    driver.answer(ReadRows, {"foo": ABSENT})
    driver.answer(WriteRows, [Done()])
    driver.answer(Read, page(game(2, "bar")))
    driver.answer(ReadRows, {"bar": ABSENT})
    old = driver.call(WriteRows)
    driver.answer(MoveCheckpoint, Lost(row(owner=ME, checkpoint=sequence_number(0))))
    driver.answer(Open, "again")
    driver.answer(Read, page(game(1)))
    commit = driver.call(Commit)  # the row's mark covers all of it: the checkpoint alone

    assert driver.deliver(old, [Done()]) == []
    assert kinds(driver.deliver(commit, Committed())) == ["UnitCommitted"]
    assert driver.machine.checkpoint == sequence_number(1)


def test_a_unit_does_not_end_by_its_rows_while_an_earlier_form_of_it_may_yet_be_committed() -> None:
    driver = with_a_commit_of_unknown_outcome()
    driver.answer(WriteRows, [Done()])
    assert units(driver) == [sequence_number(1), sequence_number(2)]

    driver.machine.drain()
    assert not driver.has_call(Release)
    driver.answer(Commit, Committed())
    assert units(driver)[-1] == driver.machine.checkpoint == sequence_number(4)
    driver.answer(Release, Done())


def test_no_transaction_goes_while_the_rows_of_the_unit_that_is_cut_again_have_no_reply() -> None:
    driver = with_a_commit_of_unknown_outcome()
    driver.call(WriteRows)
    driver.wait(driver.tuning.checkpoint_interval_seconds + 1)
    assert not any(driver.has_call(call) for call in (Commit, MoveCheckpoint, FindChildren))


def test_a_shard_saves_what_has_ended_before_it_halts() -> None:
    driver = lagging()
    unknown = marked(9, "label/unknown")
    driver.answer(Read, page(game(3, "bar")))
    driver.answer(ReadRows, {"bar": FRESH})
    driver.answer(Commit, NO_ANSWER)
    driver.wait(1).answer(Commit, Refused(rows={"bar": unknown}))
    driver.answer(LookUpShard, Lineage({HERE: None}))
    driver.answer(ReadRows, {"bar": unknown})
    driver.answer(MoveCheckpoint, Committed())
    assert driver.call(Halt).previous == sequence_number(2)


def test_the_first_game_behind_the_checkpoint_is_noted_by_the_transaction_that_takes_it_along() -> None:
    driver = lagging()
    driver.answer(Read, page(game(3, "bar")))
    driver.answer(ReadRows, {"bar": FRESH})
    commit = driver.call(Commit)
    assert (commit.unit.previous, commit.unit.circuit.had_game) == (sequence_number(1), True)


def test_a_halt_after_a_commit_of_unknown_outcome_does_not_hold_the_lease() -> None:
    driver = opened_shard(keyed=True)
    driver.answer(Read, page(game(1)))
    driver.answer(ReadRows, {"foo": FRESH})
    driver.answer(Commit, NO_ANSWER)
    unknown = marked(9, "label/unknown")
    driver.wait(1).answer(Commit, Refused(rows={"foo": unknown}))
    driver.answer(LookUpShard, Lineage({HERE: None}))
    driver.answer(ReadRows, {"foo": unknown})
    driver.answer(Halt, Done())
    driver.machine.drain()
    driver.answer(Release, Done())


def test_what_has_ended_and_is_not_saved_is_forgotten_at_a_rewind() -> None:
    driver = lagging()
    driver.answer(Read, page(game(3, "bar")))
    driver.answer(ReadRows, {"bar": FRESH})
    driver.answer(Commit, Lost(row(owner=ME, checkpoint=sequence_number(9))))
    driver.answer(Open, "again")
    driver.answer(Read, page())
    driver.wait(driver.tuning.checkpoint_interval_seconds + 1)
    assert not driver.has_call(MoveCheckpoint)
    assert driver.machine.checkpoint == sequence_number(9)


def test_a_move_without_a_reply_is_sent_again_before_the_release() -> None:
    driver = lagging()
    driver.machine.drain()
    move = driver.call(MoveCheckpoint)
    driver.deliver(move, NO_ANSWER)
    assert not driver.has_call(Release)
    driver.wait(1)
    assert driver.has_call(MoveCheckpoint)
    driver.answer(MoveCheckpoint, Lost(row(owner=ME, checkpoint=sequence_number(2))))
    driver.answer(Release, Done())


def test_a_unit_of_transactions_waits_for_a_move_and_follows_it() -> None:
    driver = lagging()
    driver.wait(driver.tuning.checkpoint_interval_seconds)
    move = driver.call(MoveCheckpoint)
    driver.answer(Read, page(game(3, "bar")))
    driver.answer(ReadRows, {"bar": FRESH})
    driver.deliver(move, NO_ANSWER)
    assert not driver.has_call(Commit)
    driver.wait(1)
    again = driver.call(MoveCheckpoint)
    assert again == move
    driver.deliver(again, Committed())
    assert driver.call(Commit).unit.previous == sequence_number(2)


def test_units_end_while_a_move_is_in_flight_and_the_next_move_takes_them_along() -> None:
    driver = lagging()
    driver.wait(driver.tuning.checkpoint_interval_seconds)
    move = driver.call(MoveCheckpoint)
    for position in (3, 4):
        driver.answer(Read, page(game(position)))
        driver.answer(WriteRows, [Done()])
    driver.deliver(move, Committed())
    driver.wait(driver.tuning.checkpoint_interval_seconds)
    unit = driver.call(MoveCheckpoint).unit
    assert (unit.previous, unit.last) == (sequence_number(2), sequence_number(4))
    assert units(driver)[1:] == [sequence_number(position) for position in (2, 3, 4)]


def test_the_end_of_a_shard_waits_for_the_move() -> None:
    driver = lagging()
    driver.answer(Read, page(then=None))
    assert not driver.has_call(FindChildren)
    driver.answer(MoveCheckpoint, Committed())
    assert driver.has_call(FindChildren)
