"""Finished rows: a note says since when no listing has shown them, and in the end they are forgotten."""

from dataclasses import replace

import pytest

from consumer.domain.leases import SHARD_END, TRIM_HORIZON, LeaseRow, StreamStart
from consumer.domain.replies import Done, Lost
from tests.contract.subject import Subject
from tests.support.builders import ARN, CREATED, ME, OTHER, row, sequence_number, shard

FINISHED = row(owner=ME, checkpoint=SHARD_END, children=("shard-1",), created=CREATED)
NOTED = replace(FINISHED, unlisted_since=CREATED + 0.5)
STREAM_START = StreamStart(ARN, None, ("shard-0", "shard-2"), complete=True)


def start_stream(subject: Subject, *rows: LeaseRow, stream_start: StreamStart = STREAM_START) -> None:
    """A started stream with these rows."""
    subject.ledgers.record_stream_start(replace(stream_start, complete=False), None, CREATED)
    assert subject.ledgers.create_root_rows(ARN, rows) == Done()
    if stream_start.complete:
        subject.ledgers.complete_stream_start(ARN)


def test_a_note_is_written_and_taken_away(subject: Subject) -> None:
    subject.create_root_rows(FINISHED, row(9))
    assert subject.ledgers.mark_unlisted(FINISHED, CREATED + 0.5) == Done()
    assert subject.row(shard()) == NOTED
    assert subject.ledgers.mark_unlisted(NOTED, None) == Done()
    assert subject.row(shard()) == FINISHED
    assert subject.row(shard(9)) == row(9)


def test_a_root_row_keeps_its_note(subject: Subject) -> None:
    subject.create_root_rows(NOTED)
    assert subject.row(shard()) == NOTED


def test_the_first_note_stays(subject: Subject) -> None:
    """Else the 48 hours would begin again with every worker's late note."""
    subject.create_root_rows(NOTED)
    before = subject.everything()
    for read in (FINISHED, NOTED):
        for later in (CREATED + 60, CREATED - 60):
            assert subject.ledgers.mark_unlisted(read, later) == Done()
    assert subject.everything() == before


@pytest.mark.parametrize(
    ("stored", "read"),
    [
        (NOTED, FINISHED),
        (NOTED, replace(NOTED, unlisted_since=CREATED)),
        (FINISHED, NOTED),
        (FINISHED, FINISHED),
    ],
)
def test_a_note_that_was_not_read_stays(subject: Subject, stored: LeaseRow, read: LeaseRow) -> None:
    subject.create_root_rows(stored)
    before = subject.everything()
    assert subject.ledgers.mark_unlisted(read, None) == Done()
    assert subject.everything() == before


@pytest.mark.parametrize("checkpoint", [TRIM_HORIZON, sequence_number(5)])
def test_only_a_finished_row_is_noted(subject: Subject, checkpoint: str) -> None:
    subject.create_root_rows(row(checkpoint=checkpoint))
    before = subject.everything()
    assert subject.ledgers.mark_unlisted(FINISHED, CREATED) == Done()
    assert subject.everything() == before


@pytest.mark.parametrize("note", [None, CREATED])
def test_a_note_makes_no_row(subject: Subject, note: float | None) -> None:
    subject.create_root_rows(row(9))
    before = subject.everything()
    assert subject.ledgers.mark_unlisted(NOTED, note) == Done()
    assert subject.ledgers.mark_unlisted(FINISHED, note) == Done()
    assert subject.everything() == before


def test_a_row_is_forgotten(subject: Subject) -> None:
    start_stream(subject, NOTED, row(9))
    assert subject.ledgers.forget(NOTED, None) == Done()
    assert subject.ledgers.load().rows == (row(9),)
    assert subject.ledgers.load().stream_starts == (STREAM_START,)
    before = subject.everything()
    assert subject.ledgers.forget(NOTED, None) == Lost(None)
    assert subject.everything() == before


@pytest.mark.parametrize("roots", [("shard-0",), ("shard-0", "shard-2"), ("shard-1", "shard-0", "shard-2")])
def test_a_root_leaves_its_stream_start_too(subject: Subject, roots: tuple[str, ...]) -> None:
    stream_start = replace(STREAM_START, start_time=CREATED, roots=roots)
    start_stream(subject, NOTED, row(9), stream_start=stream_start)
    assert subject.ledgers.forget(NOTED, stream_start) == Done()
    left = tuple(root for root in roots if root != "shard-0")
    assert subject.ledgers.load().rows == (row(9),)
    assert subject.ledgers.load().stream_starts == (replace(stream_start, roots=left),)


@pytest.mark.parametrize(
    ("stored", "read"),
    [
        (FINISHED, NOTED),
        (FINISHED, FINISHED),
        (NOTED, FINISHED),
        (replace(NOTED, unlisted_since=CREATED + 60), NOTED),
        (replace(NOTED, checkpoint=sequence_number(5)), NOTED),
        (replace(NOTED, checkpoint=TRIM_HORIZON), NOTED),
        (None, NOTED),
    ],
)
@pytest.mark.parametrize("stream_start", [None, STREAM_START])
def test_a_row_that_is_listed_again_stays(
    subject: Subject, stored: LeaseRow | None, read: LeaseRow, stream_start: StreamStart | None
) -> None:
    """Also one that is not finished, whatever was read."""
    start_stream(subject, row(9), *([stored] if stored else []))
    before = subject.everything()
    assert subject.ledgers.forget(read, stream_start) == Lost(None)
    assert subject.everything() == before


@pytest.mark.parametrize(
    "stored",
    [
        replace(STREAM_START, roots=("shard-0",)),
        replace(STREAM_START, roots=("shard-2", "shard-0")),
        replace(STREAM_START, roots=("shard-0", "shard-2", "shard-3")),
        replace(STREAM_START, complete=False),
    ],
)
def test_a_stream_start_that_has_changed_keeps_its_root(subject: Subject, stored: StreamStart) -> None:
    """A root that joined it meanwhile would be lost from it."""
    start_stream(subject, NOTED, stream_start=stored)
    before = subject.everything()
    assert subject.ledgers.forget(NOTED, STREAM_START) == Lost(None)
    assert subject.everything() == before


def test_a_stream_start_that_is_gone(subject: Subject) -> None:
    start_stream(subject, NOTED)
    subject.delete_stream_start(ARN)
    before = subject.everything()
    assert subject.ledgers.forget(NOTED, STREAM_START) == Lost(None)
    assert subject.everything() == before


def test_the_owner_does_not_matter(subject: Subject) -> None:
    stored = replace(NOTED, owner=OTHER, epoch=99)
    start_stream(subject, stored)
    assert subject.ledgers.forget(NOTED, STREAM_START) == Done()
    assert subject.row(shard()) is None
