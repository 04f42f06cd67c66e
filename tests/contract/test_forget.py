"""Finished rows: since when no listing has shown them is noted, and in the end they go."""

from dataclasses import replace

import pytest

from consumer.domain.leases import LeaseRow, Pin
from consumer.domain.outcomes import Done, Lost
from consumer.domain.position import SHARD_END, TRIM_HORIZON
from tests.builders import ARN, CREATED, ME, OTHER, row, sequence_number, shard
from tests.contract.subject import Subject

FINISHED = row(owner=ME, checkpoint=SHARD_END, children=("shard-1",), created=CREATED)
NOTED = replace(FINISHED, unlisted_since=CREATED + 0.5)
PIN = Pin(ARN, None, ("shard-0", "shard-2"), complete=True)


def pinned(subject: Subject, *rows: LeaseRow, pin: Pin = PIN) -> None:
    """A pinned stream with these rows."""
    subject.ledgers.pin(replace(pin, complete=False), None, CREATED)
    assert subject.ledgers.plant(ARN, rows) == Done()
    if pin.complete:
        subject.ledgers.complete_pin(ARN)


def test_a_note_is_written_and_taken_away(subject: Subject) -> None:
    subject.plant(FINISHED, row(9))
    assert subject.ledgers.mark(FINISHED, CREATED + 0.5) == Done()
    assert subject.row(shard()) == NOTED
    assert subject.ledgers.mark(NOTED, None) == Done()
    assert subject.row(shard()) == FINISHED
    assert subject.row(shard(9)) == row(9)


def test_a_planted_row_keeps_its_note(subject: Subject) -> None:
    subject.plant(NOTED)
    assert subject.row(shard()) == NOTED


def test_the_first_note_stays(subject: Subject) -> None:
    """Else the 48 hours would begin again with every worker's late note."""
    subject.plant(NOTED)
    before = subject.everything()
    for read in (FINISHED, NOTED):
        for later in (CREATED + 60, CREATED - 60):
            assert subject.ledgers.mark(read, later) == Done()
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
def test_another_note_than_the_one_that_was_read_stays(subject: Subject, stored: LeaseRow, read: LeaseRow) -> None:
    subject.plant(stored)
    before = subject.everything()
    assert subject.ledgers.mark(read, None) == Done()
    assert subject.everything() == before


@pytest.mark.parametrize("checkpoint", [TRIM_HORIZON, sequence_number(5)])
def test_only_a_finished_row_is_noted(subject: Subject, checkpoint: str) -> None:
    subject.plant(row(checkpoint=checkpoint))
    before = subject.everything()
    assert subject.ledgers.mark(FINISHED, CREATED) == Done()
    assert subject.everything() == before


@pytest.mark.parametrize("note", [None, CREATED])
def test_a_note_makes_no_row(subject: Subject, note: float | None) -> None:
    subject.plant(row(9))
    before = subject.everything()
    assert subject.ledgers.mark(NOTED, note) == Done()
    assert subject.ledgers.mark(FINISHED, note) == Done()
    assert subject.everything() == before


def test_a_row_is_forgotten(subject: Subject) -> None:
    pinned(subject, NOTED, row(9))
    assert subject.ledgers.forget(NOTED, None) == Done()
    assert subject.ledgers.load().rows == (row(9),)
    assert subject.ledgers.load().pins == (PIN,)
    before = subject.everything()
    assert subject.ledgers.forget(NOTED, None) == Lost(None)
    assert subject.everything() == before


@pytest.mark.parametrize("roots", [("shard-0",), ("shard-0", "shard-2"), ("shard-1", "shard-0", "shard-2")])
def test_a_root_leaves_its_pin_too(subject: Subject, roots: tuple[str, ...]) -> None:
    pin = replace(PIN, floor=CREATED, roots=roots)
    pinned(subject, NOTED, row(9), pin=pin)
    assert subject.ledgers.forget(NOTED, pin) == Done()
    left = tuple(root for root in roots if root != "shard-0")
    assert subject.ledgers.load().rows == (row(9),)
    assert subject.ledgers.load().pins == (replace(pin, roots=left),)


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
@pytest.mark.parametrize("pin", [None, PIN])
def test_a_row_that_is_listed_again_stays(
    subject: Subject, stored: LeaseRow | None, read: LeaseRow, pin: Pin | None
) -> None:
    """Also one that is not finished, whatever was read."""
    pinned(subject, row(9), *([stored] if stored else []))
    before = subject.everything()
    assert subject.ledgers.forget(read, pin) == Lost(None)
    assert subject.everything() == before


@pytest.mark.parametrize(
    "stored",
    [
        replace(PIN, roots=("shard-0",)),
        replace(PIN, roots=("shard-2", "shard-0")),
        replace(PIN, roots=("shard-0", "shard-2", "shard-3")),
        replace(PIN, complete=False),
    ],
)
def test_a_pin_that_has_changed_keeps_its_root(subject: Subject, stored: Pin) -> None:
    """A root that joined it meanwhile would be lost from it."""
    pinned(subject, NOTED, pin=stored)
    before = subject.everything()
    assert subject.ledgers.forget(NOTED, PIN) == Lost(None)
    assert subject.everything() == before


def test_a_pin_that_is_gone(subject: Subject) -> None:
    pinned(subject, NOTED)
    subject.delete_pin(ARN)
    before = subject.everything()
    assert subject.ledgers.forget(NOTED, PIN) == Lost(None)
    assert subject.everything() == before


def test_whose_it_is_does_not_matter(subject: Subject) -> None:
    stored = replace(NOTED, owner=OTHER, epoch=99)
    pinned(subject, stored)
    assert subject.ledgers.forget(NOTED, PIN) == Done()
    assert subject.row(shard()) is None
