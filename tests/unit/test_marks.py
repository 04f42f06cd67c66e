"""Marks: the table of decisions, row by row, and how shards descend from each other."""

from decimal import Decimal

import pytest

from consumer.domain.fold import Delta
from consumer.domain.leases import Ledger, StreamStart
from consumer.domain.marks import (
    ABSENT,
    FORGOTTEN_SECONDS,
    Lineage,
    Mark,
    Route,
    RowWrite,
    StoredRow,
    lineage_of,
    parent_of,
    route,
)
from tests.support.builders import ARN, CREATED, finished, row, shard

DELTA = Delta(2, Decimal(5), "2026-01-31")

LINEAGE = Lineage(
    parents={"g": None, "p": "g", "me": "p", "c": "me", "gc": "c", "sister": "p", "niece": "sister", "old": None},
    finished=frozenset({"g", "p", "sister", "old"}),
    gone=frozenset({"trimmed"}),
)
"""Of `me` the parent is `p`, its parent `g`; `c` and `gc` come after it. `old` is of no lineage of ours."""


def marked(shard: str, created: float = CREATED) -> StoredRow:
    return StoredRow(mark=Mark(shard, "5", created))


JUST_OVER = CREATED + FORGOTTEN_SECONDS


@pytest.mark.parametrize(
    ("found", "created", "alone", "together"),
    [
        pytest.param(ABSENT, CREATED, Route.INSERT, Route.FRESH, id="no row"),
        pytest.param(StoredRow(), CREATED, Route.FRESH, Route.FRESH, id="no mark"),
        pytest.param(StoredRow(date="2026-01-31"), CREATED, Route.FRESH, Route.FRESH, id="a date and no mark"),
        pytest.param(marked("me"), CREATED, Route.FOLLOW, Route.MARKED, id="this shard"),
        pytest.param(marked("p"), CREATED, Route.FOLLOW, Route.MARKED, id="the parent"),
        pytest.param(marked("g"), CREATED, Route.FOLLOW, Route.MARKED, id="the parent's parent"),
        pytest.param(marked("c"), CREATED, Route.DEALT_WITH, Route.DEALT_WITH, id="a child"),
        pytest.param(marked("gc"), CREATED, Route.DEALT_WITH, Route.DEALT_WITH, id="a child's child"),
        pytest.param(marked("old"), CREATED, Route.TAKE_OVER, Route.TAKE_OVER, id="finished"),
        pytest.param(marked("sister"), CREATED, Route.TAKE_OVER, Route.TAKE_OVER, id="the sister, finished"),
        pytest.param(marked("niece"), CREATED, Route.SHARED, Route.SHARED, id="the sister's child, not finished"),
        pytest.param(marked("trimmed"), JUST_OVER, Route.TAKE_OVER, Route.TAKE_OVER, id="gone, an hour older"),
        pytest.param(marked("trimmed"), JUST_OVER - 1, Route.UNKNOWN, Route.UNKNOWN, id="gone, not an hour older"),
        pytest.param(marked("trimmed"), CREATED - 1, Route.UNKNOWN, Route.UNKNOWN, id="gone, newer than the record"),
        pytest.param(marked("other"), JUST_OVER, Route.UNKNOWN, Route.UNKNOWN, id="not looked up, an hour older"),
        pytest.param(marked("other"), CREATED, Route.UNKNOWN, Route.UNKNOWN, id="not looked up"),
    ],
)
def test_what_a_mark_means(found: StoredRow, created: float, alone: Route, together: Route) -> None:
    assert route(found, "me", LINEAGE, created) is alone
    assert route(found, "me", LINEAGE, created, together=True) is together


def test_only_two_routes_are_single_writes() -> None:
    assert {each for each in Route if each.single} == {Route.INSERT, Route.FOLLOW}


def test_a_shard_that_the_ledger_shows_again_is_not_gone() -> None:
    lineage = LINEAGE._replace(parents={**LINEAGE.parents, "trimmed": None})
    assert route(marked("trimmed"), "me", lineage, JUST_OVER) is Route.SHARED
    lineage = lineage._replace(finished=lineage.finished | {"trimmed"})
    assert route(marked("trimmed"), "me", lineage, CREATED) is Route.TAKE_OVER


@pytest.mark.parametrize(
    ("child", "ancestor", "descends"),
    [
        ("me", "p", True),
        ("me", "g", True),
        ("gc", "g", True),
        ("me", "me", False),
        ("p", "me", False),
        ("sister", "me", False),
        ("niece", "me", False),
        ("old", "g", False),
        ("other", "g", False),
        ("me", "other", False),
    ],
)
def test_descent(child: str, ancestor: str, *, descends: bool) -> None:
    assert LINEAGE.descends(child, ancestor) is descends


def test_an_ancestor_is_known_by_name_when_its_row_is_not() -> None:
    """The parent's row is forgotten 48 hours after its end: its name still stands in the child's."""
    lineage = Lineage({"me": "p", "p": "forgotten"})
    assert lineage.descends("me", "forgotten")
    assert not lineage.descends("me", "the one before it")


def test_beyond_a_broken_chain_nothing_is_known() -> None:
    whole = {"me": "b", "b": "a", "a": "root"}
    assert Lineage(whole).descends("me", "root")
    del whole["b"]
    assert not Lineage(whole).descends("me", "root")


def test_a_circle_of_bad_data_ends() -> None:
    lineage = Lineage({"a": "b", "b": "c", "c": "b", "self": "self"})
    assert lineage.descends("a", "c")
    assert not lineage.descends("a", "me")
    assert not lineage.descends("self", "me")
    assert lineage.descends("self", "self")


def test_the_lineage_of_a_ledger() -> None:
    ledger = Ledger((finished(0, 1), row(1, parent=0), row(2)), ())
    lineage = lineage_of(ledger)
    assert lineage.parents == {str(shard(0)): None, str(shard(1)): str(shard(0)), str(shard(2)): None}
    assert lineage.finished == {str(shard(0))}
    assert not lineage.gone
    assert lineage.descends(str(shard(1)), str(shard(0)))
    assert parent_of(row(1, parent=0)) == str(shard(0)), "it is of the shard's own stream"
    assert parent_of(row(1)) is None


def test_a_shard_whose_row_is_missing_is_known_by_the_list_that_it_is_in() -> None:
    """Its row will be made again; until then another shard's records of its players are shared."""
    start = StreamStart(ARN, None, ("shard-0", "shard-3"), complete=True)
    lineage = lineage_of(Ledger((finished(0, 1), finished(2, 4)), (start,)))
    assert lineage.descends(str(shard(1)), str(shard(0)))
    for number in (1, 3, 4):
        assert lineage.knows(str(shard(number)))
        assert str(shard(number)) not in lineage.finished
    found = StoredRow(mark=Mark(str(shard(3)), "5", CREATED))
    assert route(found, str(shard(4)), lineage, CREATED) is Route.SHARED


def test_a_listing_adds_to_the_ledger_and_never_overrules_it() -> None:
    ledger = Ledger((finished(0, 1), row(1, parent=0)), ())
    listed = [(str(shard(1)), None), (str(shard(3)), str(shard(1)))]
    lineage = lineage_of(ledger, listed)
    assert lineage.descends(str(shard(3)), str(shard(0)))
    assert lineage.knows(str(shard(3)))
    assert str(shard(3)) not in lineage.finished


MARK, LEFT = Mark("p", "5", CREATED), Mark("me", "9", CREATED + 9)


@pytest.mark.parametrize(
    ("write", "before", "after"),
    [
        (RowWrite("foo", DELTA, Route.INSERT, None, LEFT), ABSENT, StoredRow(mark=LEFT, date="2026-01-31")),
        (RowWrite("foo", DELTA, Route.FOLLOW, MARK, LEFT), None, StoredRow(mark=LEFT, date="2026-01-31")),
        (
            RowWrite("foo", DELTA, Route.FOLLOW, MARK, LEFT, dated=False),
            StoredRow(mark=MARK, date="2026-03-01"),
            StoredRow(mark=LEFT, date="2026-03-01"),
        ),
        (RowWrite("foo", DELTA, Route.FOLLOW, MARK, LEFT, dated=False), None, StoredRow(mark=LEFT)),
        (
            RowWrite("foo", Delta(0, Decimal(0), ""), Route.MARKED, MARK, LEFT),
            StoredRow(mark=MARK, date="2026-01-30"),
            StoredRow(mark=LEFT, date="2026-01-30"),
        ),
        (RowWrite("foo", DELTA, Route.SHARED, MARK), StoredRow(mark=MARK), StoredRow(mark=MARK, date="2026-01-31")),
        (RowWrite("foo", Delta(0, Decimal(0), ""), Route.CHECKED), StoredRow(), StoredRow()),
    ],
)
def test_the_row_after_a_write(write: RowWrite, before: StoredRow | None, after: StoredRow) -> None:
    assert write.after(before) == after
