"""A shard whose board keeps windows, call by call: which rows are read, and what a write adds and drops."""

from dataclasses import replace
from decimal import Decimal

import pytest

from consumer.domain.accepted_rules import AcceptedRules
from consumer.domain.cut import cut
from consumer.domain.errors import CallFailed, FailureKind
from consumer.domain.fold import Delta, Limits
from consumer.domain.leases import TRIM_HORIZON, Ledger
from consumer.domain.marks import ABSENT, Route, RowWrite, StoredRow
from consumer.domain.records import UNKNOWN_CREATION, Game, Rules
from consumer.domain.replies import Committed, Done, Refused, RowRefused
from consumer.domain.windows import WindowKind, calendar_of
from consumer.worker.known_rows import KnownRows
from consumer.worker.row_writes import RowWrites
from consumer.worker.shard_calls import Commit, Read, ReadRows
from consumer.worker.tuning import Tuning
from tests.support.builders import CREATED, game, lease, page, poison
from tests.support.drivers import LinearBackoff
from tests.support.fakes import FakeTables
from tests.support.fakes.tables import Score
from tests.support.marked import MarkedShard, mark

KEPT = ((WindowKind.DAY, 2),)
CALENDAR = calendar_of(KEPT, "UTC")
DAY_SECONDS = 86_400
OLD, YESTERDAY, TODAY, TOMORROW = "day_20260129", "day_20260130", "day_20260131", "day_20260201"


def played(seq: int, *windows: str, player: str = "foo", days: int = 0) -> Game:
    """A game that counts in these windows, whose record was created so many days after the first ones."""
    made = game(seq, player)
    return made._replace(windows=windows, created=made.created + days * DAY_SECONDS)


def windowed(*entries: Game, keyed: bool = True, tables: FakeTables | None = None) -> MarkedShard:
    return MarkedShard(*entries, keyed=keyed, calendar=CALENDAR, tables=tables)


def has(*windows: str, position: int = 0) -> StoredRow:
    """A row with a mark, a date and these windows."""
    return StoredRow(mark=mark(position), date="2026-01-30", windows=frozenset(windows))


def sums(write: RowWrite) -> dict[str, int]:
    return {each.window: each.games for each in write.delta.windows}


# --- which rows are read ---


def test_rows_are_read_with_their_windows() -> None:
    driver = windowed(played(1, TODAY))
    (read,) = driver.reads()
    assert read.windows
    assert not read.consistent


def test_a_board_that_never_had_windows_reads_none() -> None:
    """The same calls as ever, and of a source that is not keyed no read at all."""
    driver = MarkedShard(game(1))
    assert [read.windows for read in driver.reads()] == [False]
    plain = MarkedShard(game(1), keyed=False)
    assert not plain.reads()
    assert plain.call(Commit).rows == (RowWrite("foo", Delta(1, Decimal(150), "2026-01-31")),)


def test_a_row_is_read_again_before_it_gets_its_first_window_of_a_day() -> None:
    driver = windowed(played(1, TODAY), played(2, TODAY)).knows({"foo": has(YESTERDAY)})
    assert sums(driver.writes()["foo"]) == {TODAY: 2}
    driver.write_all()
    driver.answer(Read, page(played(3, TODAY)))
    assert not driver.reads(), "it is known that the row has it"
    driver.write_all()
    driver.answer(Read, page(played(4, TOMORROW, days=1)))
    driver.knows({"foo": has(OLD, YESTERDAY, TODAY, position=3)})
    write = driver.writes()["foo"]
    assert (write.drops, sums(write)) == ((OLD, YESTERDAY), {TOMORROW: 1})
    assert write.found == mark(3)


def test_an_old_read_adds_windows_and_takes_no_mark_back() -> None:
    """Reads are eventually consistent; what the worker has written since is known better."""
    driver = windowed(played(1, TODAY)).knows({"foo": has(YESTERDAY)})
    driver.write_all()
    driver.answer(Read, page(played(2, TOMORROW, days=1)))
    driver.knows({"foo": has(YESTERDAY)})
    write = driver.writes()["foo"]
    assert write.found == mark(1)
    assert write.had == frozenset([YESTERDAY, TODAY])
    assert write.drops == (YESTERDAY,)


def test_a_row_that_is_not_there_is_not_read_twice() -> None:
    driver = windowed(played(1, TODAY)).knows({"foo": ABSENT})
    write = driver.writes()["foo"]
    assert (write.route, write.drops, sums(write)) == (Route.INSERT, (), {TODAY: 1})
    driver.write_all()
    assert driver.known.get("foo") == StoredRow(mark=mark(1), date="2026-01-31", windows=frozenset([TODAY]))


@pytest.mark.parametrize(("remembered", "known"), [(ABSENT, False), (has(OLD), False), (has(OLD, TODAY), True)])
def test_a_row_that_was_not_there_earlier_is_read_again(remembered: StoredRow, *, known: bool) -> None:
    """Another worker may have made it since; without marks the write has no condition that says so."""
    rows = KnownRows(10, CALENDAR)
    rows.learn({"foo": remembered})
    unit = cut([played(1, TODAY)], TRIM_HORIZON, Limits(), CREATED)
    assert RowWrites(lease(0), rows, LinearBackoff(), 1).knows(unit) is known


def test_a_row_that_was_not_among_those_read_is_read_again() -> None:
    driver = windowed(played(1, TODAY, player="a"), played(2, TODAY, player="b"))
    (read,) = driver.reads()
    driver.reply(read, {"a": has()})
    assert [read.players for read in driver.reads()] == [("b",)]


# --- what a write drops ---


@pytest.mark.parametrize("keyed", [True, False])
def test_what_has_expired_when_the_newest_record_was_created_goes_with_the_write(*, keyed: bool) -> None:
    driver = windowed(played(1, TODAY), played(2, TOMORROW, days=1), keyed=keyed)
    driver.knows({"foo": has(OLD, YESTERDAY)})
    write = driver.writes()["foo"] if keyed else driver.call(Commit).rows[0]
    assert write.drops == (OLD, YESTERDAY)
    assert sums(write) == {TODAY: 1, TOMORROW: 1}


@pytest.mark.parametrize("keyed", [True, False])
def test_what_expires_within_a_write_is_not_added(*, keyed: bool) -> None:
    """A late game of a window that a later record of the unit finds expired: the row loses what it had of it."""
    driver = windowed(played(1, YESTERDAY), played(2, TOMORROW, days=1), keyed=keyed)
    driver.knows({"foo": has(YESTERDAY)})
    write = driver.writes()["foo"] if keyed else driver.call(Commit).rows[0]
    assert (write.drops, sums(write)) == ((YESTERDAY,), {TOMORROW: 1})
    assert write.delta.games == 2


def test_another_players_newer_record_expires_nothing_of_a_marked_row() -> None:
    driver = windowed(played(1, TODAY, player="a"), played(2, TOMORROW, player="b", days=1))
    driver.knows({"a": has(YESTERDAY), "b": has(YESTERDAY)})
    assert {player: write.drops for player, write in driver.writes().items()} == {"a": (), "b": (YESTERDAY,)}


def test_a_record_whose_creation_is_not_known_expires_nothing() -> None:
    unknown = played(2, "day_20010203")._replace(created=UNKNOWN_CREATION)
    driver = windowed(unknown).knows({"foo": has(OLD)})
    assert driver.writes()["foo"].drops == ()


def test_kinds_that_are_not_kept_any_more_go_too() -> None:
    driver = windowed(played(1, TODAY)).knows({"foo": has(TODAY, "week_2026W05", "month_202601")})
    assert driver.writes()["foo"].drops == ("month_202601", "week_2026W05")


def test_windows_go_when_the_rules_keep_none_any_more() -> None:
    """The worker learns from the ledger that earlier rules kept some."""
    driver = MarkedShard(game(1)).knows({"foo": StoredRow(mark=mark(), date="2026-01-30")})
    driver.write_all()
    accepted = AcceptedRules((Rules(windows=KEPT), Rules()))
    driver.known.take_ledger(replace(Ledger((), ()), accepted=accepted))
    driver.answer(Read, page(game(2)))
    (read,) = driver.reads()
    assert read.windows
    driver.knows({"foo": has(TODAY)})
    assert driver.writes()["foo"].drops == (TODAY,)


def test_poison_alone_drops_nothing() -> None:
    driver = MarkedShard(poison(1), calendar=CALENDAR).knows({"foo": has(OLD)})
    (write,) = driver.call(Commit).rows
    assert (write.route, write.drops, write.delta.windows) == (Route.MARKED, (), ())


def test_no_more_windows_go_with_one_write_than_an_expression_holds() -> None:
    had = [f"day_202501{day:02}" for day in range(1, 32)] + [f"month_2024{month:02}" for month in range(1, 13)]
    driver = windowed(played(1, TODAY)).knows({"foo": has(*had)})
    first = driver.writes()["foo"].drops
    assert len(first) == 36
    driver.write_all()
    driver.answer(Read, page(played(2, TODAY)))
    assert sorted(first + driver.writes()["foo"].drops) == sorted(had)


# --- refusals ---


def test_a_refusal_returns_the_windows_of_the_row() -> None:
    driver = windowed(played(1, TODAY), played(2, TODAY)).knows({"foo": has()})
    driver.reply_rows(foo=RowRefused(has(OLD, TODAY, position=1)))
    write = driver.writes()["foo"]
    assert (write.found, write.drops, sums(write)) == (mark(1), (OLD,), {TODAY: 1})


def test_a_refusal_of_a_row_without_windows_says_that_it_has_none() -> None:
    driver = windowed(played(1, TODAY), played(2, TODAY)).knows({"foo": has()})
    driver.reply_rows(foo=RowRefused(StoredRow(mark=mark(1), date="2026-01-30")))
    assert not driver.reads()
    assert driver.writes()["foo"].had == frozenset()


def test_a_write_that_a_window_refuses_goes_into_a_transaction_alone() -> None:
    driver = windowed(played(1, TODAY), played(2, TODAY, player="bar")).knows({"foo": has(), "bar": has()})
    driver.reply_rows(foo=Refused(invalid="wrong type"))
    driver.write_all()
    commit = driver.call(Commit)
    assert [(write.player, sums(write)) for write in commit.rows] == [("foo", {TODAY: 1})]


# --- a source that is not keyed ---


def test_a_plain_unit_waits_for_its_rows_and_then_goes_in_one_transaction() -> None:
    driver = windowed(played(1, TODAY), played(2, TODAY, player="bar"), keyed=False)
    (read,) = driver.reads()
    assert (sorted(read.players), read.windows) == (["bar", "foo"], True)
    assert not driver.has_call(Commit)
    driver.reply(read, {"foo": has(OLD), "bar": ABSENT})
    commit = driver.call(Commit)
    assert {write.player: (write.route, write.mark, write.drops) for write in commit.rows} == {
        "foo": (Route.PLAIN, None, (OLD,)),
        "bar": (Route.PLAIN, None, ()),
    }
    driver.deliver(commit, Committed())
    assert driver.known.get("foo") == StoredRow(mark=mark(), date="2026-01-31", windows=frozenset([TODAY]))
    driver.answer(Read, page(played(3, TODAY)))
    assert not driver.reads()
    assert driver.has_call(Commit)


def test_a_plain_unit_of_ignored_records_reads_nothing() -> None:
    driver = MarkedShard(poison(1), keyed=False, calendar=CALENDAR)
    assert not driver.reads()
    assert driver.call(Commit).rows == ()


def test_rows_that_cannot_be_read_are_asked_for_again() -> None:
    driver = windowed(played(1, TODAY), keyed=False)
    (read,) = driver.reads()
    driver.reply(read, CallFailed(FailureKind.SERVER, "no reply"))
    assert not driver.has_call(Commit)
    driver.wait(5)
    driver.knows({"foo": has(OLD)})
    assert driver.call(Commit).rows[0].drops == (OLD,)


def test_a_plain_unit_that_is_cut_smaller_keeps_what_was_read() -> None:
    driver = windowed(played(1, TODAY), played(2, TODAY, player="bar"), keyed=False)
    driver.knows({"foo": has(OLD), "bar": has(OLD)})
    commit = driver.call(Commit)
    driver.deliver(commit, Refused(invalid="something", suspects=frozenset(["bar"])))
    again = driver.call(Commit)
    assert [(write.player, write.drops) for write in again.rows] == [("foo", (OLD,))]


@pytest.mark.parametrize(("player", "records"), [("foo", 2), ("bar", 1)])
def test_a_plain_unit_that_waits_for_locks_grows_by_players_whose_rows_are_known(player: str, records: int) -> None:
    """A row that is not known may have windows that have expired: it is read before it is written."""
    driver = windowed(played(1, TODAY), keyed=False).knows({"foo": has(OLD)})
    waiting = driver.call(Commit)
    driver.answer(Read, page(played(2, TODAY, player=player)))
    grown = driver.machine.grow(waiting, set(), driver.now)
    assert isinstance(grown, Commit)
    assert grown.unit.records == records
    assert [(write.player, write.drops, sums(write)) for write in grown.rows] == [("foo", (OLD,), {TODAY: records})]


def test_a_read_takes_rows_of_later_units_with_it() -> None:
    """A hundred rows cost one call; a transaction takes 98 of them."""
    entries = [played(seq, TODAY, player=f"p{seq:03}") for seq in range(1, 120)]
    driver = windowed(*entries, keyed=False)
    (read,) = driver.reads()
    assert len(read.players) == 100
    driver.reply(read, {player: has(OLD) for player in read.players})
    commit = driver.call(Commit)
    assert len(commit.rows) == 98
    driver.deliver(commit, Committed())
    (read,) = driver.reads()
    assert read.players == tuple(f"p{seq}" for seq in range(101, 120)), "not again those that were read ahead"
    driver.reply(read, {player: has(OLD) for player in read.players})
    assert {write.drops for write in driver.call(Commit).rows} == {(OLD,)}


# --- against the board in memory ---


@pytest.mark.parametrize("keyed", [True, False])
def test_a_row_holds_the_games_of_the_kept_days_and_no_other(*, keyed: bool) -> None:
    tables = FakeTables()
    tables.board["foo"] = Score(5, Decimal(5), "2026-01-29", windows={OLD: (5, Decimal(5))})
    driver = windowed(played(1, TODAY), played(2, YESTERDAY), keyed=keyed, tables=tables)
    driver.serve()
    assert tables.board["foo"].windows == {YESTERDAY: (1, Decimal(150)), TODAY: (1, Decimal(150))}
    driver.answer(Read, page(played(3, TOMORROW, days=1), played(4, TODAY, days=1)))
    driver.serve()
    assert tables.board["foo"].windows == {TODAY: (2, Decimal(300)), TOMORROW: (1, Decimal(150))}
    assert tables.board["foo"].games == 9


def test_writes_in_many_sizes_of_a_call() -> None:
    """Statements or not: the same writes."""
    tuning = Tuning(wall_offset_seconds=CREATED, writes_per_call=25)
    driver = MarkedShard(
        *(played(seq, TODAY, player=f"p{seq}") for seq in range(1, 9)), tuning=tuning, calendar=CALENDAR
    )
    driver.knows({})
    (call,) = driver.write_calls()
    assert driver.reply(call, [Done()] * 8)
    assert isinstance(call.writes[0], RowWrite)
    assert all(write.route is Route.INSERT for write in call.writes)
    assert not [each for each in driver.start_due() if isinstance(each, ReadRows)]
