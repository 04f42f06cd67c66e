"""A shard's row as an operator changes it: only as it was read, with an audit entry, and so that workers notice."""

from dataclasses import replace

import pytest

from consumer.domain.accepted_rules import UNNUMBERED
from consumer.domain.audit import AuditEntry
from consumer.domain.breaker import Circuit
from consumer.domain.leases import SHARD_END, TRIM_HORIZON, LeaseRow, StreamStart
from consumer.domain.membership import HeartbeatReport
from consumer.domain.replies import Done, Lost
from tests.contract.operator_subject import operator_subject
from tests.contract.subject import Subject
from tests.support.builders import ARN, CREATED, ME, OTHER, SYMPTOM, finished, lease, row, sequence_number, shard

AT = sequence_number(5)
AUDIT_ENTRY = AuditEntry(
    "arn:aws:iam::1:user/foo", CREATED, "checkpoint set", str(shard()), {"from": AT, "to": TRIM_HORIZON}
)
READ = row(owner=OTHER, epoch=7, checkpoint=AT, created=CREATED, parent=8)
AFTER = replace(READ, owner=None, epoch=1_769_860_800, checkpoint=sequence_number(3), circuit=Circuit(resumes=1))


def test_a_row_changes_with_its_audit_entry_and_the_counter_of_changes(subject: Subject) -> None:
    operator = operator_subject(subject)
    subject.create_root_rows(READ, row(1, owner=ME))
    changes = subject.membership.read_members().changes
    assert operator.lease_admin.place(READ, AFTER, AUDIT_ENTRY) == Done()
    assert subject.row(shard()) == AFTER
    assert subject.row(shard(1)) == row(1, owner=ME)
    assert subject.membership.read_members().changes == changes + 1
    assert operator.trail() == [
        {
            "at": "2026-01-31T12:00:00.000Z",
            "who": AUDIT_ENTRY.who,
            "act": AUDIT_ENTRY.action,
            "target": AUDIT_ENTRY.target,
            **AUDIT_ENTRY.detail,
        }
    ]


def test_the_circuit_is_closed(subject: Subject) -> None:
    operator = operator_subject(subject)
    subject.create_root_rows(row(owner=ME, checkpoint=AT))
    assert subject.commits.halt(lease(), AT, 0, CREATED, SYMPTOM) == Done()
    read = subject.row(shard())
    assert read is not None
    assert read.circuit.halted_at == CREATED
    after = replace(read, owner=None, epoch=9, created=CREATED, circuit=Circuit(resumes=1))
    assert operator.lease_admin.place(read, after, AUDIT_ENTRY) == Done()
    assert subject.row(shard()) == after
    assert subject.commits.halt(lease(), AT, 0, CREATED, SYMPTOM) == Lost(after), "a halt decided before"


def test_a_released_row_is_changed(subject: Subject) -> None:
    operator = operator_subject(subject)
    read = replace(READ, owner=None)
    subject.create_root_rows(read)
    assert operator.lease_admin.place(read, AFTER, AUDIT_ENTRY) == Done()
    assert subject.row(shard()) == AFTER


@pytest.mark.parametrize(
    "stored",
    [
        replace(READ, owner=ME),
        replace(READ, owner=None),
        replace(READ, epoch=8),
        replace(READ, checkpoint=sequence_number(6)),
        None,
    ],
    ids=["owner", "released", "epoch", "checkpoint", "gone"],
)
def test_a_row_that_is_not_as_it_was_read_stays(subject: Subject, stored: LeaseRow | None) -> None:
    operator = operator_subject(subject)
    subject.create_root_rows(row(1), *([stored] if stored else []))
    before = subject.everything()
    assert operator.lease_admin.place(READ, AFTER, AUDIT_ENTRY) == Lost(stored)
    assert subject.everything() == before
    assert operator.trail() == []


def test_a_row_that_was_claimed_meanwhile_stays(subject: Subject) -> None:
    operator = operator_subject(subject)
    read = replace(READ, owner=None)
    subject.create_root_rows(read)
    claimed = subject.ledgers.claim(read, lease(epoch=8), UNNUMBERED)
    assert operator.lease_admin.place(read, AFTER, AUDIT_ENTRY) == Lost(
        claimed if isinstance(claimed, LeaseRow) else None
    )
    assert subject.row(shard()) == claimed


@pytest.mark.parametrize(
    "made",
    [
        row(epoch=1_769_860_800, checkpoint=AT, created=CREATED, parent=8),
        row(epoch=1_769_860_800, checkpoint=TRIM_HORIZON, created=CREATED),
        replace(finished(0, 1, 2), created=CREATED),
    ],
    ids=["position", "horizon", "end"],
)
def test_a_missing_row_is_made_again(subject: Subject, made: LeaseRow) -> None:
    operator = operator_subject(subject)
    subject.create_root_rows(row(1))
    assert operator.lease_admin.place(None, made, AUDIT_ENTRY) == Done()
    assert subject.row(shard()) == made
    assert (made.checkpoint == SHARD_END) is made.finished
    assert len(operator.trail()) == 1


def test_a_row_that_is_there_again_is_not_made(subject: Subject) -> None:
    operator = operator_subject(subject)
    subject.create_root_rows(READ)
    before = subject.everything()
    assert operator.lease_admin.place(None, replace(AFTER, circuit=Circuit()), AUDIT_ENTRY) == Lost(READ)
    assert subject.everything() == before


def test_no_row_is_made_in_a_table_without_the_streams_row(subject: Subject) -> None:
    """It was emptied since: a late repetition would leave this row alone in it."""
    operator = operator_subject(subject)
    subject.ledgers.record_stream_start(
        StreamStart(ARN.replace("2026-01-01", "2026-02-02"), None, (), complete=True), None, CREATED
    )
    before = subject.everything()
    assert operator.lease_admin.place(None, replace(AFTER, circuit=Circuit()), AUDIT_ENTRY) == Lost(None)
    assert subject.everything() == before
    assert operator.trail() == []


def test_members_and_the_servers_time(subject: Subject) -> None:
    operator = operator_subject(subject)
    members, now = operator.lease_admin.read_members()
    assert members.workers == {}
    report = HeartbeatReport(3, 2, 1, 12.5, CREATED)
    subject.membership.send_heartbeat(ME, report, joining=True, bump=True)
    members, later = operator.lease_admin.read_members()
    assert members.workers == {ME: report}
    assert members.changes == 1
    assert 1_700_000_000 < now <= later
