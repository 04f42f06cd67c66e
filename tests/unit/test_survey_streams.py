"""Surveys of finished rows that may go, and of streams that are switched off and on."""

from dataclasses import replace

import pytest

from consumer.domain.errors import UnsafeRefused
from consumer.domain.leases import Birth, Origin
from consumer.domain.outcomes import Done, Lost
from consumer.worker import events
from consumer.worker.calls import (
    CompletePin,
    FindOrigin,
    FindStream,
    Forget,
    ListShards,
    Mark,
    PinStream,
    Plant,
    Reply,
)
from consumer.worker.survey import PATIENCE, SURVEY_SECONDS
from tests.builders import ARN, CREATED, build_shards, finished, row, shard
from tests.enquiry import LATER, LONG_AGO, MISSING, SINCE, TABLES, Enquiry, listed, pin
from tests.talks import NO_ANSWER, kinds

# --- finished rows that go ---


def test_a_row_is_forgotten_with_the_roots_as_they_are_then() -> None:
    rows = [finished(number, unlisted_since=LONG_AGO) for number in (0, 1)]
    enquiry = Enquiry(*rows, row(2), pins=(pin(0, 1, 2),)).survey(listed((2, None)))
    first = enquiry.call(Forget)
    assert first == Forget(rows[0], pin(0, 1, 2))
    assert enquiry.tell(first, Done()) == [events.RowForgotten(shard(0))]
    second = enquiry.call(Forget)
    assert second == Forget(rows[1], pin(1, 2)), "the first one has left the list"
    assert enquiry.tell(second, Lost(None)) == [events.LedgerSurprised()]


def test_a_row_that_is_no_root_leaves_the_pin_alone() -> None:
    old = finished(1, parent=0, unlisted_since=LONG_AGO)
    enquiry = Enquiry(old, row(2), pins=(pin(2),)).survey(listed((2, None)))
    assert enquiry.call(Forget) == Forget(old, None)


def test_a_finished_row_is_marked_with_the_servers_time() -> None:
    enquiry = Enquiry(finished(0), row(1), pins=(pin(0, 1),)).survey(listed((1, None)))
    mark = enquiry.call(Mark)
    assert mark == Mark(finished(0), CREATED)
    assert enquiry.tell(mark, Done()) == []


# --- streams ---

OLD = (Birth(ARN, *TABLES), pin(0))


def found() -> Enquiry:
    """A survey has found a new stream; the old one is listed."""
    enquiry = Enquiry(row(0))
    enquiry.answer(FindStream, LATER)
    assert enquiry.call(ListShards) == ListShards(ARN), "the streams that are known come first"
    enquiry.tell(ListShards(ARN), build_shards(1, {}))
    return enquiry


def test_a_new_stream_is_pinned_step_by_step_and_the_survey_waits_for_it() -> None:
    enquiry = found()
    enquiry.machine.ended(shard(0), ("shard-1",), SINCE, enquiry.now - 10.0)
    origin = enquiry.call(FindOrigin)
    assert origin == FindOrigin(LATER)
    enquiry.tell(origin, Origin(None, None, (OLD,)))
    listing = replace(build_shards(1, {}), stream_arn=LATER)
    assert enquiry.answer(ListShards, listing) == [], "it is the pinning's, no survey's"
    pinned = pin(0, arn=LATER, complete=False)
    assert enquiry.answer(PinStream, Done()) == [events.StreamPinned(LATER, None, pinned.roots, ARN)]
    enquiry.wait(SURVEY_SECONDS)
    enquiry.answer(Plant, Done())
    assert enquiry.answer(CompletePin, Done()) == [events.LedgerSurprised()]
    assert enquiry.asks(FindStream), "it had to wait"


def test_a_pinning_that_fails_for_long_is_left_to_the_next_survey() -> None:
    enquiry = found()
    for attempt in range(1, PATIENCE + 1):
        assert kinds(enquiry.answer(FindOrigin, NO_ANSWER)) == ["RetryScheduled"]
        enquiry.wait(attempt)
    assert enquiry.answer(FindOrigin, NO_ANSWER) == []
    assert enquiry.asks(FindStream), "soon"


def test_a_new_stream_that_belongs_to_other_tables_ends_the_worker() -> None:
    enquiry = found()
    with pytest.raises(UnsafeRefused):
        enquiry.answer(FindOrigin, Origin(None, Birth(LATER, *TABLES)))


def test_a_pinning_that_another_worker_began_is_completed() -> None:
    enquiry = Enquiry(row(0), pins=(pin(0), pin(0, arn=LATER, complete=False)))
    enquiry.answer(FindStream, ARN)
    for arn in (ARN, LATER):
        enquiry.answer(ListShards, replace(build_shards(1, {}), stream_arn=arn))
    assert enquiry.call(FindOrigin) == FindOrigin(LATER)


def test_an_old_answer_that_names_a_stream_of_before_starts_nothing() -> None:
    enquiry = Enquiry(pins=(pin(), pin(arn=LATER)))
    enquiry.answer(FindStream, ARN.replace("2026-01-01", "2026-01-15"))
    for arn in (ARN, LATER):
        assert enquiry.call(ListShards) == ListShards(arn)
        enquiry.tell(ListShards(arn), replace(build_shards(0, {}), stream_arn=arn))
    assert not enquiry.look()


@pytest.mark.parametrize(("newest", "again"), [(LATER, False), (ARN, True), (MISSING, True)], ids=str)
def test_a_stream_that_is_gone_is_not_asked_again_once_there_is_a_later_one(newest: Reply, again: bool) -> None:
    enquiry = Enquiry(pins=(pin(), pin(arn=LATER)))
    asked: list[str] = []
    for _ in range(2):
        enquiry.answer(FindStream, newest)
        while enquiry.asks(ListShards):
            arn = enquiry.call(ListShards).stream_arn
            asked.append(arn)
            enquiry.tell(ListShards(arn), MISSING if arn == ARN else replace(build_shards(0, {}), stream_arn=LATER))
        enquiry.wait(SURVEY_SECONDS)
    assert asked == ([ARN, LATER, ARN, LATER] if again else [ARN, LATER, LATER])
