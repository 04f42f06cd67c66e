"""An operator closes a shard's circuit, once per halt, and the owner notices at once (design: 5)."""

from dataclasses import replace
from decimal import Decimal

import pytest

from consumer.domain.audit import AuditEntry
from consumer.domain.breaker import Circuit, HaltReason, Symptom
from consumer.domain.fold import Delta
from consumer.domain.leases import LeaseRow
from consumer.domain.marks import ABSENT, Mark, Route, RowWrite, StoredRow
from consumer.domain.operator_ports import AcceptedMark
from consumer.domain.replies import Done, Lost, RowRefused
from tests.contract.subject import Score, Subject
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


# --- with a mark that is not known ---

DAY = "2026-01-31"
MARK = Mark("2025-01-01T00:00:00.000/shard-9", sequence_number(50), CREATED - 90)
ACCEPTED = AcceptedMark("foo", MARK)
UNKNOWN_MARK = Symptom(HaltReason.MARK_UNKNOWN, "the row has a mark", sequence_number(101), "foo")


def marked(subject: Subject, mark: Mark = MARK) -> None:
    write = RowWrite("foo", Delta(3, Decimal("1.5"), DAY), Route.INSERT, mark=mark)
    assert subject.write_row(write) == Done()


def halted_for_a_mark(subject: Subject) -> LeaseRow:
    subject.create_root_rows(row(owner=ME, checkpoint=AT, created=CREATED))
    assert subject.commits.halt(lease(), AT, 0, CREATED + 5, UNKNOWN_MARK) == Done()
    return now(subject)


def test_a_row_is_read_as_it_is(subject: Subject) -> None:
    assert subject.circuits.read_row("foo") == ABSENT
    marked(subject)
    assert subject.circuits.read_row("foo") == StoredRow(mark=MARK, date=DAY)
    found = {"foo": StoredRow(mark=MARK, date=DAY), "bar": ABSENT}
    assert subject.commits.read_rows(("foo", "bar"), consistent=True) == found


def test_the_halt_names_the_player(subject: Subject) -> None:
    assert halted_for_a_mark(subject).circuit.symptom == UNKNOWN_MARK


def test_an_accepted_mark_goes_away_and_the_numbers_stay(subject: Subject) -> None:
    marked(subject)
    before = halted_for_a_mark(subject)
    changes = subject.membership.read_members().changes
    assert subject.circuits.resume(before, None, "mine", AUDIT_ENTRY, ACCEPTED) == Done()
    assert now(subject).circuit == Circuit(resumes=1), "nothing of the halt is left"
    assert subject.circuits.read_row("foo") == StoredRow(date=DAY)
    assert subject.board() == {"foo": Score(Decimal(3), Decimal("1.5"), DAY)}
    assert subject.membership.read_members().changes == changes + 1
    assert subject.audit() == [AUDIT_ENTRY]


def test_an_accepted_mark_repeated_leaves_the_next_one_alone(subject: Subject) -> None:
    """The worker went on, and its first transaction has marked the row again when the repetition comes."""
    marked(subject)
    before = halted_for_a_mark(subject)
    assert subject.circuits.resume(before, None, "mine", AUDIT_ENTRY, ACCEPTED) == Done()
    assert subject.write_row(RowWrite("foo", Delta(1, Decimal(1), DAY), Route.FRESH, mark=MARK)) == Done()
    after = subject.everything()
    assert subject.circuits.resume(before, None, "mine", AUDIT_ENTRY, ACCEPTED) == Done()
    assert subject.everything() == after


@pytest.mark.parametrize(
    "stored", [MARK._replace(to=sequence_number(51)), MARK._replace(shard=MARK.shard + "0"), None], ids=str
)
def test_a_row_that_has_changed_keeps_its_mark_and_the_shard_its_halt(subject: Subject, stored: Mark | None) -> None:
    if stored is not None:
        marked(subject, stored)
    before = halted_for_a_mark(subject)
    unchanged = subject.everything()
    found = ABSENT if stored is None else StoredRow(mark=stored, date=DAY)
    assert subject.circuits.resume(before, None, "mine", AUDIT_ENTRY, ACCEPTED) == RowRefused(found)
    assert subject.everything() == unchanged


def test_a_halt_that_another_operator_has_closed_accepts_no_mark(subject: Subject) -> None:
    marked(subject)
    before = halted_for_a_mark(subject)
    assert subject.circuits.resume(before, None, "other", AUDIT_ENTRY) == Done()
    unchanged = subject.everything()
    assert subject.circuits.resume(before, None, "mine", AUDIT_ENTRY, ACCEPTED) == Lost(now(subject))
    assert subject.everything() == unchanged
