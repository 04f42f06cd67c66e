"""Table bindings as an operator changes them: only as binding and stream row were read, with an audit entry."""

from dataclasses import replace

import pytest

from consumer.domain.audit import AuditEntry
from consumer.domain.leases import BindingChange, Origin, StreamStart, TableBinding
from consumer.domain.replies import Done, Lost
from tests.contract.operator_subject import operator_subject
from tests.contract.subject import Subject
from tests.support.builders import ARN, CREATED

STREAM_START = StreamStart(ARN, None, ("shard-0",), complete=False)
AUDIT_ENTRY = AuditEntry("foo@host", CREATED, "init --adopt", ARN, {"birth": "removed"})


def started(subject: Subject) -> TableBinding:
    """The binding of a started stream."""
    subject.ledgers.record_stream_start(STREAM_START, None, CREATED)
    (binding,) = operator_subject(subject).reader.bindings()
    assert binding == TableBinding(ARN, *subject.names[:2])
    return binding


def test_an_orphaned_binding_is_removed(subject: Subject) -> None:
    operator, binding = operator_subject(subject), started(subject)
    subject.delete_stream_start(ARN)
    change = BindingChange(ARN, binding, None, has_stream_start=False)
    assert operator.bindings.change_binding(change, AUDIT_ENTRY) == Done()
    assert subject.ledgers.read_origin(ARN) == Origin(None, None)
    assert [row["act"] for row in operator.trail()] == ["init --adopt"]
    assert subject.ledgers.record_stream_start(STREAM_START, None, CREATED) == Done(), "a worker starts it again"


def test_a_lost_binding_is_written(subject: Subject) -> None:
    operator, binding = operator_subject(subject), started(subject)
    subject.delete_binding(ARN)
    change = BindingChange(ARN, None, binding, has_stream_start=True)
    assert operator.bindings.change_binding(change, AUDIT_ENTRY) == Done()
    assert subject.ledgers.read_origin(ARN) == Origin(STREAM_START, binding)


def test_a_binding_is_replaced(subject: Subject) -> None:
    operator, binding = operator_subject(subject), started(subject)
    other = replace(binding, leaderboard_table="another")
    change = BindingChange(ARN, binding, other, has_stream_start=True)
    assert operator.bindings.change_binding(change, AUDIT_ENTRY) == Done()
    assert subject.ledgers.read_origin(ARN) == Origin(STREAM_START, other)


@pytest.mark.parametrize("case", ["lease", "leaderboard", "stream row came", "stream row went", "binding came"])
def test_a_binding_that_is_not_as_it_was_read_stays(subject: Subject, case: str) -> None:
    operator, binding = operator_subject(subject), started(subject)
    other = replace(binding, leaderboard_table="another")
    change = {
        "lease": BindingChange(ARN, replace(binding, lease_table="another"), binding, has_stream_start=True),
        "leaderboard": BindingChange(ARN, other, binding, has_stream_start=True),
        "stream row came": BindingChange(ARN, binding, None, has_stream_start=False),
        "stream row went": BindingChange(ARN, binding, other, has_stream_start=True),
        "binding came": BindingChange(ARN, None, binding, has_stream_start=True),
    }[case]
    if case == "stream row went":
        subject.delete_stream_start(ARN)
    before = subject.everything()
    assert operator.bindings.change_binding(change, AUDIT_ENTRY) == Lost(None)
    assert subject.everything() == before
    assert operator.trail() == []
