"""The surveyor, call by call: what it asks in which order, and what it makes of the answers."""

from dataclasses import replace
from math import inf

import pytest

from consumer.domain.errors import Trouble, TroubleKind
from consumer.domain.leases import LeaseRow
from consumer.domain.lineage import RETENTION_SECONDS
from consumer.domain.outcomes import Children, Done, Lost
from consumer.domain.position import SHARD_END, TRIM_HORIZON
from consumer.worker import events
from consumer.worker.absence import GONE_SECONDS
from consumer.worker.calls import (
    Adopt,
    FindLate,
    FindStream,
    ListShards,
    Probe,
    RecordLoss,
    Reply,
)
from consumer.worker.survey import OLD_SECONDS, PATIENCE, RECHECK_SECONDS, SURVEY_SECONDS
from tests.builders import ARN, CREATED, build_shards, finished, row, shard
from tests.enquiry import LATER, LONG_AGO, MISSING, SINCE, Enquiry, listed, pin
from tests.talks import NO_ANSWER, kinds


@pytest.mark.parametrize("workers", [1, 3])
def test_a_survey_asks_for_the_stream_and_lists_all_that_are_pinned(workers: int) -> None:
    enquiry = Enquiry(pins=(pin(arn=LATER), pin()), workers=workers)
    began = enquiry.now
    enquiry.answer(FindStream, LATER)
    listing = build_shards(0, {})
    assert enquiry.call(ListShards) == ListShards(ARN)
    assert enquiry.tell(ListShards(ARN), listing) == [events.StreamListed(listing)]
    enquiry.answer(ListShards, replace(listing, stream_arn=LATER))
    assert not enquiry.look()
    assert enquiry.machine.wake_at() == began + SURVEY_SECONDS * workers, "the more, the more rarely each"
    enquiry.now = began + SURVEY_SECONDS * workers
    assert enquiry.asks(FindStream)


def test_what_a_listing_shows_is_done_in_order() -> None:
    gone = finished(0, 1, unlisted_since=LONG_AGO)
    enquiry = Enquiry(gone, finished(1, 2, parent=0), row(2, parent=1), pins=(pin(0),))
    enquiry.survey(listed((4, 3), (3, 1), (2, 1)))
    steps = []
    while calls := enquiry.look():
        steps += calls
        enquiry.answer(type(calls[0]), Done())
    assert kinds(steps) == ["Adopt", "Mark", "Forget"]
    assert not enquiry.asks(Probe), "a grandchild waits for its parent"


def test_a_step_is_asked_again_patiently_and_left_then() -> None:
    enquiry = Enquiry()
    for attempt in range(1, PATIENCE + 1):
        assert not enquiry.machine.troubles()
        told = enquiry.answer(FindStream, NO_ANSWER)
        assert told == [events.RetryScheduled("FindStream", TroubleKind.NETWORK, "no answer", attempt, float(attempt))]
        assert not enquiry.look()
        assert enquiry.machine.wake_at() == enquiry.now + attempt
        enquiry.wait(attempt)
    assert enquiry.machine.troubles() == {f"FindStream fails: {NO_ANSWER}"}
    assert enquiry.answer(FindStream, NO_ANSWER) == []
    assert enquiry.call(ListShards) == ListShards(ARN), "the survey goes on without it"
    assert not enquiry.machine.troubles()


@pytest.mark.parametrize("step", [FindStream, ListShards])
def test_what_is_not_there_is_not_asked_again_in_the_same_survey(step: type[FindStream | ListShards]) -> None:
    enquiry = Enquiry()
    if step is ListShards:
        enquiry.answer(FindStream, ARN)
    assert enquiry.answer(step, MISSING) == []
    assert enquiry.asks(ListShards) is (step is FindStream)


def ended(*children: int) -> Enquiry:
    """A shard ended with these children, right after a survey."""
    enquiry = Enquiry(finished(0, *children), *(row(child, parent=0) for child in children))
    enquiry.survey(build_shards(1 + len(children), {0: children}))
    enquiry.machine.ended(shard(0), tuple(f"shard-{child}" for child in children), SINCE, enquiry.now)
    return enquiry


def test_an_ended_shard_is_asked_for_more_children_three_times() -> None:
    enquiry = ended(1)
    began = enquiry.now
    known = LeaseRow(shard(0), None, 0, SHARD_END, children=("shard-1",), created=SINCE)
    assert RECHECK_SECONDS == (3.0, 15.0, 60.0)
    for delay in RECHECK_SECONDS:
        assert not enquiry.look()
        assert enquiry.machine.wake_at() == began + delay
        enquiry.now = began + delay
        if enquiry.asks(FindStream):
            enquiry.answer(FindStream, ARN)
        assert enquiry.call(FindLate) == FindLate(known)
        assert enquiry.tell(FindLate(known), Children(("shard-1",), leaf=False, served_at=CREATED)) == []
    assert enquiry.asks(ListShards)


@pytest.mark.parametrize(("reply", "told"), [(Done(), "ShardsAdopted"), (Lost(None), "LedgerSurprised")])
def test_a_child_that_was_hidden_is_adopted(reply: Reply, told: str) -> None:
    enquiry = ended(1).wait(3.0)
    enquiry.answer(FindLate, Children(("shard-1", "shard-2"), leaf=False, served_at=CREATED + 0.5))
    adopt = enquiry.call(Adopt)
    assert isinstance(adopt.adoption.into, LeaseRow)
    assert adopt.adoption.into.shard == shard(0)
    assert adopt.adoption.rows == (LeaseRow(shard(2), None, int(CREATED), TRIM_HORIZON, "shard-0", created=SINCE),)
    assert kinds(enquiry.tell(adopt, reply)) == [told]


@pytest.mark.parametrize("reply", [Done(), NO_ANSWER])
def test_what_was_found_before_a_long_pause_is_not_acted_on(reply: Reply) -> None:
    """By then another worker may have worked the shard to its end, and forgotten it."""
    enquiry = Enquiry(finished(0, 1)).survey(listed((0, None), (1, 0), (2, 0)))
    adopt = enquiry.call(Adopt)
    enquiry.wait(OLD_SECONDS + SURVEY_SECONDS)
    assert enquiry.tell(adopt, reply) == []
    enquiry.under_way.clear()
    assert enquiry.asks(FindStream)


def test_a_leaf_is_followed_by_a_survey_soon() -> None:
    enquiry = ended().wait(1.0)
    assert enquiry.asks(FindStream), "the stream may have been switched on again"


def test_soon_keeps_a_distance_from_the_survey_before() -> None:
    enquiry = Enquiry()
    began = enquiry.now
    enquiry.survey(build_shards(1, {}))
    for _ in range(3):
        enquiry.machine.soon(enquiry.now)
        assert enquiry.machine.wake_at() == began + 1.0
    enquiry.wait(30.0).survey(build_shards(1, {}))
    enquiry.machine.soon(enquiry.wait(10.0).now)
    assert enquiry.asks(FindStream), "long ago: at once"


def test_it_wakes_for_its_next_step_and_never_while_a_call_is_under_way() -> None:
    enquiry = Enquiry()
    assert enquiry.machine.wake_at() == 0.0
    find = enquiry.call(FindStream)
    assert enquiry.machine.asked(find)
    assert not enquiry.machine.asked(FindStream()), "another one's"
    assert enquiry.machine.wake_at() == inf
    assert enquiry.machine.ready(enquiry.now + 1e6, enquiry.ledger, 1) == []
    enquiry.tell(find, ARN)
    assert enquiry.machine.wake_at() <= enquiry.now
    assert not enquiry.machine.asked(find)


# --- roots and orphans ---


def test_a_root_that_was_hidden_is_adopted_when_it_has_been_found_there() -> None:
    enquiry = Enquiry(row(0))
    began = enquiry.now
    enquiry.survey(build_shards(2, {}))
    assert enquiry.answer(Probe, True) == []
    assert not enquiry.look()
    assert enquiry.machine.wake_at() == began + 1.0
    enquiry.survey(build_shards(2, {}))
    adopt = enquiry.call(Adopt)
    assert adopt.adoption.into == pin(0)
    assert [each.shard for each in adopt.adoption.rows] == [shard(1)]
    assert adopt.adoption.rows[0].created == CREATED - RETENTION_SECONDS, "it was there at the first listing already"
    enquiry.tell(adopt, Done())
    assert not enquiry.look()
    enquiry.survey(build_shards(2, {}))
    assert enquiry.asks(Probe), "once forgotten it is asked for again"


def test_a_root_that_only_an_old_listing_shows_is_not_adopted() -> None:
    enquiry = Enquiry(row(0))
    for _ in range(3):
        enquiry.survey(build_shards(2, {}))
        assert enquiry.call(Probe) == Probe(shard(1))
        enquiry.tell(Probe(shard(1)), False)
        assert not enquiry.look()


ORPHAN = listed((0, None), (2, 1))


def test_an_orphan_is_adopted_when_its_parent_was_refused_three_times_over_ten_minutes() -> None:
    enquiry = Enquiry(row(0))
    began = enquiry.now
    while enquiry.now < began + GONE_SECONDS + SURVEY_SECONDS:
        enquiry.survey(ORPHAN)
        probe = enquiry.call(Probe)
        if probe.shard == shard(2):
            break
        assert probe.shard == shard(1)
        enquiry.tell(probe, False)
    assert enquiry.now == began + SURVEY_SECONDS + GONE_SECONDS, (
        "counted from the first refusal that a listing followed"
    )
    enquiry.tell(Probe(shard(2)), True)
    enquiry.survey(ORPHAN)
    loss = enquiry.call(RecordLoss)
    assert loss == RecordLoss(shard(1), CREATED)
    assert enquiry.tell(loss, True) == [events.GapFound(shard(1), TRIM_HORIZON, True)]
    adopt = enquiry.call(Adopt)
    assert [(each.shard, each.parent) for each in adopt.adoption.rows] == [(shard(2), None)]
    assert adopt.adoption.into == pin(0)


@pytest.mark.parametrize("reply", [True, Trouble(TroubleKind.DENIED, "no"), NO_ANSWER], ids=str)
def test_nothing_but_a_refusal_proves_that_a_parent_is_gone(reply: Reply) -> None:
    """Trouble that lasts, as throttling or a missing permission, says nothing of the shard."""
    enquiry = Enquiry(row(0))
    began = enquiry.now
    while enquiry.now < began + 2 * GONE_SECONDS:
        enquiry.survey(ORPHAN)
        while enquiry.asks(Probe):
            probe = enquiry.call(Probe)
            assert probe.shard == shard(1)
            for event in enquiry.tell(probe, reply):
                assert isinstance(event, events.RetryScheduled)
                enquiry.wait(event.delay_seconds)
        assert not enquiry.asks(RecordLoss)
