"""A unit whose rows have marks: its transaction takes effect where every mark is as it was read, whole, once."""

from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest

from consumer.aws.commits import size_of
from consumer.domain.fold import Unit
from consumer.domain.leases import TRIM_HORIZON, Lease
from consumer.domain.marks import ABSENT, Mark, Route, RowWrite, StoredRow
from consumer.domain.records import Entry
from consumer.domain.replies import Committed, Lost, Refused
from tests.contract.differences import NAMES_NO_SUSPECT
from tests.contract.dynamo_subject import DynamoSubject
from tests.contract.subject import Score, Subject, marked_unit
from tests.support.builders import CREATED, ME, OTHER, game, ignored, lease, poison, row, sequence_number, shard

HERE, ELSEWHERE, ANCESTOR = str(shard(0)), str(shard(1)), str(shard(2))
STORED = Score(Decimal(1), Decimal(10), "2026-01-30")
ONCE = Score(Decimal(2), Decimal(160), "2026-01-31")
"""STORED and one game."""
FIRST = Score(Decimal(1), Decimal(150), "2026-01-31")
NOTHING = Score(Decimal(0), Decimal(0), None)
LEAVES = (Route.SHARED, Route.CHECKED, Route.PLAIN)


def mark(position: int, shard_name: str = HERE) -> Mark:
    return Mark(shard_name, sequence_number(position), CREATED + position)


def write(unit: Unit, player: str, route: Route, found: Mark | None = None, *, dated: bool = True) -> RowWrite:
    """The write of a player's share of the unit by this route."""
    left = None if route in LEAVES else Mark(HERE, *unit.newest[player])
    return RowWrite(player, unit.deltas[player], route, found, left, dated)


def begin(subject: Subject) -> None:
    subject.create_root_rows(row(owner=ME), row(1, owner=OTHER))


def one(player: str = "foo") -> Unit:
    return marked_unit(game(9, player))


# --- each route ---

FITTING = [
    pytest.param(Route.FRESH, None, None, FIRST, mark(9), id="fresh, no row"),
    pytest.param(Route.FRESH, (STORED, None), None, ONCE, mark(9), id="fresh, no mark"),
    pytest.param(Route.MARKED, (STORED, mark(5)), mark(5), ONCE, mark(9), id="marked"),
    pytest.param(Route.MARKED, (STORED, mark(5, ANCESTOR)), mark(5, ANCESTOR), ONCE, mark(9), id="an ancestor's mark"),
    pytest.param(Route.TAKE_OVER, (STORED, mark(5, ELSEWHERE)), mark(5, ELSEWHERE), ONCE, mark(9), id="take-over"),
    pytest.param(Route.SHARED, (STORED, mark(5, ELSEWHERE)), mark(5, ELSEWHERE), ONCE, mark(5, ELSEWHERE), id="shared"),
    pytest.param(
        Route.SHARED,
        (STORED, mark(7, ELSEWHERE)),
        mark(5, ELSEWHERE),
        ONCE,
        mark(7, ELSEWHERE),
        id="shared, the other shard has gone on",
    ),
    pytest.param(Route.PLAIN, None, None, FIRST, None, id="plain, no row"),
    pytest.param(Route.PLAIN, (STORED, mark(5)), None, ONCE, mark(5), id="plain leaves a mark alone"),
]


@pytest.mark.parametrize(("route", "stored", "found", "after", "left"), FITTING)
def test_a_row_that_is_as_it_was_read(
    subject: Subject,
    route: Route,
    stored: tuple[Score, Mark | None] | None,
    found: Mark | None,
    after: Score,
    left: Mark | None,
) -> None:
    begin(subject)
    if stored is not None:
        subject.put_player("foo", *stored)
    unit = one()
    rows = (write(unit, "foo", route, found),)
    assert subject.commits.commit(lease(), unit, rows, fills_gap=False) == Committed()
    assert (subject.board(), subject.marks()) == ({"foo": after}, {"foo": left})
    stands = row(owner=ME, checkpoint=sequence_number(9), created=CREATED + 9, had_game=True)
    assert subject.row(shard()) == stands
    before = subject.everything()
    assert subject.commits.commit(lease(), unit, rows, fills_gap=False) == Lost(stands), "the checkpoint has moved"
    assert subject.everything() == before


REFUSED = [
    pytest.param(Route.FRESH, (STORED, mark(5)), None, id="fresh, a mark"),
    pytest.param(Route.FRESH, (STORED, mark(5, ELSEWHERE)), None, id="fresh, another shard's mark"),
    pytest.param(Route.MARKED, None, mark(5), id="marked, no row"),
    pytest.param(Route.MARKED, (STORED, None), mark(5), id="marked, no mark"),
    pytest.param(Route.MARKED, (STORED, mark(6)), mark(5), id="marked, another number"),
    pytest.param(Route.MARKED, (STORED, mark(5, ELSEWHERE)), mark(5), id="marked, another shard"),
    pytest.param(Route.TAKE_OVER, (STORED, mark(6, ELSEWHERE)), mark(5, ELSEWHERE), id="take-over, another number"),
    pytest.param(Route.TAKE_OVER, (STORED, mark(5)), mark(5, ELSEWHERE), id="take-over, ours already"),
    pytest.param(Route.TAKE_OVER, None, mark(5, ELSEWHERE), id="take-over, no row"),
    pytest.param(Route.SHARED, (STORED, mark(5)), mark(5, ELSEWHERE), id="shared, ours already"),
    pytest.param(Route.SHARED, (STORED, None), mark(5, ELSEWHERE), id="shared, no mark"),
    pytest.param(Route.SHARED, None, mark(5, ELSEWHERE), id="shared, no row"),
]


@pytest.mark.parametrize(("route", "stored", "found"), REFUSED)
def test_a_row_that_is_not_as_it_was_read_refuses_all_of_it(
    subject: Subject, route: Route, stored: tuple[Score, Mark | None] | None, found: Mark | None
) -> None:
    """Its row comes back as it is. Neighbours, poison, the gap's end and the checkpoint stay as they were."""
    begin(subject)
    subject.put_player("fine", STORED, mark(1))
    if stored is not None:
        subject.put_player("foo", *stored)
    subject.commits.record_gap(shard(), TRIM_HORIZON, CREATED)
    unit = marked_unit(game(8, "fine"), game(9, "foo"), game(10, "new"), poison(11)._replace(player=None))
    rows = (
        write(unit, "fine", Route.MARKED, mark(1)),
        write(unit, "foo", route, found),
        write(unit, "new", Route.FRESH),
    )
    before = subject.everything()
    shown = ABSENT if stored is None else StoredRow(mark=stored[1], date="2026-01-30")
    assert subject.commits.commit(lease(), unit, rows, fills_gap=True) == Refused(rows={"foo": shown})
    assert subject.everything() == before


def test_a_row_that_was_deleted_meanwhile(subject: Subject) -> None:
    begin(subject)
    subject.put_player("foo", STORED, mark(5))
    subject.delete_player("foo")
    unit = one()
    refused = subject.commits.commit(lease(), unit, (write(unit, "foo", Route.MARKED, mark(5)),), fills_gap=False)
    assert refused == Refused(rows={"foo": ABSENT})
    assert subject.board() == {}


def test_rows_that_are_not_as_they_were_read_beside_later_dates(subject: Subject) -> None:
    begin(subject)
    later = STORED._replace(date="2026-03-01")
    subject.put_player("both", later, mark(6))
    subject.put_player("date", later, mark(5))
    subject.put_player("mark", STORED, mark(6))
    subject.put_player("fine", STORED, mark(5))
    players = ("both", "date", "mark", "fine")
    unit = marked_unit(*(game(seq, player) for seq, player in enumerate(players, start=9)))
    rows = tuple(write(unit, player, Route.MARKED, mark(5)) for player in players)
    before = subject.everything()
    assert subject.commits.commit(lease(), unit, rows, fills_gap=False) == Refused(
        later={"date": "2026-03-01"},
        rows={
            "both": StoredRow(mark=mark(6), date="2026-03-01"),
            "mark": StoredRow(mark=mark(6), date="2026-01-30"),
        },
    )
    assert subject.everything() == before
    again = (
        write(unit, "both", Route.MARKED, mark(6), dated=False),
        write(unit, "date", Route.MARKED, mark(5), dated=False),
        write(unit, "mark", Route.MARKED, mark(6)),
        write(unit, "fine", Route.MARKED, mark(5)),
    )
    assert subject.commits.commit(lease(), unit, again, fills_gap=False) == Committed()
    assert {player: score.date for player, score in subject.board().items()} == {
        "both": "2026-03-01",
        "date": "2026-03-01",
        "mark": "2026-01-31",
        "fine": "2026-01-31",
    }


def test_a_date_that_is_none_makes_its_player_suspect_and_a_mark_its_row_known(subject: Subject) -> None:
    begin(subject)
    subject.put_player("bad", STORED, mark(5))
    subject.put_player("mark", STORED, mark(6))
    subject.spoil("bad", "lastPlayedDate", "someday")
    unit = marked_unit(game(8, "bad"), game(9, "mark"))
    rows = tuple(write(unit, player, Route.MARKED, mark(5)) for player in ("bad", "mark"))
    reply = subject.commits.commit(lease(), unit, rows, fills_gap=False)
    assert isinstance(reply, Refused)
    assert (reply.suspects, set(reply.rows)) == (frozenset({"bad"}), {"mark"})
    assert reply.invalid


def test_a_stored_number_of_another_type_refuses_it_for_good(subject: Subject) -> None:
    begin(subject)
    subject.put_player("bad", STORED, mark(5))
    subject.spoil("bad", "totalScore", "many")
    unit = marked_unit(game(8, "bad"), game(9, "good"))
    rows = (write(unit, "bad", Route.MARKED, mark(5)), write(unit, "good", Route.FRESH))
    before = subject.everything()
    reply = subject.commits.commit(lease(), unit, rows, fills_gap=False)
    assert isinstance(reply, Refused)
    assert reply.invalid
    assert not reply.rows
    assert reply.suspects == (frozenset() if subject.has(NAMES_NO_SUSPECT) else frozenset({"bad"}))
    assert subject.everything() == before


@pytest.mark.parametrize("mine", [lease(owner=OTHER), lease(epoch=6), lease(epoch=8)], ids=str)
def test_a_lost_lease_comes_before_a_mark(subject: Subject, mine: Lease) -> None:
    begin(subject)
    subject.put_player("foo", STORED, mark(6))
    unit = one()
    before = subject.everything()
    reply = subject.commits.commit(mine, unit, (write(unit, "foo", Route.MARKED, mark(5)),), fills_gap=False)
    assert reply == Lost(row(owner=ME))
    assert subject.everything() == before


# --- poison ---


def test_good_games_poison_and_mark_of_a_player_are_one_step(subject: Subject) -> None:
    begin(subject)
    subject.put_player("foo", STORED, mark(5))
    unit = marked_unit(game(8, "foo"), poison(9), ignored(10))
    rows = (write(unit, "foo", Route.MARKED, mark(5)),)
    assert subject.commits.commit(lease(), unit, rows, fills_gap=False) == Committed()
    assert (subject.board(), subject.marks()) == ({"foo": ONCE}, {"foo": mark(9)})
    assert list(subject.quarantine_rows()) == [("shard-0", sequence_number(9))]


@pytest.mark.parametrize(
    ("stored", "route", "after"),
    [
        pytest.param(None, Route.FRESH, NOTHING, id="no row"),
        pytest.param((STORED, None), Route.FRESH, STORED, id="no mark"),
        pytest.param((STORED, mark(5)), Route.MARKED, STORED, id="marked"),
        pytest.param((STORED, mark(5, ELSEWHERE)), Route.TAKE_OVER, STORED, id="take-over"),
    ],
)
def test_a_player_with_poison_alone_gets_a_mark_and_no_game(
    subject: Subject, stored: tuple[Score, Mark | None] | None, route: Route, after: Score
) -> None:
    begin(subject)
    if stored is not None:
        subject.put_player("foo", *stored)
    unit = marked_unit(poison(8), poison(9))
    rows = (write(unit, "foo", route, stored[1] if stored else None),)
    assert subject.commits.commit(lease(), unit, rows, fills_gap=False) == Committed()
    assert (subject.board(), subject.marks()) == ({"foo": after}, {"foo": mark(9)})
    assert len(subject.quarantine_rows()) == 2


@pytest.mark.parametrize("attribute", ["totalScore", "gamesPlayed", "lastPlayedDate"])
def test_poison_of_a_player_whose_row_is_damaged_goes_to_quarantine(subject: Subject, attribute: str) -> None:
    """Nothing is added to it, so nothing of it can refuse the mark."""
    begin(subject)
    subject.put_player("foo", STORED, mark(5))
    subject.spoil("foo", attribute, "many")
    damaged = subject.board()
    unit = marked_unit(poison(9))
    rows = (write(unit, "foo", Route.MARKED, mark(5)),)
    assert subject.commits.commit(lease(), unit, rows, fills_gap=False) == Committed()
    assert (subject.board(), subject.marks()) == (damaged, {"foo": mark(9)})


@pytest.mark.parametrize(
    ("stored", "route", "found", "fits"),
    [
        pytest.param((STORED, mark(5)), Route.CHECKED, mark(5), True, id="checked"),
        pytest.param((STORED, None), Route.CHECKED, None, True, id="checked, no mark"),
        pytest.param(None, Route.CHECKED, None, True, id="checked, no row"),
        pytest.param((STORED, mark(6)), Route.CHECKED, mark(5), False, id="checked, another number"),
        pytest.param((STORED, mark(5)), Route.CHECKED, None, False, id="checked, a mark"),
        pytest.param((STORED, mark(6, ELSEWHERE)), Route.SHARED, mark(5, ELSEWHERE), True, id="shared"),
        pytest.param((STORED, mark(5)), Route.SHARED, mark(5, ELSEWHERE), False, id="shared, ours already"),
    ],
)
def test_poison_beside_a_row_that_keeps_its_mark(
    subject: Subject, stored: tuple[Score, Mark | None] | None, route: Route, found: Mark | None, *, fits: bool
) -> None:
    """The row is only checked: no row is made, and none changes."""
    begin(subject)
    if stored is not None:
        subject.put_player("foo", *stored)
    board, marks = subject.board(), subject.marks()
    unit = marked_unit(poison(9))
    reply = subject.commits.commit(lease(), unit, (write(unit, "foo", route, found),), fills_gap=False)
    shown = ABSENT if stored is None else StoredRow(mark=stored[1], date="2026-01-30")
    assert reply == (Committed() if fits else Refused(rows={"foo": shown}))
    assert (subject.board(), subject.marks()) == (board, marks)
    assert len(subject.quarantine_rows()) == (1 if fits else 0)


FULL_BYTES = 409_600
"""An item has at most 400 KB."""


def test_a_row_that_is_too_large_for_a_mark(dynamo: DynamoSubject) -> None:
    """Its games and its mark are refused; poison of its player goes to quarantine without one."""
    begin(dynamo)
    dynamo.put_player("foo", STORED)
    (item,) = dynamo.items(dynamo.names.leaderboard)
    dynamo.spoil("foo", "notes", "x" * (FULL_BYTES - size_of(item) - len("notes")))
    games, bad = marked_unit(game(9)), marked_unit(poison(9))
    for unit in (games, bad):
        reply = dynamo.commits.commit(lease(), unit, (write(unit, "foo", Route.FRESH),), fills_gap=False)
        assert isinstance(reply, Refused)
        assert reply.invalid
        assert not reply.rows
    checked = (write(bad, "foo", Route.CHECKED),)
    assert dynamo.commits.commit(lease(), bad, checked, fills_gap=False) == Committed()
    assert dynamo.marks() == {"foo": None}
    assert len(dynamo.quarantine_rows()) == 1


# --- a unit whose rows are all written already ---


@pytest.mark.parametrize("entries", [(game(9), ignored(10)), (ignored(9), ignored(10))], ids=["games", "ignored"])
def test_a_checkpoint_alone_is_one_update(dynamo: DynamoSubject, entries: tuple[Entry, ...]) -> None:
    """It costs one write unit, a transaction of one action two."""
    begin(dynamo)
    with dynamo.calls() as made:
        assert dynamo.commits.commit(lease(), marked_unit(*entries), (), fills_gap=False) == Committed()
    assert made == ["UpdateItem"]


def test_a_checkpoint_beside_anything_else_is_a_transaction(dynamo: DynamoSubject) -> None:
    begin(dynamo)
    dynamo.commits.record_gap(shard(), TRIM_HORIZON, CREATED)
    unit, more = marked_unit(game(9)), marked_unit(poison(10)._replace(player=None), previous=sequence_number(9))
    with dynamo.calls() as made:
        assert dynamo.commits.commit(lease(), unit, (), fills_gap=True) == Committed()
        assert dynamo.commits.commit(lease(), more, (), fills_gap=False) == Committed()
    assert made == ["TransactWriteItems"] * 2


def test_a_checkpoint_alone_moves_once(subject: Subject) -> None:
    begin(subject)
    unit = marked_unit(game(8), ignored(9))
    assert subject.commits.commit(lease(), unit, (), fills_gap=False) == Committed()
    stands = row(owner=ME, checkpoint=sequence_number(9), created=CREATED + 9, had_game=True, ignored=True)
    assert subject.row(shard()) == stands
    assert (subject.board(), subject.row(shard(1))) == ({}, row(1, owner=OTHER))
    before = subject.everything()
    for _ in range(2):
        assert subject.commits.commit(lease(), unit, (), fills_gap=False) == Lost(stands)
    assert subject.everything() == before


@pytest.mark.parametrize(
    ("stored", "mine"),
    [
        (row(owner=ME, checkpoint=sequence_number(5)), lease(owner=OTHER)),
        (row(owner=ME, checkpoint=sequence_number(5)), lease(epoch=6)),
        (row(owner=ME, checkpoint=sequence_number(5)), lease(epoch=8)),
        (row(owner=ME, checkpoint=sequence_number(4)), lease()),
        (row(owner=ME), lease()),
        (row(owner=ME, checkpoint="SHARD_END", children=("shard-1",)), lease()),
        (row(owner=None, checkpoint=sequence_number(5)), lease()),
        (None, lease()),
    ],
    ids=str,
)
def test_a_checkpoint_alone_is_fenced_and_compared(subject: Subject, stored: Any, mine: Lease) -> None:
    subject.create_root_rows(row(9, owner=ME), *([stored] if stored else []))
    before = subject.everything()
    unit = marked_unit(game(9), previous=sequence_number(5))
    assert subject.commits.commit(mine, unit, (), fills_gap=False) == Lost(stored)
    assert subject.everything() == before


def test_a_checkpoint_alone_keeps_what_the_row_says_besides(subject: Subject) -> None:
    """The circuit of a shard that an operator resumed meanwhile, and what the window of recent poison says."""
    begin(subject)
    noted = marked_unit(poison(8)._replace(player=None))
    assert subject.commits.commit(lease(), noted, (), fills_gap=False) == Committed()
    unit = replace(marked_unit(game(9), previous=sequence_number(8)), circuit=noted.circuit)
    assert subject.commits.commit(lease(), unit, (), fills_gap=False) == Committed()
    stored = subject.row(shard())
    assert stored is not None
    assert stored.circuit.recent == noted.circuit.recent
    assert stored.checkpoint == sequence_number(9)
