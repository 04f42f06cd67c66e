"""Windows in a player's row: added with the same write, dropped with it, and whole or not at all."""

from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest

from consumer.domain.fold import Delta, WindowSum
from consumer.domain.marks import ABSENT, Route, RowWrite, StoredRow
from consumer.domain.records import Game, Reason
from consumer.domain.replies import Committed, Done, Refused, RowRefused, RowReply
from tests.contract.differences import NAMES_NO_SUSPECT, ROUNDS_SUMS
from tests.contract.dynamo_subject import DynamoSubject
from tests.contract.row_writes import DATE, STORED, mark
from tests.contract.subject import Score, Subject, marked_unit, unit
from tests.support.builders import CREATED, game, lease, row

DAY, WEEK, MONTH = "day_20260131", "week_2026W05", "month_202601"
OLD = "day_20260129"
SUM = Decimal("370.5")
WINDOWS = tuple(WindowSum(window, 2, SUM) for window in (DAY, MONTH, WEEK))
DELTA = Delta(2, SUM, DATE, WINDOWS)
NEW = dict.fromkeys((DAY, MONTH, WEEK), (Decimal(2), SUM))
HAD = {DAY: (1, Decimal(10)), OLD: (4, Decimal(7))}
BESIDE = RowWrite("nobody", DELTA, Route.FOLLOW, mark(1), mark(2), had=frozenset([DAY]))
CALL, UPDATE = "BatchExecuteStatement", "UpdateItem"
WriteRow = Callable[[RowWrite], RowReply]


def insert(player: str = "foo", delta: Delta = DELTA) -> RowWrite:
    return RowWrite(player, delta, Route.INSERT, None, mark(9))


def follow(player: str = "foo", delta: Delta = DELTA, had: frozenset[str] | None = None, **fields: Any) -> RowWrite:
    return RowWrite(player, delta, Route.FOLLOW, mark(5), mark(9), had=had, **fields)


def stored(subject: Subject, player: str = "foo") -> None:
    subject.put_player(player, STORED, mark(5))
    subject.put_windows(player, HAD)


@pytest.fixture(params=["update", "statement"])
def write_row(request: pytest.FixtureRequest) -> WriteRow:
    """A single write, in a call of its own or by a statement beside another one: the reply is the same."""
    subject: Subject = request.getfixturevalue("dynamo" if "dynamo" in request.fixturenames else "subject")
    if request.param == "update":
        return subject.write_row
    assert subject.commits.probe_statements(windows=True) is None

    def write_beside(write: RowWrite) -> RowReply:
        reply, other = subject.commits.write_rows([write, BESIDE])
        assert other == RowRefused(ABSENT)
        return reply

    return write_beside


# --- reading ---


def test_windows_are_read_where_they_are_asked_for(subject: Subject) -> None:
    stored(subject)
    subject.put_player("bare", STORED, mark(5))
    plain = StoredRow(mark=mark(5), date="2026-01-30")
    rows = subject.commits.read_rows(["foo", "bare", "absent"], windows=True)
    assert rows == {
        "foo": plain._replace(windows=frozenset(HAD)),
        "bare": plain._replace(windows=frozenset()),
        "absent": ABSENT,
    }
    assert subject.commits.read_rows(["foo", "bare"]) == {"foo": plain, "bare": plain}


def test_attributes_that_only_look_like_a_window_are_none(dynamo: DynamoSubject) -> None:
    dynamo.put_player("foo", STORED, mark(5))
    for name in ("day_2026_games", "week_202648_score", "day_20260131", "month_2026011_games", "xday_20260131_games"):
        dynamo.spoil("foo", name, Decimal(1))
    assert dynamo.commits.read_rows(["foo"], windows=True)["foo"].windows == frozenset()


# --- single writes ---


def test_a_new_row_has_its_windows_with_the_first_write(subject: Subject, write_row: WriteRow) -> None:
    assert write_row(insert()) == Done()
    assert subject.windows("foo") == NEW
    assert subject.board()["foo"] == Score(Decimal(2), SUM, DATE)


@pytest.mark.parametrize("had", [None, frozenset(HAD), frozenset(), frozenset([MONTH])])
def test_windows_are_added_to_whatever_is_known_of_them(
    subject: Subject, write_row: WriteRow, had: frozenset[str] | None
) -> None:
    """What is known may be old: a re-drive adds windows without moving the mark."""
    stored(subject)
    assert write_row(follow(had=had)) == Done()
    assert subject.windows("foo") == NEW | {DAY: (Decimal(3), Decimal("380.5")), OLD: (Decimal(4), Decimal(7))}
    assert subject.marks()["foo"] == mark(9)


@pytest.mark.parametrize("dated", [True, False])
@pytest.mark.parametrize("had", [None, frozenset(HAD)])
def test_what_has_expired_goes_with_the_same_write(
    subject: Subject, write_row: WriteRow, had: frozenset[str] | None, *, dated: bool
) -> None:
    stored(subject)
    assert write_row(follow(had=had, drops=(OLD,), dated=dated)) == Done()
    assert subject.windows("foo") == NEW | {DAY: (Decimal(3), Decimal("380.5"))}


def test_what_is_dropped_need_not_be_there(subject: Subject, write_row: WriteRow) -> None:
    stored(subject)
    nothing = DELTA._replace(windows=())
    assert write_row(follow(delta=nothing, had=frozenset(HAD), drops=(OLD, "month_202511"))) == Done()
    assert subject.windows("foo") == {DAY: (Decimal(1), Decimal(10))}


def test_a_repeated_write_counts_in_no_window(subject: Subject, write_row: WriteRow) -> None:
    stored(subject)
    write = follow(had=frozenset(HAD), drops=(OLD,))
    assert write_row(write) == Done()
    before = subject.everything()
    moved = StoredRow(mark=mark(9), date=DATE, windows=frozenset(NEW))
    for _ in range(2):
        assert write_row(write) == RowRefused(moved)
    assert subject.everything() == before


@pytest.mark.parametrize("name", [f"{DAY}_score", f"{DAY}_games"])
def test_a_window_of_another_type_refuses_the_whole_write(subject: Subject, write_row: WriteRow, name: str) -> None:
    stored(subject)
    subject.spoil("foo", name, "many")
    before = subject.everything()
    reply = write_row(follow(had=frozenset(HAD), drops=(OLD,)))
    assert isinstance(reply, Refused)
    assert reply.invalid
    assert subject.everything() == before


def test_an_overflow_of_one_window_refuses_the_whole_write(subject: Subject, write_row: WriteRow) -> None:
    """The sum of all time would fit."""
    stored(subject)
    subject.put_windows("foo", {DAY: (1, Decimal("9" * 38))})
    before = subject.everything()
    reply = write_row(follow(had=frozenset(HAD)))
    if not subject.has(ROUNDS_SUMS):
        assert isinstance(reply, Refused)
        assert reply.invalid
        assert subject.everything() == before


# --- statements ---


def test_many_rows_with_windows_are_one_call(dynamo: DynamoSubject) -> None:
    """New rows, rows that have the windows, and rows that get them and lose others."""
    for player in ("a", "b"):
        stored(dynamo, player)
    dynamo.put_player("c", STORED, mark(5))
    writes = [
        follow("a", had=frozenset(HAD), drops=(OLD,)),
        follow("b", had=frozenset(HAD)),
        follow("c", had=frozenset(), dated=False),
        insert("d"),
    ]
    assert dynamo.commits.probe_statements(windows=True) is None
    with dynamo.calls() as made:
        assert dynamo.commits.write_rows(writes) == [Done()] * 4
    assert made == [CALL]
    assert dynamo.windows("a") == NEW | {DAY: (Decimal(3), Decimal("380.5"))}
    assert dynamo.windows("b") == NEW | {DAY: (Decimal(3), Decimal("380.5")), OLD: (Decimal(4), Decimal(7))}
    assert dynamo.windows("c") == dynamo.windows("d") == NEW


def test_a_row_whose_windows_are_not_known_goes_by_an_update(dynamo: DynamoSubject) -> None:
    for player in ("a", "b", "c"):
        stored(dynamo, player)
    assert dynamo.commits.probe_statements(windows=True) is None
    known = frozenset(HAD)
    with dynamo.calls() as made:
        replies = dynamo.commits.write_rows([follow("a", had=known), follow("b"), follow("c", had=known)])
    assert replies == [Done()] * 3
    assert made == [CALL, UPDATE]


def test_without_a_probe_for_them_rows_with_windows_go_by_updates(dynamo: DynamoSubject) -> None:
    assert dynamo.commits.probe_statements() is None
    plain = DELTA._replace(windows=())
    with dynamo.calls() as made:
        writes = [insert("a"), insert("b", plain), insert("c", plain)]
        assert dynamo.commits.write_rows(writes) == [Done()] * 3
    assert made == [CALL, UPDATE]


def test_a_window_that_is_there_against_what_is_known_is_added_to(dynamo: DynamoSubject) -> None:
    """The condition of the statement fails, and the update decides; the other way round there is nothing to add to."""
    for player in ("a", "b"):
        stored(dynamo, player)
    assert dynamo.commits.probe_statements(windows=True) is None
    writes = [follow("a", had=frozenset()), follow("b", had=frozenset([DAY, WEEK]))]
    with dynamo.calls() as made:
        assert dynamo.commits.write_rows(writes) == [Done()] * 2
    assert made == [CALL, UPDATE, UPDATE]
    for player in ("a", "b"):
        assert dynamo.windows(player)[DAY] == (Decimal(3), Decimal("380.5"))
        assert dynamo.windows(player)[WEEK] == (Decimal(2), SUM)


# --- transactions ---


@pytest.mark.parametrize("route", [Route.PLAIN, Route.MARKED, Route.TAKE_OVER, Route.SHARED])
def test_a_transaction_adds_and_drops_windows(subject: Subject, route: Route) -> None:
    stored(subject)
    subject.create_root_rows(row(owner=lease().owner, epoch=lease().epoch))
    found = None if route is Route.PLAIN else mark(5)
    left = mark(9) if route in (Route.MARKED, Route.TAKE_OVER) else None
    write = RowWrite("foo", DELTA, route, found, left, drops=(OLD,))
    games = unit(game(1), game(2))
    assert subject.commits.commit(lease(), games, [write], fills_gap=False) == Committed()
    assert subject.windows("foo") == NEW | {DAY: (Decimal(3), Decimal("380.5"))}
    assert subject.board()["foo"] == Score(Decimal(3), Decimal("380.5"), DATE)


@pytest.mark.parametrize("name", [f"{DAY}_score", f"{DAY}_games"])
def test_a_window_of_another_type_makes_the_game_poison(subject: Subject, name: str) -> None:
    """The refusal comes first, then the examination says why; a game of other windows is not to blame."""
    stored(subject)
    subject.spoil("foo", name, "many")
    subject.create_root_rows(row(owner=lease().owner, epoch=lease().epoch))
    before = subject.everything()
    write = RowWrite("foo", DELTA, Route.MARKED, mark(5), mark(9))
    reply = subject.commits.commit(lease(), marked_unit(game(1)), [write], fills_gap=False)
    assert isinstance(reply, Refused)
    assert reply.invalid
    if not subject.has(NAMES_NO_SUSPECT):
        assert reply.suspects == {"foo"}
    assert subject.everything() == before
    verdict = subject.commits.examine(_game((DAY, WEEK)))
    assert verdict is not None
    assert verdict[0] is Reason.TOTAL_TYPE
    subject.put_player("sound", STORED)
    assert subject.commits.examine(_game((WEEK,))) is None


def test_an_overflow_of_one_window_makes_the_game_poison(subject: Subject) -> None:
    stored(subject)
    subject.put_windows("foo", {DAY: (1, Decimal("9" * 38))})
    verdict = subject.commits.examine(_game((DAY, WEEK)))
    assert verdict is not None
    assert verdict[0] is Reason.TOTAL_OVERFLOW
    assert subject.commits.examine(_game((WEEK,))) is None


def _game(windows: tuple[str, ...]) -> Game:
    made = game(1, score="0.5")
    return made._replace(player="foo", windows=windows, created=CREATED)
