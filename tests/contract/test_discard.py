"""A discarded record never counts. Its row and parts stay, with the operator and the reason (design: 5)."""

from dataclasses import replace

import pytest

from consumer.domain.audit import AuditEntry
from consumer.domain.quarantine import AlreadyResolved, OperatorAction, QuarantineEntry, Resolution, Unsettled
from consumer.domain.replies import Committed, Done
from tests.contract.subject import Subject, unit
from tests.support.builders import CREATED, ME, commit_plain, lease, poison, row, sequence_number, wire

NOW = CREATED + 3600


@pytest.fixture
def entry(subject: Subject) -> QuarantineEntry:
    subject.create_root_rows(row(owner=ME))
    assert commit_plain(subject.commits, lease(), unit(poison(1))) == Committed()
    (entry,) = subject.quarantine.entries()
    return entry


def action(entry: QuarantineEntry, token: str = "mine", who: str = "me") -> OperatorAction:
    return OperatorAction(entry, token, AuditEntry(who, NOW, "discard", str(entry), {"why": "a test"}))


def test_the_row_stays_with_the_operator_the_time_and_the_reason(subject: Subject, entry: QuarantineEntry) -> None:
    assert subject.quarantine.discard([action(entry)], "a test") == Done()
    (now,) = subject.quarantine.entries()
    assert now == replace(
        entry, state="discarded", resolution=Resolution("me", "2026-01-31T13:00:00.000Z", why="a test")
    )
    assert subject.quarantine.records([now]) == [wire(1, score=None)]
    assert subject.audit() == [AuditEntry("me", NOW, "discard", str(entry), {"why": "a test"})]
    assert subject.board() == {}


def test_the_same_action_repeated_is_done(subject: Subject, entry: QuarantineEntry) -> None:
    assert subject.quarantine.discard([action(entry)], "a test") == Done()
    before = subject.everything()
    assert subject.quarantine.discard([action(entry)], "a test") == Done()
    assert subject.everything() == before


def test_only_what_is_pending_is_discarded(subject: Subject, entry: QuarantineEntry) -> None:
    assert subject.quarantine.discard([action(entry)], "a test") == Done()
    before = subject.everything()
    reply = subject.quarantine.discard([action(entry, "other", "you")], "I too")
    assert isinstance(reply, Unsettled)
    found = reply.replies[0]
    assert isinstance(found, AlreadyResolved)
    assert found.entry is not None
    assert found.entry.resolution == Resolution("me", "2026-01-31T13:00:00.000Z", why="a test")
    assert subject.everything() == before


def test_a_record_without_a_row_is_not_made(subject: Subject, entry: QuarantineEntry) -> None:
    before = subject.everything()
    gone = action(replace(entry, sequence_number=sequence_number(9)))
    assert subject.quarantine.discard([gone], "why") == Unsettled({0: AlreadyResolved(None)})
    assert subject.everything() == before
