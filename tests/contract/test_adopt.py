"""Shards found late get their rows and join the list they belong to, in one transaction."""

from dataclasses import replace

import pytest

from consumer.domain.leases import SHARD_END, TRIM_HORIZON, Adoption, LeaseRow, StreamStart
from consumer.domain.replies import Done, Lost
from tests.contract.dynamo_subject import DynamoSubject
from tests.contract.subject import Subject
from tests.support.builders import ARN, CREATED, ME, OTHER, lease, row, sequence_number, shard

AT = sequence_number(5)
STREAM_START = StreamStart(ARN, CREATED, ("shard-1", "shard-2"), complete=True)


def late(number: int, parent: str | None = "shard-0") -> LeaseRow:
    """The row that a worker makes when it finds a shard late."""
    return LeaseRow(shard(number), None, 1_769_860_800, TRIM_HORIZON, parent=parent, created=CREATED)


def finished(*children: int) -> LeaseRow:
    """The parent's row."""
    ids = tuple(f"shard-{number}" for number in children)
    return row(owner=ME, checkpoint=SHARD_END, children=ids, created=CREATED)


@pytest.mark.parametrize("before", [(), (2,), (2, 4)])
@pytest.mark.parametrize("found", [(1,), (1, 3, 5)])
def test_children_join_their_parent(subject: Subject, before: tuple[int, ...], found: tuple[int, ...]) -> None:
    subject.create_root_rows(finished(*before), row(9))
    rows = tuple(map(late, found))
    assert subject.ledgers.adopt(Adoption(finished(*before), rows)) == Done()
    joined = finished(*sorted({*before, *found}))
    assert set(subject.ledgers.load().rows) == {joined, row(9), *rows}


def test_a_leaf_has_a_list_too(subject: Subject) -> None:
    """A shard that ended without children stores an empty list; a row that an operator made stores none."""
    subject.create_root_rows(row(owner=ME, checkpoint=AT, created=CREATED))
    subject.commits.end(lease(), AT, (), ())
    assert subject.ledgers.adopt(Adoption(finished(), (late(1),))) == Done()
    assert subject.row(shard()) == finished(1)
    assert subject.row(shard(1)) == late(1)


@pytest.mark.parametrize(
    ("stored", "read"),
    [
        (finished(2), finished()),
        (finished(), finished(2)),
        (finished(2, 3), finished(2)),
        (finished(3, 2), finished(2, 3)),
        (finished(4), finished(3)),
        (replace(finished(2), checkpoint=AT), finished(2)),
        (replace(finished(), checkpoint=TRIM_HORIZON), finished()),
        (None, finished(2)),
        (None, finished()),
    ],
)
def test_a_list_that_has_changed_is_kept(subject: Subject, stored: LeaseRow | None, read: LeaseRow) -> None:
    """Otherwise another worker's child would be lost. A missing parent is not made; an open one gets no children."""
    subject.create_root_rows(row(9), *([stored] if stored else []))
    before = subject.everything()
    assert subject.ledgers.adopt(Adoption(read, (late(1),))) == Lost(None)
    assert subject.everything() == before


@pytest.mark.parametrize("exists", [1, 2])
def test_a_row_that_exists_is_kept(subject: Subject, exists: int) -> None:
    """It would start again from the horizon."""
    subject.create_root_rows(finished(), row(exists, owner=OTHER, checkpoint=AT))
    before = subject.everything()
    assert subject.ledgers.adopt(Adoption(finished(), (late(1), late(2)))) == Lost(None)
    assert subject.everything() == before


def test_other_attributes_of_the_parent_do_not_matter(subject: Subject) -> None:
    """Owner, epoch and note of a finished row may change; it stays finished."""
    stored = replace(finished(2), owner=OTHER, epoch=99, unlisted_since=CREATED)
    subject.create_root_rows(stored)
    assert subject.ledgers.adopt(Adoption(finished(2), (late(1),))) == Done()
    assert subject.row(shard()) == replace(stored, children=("shard-1", "shard-2"))


def test_a_second_attempt_is_lost(subject: Subject) -> None:
    subject.create_root_rows(finished())
    adoption = Adoption(finished(), (late(1),))
    assert subject.ledgers.adopt(adoption) == Done()
    before = subject.everything()
    assert subject.ledgers.adopt(adoption) == Lost(None)
    assert subject.ledgers.adopt(Adoption(finished(1), (late(1),))) == Lost(None)
    assert subject.everything() == before


@pytest.mark.parametrize("roots", [(), ("shard-1",), ("shard-1", "shard-2")])
def test_roots_join_the_stream_start(subject: Subject, roots: tuple[str, ...]) -> None:
    stream_start = replace(STREAM_START, roots=roots)
    subject.ledgers.record_stream_start(stream_start, None, CREATED)
    rows = (late(0, None), late(7, "shard-6"))
    assert subject.ledgers.adopt(Adoption(stream_start, rows)) == Done()
    assert subject.ledgers.read_origin(ARN).stream_start == replace(stream_start, roots=("shard-0", *roots, "shard-7"))
    assert set(subject.ledgers.load().rows) == set(rows)


@pytest.mark.parametrize(
    "stored",
    [
        None,
        replace(STREAM_START, complete=False),
        replace(STREAM_START, roots=("shard-1",)),
        replace(STREAM_START, roots=()),
        replace(STREAM_START, roots=("shard-1", "shard-2", "shard-3")),
        replace(STREAM_START, stream_arn=ARN.replace("2026-01-01", "2026-02-02")),
    ],
)
def test_a_stream_start_that_has_changed_is_kept(subject: Subject, stored: StreamStart | None) -> None:
    """An incomplete one too: workers are creating its root rows."""
    if stored is not None:
        subject.ledgers.record_stream_start(stored, None, CREATED)
    before = subject.everything()
    assert subject.ledgers.adopt(Adoption(STREAM_START, (late(0, None),))) == Lost(None)
    assert subject.everything() == before


def test_a_root_whose_row_exists(subject: Subject) -> None:
    subject.ledgers.record_stream_start(replace(STREAM_START, complete=False), None, CREATED)
    subject.ledgers.create_root_rows(ARN, (row(0, owner=OTHER, checkpoint=AT),))
    subject.ledgers.complete_stream_start(ARN)
    before = subject.everything()
    assert subject.ledgers.adopt(Adoption(STREAM_START, (late(0, None), late(3, None)))) == Lost(None)
    assert subject.everything() == before


def test_as_many_as_a_transaction_takes(dynamo: DynamoSubject) -> None:
    dynamo.create_root_rows(finished())
    rows = tuple(map(late, range(1, 100)))
    assert dynamo.ledgers.adopt(Adoption(finished(), rows)) == Done()
    assert len(dynamo.ledgers.load().rows) == 100
