"""How a stream starts: its row, its table binding, and the rows of the root shards."""

from dataclasses import replace

import pytest

from consumer.domain.leases import LeaseRow, Origin, StreamStart, TableBinding, label_of, table_arn_of
from consumer.domain.records import Rules
from consumer.domain.replies import Done, Lost, Refused
from tests.contract.subject import Subject
from tests.support.builders import ARN, CREATED, ME, row, sequence_number, shard

SECOND = ARN.replace("2026-01-01", "2026-02-02")
THIRD = ARN.replace("2026-01-01", "2026-03-03")
STREAM_START = StreamStart(ARN, 1_769_860_800.0, ("shard-0", "shard-1"), complete=False)


def binding(subject: Subject, stream_arn: str = ARN) -> TableBinding:
    """The binding to the subject's tables."""
    return TableBinding(stream_arn, *subject.names[:2])


def test_nothing_is_known_of_a_new_stream(subject: Subject) -> None:
    assert subject.ledgers.read_origin(ARN) == Origin(None, None, ())


@pytest.mark.parametrize("start_time", [None, 0.0, 1_769_860_800.0, 1_769_860_800.125])
@pytest.mark.parametrize("roots", [(), ("shard-0",), tuple(f"shard-{number}" for number in range(150))])
def test_stream_row_and_binding_come_together(
    subject: Subject, start_time: float | None, roots: tuple[str, ...]
) -> None:
    stream_start = StreamStart(ARN, start_time, roots, complete=False)
    assert subject.ledgers.record_stream_start(stream_start, None, CREATED) == Done()
    assert subject.ledgers.read_origin(ARN) == Origin(stream_start, binding(subject))
    (found,) = subject.ledgers.load().stream_starts
    assert (found, found.started_at) == (stream_start, CREATED)


def test_a_second_stream_start_is_lost(subject: Subject) -> None:
    """It must not move the start time."""
    subject.ledgers.record_stream_start(STREAM_START, None, CREATED)
    before = subject.everything()
    assert subject.ledgers.record_stream_start(STREAM_START, None, CREATED) == Lost(None)
    assert subject.ledgers.record_stream_start(replace(STREAM_START, start_time=None, roots=()), None, CREATED) == Lost(
        None
    )
    assert subject.everything() == before


def test_a_binding_without_its_stream_row_is_read_and_stays(subject: Subject) -> None:
    subject.ledgers.record_stream_start(STREAM_START, None, CREATED)
    subject.delete_stream_start(ARN)
    assert subject.ledgers.read_origin(ARN) == Origin(None, binding(subject))
    before = subject.everything()
    assert subject.ledgers.record_stream_start(STREAM_START, None, CREATED) == Lost(None)
    assert subject.everything() == before


def test_a_stream_row_without_its_binding_is_read_and_stays(subject: Subject) -> None:
    subject.ledgers.record_stream_start(STREAM_START, None, CREATED)
    subject.delete_binding(ARN)
    assert subject.ledgers.read_origin(ARN) == Origin(STREAM_START, None)
    before = subject.everything()
    assert subject.ledgers.record_stream_start(STREAM_START, None, CREATED) == Lost(None)
    assert subject.everything() == before


def test_streams_with_other_labels_start_independently(subject: Subject) -> None:
    """A new stream reads the others' bindings, and their stream rows where they exist."""
    subject.ledgers.record_stream_start(STREAM_START, None, CREATED)
    subject.ledgers.record_stream_start(StreamStart(SECOND, None, (), complete=False), None, CREATED)
    subject.ledgers.complete_stream_start(SECOND)
    subject.delete_stream_start(ARN)
    origin = subject.ledgers.read_origin(THIRD)
    assert (origin.stream_start, origin.binding) == (None, None)
    assert set(origin.others) == {
        (binding(subject), None),
        (binding(subject, SECOND), StreamStart(SECOND, None, (), complete=True)),
    }
    assert len(origin.others) == 2
    assert subject.ledgers.read_origin(SECOND) == Origin(
        StreamStart(SECOND, None, (), complete=True), binding(subject, SECOND)
    )


def test_a_stream_after_another_starts_with_the_gap_between_them(subject: Subject) -> None:
    subject.ledgers.record_stream_start(STREAM_START, None, CREATED)
    assert subject.stream_gaps() == {}
    second = StreamStart(SECOND, None, ("shard-0",), complete=False)
    assert subject.ledgers.record_stream_start(second, ARN, CREATED + 0.25) == Done()
    known = Origin(second, binding(subject, SECOND), ((binding(subject), STREAM_START),))
    assert subject.ledgers.read_origin(SECOND) == known, "until its root rows exist, the stream before it too"
    assert subject.stream_gaps() == {(SECOND, label_of(ARN)): CREATED + 0.25}
    assert subject.gaps() == {}
    before = subject.everything()
    assert subject.ledgers.record_stream_start(second, ARN, CREATED + 9) == Lost(None)
    assert subject.ledgers.record_stream_start(second, THIRD, CREATED + 9) == Lost(None)
    assert subject.everything() == before


@pytest.mark.parametrize("exists", ["stream row", "binding"])
def test_a_stream_start_that_is_lost_writes_no_gap(subject: Subject, exists: str) -> None:
    subject.ledgers.record_stream_start(STREAM_START, None, CREATED)
    if exists == "stream row":
        subject.delete_binding(ARN)
    else:
        subject.delete_stream_start(ARN)
    before = subject.everything()
    assert subject.ledgers.record_stream_start(STREAM_START, SECOND, CREATED) == Lost(None)
    assert subject.everything() == before


def test_a_known_gap_stays_as_it_is(subject: Subject) -> None:
    """It must not keep a stream from starting again after its row and its binding were deleted."""
    subject.ledgers.record_stream_start(STREAM_START, SECOND, CREATED)
    subject.delete_stream_start(ARN)
    subject.delete_binding(ARN)
    assert subject.ledgers.record_stream_start(STREAM_START, SECOND, CREATED + 9) == Done()
    assert subject.ledgers.read_origin(ARN) == Origin(STREAM_START, binding(subject))
    assert subject.stream_gaps() == {(ARN, label_of(SECOND)): CREATED}


def test_a_complete_stream_start_stays_complete(subject: Subject) -> None:
    subject.ledgers.record_stream_start(STREAM_START, None, CREATED)
    for _ in range(2):
        assert subject.ledgers.complete_stream_start(ARN) == Done()
        assert subject.ledgers.read_origin(ARN) == Origin(replace(STREAM_START, complete=True), binding(subject))


def test_completing_makes_no_stream_row(subject: Subject) -> None:
    assert subject.ledgers.complete_stream_start(ARN) == Done()
    assert subject.ledgers.read_origin(ARN) == Origin(None, None)
    subject.ledgers.record_stream_start(STREAM_START, None, CREATED)
    subject.delete_stream_start(ARN)
    assert subject.ledgers.complete_stream_start(ARN) == Done()
    assert subject.ledgers.read_origin(ARN) == Origin(None, binding(subject))


def test_root_rows_are_created_while_the_stream_start_is_incomplete(subject: Subject) -> None:
    roots = (row(), row(1))
    assert subject.ledgers.create_root_rows(ARN, roots) == Lost(None), "the stream has not started"
    assert subject.ledgers.load().rows == ()
    subject.ledgers.record_stream_start(STREAM_START, None, CREATED)
    assert subject.ledgers.create_root_rows(SECOND, roots) == Lost(None), "another stream has started"
    assert subject.ledgers.create_root_rows(ARN, roots) == Done()
    assert set(subject.ledgers.load().rows) == set(roots)
    subject.ledgers.complete_stream_start(ARN)
    subject.delete_row(shard(1))
    before = subject.everything()
    assert subject.ledgers.create_root_rows(ARN, (row(1),)) == Lost(None), "a late repetition brings no row back"
    assert subject.ledgers.create_root_rows(ARN, roots) == Lost(None)
    assert subject.everything() == before


def test_root_rows_that_exist_are_named_and_none_is_put(subject: Subject) -> None:
    subject.ledgers.record_stream_start(STREAM_START, None, CREATED)
    moved = LeaseRow(shard(1), ME, 9, sequence_number(5))
    subject.ledgers.create_root_rows(ARN, (moved,))
    before = subject.everything()
    assert subject.ledgers.create_root_rows(ARN, (row(), row(1), row(2))) == Refused(existing=frozenset({"shard-1"}))
    assert subject.everything() == before
    assert subject.ledgers.create_root_rows(ARN, (row(), row(2))) == Done()
    assert set(subject.ledgers.load().rows) == {row(), moved, row(2)}


def test_as_many_roots_as_a_transaction_takes(subject: Subject) -> None:
    subject.ledgers.record_stream_start(STREAM_START, None, CREATED)
    roots = tuple(row(number) for number in range(99))
    assert subject.ledgers.create_root_rows(ARN, roots) == Done()
    assert set(subject.ledgers.load().rows) == set(roots)


# --- the source table ---

OTHER_SOURCE = SECOND.replace("table/", "table/another-")


def test_the_first_rules_name_the_source_and_one_of_another_table_is_lost(subject: Subject) -> None:
    assert subject.ledgers.read_origin(ARN).sources == frozenset()
    subject.ledgers.record_stream_start(STREAM_START, None, CREATED, Rules())
    assert subject.ledgers.read_origin(OTHER_SOURCE).sources == {table_arn_of(ARN)}
    before = subject.everything()
    other = StreamStart(OTHER_SOURCE, None, (), complete=False)
    assert subject.ledgers.record_stream_start(other, None, CREATED, Rules()) == Lost(None)
    assert subject.everything() == before
    again = StreamStart(SECOND, None, (), complete=False)
    assert subject.ledgers.record_stream_start(again, None, CREATED) == Done(), "another stream of the same table"


def test_the_source_is_known_without_a_binding(subject: Subject) -> None:
    """Another installation may name the same lease table and a quarantine table of its own."""
    subject.ledgers.record_stream_start(STREAM_START, None, CREATED, Rules())
    subject.delete_binding(ARN)
    assert subject.ledgers.read_origin(OTHER_SOURCE).sources == {table_arn_of(ARN)}
