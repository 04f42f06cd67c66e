"""The coordinator's place among the members: beats, looks, leaving."""

from math import inf

import pytest

from consumer.domain.errors import Trouble, TroubleKind
from consumer.domain.outcomes import Done
from consumer.domain.outcomes import Removed as BeatFoundNobody
from consumer.worker import events
from consumer.worker.calls import Beat, Claim, Leave, Look
from tests.builders import ME, OTHER, row
from tests.talks import TTL, Council, kinds, members

NO_ANSWER = Trouble(TroubleKind.NETWORK, "no answer")


def test_it_beats_every_quarter_of_a_ttl_counted_from_the_sending() -> None:
    council = Council()
    beat = council.call(Beat)
    council.now += 0.3
    council.tell(beat, Done())
    council.now += TTL / 4 - 0.4
    assert not council.asks(Beat)
    council.now += 0.1
    following = council.call(Beat)
    assert (following.vouch.beat, following.joining, following.bump) == (2, False, False)


def test_it_looks_every_eighth_of_a_ttl() -> None:
    council = Council().join()
    council.answer(Look, members(w1_a=1))
    council.now += TTL / 8 - 0.01
    assert not council.asks(Look)
    council.now += 0.01
    assert council.asks(Look)


def test_a_beat_tells_how_things_stand() -> None:
    council = Council().join()
    council.machine.pulse.tell(3, 2, 12.5, 1e9)
    council.now += TTL / 4
    vouch = council.call(Beat).vouch
    assert (vouch.beat, vouch.shards, vouch.behind, vouch.lag_seconds, vouch.as_of) == (2, 3, 2, 12.5, 1e9)


def test_commits_are_vouched_for_a_ttl_after_a_written_beat_was_asked_for() -> None:
    council = Council()
    assert not council.machine.pulse.may_commit(council.now)
    beat = council.call(Beat)
    sent_at = council.now
    council.now += 3.0
    council.tell(beat, Done())
    assert council.machine.pulse.may_commit(sent_at + TTL - 0.01)
    assert council.machine.pulse.may_commit(sent_at + TTL) is False


def test_the_vouching_lapses_when_no_beat_can_be_written() -> None:
    council = Council().join()
    began = council.now
    while council.now < began + TTL:
        assert council.machine.pulse.may_commit(council.now)
        council.now += TTL / 4
        if council.asks(Beat):
            council.answer(Beat, NO_ANSWER)
    assert council.machine.pulse.may_commit(council.now) is False
    council.now += TTL
    council.answer(Beat, Done())
    assert council.machine.pulse.may_commit(council.now)


def test_a_beat_without_an_answer_is_tried_again_within_a_quarter_of_a_ttl() -> None:
    council = Council().join()
    for attempt in range(1, 6):
        council.now += TTL / 4
        (told,) = council.answer(Beat, NO_ANSWER)
        assert isinstance(told, events.RetryScheduled)
        assert told.attempt == attempt


def test_looks_without_an_answer_are_tried_again_within_an_eighth_of_a_ttl() -> None:
    council = Council().join()
    for _ in range(5):
        assert kinds(council.answer(Look, NO_ANSWER)) == ["RetryScheduled"]
        council.now += TTL / 8


def test_who_was_taken_for_dead_joins_again_at_once() -> None:
    council = Council().join()
    council.now += TTL / 4
    council.look()
    assert council.answer(Beat, BeatFoundNobody()) == [events.Removed(ME)]
    council.answer(Look, members())
    council.now += TTL / 8
    beat = council.call(Beat)
    assert (beat.joining, beat.bump) == (True, True)
    assert not council.asks(Look), "nothing before it is a member again"
    assert council.tell(beat, Done()) == [events.Joined(ME)]
    assert council.asks(Look)


def test_a_lease_given_back_is_announced_at_once() -> None:
    council = Council().join()
    council.now += 0.1
    assert not council.asks(Beat)
    council.machine.announce(council.now)
    assert council.call(Beat).bump


def test_an_announcement_is_not_lost_in_a_beat_under_way() -> None:
    council = Council().join()
    council.now += TTL / 4
    under_way = council.call(Beat)
    assert not under_way.bump
    council.machine.announce(council.now)
    council.tell(under_way, Done())
    assert council.call(Beat).bump, "and at once"


@pytest.mark.parametrize("answer", [NO_ANSWER, BeatFoundNobody()], ids=["trouble", "removed"])
def test_an_announcement_that_was_not_written_is_made_again(answer: Trouble | BeatFoundNobody) -> None:
    council = Council().join()
    council.machine.announce(council.now)
    council.answer(Beat, answer)
    council.now += TTL / 4
    assert council.call(Beat).bump


def test_taking_a_lease_from_somebody_is_announced() -> None:
    for owner, announced in ((None, False), ("w3/c", True)):
        council = Council().join()
        council.plan([row(0, owner)], members(w1_a=1))
        council.answer(Beat, Done())
        council.answer(Claim, row(0, ME, 8))
        council.now += TTL / 4
        assert council.call(Beat).bump is announced


def test_who_is_dead_is_seen_by_looks() -> None:
    council = Council().join()
    council.plan([row(0, OTHER)], members(w1_a=1, w2_b=1))
    council.observe(TTL * 2, {"w2_b": 1})
    council.plan([row(0, OTHER)], members(w1_a=1, w2_b=1))
    assert council.asks(Claim)


def test_leaving_is_the_last_thing() -> None:
    council = Council().join()
    council.machine.leave(council.now)
    assert council.call(Leave) == Leave(ME)
    council.machine.leave(council.now)
    assert not council.asks(Leave), "once"
    council.under_way.clear()
    council.tell(Leave(ME), Done())
    assert council.machine.pulse.left
    council.now += 100
    assert council.look() == []
    assert council.machine.wake_at() == inf
    council.machine.leave(council.now)
    assert council.look() == []


def test_leaving_waits_for_a_beat_under_way_which_could_put_us_in_again() -> None:
    council = Council().join()
    council.now += TTL / 4
    beat = council.call(Beat)
    council.machine.leave(council.now)
    assert not council.asks(Leave)
    council.tell(beat, Done())
    council.machine.leave(council.now)
    assert council.asks(Leave)
    council.now += TTL
    assert not council.asks(Beat), "no beat after it"


def test_leaving_is_tried_until_it_is_answered() -> None:
    council = Council().join()
    council.machine.drain()
    council.machine.leave(council.now)
    assert kinds(council.answer(Leave, NO_ANSWER)) == ["RetryScheduled"]
    council.under_way.clear()
    assert council.machine.wake_at() == council.now + 1, "it asks to be woken for it"
    council.machine.leave(council.now)
    assert not council.asks(Leave)
    council.now += 1
    council.machine.leave(council.now)
    assert council.asks(Leave)
