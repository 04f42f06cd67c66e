"""Marked writes of a shard, call by call: what is sent when, and what a refusal changes."""

from consumer.domain.breaker import HaltReason
from consumer.domain.marks import Lineage, Mark, Route, StoredRow
from consumer.domain.replies import Done, Refused, RowRefused
from consumer.worker.shard_calls import Commit, Halt, LookUpShard, Read, ReadRows, WriteRows
from consumer.worker.tuning import Tuning
from tests.support.builders import CREATED, game, games, page, poison, sequence_number, shard
from tests.support.drivers import ShardDriver, opened_shard

HERE = str(shard(0))
OLDER = Mark(HERE, sequence_number(0), CREATED)


def marked(to: int) -> StoredRow:
    """The row of a player whose games up to `to` are in it."""
    return StoredRow(mark=Mark(HERE, sequence_number(to), CREATED + to), date="2026-01-31")


def committing(found: StoredRow) -> tuple[ShardDriver, Commit]:
    """A shard whose transaction, of a player with poison, follows on a row that was read as `found`."""
    driver = opened_shard(keyed=True)
    driver.answer(Read, page(*games(2, 3), poison(4)))
    driver.answer(ReadRows, {"foo": found})
    return driver, driver.call(Commit)


def test_a_row_is_known_until_its_unit_is_settled_however_few_rows_are_remembered() -> None:
    driver = opened_shard(Tuning(wall_offset_seconds=CREATED, remembered_rows=1), keyed=True)
    driver.answer(Read, page(game(2, "foo"), game(3, "bar")))
    driver.answer(ReadRows, {"foo": marked(1), "bar": marked(1)})
    driver.answer(WriteRows, [RowRefused(StoredRow(mark=OLDER, date="2026-01-31")), Done()])
    (again,) = driver.call(WriteRows).writes
    assert (again.player, again.found) == ("foo", OLDER)


def test_a_shard_halts_before_an_unknown_mark_however_few_rows_are_remembered() -> None:
    driver = opened_shard(Tuning(wall_offset_seconds=CREATED, remembered_rows=1), keyed=True)
    driver.answer(Read, page(game(2, "foo"), game(3, "bar")))
    unknown = StoredRow(mark=Mark("label/nowhere", "5", CREATED), date="2026-01-31")
    driver.answer(ReadRows, {"foo": unknown, "bar": marked(1)})
    driver.answer(LookUpShard, Lineage())
    driver.answer(ReadRows, {"foo": unknown})
    assert driver.call(Halt).symptom.reason is HaltReason.MARK_UNKNOWN


def test_a_transaction_refused_for_a_mark_is_cut_again_and_not_resent() -> None:
    driver, commit = committing(marked(1))
    assert [write.route for write in commit.rows] == [Route.MARKED]
    driver.deliver(commit, Refused(rows={"foo": marked(2)}))
    assert driver.machine.resend(commit, driver.now) is None, "it would be refused for ever"
    again = driver.call(Commit)
    assert [(write.found, write.delta.games) for write in again.rows] == [(marked(2).mark, 1)]
    assert not driver.has_call(WriteRows)
