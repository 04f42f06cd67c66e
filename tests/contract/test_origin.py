"""How a stream is pinned: its pin, its birth row, and the first shards' rows."""

from dataclasses import replace

import pytest

from consumer.domain.leases import Birth, LeaseRow, Origin, Pin, label_of
from consumer.domain.outcomes import Done, Lost, Refused
from tests.builders import ARN, CREATED, ME, row, sequence_number, shard
from tests.contract.subject import Subject

SECOND = ARN.replace("2026-01-01", "2026-02-02")
THIRD = ARN.replace("2026-01-01", "2026-03-03")
PIN = Pin(ARN, 1_769_860_800.0, ("shard-0", "shard-1"), complete=False)


def birth(subject: Subject, stream_arn: str = ARN) -> Birth:
    """The birth row that belongs to the subject's tables."""
    return Birth(stream_arn, *subject.names[:2])


def test_nothing_is_known_of_a_new_stream(subject: Subject) -> None:
    assert subject.ledgers.origin(ARN) == Origin(None, None, ())


@pytest.mark.parametrize("floor", [None, 0.0, 1_769_860_800.0, 1_769_860_800.125])
@pytest.mark.parametrize("roots", [(), ("shard-0",), tuple(f"shard-{number}" for number in range(150))])
def test_pin_and_birth_row_come_together(subject: Subject, floor: float | None, roots: tuple[str, ...]) -> None:
    pin = Pin(ARN, floor, roots, complete=False)
    assert subject.ledgers.pin(pin, None, CREATED) == Done()
    assert subject.ledgers.origin(ARN) == Origin(pin, birth(subject))
    (found,) = subject.ledgers.load().pins
    assert (found, found.pinned_at) == (pin, CREATED)


def test_a_second_pin_is_lost(subject: Subject) -> None:
    """It must not move the floor."""
    subject.ledgers.pin(PIN, None, CREATED)
    before = subject.everything()
    assert subject.ledgers.pin(PIN, None, CREATED) == Lost(None)
    assert subject.ledgers.pin(replace(PIN, floor=None, roots=()), None, CREATED) == Lost(None)
    assert subject.everything() == before


def test_a_pin_without_its_birth_row_or_the_other_way_round_is_told_and_stays(subject: Subject) -> None:
    subject.ledgers.pin(PIN, None, CREATED)
    subject.delete_pin(ARN)
    assert subject.ledgers.origin(ARN) == Origin(None, birth(subject))
    before = subject.everything()
    assert subject.ledgers.pin(PIN, None, CREATED) == Lost(None)
    assert subject.everything() == before


def test_a_birth_row_that_was_deleted(subject: Subject) -> None:
    subject.ledgers.pin(PIN, None, CREATED)
    subject.delete_birth(ARN)
    assert subject.ledgers.origin(ARN) == Origin(PIN, None)
    before = subject.everything()
    assert subject.ledgers.pin(PIN, None, CREATED) == Lost(None)
    assert subject.everything() == before


def test_streams_with_other_labels_are_pinned_beside_it(subject: Subject) -> None:
    """A new stream learns of the others' births, and of their pins as far as they are there."""
    subject.ledgers.pin(PIN, None, CREATED)
    subject.ledgers.pin(Pin(SECOND, None, (), complete=False), None, CREATED)
    subject.ledgers.complete_pin(SECOND)
    subject.delete_pin(ARN)
    told = subject.ledgers.origin(THIRD)
    assert (told.pin, told.birth) == (None, None)
    assert set(told.others) == {(birth(subject), None), (birth(subject, SECOND), Pin(SECOND, None, (), complete=True))}
    assert len(told.others) == 2
    assert subject.ledgers.origin(SECOND) == Origin(Pin(SECOND, None, (), complete=True), birth(subject, SECOND))


def test_a_stream_after_another_is_pinned_with_the_gap_between_them(subject: Subject) -> None:
    subject.ledgers.pin(PIN, None, CREATED)
    assert subject.stream_gaps() == {}
    second = Pin(SECOND, None, ("shard-0",), complete=False)
    assert subject.ledgers.pin(second, ARN, CREATED + 0.25) == Done()
    known = Origin(second, birth(subject, SECOND), ((birth(subject), PIN),))
    assert subject.ledgers.origin(SECOND) == known, "until its roots are planted, of the stream before it too"
    assert subject.stream_gaps() == {(SECOND, label_of(ARN)): CREATED + 0.25}
    assert subject.gaps() == {}
    before = subject.everything()
    assert subject.ledgers.pin(second, ARN, CREATED + 9) == Lost(None)
    assert subject.ledgers.pin(second, THIRD, CREATED + 9) == Lost(None)
    assert subject.everything() == before


@pytest.mark.parametrize("exists", ["pin", "birth"])
def test_a_pin_that_is_lost_writes_no_gap(subject: Subject, exists: str) -> None:
    subject.ledgers.pin(PIN, None, CREATED)
    if exists == "pin":
        subject.delete_birth(ARN)
    else:
        subject.delete_pin(ARN)
    before = subject.everything()
    assert subject.ledgers.pin(PIN, SECOND, CREATED) == Lost(None)
    assert subject.everything() == before


def test_a_gap_that_is_known_stays_as_it_is(subject: Subject) -> None:
    """It must not keep a stream from being pinned after somebody deleted pin and birth row."""
    subject.ledgers.pin(PIN, SECOND, CREATED)
    subject.delete_pin(ARN)
    subject.delete_birth(ARN)
    assert subject.ledgers.pin(PIN, SECOND, CREATED + 9) == Done()
    assert subject.ledgers.origin(ARN) == Origin(PIN, birth(subject))
    assert subject.stream_gaps() == {(ARN, label_of(SECOND)): CREATED}


def test_a_complete_pin_stays_complete(subject: Subject) -> None:
    subject.ledgers.pin(PIN, None, CREATED)
    for _ in range(2):
        assert subject.ledgers.complete_pin(ARN) == Done()
        assert subject.ledgers.origin(ARN) == Origin(replace(PIN, complete=True), birth(subject))


def test_completing_makes_no_pin(subject: Subject) -> None:
    assert subject.ledgers.complete_pin(ARN) == Done()
    assert subject.ledgers.origin(ARN) == Origin(None, None)
    subject.ledgers.pin(PIN, None, CREATED)
    subject.delete_pin(ARN)
    assert subject.ledgers.complete_pin(ARN) == Done()
    assert subject.ledgers.origin(ARN) == Origin(None, birth(subject))


def test_roots_are_planted_while_the_pin_is_incomplete(subject: Subject) -> None:
    roots = (row(), row(1))
    assert subject.ledgers.plant(ARN, roots) == Lost(None), "there is no pin"
    assert subject.ledgers.load().rows == ()
    subject.ledgers.pin(PIN, None, CREATED)
    assert subject.ledgers.plant(SECOND, roots) == Lost(None), "the pin is another stream's"
    assert subject.ledgers.plant(ARN, roots) == Done()
    assert set(subject.ledgers.load().rows) == set(roots)
    subject.ledgers.complete_pin(ARN)
    subject.delete_row(shard(1))
    before = subject.everything()
    assert subject.ledgers.plant(ARN, (row(1),)) == Lost(None), "a late repetition brings no row back"
    assert subject.ledgers.plant(ARN, roots) == Lost(None)
    assert subject.everything() == before


def test_roots_that_exist_are_named_and_none_is_put(subject: Subject) -> None:
    subject.ledgers.pin(PIN, None, CREATED)
    moved = LeaseRow(shard(1), ME, 9, sequence_number(5))
    subject.ledgers.plant(ARN, (moved,))
    before = subject.everything()
    assert subject.ledgers.plant(ARN, (row(), row(1), row(2))) == Refused(existing=frozenset({"shard-1"}))
    assert subject.everything() == before
    assert subject.ledgers.plant(ARN, (row(), row(2))) == Done()
    assert set(subject.ledgers.load().rows) == {row(), moved, row(2)}


def test_as_many_roots_as_a_transaction_takes(subject: Subject) -> None:
    subject.ledgers.pin(PIN, None, CREATED)
    roots = tuple(row(number) for number in range(99))
    assert subject.ledgers.plant(ARN, roots) == Done()
    assert set(subject.ledgers.load().rows) == set(roots)
