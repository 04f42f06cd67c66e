"""An operator closes a shard's circuit, once per halt, and the owner notices at once (design: 5)."""

from dataclasses import replace

from consumer.domain.audit import AuditEntry
from consumer.domain.breaker import Circuit
from consumer.domain.leases import LeaseRow
from consumer.domain.replies import Done, Lost
from tests.contract.subject import Subject
from tests.support.builders import CREATED, ME, SYMPTOM, lease, row, sequence_number, shard

AT = sequence_number(100)
AUDIT_ENTRY = AuditEntry("me", CREATED + 9, "resume", str(shard()), {"outcome": "resumed"})


def halted(subject: Subject, resumes: int = 0) -> LeaseRow:
    subject.create_root_rows(replace(row(owner=ME, checkpoint=AT, created=CREATED), circuit=Circuit(resumes=resumes)))
    assert subject.commits.halt(lease(), AT, resumes, CREATED + 5, SYMPTOM) == Done()
    return now(subject)


def now(subject: Subject) -> LeaseRow:
    found = subject.row(shard())
    assert found is not None
    return found


def test_the_circuit_is_closed_and_the_counter_of_changes_raised(subject: Subject) -> None:
    before = halted(subject)
    changes = subject.membership.read_members().changes
    assert subject.circuits.resume(before, None, "mine", AUDIT_ENTRY) == Done()
    assert now(subject) == replace(before, circuit=Circuit(resumes=1)), "owner, epoch and checkpoint stay"
    assert subject.membership.read_members().changes == changes + 1
    assert subject.audit() == [AUDIT_ENTRY]


def test_it_lets_all_records_up_to_a_position_pass(subject: Subject) -> None:
    before = halted(subject, resumes=2)
    assert subject.circuits.resume(before, sequence_number(300), "mine", AUDIT_ENTRY) == Done()
    assert now(subject).circuit == Circuit(free_to=sequence_number(300), resumes=3)


def test_the_same_action_repeated_is_done(subject: Subject) -> None:
    before = halted(subject)
    assert subject.circuits.resume(before, None, "mine", AUDIT_ENTRY) == Done()
    after = subject.everything()
    assert subject.circuits.resume(before, None, "mine", AUDIT_ENTRY) == Done()
    assert subject.everything() == after


def test_another_action_on_a_closed_circuit_is_lost(subject: Subject) -> None:
    before = halted(subject)
    assert subject.circuits.resume(before, None, "mine", AUDIT_ENTRY) == Done()
    after = subject.everything()
    assert subject.circuits.resume(before, None, "other", AUDIT_ENTRY) == Lost(now(subject))
    assert subject.everything() == after


def test_a_later_halt_is_not_closed_by_an_action_on_an_earlier_one(subject: Subject) -> None:
    before = halted(subject)
    assert subject.circuits.resume(before, None, "other", AUDIT_ENTRY) == Done()
    assert subject.commits.halt(lease(), AT, 1, CREATED + 50, SYMPTOM) == Done()
    after = subject.everything()
    assert subject.circuits.resume(before, sequence_number(900), "mine", AUDIT_ENTRY) == Lost(now(subject))
    assert subject.everything() == after


def test_a_row_that_was_made_again_and_halted_again_is_another_halt(subject: Subject) -> None:
    """It counts its resumes from the beginning; a late repetition must not close a halt that no operator has seen."""
    before = halted(subject)
    assert subject.circuits.resume(before, None, "mine", AUDIT_ENTRY) == Done()
    subject.delete_row(shard())
    subject.create_root_rows(row(owner=ME, checkpoint=AT, created=CREATED))
    assert subject.commits.halt(lease(), AT, 0, CREATED + 50, SYMPTOM) == Done()
    after = subject.everything()
    assert subject.circuits.resume(before, None, "mine", AUDIT_ENTRY) == Lost(now(subject))
    assert subject.everything() == after


def test_a_shard_that_is_not_halted_stays_as_it_is(subject: Subject) -> None:
    subject.create_root_rows(row(owner=ME, checkpoint=AT))
    before = subject.everything()
    assert subject.circuits.resume(row(owner=ME), sequence_number(300), "mine", AUDIT_ENTRY) == Lost(now(subject))
    assert subject.everything() == before


def test_a_shard_without_a_row_is_not_made(subject: Subject) -> None:
    before = subject.everything()
    assert subject.circuits.resume(row(), None, "mine", AUDIT_ENTRY) == Lost(None)
    assert subject.everything() == before
