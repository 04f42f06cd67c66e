"""The end of a lease while single writes are in flight: drained, lost, rewound."""

from dataclasses import replace

import pytest

from consumer.domain.breaker import Circuit
from consumer.domain.marks import ABSENT, Lineage, StoredRow
from consumer.domain.replies import Committed, Done, Lost, Refused, RowRefused, RowReply
from consumer.worker.coordinator import LOAD_INTERVAL_SECONDS
from consumer.worker.shard import ShardState
from consumer.worker.shard_calls import Commit, Halt, LookUpShard, Open, Read, Release, WriteRows
from tests.support.builders import ME, OTHER, game, page, row, sequence_number, shard
from tests.support.drivers import IMAGE, NO_ANSWER, WorkerDriver, kinds, stream
from tests.support.marked import MarkedShard, mark, marked


def writing() -> MarkedShard:
    """Two single writes are in flight, a third row is for the transaction."""
    driver = MarkedShard(game(1, "a"), game(2, "b"), game(3, "c")).knows({"c": StoredRow()})
    assert set(driver.writes()) == {"a", "b"}
    return driver


def test_a_drained_shard_finishes_the_unit_that_it_has_begun() -> None:
    driver = writing()
    driver.machine.drain()
    assert not driver.has_call(Release)
    driver.write_all()
    commit = driver.call(Commit)
    assert (commit.unit.records, list(commit.players)) == (3, ["c"])
    assert not driver.has_call(Release)
    driver.deliver(commit, Committed())
    assert kinds(driver.answer(Release, Done())) == ["LeaseReleased"]


def test_a_drained_shard_begins_no_other_unit() -> None:
    driver = writing()
    driver.answer(Read, page(game(4, "a")))
    driver.machine.drain()
    driver.write_all()
    driver.answer(Commit, Committed())
    assert not driver.writes()
    assert driver.has_call(Release)


def test_a_drained_shard_that_has_written_nothing_releases_at_once() -> None:
    driver = MarkedShard(game(1, "a"))
    (read,) = driver.reads()
    driver.machine.drain()
    release = driver.call(Release)
    driver.deliver(read, {"a": ABSENT})
    assert not driver.writes()
    assert kinds(driver.deliver(release, Done())) == ["LeaseReleased"]


@pytest.mark.parametrize(
    "reply", [NO_ANSWER, RowRefused(marked(0, "elsewhere")), Refused(invalid="one digit too many")], ids=str
)
def test_a_drained_shard_leaves_a_unit_that_does_not_go_through_at_once(reply: RowReply) -> None:
    """What is written stays: its mark says so. What is in flight may take effect after the release, or not."""
    driver = writing()
    driver.machine.drain()
    driver.reply_rows(a=reply)
    release = driver.call(Release)
    assert not driver.reply_rows(b=Done())
    assert not driver.has_call(Commit)
    assert kinds(driver.deliver(release, Done())) == ["LeaseReleased"]


def test_a_drained_shard_leaves_a_unit_whose_transaction_is_refused() -> None:
    driver = writing()
    driver.write_all()
    commit = driver.call(Commit)
    driver.machine.drain()
    driver.deliver(commit, Refused(rows={"c": marked(0)}))
    assert not driver.writes()
    assert driver.has_call(Release)


def test_a_drained_shard_settles_a_transaction_with_an_unknown_outcome() -> None:
    driver = writing()
    driver.write_all()
    commit = driver.call(Commit)
    driver.machine.drain()
    driver.deliver(commit, NO_ANSWER)
    assert not driver.has_call(Release)
    driver.wait(1)
    again = driver.call(Commit)
    assert again == commit
    driver.deliver(again, Lost(row(owner=ME, checkpoint=sequence_number(3))))
    assert driver.has_call(Release)


def test_a_refusal_after_an_unknown_outcome_does_not_end_it_while_draining() -> None:
    """The first attempt may yet take effect: the unit is cut again, and its checkpoint decides."""
    driver = writing()
    driver.write_all()
    commit = driver.call(Commit)
    driver.machine.drain()
    driver.deliver(commit, NO_ANSWER)
    driver.wait(1)
    driver.answer(Commit, Refused(rows={"c": marked(0)}))
    assert not driver.has_call(Release)
    driver.write_all()
    driver.answer(Commit, Committed())
    assert driver.has_call(Release)


def test_a_lost_lease_ends_it_at_once() -> None:
    driver = writing()
    driver.write_all()
    assert kinds(driver.answer(Commit, Lost(row(owner=OTHER, epoch=8)))) == ["LeaseLost"]
    assert driver.machine.state is ShardState.GONE


def test_a_late_reply_of_an_earlier_epoch_is_dropped() -> None:
    driver = WorkerDriver(streams=stream())
    driver.streams.partition_key = "playerId"
    driver.serve(2.0)
    driver.streams.write("shard-0", IMAGE)
    driver.serve(0.5, hold=WriteRows)
    write = driver.call(WriteRows)
    stored = driver.tables.rows[shard()]
    driver.tables.rows[shard()] = replace(stored, owner=OTHER, epoch=stored.epoch + 1)
    driver.serve(LOAD_INTERVAL_SECONDS + 1, hold=WriteRows)
    again = [call for call in driver.in_flight if isinstance(call, WriteRows)]
    assert [call.lease.epoch for call in again] == [stored.epoch + 2], "the other owner is no member: claimed again"
    assert not driver.deliver(write, [RowRefused(StoredRow())])
    assert again == [call for call in driver.start_due() if isinstance(call, WriteRows)]


def test_after_a_rewind_all_is_read_and_cut_anew_and_late_replies_are_dropped() -> None:
    driver = MarkedShard(game(1, "a"), game(2, "b")).knows({"a": StoredRow(), "b": marked(0)})
    driver.write_all()
    commit = driver.call(Commit)
    stands = row(owner=ME, checkpoint=sequence_number(0))
    assert kinds(driver.deliver(commit, Lost(stands))) == ["ShardRewound"]
    assert not driver.has_call(Commit)
    driver.answer(Open, "again")
    driver.answer(Read, page(game(1, "a"), game(2, "b"), game(3, "b")))
    writes = driver.writes()
    assert (writes["b"].found, writes["b"].delta.games) == (mark(2), 1), "what it wrote it remembers"
    late = writes["b"]._replace(found=mark(0))
    assert not driver.deliver(WriteRows(driver.lease, (late,)), [RowRefused(ABSENT)])
    assert driver.writes() == writes, "a reply to a write of before says nothing"
    assert driver.known.get("b") == marked(2, date="2026-01-31")
    driver.write_all()
    again = driver.call(Commit)
    assert again.unit.previous == sequence_number(0)
    assert again.unit.records == 3


def test_a_rewound_shard_that_was_halted_writes_nothing() -> None:
    driver = writing()
    driver.write_all()
    stands = row(owner=ME, checkpoint=sequence_number(0))
    driver.answer(Commit, Lost(replace(stands, circuit=Circuit(halted_at=1.0))))
    assert driver.machine.state is ShardState.HALTED
    assert not driver.start_due()


def test_a_drained_shard_that_halts_after_an_unknown_outcome_releases() -> None:
    """The halt shows that the row stands where it stood. What is late is fenced by the release."""
    driver = MarkedShard(game(1, "a")).knows({"a": StoredRow()})
    driver.answer(Commit, NO_ANSWER)
    driver.machine.drain()
    driver.wait(1).answer(Commit, Refused(rows={"a": marked(0, "elsewhere/shard-9")}))
    driver.answer(LookUpShard, Lineage())
    driver.knows({"a": marked(0, "elsewhere/shard-9")})
    driver.answer(Halt, Done())
    assert not driver.has_call(Halt)
    assert kinds(driver.answer(Release, Done())) == ["LeaseReleased"]
