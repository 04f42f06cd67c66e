"""A discard is taken back: the record is pending as before, once, and only while the discard that was read stands."""

from dataclasses import replace

import pytest

from consumer.domain.audit import AuditEntry
from consumer.domain.fold import Delta
from consumer.domain.quarantine import AlreadyResolved, Application, OperatorAction, QuarantineEntry, Unsettled
from consumer.domain.replies import Committed, Done, Refused
from tests.contract.dynamo_subject import DynamoSubject
from tests.contract.subject import Subject, unit
from tests.support.builders import CREATED, ME, game, lease, plain_rows, poison, row, sequence_number

NOW = CREATED + 3600


def action(entry: QuarantineEntry, token: str, act: str = "restore") -> OperatorAction:
    return OperatorAction(entry, token, AuditEntry("me", NOW, act, f"{entry} {token}", {}))


def entry_of(subject: Subject, number: int) -> QuarantineEntry:
    found = subject.quarantine.entry("shard-0", sequence_number(number))
    assert found is not None
    return found


@pytest.fixture
def pending(subject: Subject) -> list[QuarantineEntry]:
    subject.create_root_rows(row(owner=ME))
    poisons = unit(poison(1), poison(2))
    assert subject.commits.commit(lease(), poisons, plain_rows(poisons), fills_gap=False) == Committed()
    return [entry_of(subject, 1), entry_of(subject, 2)]


def discard(subject: Subject, entries: list[QuarantineEntry], token: str = "discard") -> list[QuarantineEntry]:
    acts = [action(entry, f"{token} {entry}", "discard") for entry in entries]
    assert subject.quarantine.discard(acts, "why") == Done()
    return [entry_of(subject, number) for number in range(1, len(entries) + 1)]


def test_the_records_are_as_before_the_discard(subject: Subject, pending: list[QuarantineEntry]) -> None:
    discarded = discard(subject, pending)
    assert subject.pending_records.count() == 0
    assert subject.quarantine.restore([action(each, f"restore {each}") for each in discarded]) == Done()
    assert [entry_of(subject, 1), entry_of(subject, 2)] == pending
    assert subject.pending_records.count() == 2
    assert sorted(entry.action for entry in subject.audit()) == ["discard", "discard", "restore", "restore"]
    application = Application(
        action(pending[0], "count", "redrive"), {"foo": Delta(1, game(1).score, game(1).date)}, {}
    )
    assert subject.quarantine.apply([application]) == Done()


def test_the_same_restore_repeated_is_done(subject: Subject, pending: list[QuarantineEntry]) -> None:
    (discarded,) = discard(subject, pending[:1])
    assert subject.quarantine.restore([action(discarded, "mine")]) == Done()
    before = subject.everything()
    assert subject.quarantine.restore([action(discarded, "mine")]) == Done()
    assert subject.everything() == before


def test_it_is_all_or_nothing(subject: Subject, pending: list[QuarantineEntry]) -> None:
    (discarded,) = discard(subject, pending[:1])
    before = subject.everything()
    reply = subject.quarantine.restore([action(discarded, "mine"), action(pending[1], "too")])
    assert reply == Unsettled({1: AlreadyResolved(pending[1])})
    assert subject.everything() == before


def test_a_restore_that_comes_late_does_not_undo_a_later_discard(
    subject: Subject, pending: list[QuarantineEntry]
) -> None:
    (discarded,) = discard(subject, pending[:1])
    assert subject.quarantine.restore([action(discarded, "mine")]) == Done()
    (again,) = discard(subject, [entry_of(subject, 1)], "again")
    before = subject.everything()
    late = replace(action(discarded, "mine"), audit_entry=AuditEntry("me", NOW + 1, "restore", "late", {}))
    assert subject.quarantine.restore([late]) == Unsettled({0: AlreadyResolved(again)})
    assert subject.everything() == before


@pytest.mark.parametrize("state", ["pending", "applied", "gone"])
def test_only_what_is_discarded_is_restored(subject: Subject, pending: list[QuarantineEntry], state: str) -> None:
    entry = pending[0]
    if state == "applied":
        count = Application(action(entry, "count", "redrive"), {"foo": Delta(1, game(1).score, game(1).date)}, {})
        assert subject.quarantine.apply([count]) == Done()
        entry = entry_of(subject, 1)
    if state == "gone":
        entry = replace(entry, sequence_number=sequence_number(9))
    before = subject.everything()
    now = None if state == "gone" else entry
    assert subject.quarantine.restore([action(entry, "mine")]) == Unsettled({0: AlreadyResolved(now)})
    assert subject.everything() == before


def test_what_is_restored_expires_no_more_and_expired_parts_are_missed(dynamo: DynamoSubject) -> None:
    dynamo.create_root_rows(row(owner=ME))
    poisons = unit(poison(1), poison(2))
    assert dynamo.commits.commit(lease(), poisons, plain_rows(poisons), fills_gap=False) == Committed()
    port = dynamo.quarantine_port(30)
    whole, broken = entry_of(dynamo, 1), entry_of(dynamo, 2)
    assert port.discard([action(each, f"discard {each}", "discard") for each in (whole, broken)], "why") == Done()
    whole, broken = entry_of(dynamo, 1), entry_of(dynamo, 2)
    assert whole.expires
    dynamo._delete(dynamo.names.quarantine, shardId="shard-0", sequenceNumber=f"{broken.sequence_number}#1")
    refused = dynamo.quarantine.restore([action(whole, "mine"), action(broken, "too")])
    assert isinstance(refused, Refused)
    assert "expired" in (refused.invalid or "")
    assert dynamo.quarantine.restore([action(whole, "mine")]) == Done()
    left = {item["sequenceNumber"]["S"] for item in dynamo.items(dynamo.names.quarantine) if "expiresAt" in item}
    assert left == {broken.sequence_number}
