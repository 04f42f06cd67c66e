"""A person closes a shard's circuit, once a halt, and the owner is made to look (design: 5)."""

from dataclasses import replace

from consumer.domain.audit import Trace
from consumer.domain.breaker import Circuit
from consumer.domain.leases import LeaseRow
from consumer.domain.outcomes import Done, Lost
from tests.builders import CREATED, ME, lease, row, sequence_number, shard
from tests.contract.subject import Subject

AT = sequence_number(100)
TRACE = Trace("me", CREATED + 9, "resume", str(shard()), {"outcome": "resumed"})


def halted(subject: Subject, resumes: int = 0) -> LeaseRow:
    subject.plant(replace(row(owner=ME, checkpoint=AT, created=CREATED), circuit=Circuit(resumes=resumes)))
    assert subject.commits.halt(lease(), AT, resumes, CREATED + 5) == Done()
    return now(subject)


def now(subject: Subject) -> LeaseRow:
    found = subject.row(shard())
    assert found is not None
    return found


def test_the_circuit_is_closed_and_the_owner_looks(subject: Subject) -> None:
    before = halted(subject)
    changes = subject.membership.look().changes
    assert subject.circuits.resume(before, None, "mine", TRACE) == Done()
    assert now(subject) == replace(before, circuit=Circuit(resumes=1)), "owner, epoch and checkpoint stay"
    assert subject.membership.look().changes == changes + 1
    assert subject.audit() == [TRACE]


def test_it_lets_through_what_is_told(subject: Subject) -> None:
    before = halted(subject, resumes=2)
    assert subject.circuits.resume(before, sequence_number(300), "mine", TRACE) == Done()
    assert now(subject).circuit == Circuit(free_to=sequence_number(300), resumes=3)


def test_the_same_act_asked_again_is_done(subject: Subject) -> None:
    before = halted(subject)
    assert subject.circuits.resume(before, None, "mine", TRACE) == Done()
    after = subject.everything()
    assert subject.circuits.resume(before, None, "mine", TRACE) == Done()
    assert subject.everything() == after


def test_another_one_is_told_that_it_is_closed(subject: Subject) -> None:
    before = halted(subject)
    assert subject.circuits.resume(before, None, "mine", TRACE) == Done()
    after = subject.everything()
    assert subject.circuits.resume(before, None, "other", TRACE) == Lost(now(subject))
    assert subject.everything() == after


def test_a_later_halt_is_not_closed_by_who_has_not_seen_it(subject: Subject) -> None:
    before = halted(subject)
    assert subject.circuits.resume(before, None, "other", TRACE) == Done()
    assert subject.commits.halt(lease(), AT, 1, CREATED + 50) == Done()
    after = subject.everything()
    assert subject.circuits.resume(before, sequence_number(900), "mine", TRACE) == Lost(now(subject))
    assert subject.everything() == after


def test_a_row_that_was_made_again_and_halted_again_is_another_halt(subject: Subject) -> None:
    """It counts its resumes from the beginning; a late repetition must not close what nobody has seen."""
    before = halted(subject)
    assert subject.circuits.resume(before, None, "mine", TRACE) == Done()
    subject.delete_row(shard())
    subject.plant(row(owner=ME, checkpoint=AT, created=CREATED))
    assert subject.commits.halt(lease(), AT, 0, CREATED + 50) == Done()
    after = subject.everything()
    assert subject.circuits.resume(before, None, "mine", TRACE) == Lost(now(subject))
    assert subject.everything() == after


def test_a_shard_that_is_not_halted_is_left_alone(subject: Subject) -> None:
    subject.plant(row(owner=ME, checkpoint=AT))
    before = subject.everything()
    assert subject.circuits.resume(row(owner=ME), sequence_number(300), "mine", TRACE) == Lost(now(subject))
    assert subject.everything() == before


def test_a_shard_without_a_row_is_not_made(subject: Subject) -> None:
    before = subject.everything()
    assert subject.circuits.resume(row(), None, "mine", TRACE) == Lost(None)
    assert subject.everything() == before
