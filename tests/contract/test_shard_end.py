"""A shard ends once, in one transaction with its children's rows."""

import pytest

from consumer.domain.accepted_rules import UNNUMBERED
from consumer.domain.leases import SHARD_END, TRIM_HORIZON, Lease, LeaseRow
from consumer.domain.replies import Committed, Lost, Refused
from tests.contract.subject import Subject, unit
from tests.support.builders import CREATED, ME, OTHER, game, lease, plain_rows, row, sequence_number, shard

AT = sequence_number(5)


def child(number: int, owner: str | None = ME) -> LeaseRow:
    """A new row as its parent's holder makes it."""
    return LeaseRow(shard(number), owner, 8, TRIM_HORIZON, parent="shard-0", created=CREATED + 5)


@pytest.mark.parametrize("children", [(), (1,), (1, 2)])
def test_the_row_and_its_childrens_rows(subject: Subject, children: tuple[int, ...]) -> None:
    subject.create_root_rows(row(owner=ME, checkpoint=AT))
    ids = tuple(f"shard-{number}" for number in children)
    rows = tuple(map(child, children))
    assert subject.commits.end(lease(), AT, ids, rows) == Committed()
    stored = {row.shard: row for row in subject.ledgers.load().rows}
    finished = row(owner=ME, checkpoint=SHARD_END, children=ids)
    assert stored == {shard(): finished} | {row.shard: row for row in rows}
    assert finished.finished


def test_what_was_committed_last_stays_in_the_row(subject: Subject) -> None:
    subject.create_root_rows(row(owner=ME))
    games = unit(game(5))
    subject.commits.commit(lease(), games, plain_rows(games), fills_gap=False)
    assert subject.commits.end(lease(), AT, (), ()) == Committed()
    assert subject.row(shard()) == row(owner=ME, checkpoint=SHARD_END, created=games.created, had_game=True)


def test_a_child_that_has_its_row_is_named_and_nothing_is_written(subject: Subject) -> None:
    other_child = LeaseRow(shard(2), OTHER, 9, sequence_number(1), parent="shard-0")
    subject.create_root_rows(row(owner=ME, checkpoint=AT), other_child)
    before = subject.everything()
    ids = ("shard-1", "shard-2")
    expected = Refused(existing=frozenset({"shard-2"}))
    assert subject.commits.end(lease(), AT, ids, (child(1), child(2))) == expected
    assert subject.everything() == before
    assert subject.commits.end(lease(), AT, ids, (child(1),)) == Committed()
    assert subject.row(shard()) == row(owner=ME, checkpoint=SHARD_END, children=ids)
    assert subject.row(shard(1)) == child(1)
    assert subject.row(shard(2)) == other_child


def test_all_children_that_have_their_rows_are_named(subject: Subject) -> None:
    subject.create_root_rows(row(owner=ME, checkpoint=AT), child(1), child(3))
    ids = ("shard-1", "shard-2", "shard-3")
    reply = subject.commits.end(lease(), AT, ids, (child(1), child(2), child(3)))
    assert reply == Refused(existing=frozenset({"shard-1", "shard-3"}))


def test_a_second_attempt_finds_the_shard_finished(subject: Subject) -> None:
    """Also where another worker has claimed a child since."""
    subject.create_root_rows(row(owner=ME, checkpoint=AT))
    assert subject.commits.end(lease(), AT, ("shard-1",), (child(1),)) == Committed()
    finished = Lost(row(owner=ME, checkpoint=SHARD_END, children=("shard-1",)))
    assert subject.commits.end(lease(), AT, ("shard-1",), (child(1),)) == finished
    subject.ledgers.claim(child(1), Lease(shard(1), OTHER, 9), UNNUMBERED)
    before = subject.everything()
    assert subject.commits.end(lease(), AT, ("shard-1",), (child(1),)) == finished
    assert subject.commits.end(lease(), SHARD_END, ("shard-1",), (child(1),)) == Refused(
        existing=frozenset({"shard-1"})
    )
    assert subject.everything() == before


@pytest.mark.parametrize(
    ("stored", "mine", "previous"),
    [
        (row(owner=ME, checkpoint=AT), lease(owner=OTHER), AT),
        (row(owner=ME, checkpoint=AT), lease(epoch=6), AT),
        (row(owner=ME, checkpoint=AT), lease(epoch=8), AT),
        (row(owner=ME, checkpoint=AT), lease(), sequence_number(4)),
        (row(owner=ME, checkpoint=AT), lease(), TRIM_HORIZON),
        (row(owner=None, checkpoint=AT), lease(), AT),
        (None, lease(), AT),
    ],
)
@pytest.mark.parametrize("exists", [False, True])
def test_a_lost_lease_writes_nothing_at_all(
    subject: Subject, stored: LeaseRow | None, mine: Lease, previous: str, exists: bool
) -> None:
    subject.create_root_rows(row(9))
    if stored is not None:
        subject.create_root_rows(stored)
    if exists:
        subject.create_root_rows(child(1, OTHER))
    before = subject.everything()
    assert subject.commits.end(mine, previous, ("shard-1", "shard-2"), (child(1), child(2))) == Lost(stored)
    assert subject.everything() == before
