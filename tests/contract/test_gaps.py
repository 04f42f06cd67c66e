"""A gap has one row; the first unit that is committed after it says where it ends; operators acknowledge it once."""

from dataclasses import replace

import pytest

from consumer.domain.audit import AuditEntry
from consumer.domain.leases import TRIM_HORIZON, LeaseRow, StreamStart, label_of
from consumer.domain.operator_ports import Acknowledgement, Gap, GapChanged
from consumer.domain.replies import Committed, Done, Lost
from tests.contract.dynamo_subject import DynamoSubject
from tests.contract.operator_subject import OperatorSubject, operator_subject
from tests.contract.subject import Subject, unit
from tests.support.builders import (
    ARN,
    CREATED,
    ME,
    OTHER,
    commit_plain,
    game,
    ignored,
    lease,
    plain_rows,
    row,
    sequence_number,
    shard,
)


def test_a_gap_is_recorded_once(subject: Subject) -> None:
    assert subject.commits.record_gap(shard(), sequence_number(5), CREATED) is True
    before = subject.everything()
    assert subject.commits.record_gap(shard(), sequence_number(5), CREATED + 100) is False
    assert subject.everything() == before
    assert subject.commits.record_gap(shard(), sequence_number(9), CREATED) is True
    assert subject.commits.record_gap(shard(1), sequence_number(5), CREATED) is True
    assert subject.commits.record_gap(shard(), TRIM_HORIZON, CREATED) is True
    assert subject.gaps() == {
        (shard(), sequence_number(5)): None,
        (shard(), sequence_number(9)): None,
        (shard(1), sequence_number(5)): None,
        (shard(), TRIM_HORIZON): None,
    }


@pytest.mark.parametrize("checkpoint", [TRIM_HORIZON, sequence_number(5)])
def test_the_first_unit_after_a_gap_fills_it_once(subject: Subject, checkpoint: str) -> None:
    subject.create_root_rows(row(owner=ME, checkpoint=checkpoint))
    subject.commits.record_gap(shard(), checkpoint, CREATED)
    subject.commits.record_gap(shard(1), checkpoint, CREATED)
    games = unit(ignored(700), game(701), previous=checkpoint)
    assert subject.commits.commit(lease(), games, plain_rows(games), fills_gap=True) == Committed()
    filled = {(shard(), checkpoint): sequence_number(700), (shard(1), checkpoint): None}
    assert subject.gaps() == filled

    subject.delete_row(shard())
    subject.create_root_rows(row(owner=ME, checkpoint=checkpoint))
    later = unit(game(800), previous=checkpoint)
    assert subject.commits.commit(lease(), later, plain_rows(later), fills_gap=True) == Committed()
    assert subject.gaps() == filled
    assert subject.commits.record_gap(shard(), checkpoint, CREATED) is False
    assert subject.gaps() == filled


def test_a_unit_that_fills_none_leaves_it_open(subject: Subject) -> None:
    subject.create_root_rows(row(owner=ME))
    subject.commits.record_gap(shard(), TRIM_HORIZON, CREATED)
    assert commit_plain(subject.commits, lease(), unit(game(1))) == Committed()
    assert subject.gaps() == {(shard(), TRIM_HORIZON): None}


def test_a_gap_row_that_was_deleted_is_made_whole_again(subject: Subject) -> None:
    """Never a row that says where a gap ends, but not where it begins."""
    subject.create_root_rows(row(owner=ME))
    subject.commits.record_gap(shard(), TRIM_HORIZON, CREATED)
    subject.delete_gap(shard(), TRIM_HORIZON)
    assert commit_plain(subject.commits, lease(), unit(game(1)), fills_gap=True) == Committed()
    assert subject.gaps() == {(shard(), TRIM_HORIZON): sequence_number(1)}


@pytest.mark.parametrize(
    "stored",
    [
        None,
        row(owner=None),
        row(owner=OTHER, epoch=8),
        row(owner=ME, epoch=8),
        row(owner=ME, checkpoint=sequence_number(5)),
    ],
)
def test_only_the_owner_records_a_gap_after_its_checkpoint(subject: Subject, stored: LeaseRow | None) -> None:
    """A worker that was paused may find trimmed what another one has long committed."""
    subject.create_root_rows(row(9))
    if stored is not None:
        subject.create_root_rows(stored)
    before = subject.everything()
    assert subject.commits.record_gap(shard(), TRIM_HORIZON, CREATED, lease()) == Lost(stored)
    assert subject.everything() == before


def test_the_owner_records_a_gap_once(subject: Subject) -> None:
    subject.create_root_rows(row(owner=ME))
    assert subject.commits.record_gap(shard(), TRIM_HORIZON, CREATED, lease()) is True
    assert subject.commits.record_gap(shard(), TRIM_HORIZON, CREATED + 1, lease()) is False
    assert subject.gaps() == {(shard(), TRIM_HORIZON): None}


# --- acknowledged ---


def recorded(subject: Subject) -> tuple[OperatorSubject, Gap]:
    assert subject.commits.record_gap(shard(), sequence_number(5), CREATED) is True
    operator = operator_subject(subject)
    (gap,) = operator.reader.gaps()
    assert gap.acknowledged is None
    return operator, gap


def audit_entry(gap: Gap, who: str = "me") -> AuditEntry:
    return AuditEntry(who, CREATED, "gaps acknowledge", gap.name, {"why": "nothing was written"})


def test_a_gap_is_acknowledged_once_with_its_operator_and_the_reason(subject: Subject) -> None:
    operator, gap = recorded(subject)
    assert operator.gaps.acknowledge(gap, "nothing was written", "mine", audit_entry(gap)) == Done()
    acknowledged = replace(gap, acknowledged=Acknowledgement("me", "2026-01-31T12:00:00.000Z", "nothing was written"))
    assert operator.reader.gaps() == (acknowledged,)
    before = subject.everything()
    assert operator.gaps.acknowledge(gap, "nothing was written", "mine", audit_entry(gap)) == Done(), "a lost reply"
    assert operator.gaps.acknowledge(gap, "I too", "other", audit_entry(gap, "you")) == GapChanged(acknowledged)
    assert subject.everything() == before
    assert [(row["who"], row["act"], row["target"]) for row in operator.trail()] == [
        ("me", "gaps acknowledge", gap.name)
    ]


def test_a_gap_stays_acknowledged_when_it_is_found_again_and_filled(subject: Subject) -> None:
    subject.create_root_rows(row(owner=ME, checkpoint=sequence_number(5)))
    operator, gap = recorded(subject)
    operator.gaps.acknowledge(gap, "why", "mine", audit_entry(gap))
    assert subject.commits.record_gap(shard(), sequence_number(5), CREATED + 9) is False
    games = unit(game(7), previous=sequence_number(5))
    assert subject.commits.commit(lease(), games, plain_rows(games), fills_gap=True) == Committed()
    (now,) = operator.reader.gaps()
    assert now.end == sequence_number(7)
    assert now.acknowledged == Acknowledgement("me", "2026-01-31T12:00:00.000Z", "why")


def test_a_gap_whose_row_is_gone_is_not_made_again(subject: Subject) -> None:
    operator, gap = recorded(subject)
    subject.delete_gap(shard(), sequence_number(5))
    before = subject.everything()
    assert operator.gaps.acknowledge(gap, "why", "mine", audit_entry(gap)) == GapChanged(None)
    assert subject.everything() == before
    assert operator.trail() == []


def test_the_gap_between_two_streams_is_acknowledged_by_its_name(dynamo: DynamoSubject) -> None:
    older = ARN.replace("2026-01-01", "2025-12-31")
    dynamo.ledgers.record_stream_start(StreamStart(ARN, None, (), complete=False), older, CREATED)
    operator = operator_subject(dynamo)
    (gap,) = operator.reader.gaps()
    assert gap.name == f"{label_of(ARN)}/{label_of(older)}"
    assert operator.gaps.acknowledge(gap, "why", "mine", audit_entry(gap)) == Done()
    (now,) = operator.reader.gaps()
    assert now.acknowledged is not None
