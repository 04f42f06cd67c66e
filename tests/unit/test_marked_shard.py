"""A shard whose rows have marks: rows are read, deltas are written one by one, then the unit has ended."""

from dataclasses import replace
from decimal import Decimal

import pytest

from consumer.domain.errors import CallFailed, FailureKind
from consumer.domain.leases import Ledger
from consumer.domain.marks import ABSENT, Lineage, Route, StoredRow
from consumer.domain.records import Entry, Outcome
from consumer.domain.replies import Committed, Done, RowRefused
from consumer.worker import events
from consumer.worker.commit_attempt import MOST_MARKED_RECORDS
from consumer.worker.row_writes import MOST_ROW_CALLS, ROWS_PER_READ
from consumer.worker.shard_calls import Commit, LookUpShard, MoveCheckpoint, Read, ReadRows, WriteRows
from tests.support.builders import CREATED, finished, game, games, ignored, page, poison, row, sequence_number, shard
from tests.support.drivers import NO_ANSWER, kinds
from tests.support.fakes.tables import Score
from tests.support.marked import ONE_BY_ONE, MarkedShard, mark, marked

OTHER = str(shard(7))
THROTTLED = CallFailed(FailureKind.THROTTLED, "too fast")


def test_rows_are_read_then_written_then_the_checkpoint_moves() -> None:
    driver = MarkedShard(game(1, "a", 5), game(2, "b", 7), game(3, "a", 9), ignored(4))
    (read,) = driver.reads()
    assert (read.lease, read.players) == (driver.lease, ("a", "b"))
    assert not driver.has_call(Commit)
    driver.reply(read, {"a": marked(0), "b": ABSENT})
    writes = driver.writes()
    assert driver.routes() == {"a": Route.FOLLOW, "b": Route.INSERT}
    assert (writes["a"].found, writes["a"].mark) == (mark(0), mark(3))
    assert writes["a"].delta.total == Decimal(14)
    assert (writes["b"].found, writes["b"].mark) == (None, mark(2))
    driver.reply_rows(b=Done())
    assert not driver.has_call(MoveCheckpoint), "one write has no reply yet"
    (committed,) = driver.wait(3).reply_rows(a=Done())
    assert isinstance(committed, events.UnitCommitted)
    assert (committed.seconds, committed.settled) == (3, False)
    assert committed.unit.outcomes == {Outcome.APPLIED: 3, Outcome.MODIFIED: 1}
    moved = driver.call(MoveCheckpoint)
    assert (moved.unit.previous, moved.unit.last) == ("TRIM_HORIZON", sequence_number(4))
    assert not driver.deliver(moved, Committed()), "the unit was reported"
    assert driver.machine.checkpoint == sequence_number(4)


def test_what_was_written_is_remembered() -> None:
    driver = MarkedShard(game(1, "a"), game(2, "b"))
    driver.serve()
    driver.answer(Read, page(game(3, "a"), game(4, "c")))
    assert [read.players for read in driver.reads()] == [("c",)]
    driver.knows({})
    assert driver.writes()["a"].found == mark(1)
    driver.serve()
    assert driver.tables.board["a"] == Score(2, Decimal(300), "2026-01-31", mark=mark(3))


def test_what_a_transaction_wrote_is_remembered() -> None:
    driver = MarkedShard(game(1, "a"), poison(2))
    driver.tables.board["a"] = Score(1, Decimal(1), "2026-02-01")
    driver.serve()
    driver.answer(Read, page(game(3, "a"), game(4, "foo")))
    assert not driver.reads()
    writes = driver.writes()
    assert (writes["a"].found, writes["a"].dated) == (mark(1), False)
    assert (writes["foo"].found, writes["foo"].dated) == (mark(2), True)


def test_unknown_rows_are_read_in_pages() -> None:
    driver = MarkedShard(*(game(seq, f"player-{seq}") for seq in range(250)))
    assert [len(read.players) for read in driver.reads()] == [ROWS_PER_READ, ROWS_PER_READ, 50]
    assert len({player for read in driver.reads() for player in read.players}) == 250
    assert not driver.writes()


def test_rows_that_a_read_left_out_are_read_again() -> None:
    driver = MarkedShard(game(1, "a"), game(2, "b"), game(3, "c"))
    (read,) = driver.reads()
    driver.reply(read, {"b": ABSENT})
    (again,) = driver.reads()
    assert again.players == ("a", "c")
    assert not driver.writes(), "the unit is cut when all its rows are known"
    driver.knows({})
    assert set(driver.writes()) == {"a", "b", "c"}


def test_so_many_writes_are_in_flight_at_once() -> None:
    driver = MarkedShard(*(game(seq, f"player-{seq}") for seq in range(40))).knows({})
    first = driver.writes()
    assert len(first) == MOST_ROW_CALLS
    for player in list(first)[:3]:
        driver.reply_rows(**{player: Done()})
        assert len(driver.writes()) == MOST_ROW_CALLS
    driver.write_all()
    assert driver.save().unit.last == sequence_number(39)


def test_a_unit_of_single_writes_is_bounded_by_its_records() -> None:
    driver = MarkedShard(*games(1, 2 * MOST_MARKED_RECORDS + 1, "a")).wait(1).knows({})
    driver.write_all()
    sizes = [event.unit.records for event in driver.reported if isinstance(event, events.UnitCommitted)]
    assert sizes == [MOST_MARKED_RECORDS, MOST_MARKED_RECORDS, 1]


def test_one_row_is_retried_while_the_others_go_on() -> None:
    driver = MarkedShard(game(1, "a"), game(2, "b")).knows({})
    writes = driver.writes()
    (retried,) = driver.reply_rows(a=THROTTLED)
    assert isinstance(retried, events.RetryScheduled)
    assert (retried.operation, retried.kind, retried.attempt) == ("write_rows", FailureKind.THROTTLED, 1)
    driver.reply_rows(b=Done())
    assert not driver.writes(), "it waits"
    assert not driver.has_call(MoveCheckpoint)
    driver.wait(1)
    assert driver.writes() == {"a": writes["a"]}, "unchanged"
    driver.reply_rows(a=Done())
    assert driver.has_call(MoveCheckpoint)


def test_a_failed_read_is_retried() -> None:
    driver = MarkedShard(game(1, "a"))
    (read,) = driver.reads()
    assert kinds(driver.reply(read, NO_ANSWER)) == ["RetryScheduled"]
    assert not driver.reads()
    assert driver.wait(1).reads() == [read]


def test_failures_of_all_rows_are_counted_together() -> None:
    """A table that throttles is a line in the log at 1, 2, 4, 8 failures, not one per row."""
    driver = MarkedShard(*(game(seq, f"player-{seq}") for seq in range(8))).knows({})
    attempts = []
    for player in driver.writes():
        (retried,) = driver.reply_rows(**{player: THROTTLED})
        assert isinstance(retried, events.RetryScheduled)
        attempts.append(retried.attempt)
    assert attempts == [1, 2, 3, 4, 5, 6, 7, 8]
    driver.wait(1)
    first, second, *_ = driver.writes()
    driver.reply_rows(**{first: Done()})
    (retried,) = driver.reply_rows(**{second: THROTTLED})
    assert isinstance(retried, events.RetryScheduled)
    assert retried.attempt == 1, "a table that takes a write does not fail for good"


def test_a_row_that_fails_for_a_while_is_named_in_readiness() -> None:
    driver = MarkedShard(game(1, "a")).knows({})
    for seconds in (1, 2, 3):
        assert not driver.machine.lasting_failures()
        driver.reply_rows(a=THROTTLED)
        driver.wait(seconds)
    assert driver.machine.lasting_failures() == {"write_rows fails: throttled: too fast"}


def test_without_a_heartbeat_no_row_is_read_or_written() -> None:
    driver = MarkedShard(game(1, "a"))
    driver.may_commit = False
    assert not driver.reads()
    driver.may_commit = True
    driver.knows({})
    driver = MarkedShard(game(1, "a"), *(game(seq, f"player-{seq}") for seq in range(2, 20))).knows({})
    writes = driver.writes()
    driver.may_commit = False
    driver.reply_rows(a=THROTTLED)
    for player in list(writes)[1:]:
        driver.reply_rows(**{player: Done()})
    driver.wait(60)
    assert not driver.writes()
    assert not driver.has_call(MoveCheckpoint)
    driver.may_commit = True
    assert len(driver.writes()) == 4, "the one that failed, and those that waited"


def test_rows_without_a_mark_and_poison_are_written_with_the_checkpoint() -> None:
    entries: list[Entry] = [
        game(1, "a"),
        game(2, "b"),
        poison(3),
        game(4, "foo"),
        poison(5)._replace(player=None),
    ]
    driver = MarkedShard(*entries).knows({"a": StoredRow(date="2026-02-01"), "b": marked(0)})
    assert driver.routes() == {"b": Route.FOLLOW}
    driver.write_all()
    commit = driver.call(Commit)
    assert {write.player: (write.route, write.mark, write.dated) for write in commit.rows} == {
        "a": (Route.FRESH, mark(1), False),
        "foo": (Route.FRESH, mark(4), True),
    }
    assert [each.sequence_number for each in commit.unit.poison] == [sequence_number(3), sequence_number(5)]
    assert set(commit.players) == {"a", "foo"}, "only these rows are locked"


@pytest.mark.parametrize(
    ("ledger", "route", "left"),
    [
        (Ledger((row(7),), ()), Route.SHARED, None),
        (Ledger((finished(7),), ()), Route.TAKE_OVER, mark(1)),
    ],
)
def test_a_mark_of_another_lineage(ledger: Ledger, route: Route, left: object) -> None:
    driver = MarkedShard(game(1, "a"))
    driver.known.take_ledger(ledger)
    driver.knows({"a": marked(0, OTHER)})
    (write,) = driver.call(Commit).rows
    assert (write.route, write.found, write.mark) == (route, mark(0, OTHER), left)


def test_a_mark_of_a_descendant_says_that_all_is_dealt_with() -> None:
    driver = MarkedShard(game(1, "a"), poison(2), game(3, "b"))
    driver.known.take_ledger(Ledger((row(0), row(7, parent=0)), ()))
    driver.knows({"a": marked(0, OTHER), "foo": marked(0, OTHER)})
    assert driver.routes() == {"b": Route.INSERT}
    (committed,) = driver.reply_rows(b=Done())
    assert isinstance(committed, events.UnitCommitted)
    assert committed.unit.poison == ()
    assert committed.unit.outcomes == {Outcome.ALREADY_SETTLED: 2, Outcome.APPLIED: 1}


def test_a_shard_that_no_row_names_is_looked_up_once() -> None:
    driver = MarkedShard(game(1, "a"), game(2, "b"), game(3, "c")).knows({"a": marked(0, OTHER), "b": marked(0, OTHER)})
    look_up = driver.call(LookUpShard)
    assert look_up.shard == OTHER
    assert not driver.writes(), "not even c: the unit may end before b"
    driver.reply(look_up, Lineage({OTHER: None}, frozenset([OTHER])))
    assert driver.routes() == {"c": Route.INSERT}
    driver.write_all()
    assert [write.route for write in driver.call(Commit).rows] == [Route.TAKE_OVER, Route.TAKE_OVER]


def test_a_shard_that_is_looked_up_in_vain_is_over_when_its_mark_is_an_hour_older() -> None:
    old = StoredRow(mark=mark(0, OTHER)._replace(created=CREATED + 1 - 3600))
    driver = MarkedShard(game(1, "a")).knows({"a": old})
    driver.answer(LookUpShard, Lineage())
    assert [write.route for write in driver.call(Commit).rows] == [Route.TAKE_OVER]


def test_the_look_up_asks_the_ledger_and_the_listing() -> None:
    driver = MarkedShard(game(1, "a"), game(2, "b"))
    driver.streams.add_shard("shard-7", "shard-6")
    driver.tables.board["a"] = Score(1, Decimal(1), "2026-01-01", mark=mark(0, OTHER))
    driver.tables.board["b"] = Score(1, Decimal(1), "2026-01-01", mark=mark(0, "2025-01-01T00:00:00.000/shard-7"))
    driver.knows({player: driver.tables.stored_row(player) for player in "ab"})
    for call in [call for call in driver.start_due() if isinstance(call, LookUpShard)]:
        driver.reply(call)
    assert driver.known.lineage.parents[OTHER] == str(shard(6))
    assert driver.known.lineage.gone == {"2025-01-01T00:00:00.000/shard-7"}, "of a stream that is gone too"


def test_of_few_remembered_rows_a_unit_may_have_more() -> None:
    tables_rows = {f"player-{seq}": Score(1, Decimal(1), "2026-01-01", mark=mark(0)) for seq in range(20)}
    driver = MarkedShard(
        *(game(seq, f"player-{seq % 20}") for seq in range(1, 41)),
        tuning=replace(ONE_BY_ONE, remembered_rows=3),
    )
    driver.tables.board |= tables_rows
    driver.serve()
    driver.wait(1).serve()
    assert {score.games for score in driver.tables.board.values()} == {3}
    assert len(driver.known) == 3
    assert driver.machine.checkpoint == sequence_number(40)


def test_a_refusal_is_believed_although_the_row_is_not_remembered() -> None:
    """It was read for the unit, refused, and forgotten before the unit is cut again."""
    driver = MarkedShard(game(1, "a"), game(2, "b"), game(3, "c"), tuning=replace(ONE_BY_ONE, remembered_rows=1)).knows(
        {player: marked(0) for player in "abc"}
    )
    assert set(driver.writes()) == {"a", "b", "c"}
    driver.reply_rows(a=RowRefused(StoredRow()))
    driver.reply_rows(b=Done())
    driver.reply_rows(c=Done())
    assert not driver.writes(), "b and c are written, a needs the transaction"
    commit = driver.call(Commit)
    assert [(write.player, write.route) for write in commit.rows] == [("a", Route.FRESH)]


def test_writes_of_a_player_follow_each_other_over_units() -> None:
    driver = MarkedShard(*games(1, 3, "a")).knows({})
    driver.answer(Read, page(*games(4, 6, "a")))
    assert driver.writes()["a"].delta.games == 3
    assert not driver.reply_rows(a=THROTTLED)[1:]
    assert not driver.writes(), "the first write comes first"
    driver.wait(1).reply_rows(a=Done())
    assert driver.writes()["a"].found == mark(3)


def test_reading_ahead_goes_on_while_rows_are_written() -> None:
    driver = MarkedShard(game(1, "a")).knows({})
    assert driver.has_call(WriteRows)
    driver.answer(Read, page(game(2, "b")))
    assert not driver.has_call(ReadRows), "one unit at a time"
