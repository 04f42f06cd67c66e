import pytest

from consumer.domain.errors import Trouble, TroubleKind
from consumer.domain.outcomes import Committed, Done, Lost, Refused
from consumer.worker import events
from consumer.worker.calls import Commit, Open, Read, Release
from consumer.worker.state import State
from consumer.worker.tuning import Tuning
from tests.builders import ME, game, games, page, row, sequence_number
from tests.talks import Talk, kinds


def reading(tuning: Tuning | None = None) -> Talk:
    talk = Talk(row(owner=ME), tuning)
    talk.answer(Open, "first")
    return talk


def holding(last: int) -> Talk:
    """A talk whose shard has games 1 to `last` buffered, and the next read under way."""
    talk = reading()
    talk.answer(Read, page(*games(1, last), then="second"))
    assert talk.wait(1).asks(Read)
    return talk


def test_a_drain_drops_a_unit_that_was_never_sent() -> None:
    talk = reading(Tuning(batch_window_seconds=60.0))
    talk.answer(Read, page(*games(1, 5)))
    read = talk.call(Read)
    talk.machine.drain()
    assert kinds(talk.look()) == ["Release"]
    talk.tell(read, page(game(6)))
    assert kinds(talk.look()) == ["Release"], "polls no more"
    assert talk.answer(Release, Done()) == [events.LeaseReleased(talk.lease)]
    assert talk.machine.state is State.GONE


def test_a_drain_waits_for_the_commit_under_way() -> None:
    talk = holding(2)
    commit = talk.call(Commit)
    talk.machine.drain()
    assert not talk.asks(Release)
    assert kinds(talk.tell(commit, Committed())) == ["UnitCommitted"]
    assert talk.asks(Release)


def test_a_drain_settles_an_attempt_whose_answer_is_open_before_it_releases() -> None:
    talk = holding(2)
    commit = talk.call(Commit)
    talk.tell(commit, Trouble(TroubleKind.NETWORK, "no answer"))
    talk.machine.drain()
    assert not talk.asks(Release)
    again = talk.wait(1).call(Commit)
    assert again.unit is commit.unit
    talk.tell(again, Lost(row(owner=ME, checkpoint=sequence_number(2))))
    assert talk.asks(Release)


@pytest.mark.parametrize(
    "answer", [Refused(conflict=True), Refused(invalid="no"), Refused(later={"foo": "2026-12-31"})], ids=str
)
def test_a_drain_does_not_try_again_what_was_surely_not_written(answer: Refused) -> None:
    talk = holding(2)
    commit = talk.call(Commit)
    talk.machine.drain()
    talk.tell(commit, answer)
    assert not talk.wait(10).asks(Commit)
    assert talk.asks(Release)


def test_a_release_is_tried_until_it_is_answered() -> None:
    talk = holding(1)
    talk.answer(Commit, Committed())
    talk.machine.drain()
    assert kinds(talk.answer(Release, Trouble(TroubleKind.THROTTLED, "busy"))) == ["RetryScheduled"]
    assert not talk.asks(Release)
    assert talk.wait(1).asks(Release)


def test_a_drain_after_many_conflicts_sends_no_smaller_unit() -> None:
    talk = holding(8)
    for delay in (1, 2):
        talk.answer(Commit, Refused(conflict=True))
        talk.wait(delay)
    commit = talk.call(Commit)
    talk.machine.drain()
    talk.tell(commit, Refused(conflict=True))
    assert not talk.wait(10).asks(Commit)
    assert talk.asks(Release)


def test_a_drain_while_no_beat_vouches_waits() -> None:
    talk = reading()
    talk.vouched = False
    talk.machine.drain()
    assert not talk.asks(Release)
    talk.vouched = True
    assert talk.asks(Release)
