"""A row whose mark is of a shard that is not known: when the shard halts before it, and what a resume reads again."""

from dataclasses import replace

import pytest

from consumer.domain.breaker import Circuit, HaltReason
from consumer.domain.leases import TRIM_HORIZON
from consumer.domain.marks import Lineage, Mark, StoredRow
from consumer.domain.replies import Done
from consumer.worker.event_log import EventLog
from consumer.worker.shard import ShardState
from consumer.worker.shard_calls import Commit, Halt, LookUpShard, Read, ReadRows, WriteRows
from consumer.worker.status import halted_shards
from tests.support.builders import CREATED, game, page, row, sequence_number, shard
from tests.support.drivers import ShardDriver, opened_shard
from tests.unit.test_event_log import Log, MeterLog

UNKNOWN_SHARD = "2025-01-01T00:00:00.000/shard-9"
MARK = Mark(UNKNOWN_SHARD, sequence_number(50), CREATED)
MINE = Mark(str(shard()), sequence_number(1), CREATED + 1)


def reading(*players: str) -> ShardDriver:
    """A shard that has read one game of each of these players."""
    driver = opened_shard(keyed=True)
    driver.known.lineage = Lineage({str(shard()): None})
    driver.answer(Read, page(*(game(number, player) for number, player in enumerate(players, start=1))))
    return driver


def look_up(driver: ShardDriver) -> None:
    driver.answer(LookUpShard, Lineage({str(shard()): None}))


def halted(player: str = "foo") -> ShardDriver:
    driver = reading(player)
    driver.answer(ReadRows, {player: StoredRow(mark=MARK)})
    look_up(driver)
    driver.answer(ReadRows, {player: StoredRow(mark=MARK)})
    driver.answer(Halt, Done())
    assert driver.machine.state is ShardState.HALTED
    return driver


def test_the_row_is_read_consistently_before_the_shard_halts() -> None:
    driver = reading("foo")
    first = driver.call(ReadRows)
    assert not first.consistent
    driver.deliver(first, {"foo": StoredRow(mark=MARK)})
    look_up(driver)
    assert not driver.has_call(Halt)
    again = driver.call(ReadRows)
    assert (again.players, again.consistent) == (("foo",), True)
    driver.deliver(again, {"foo": StoredRow(mark=MARK)})
    symptom = driver.call(Halt).symptom
    assert (symptom.reason, symptom.player) == (HaltReason.MARK_UNKNOWN, "foo")


def test_a_shard_does_not_halt_for_what_the_row_said_before() -> None:
    """The first read was stale, or the worker remembered the row: since then its owner has marked it."""
    driver = reading("foo")
    driver.answer(ReadRows, {"foo": StoredRow(mark=MARK)})
    look_up(driver)
    driver.answer(ReadRows, {"foo": StoredRow(mark=MINE)})
    assert not driver.has_call(Halt)
    assert driver.call(Commit).unit.deltas == {}, "the game is in the row"


def test_the_records_before_it_are_counted_first() -> None:
    driver = reading("bar", "foo", "foo")
    driver.answer(ReadRows, {"bar": StoredRow(mark=MINE._replace(to="0")), "foo": StoredRow(mark=MARK)})
    look_up(driver)
    driver.answer(ReadRows, {"foo": StoredRow(mark=MARK)})
    assert [write.player for write in driver.call(WriteRows).writes] == ["bar"]


def test_a_resume_looks_at_the_row_and_at_its_marks_shard_again() -> None:
    driver = halted()
    driver.machine.resume(replace(row(), circuit=Circuit(resumes=1)))
    driver.answer(ReadRows, {"foo": StoredRow(mark=MARK)})
    driver.answer(LookUpShard, Lineage({str(shard()): None, UNKNOWN_SHARD: None}))
    assert driver.call(Commit).unit.deltas["foo"].games == 1, "it is shared with that shard"


def test_a_resume_after_the_mark_was_accepted_counts_the_games_once() -> None:
    driver = halted()
    driver.machine.resume(replace(row(), circuit=Circuit(resumes=1)))
    driver.answer(ReadRows, {"foo": StoredRow()})
    (write,) = driver.call(Commit).rows
    assert (write.route.value, write.found, write.mark) == ("fresh", None, MINE)


@pytest.mark.parametrize(
    ("player", "word"),
    [
        ("foo", "foo"),
        ("two words", "'two words'"),
        ("it's", "'it'\"'\"'s'"),
        ("a\n'\x1b", "$'a\\U0000000a\\'\\U0000001b'"),
    ],
)
def test_what_the_operator_reads(player: str, word: str) -> None:
    driver = halted(player)
    (sentence,) = halted_shards({driver.lease.shard: driver.machine}, ())
    assert sentence == (
        f"shard {shard()} is halted: the row of player {word} has a mark of the shard {UNKNOWN_SHARD} (up to "
        f"{MARK.to}), which neither the lease table nor the stream knows; if no worker will ever read that shard, "
        f"next: `consumer resume {shard()} --accept-mark {word}`"
    )
    log = Log()
    EventLog(log, MeterLog()).report(driver.reported[-1:], CREATED)
    ((level, event, fields),) = log.lines
    assert (level, event, fields["reason"], fields["checkpoint"]) == (
        "error",
        "shard.halted",
        "mark_unknown",
        TRIM_HORIZON,
    )
    assert fields["detail"] in sentence
