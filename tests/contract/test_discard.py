"""A discarded record never counts; its row, its parts, and who discarded it and why, stay (design: 5)."""

from dataclasses import replace

import pytest

from consumer.domain.audit import Trace
from consumer.domain.outcomes import Committed, Done
from consumer.domain.quarantine import Act, Head, Settled, Taken
from tests.builders import CREATED, ME, lease, poison, row, sequence_number, wire
from tests.contract.subject import Subject, unit

NOW = CREATED + 3600


@pytest.fixture
def head(subject: Subject) -> Head:
    subject.plant(row(owner=ME))
    assert subject.commits.commit(lease(), unit(poison(1)), frozenset(), fills_gap=False) == Committed()
    (head,) = subject.ward.heads()
    return head


def act(head: Head, token: str = "mine", who: str = "me") -> Act:
    return Act(head, token, Trace(who, NOW, "discard", str(head), {"why": "a test"}))


def test_the_row_stays_with_who_when_and_why(subject: Subject, head: Head) -> None:
    assert subject.ward.discard(act(head), "a test") == Done()
    (now,) = subject.ward.heads()
    assert now == replace(head, state="discarded", settled=Settled("me", "2026-01-31T13:00:00.000Z", why="a test"))
    assert subject.ward.record(now) == wire(1, score=None)
    assert subject.audit() == [Trace("me", NOW, "discard", str(head), {"why": "a test"})]
    assert subject.board() == {}


def test_the_same_act_asked_again_is_done(subject: Subject, head: Head) -> None:
    assert subject.ward.discard(act(head), "a test") == Done()
    before = subject.everything()
    assert subject.ward.discard(act(head), "a test") == Done()
    assert subject.everything() == before


def test_only_what_is_pending_is_discarded(subject: Subject, head: Head) -> None:
    assert subject.ward.discard(act(head), "a test") == Done()
    before = subject.everything()
    told = subject.ward.discard(act(head, "other", "you"), "I too")
    assert isinstance(told, Taken)
    assert told.head is not None
    assert told.head.settled == Settled("me", "2026-01-31T13:00:00.000Z", why="a test")
    assert subject.everything() == before


def test_a_record_without_a_row_is_not_made(subject: Subject, head: Head) -> None:
    before = subject.everything()
    assert subject.ward.discard(act(replace(head, sequence_number=sequence_number(9))), "why") == Taken(None)
    assert subject.everything() == before
