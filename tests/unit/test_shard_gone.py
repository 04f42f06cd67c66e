"""A shard that the stream has no more, and what a listing tells a shard that waits for its children."""

import pytest

from consumer.domain.errors import Trouble, TroubleKind
from consumer.domain.outcomes import Children, Committed, StreamListing
from consumer.domain.position import TRIM_HORIZON
from consumer.worker import events
from consumer.worker.absence import GONE_SECONDS
from consumer.worker.calls import Commit, EndShard, FindChildren, Open, Read, RecordGap
from consumer.worker.state import State
from tests.builders import CREATED, ME, build_shards, game, page, row, sequence_number
from tests.talks import Talk, kinds

MISSING = Trouble(TroubleKind.MISSING, "shard does not exist")
SINCE = CREATED - 500.0
LISTING = build_shards(1, {})
FAMILY = build_shards(3, {0: [1, 2]})
NONE = Children((), leaf=False, served_at=CREATED)


def listing_of(*children: int) -> StreamListing:
    return build_shards(1 + len(children), {0: children})


def refuse(talk: Talk, listings: int = 3, apart: float = GONE_SECONDS / 2) -> Talk:
    """Iterators are refused, and listings come in."""
    for number in range(listings):
        talk.wait(apart if number else 10.0).answer(Open, MISSING)
        talk.machine.hear(LISTING, talk.now)
    return talk.wait(100.0)


def gone(checkpoint: str = TRIM_HORIZON) -> Talk:
    """A talk whose shard is gone for sure."""
    return refuse(Talk(row(owner=ME, checkpoint=checkpoint, created=SINCE)))


@pytest.mark.parametrize("checkpoint", [TRIM_HORIZON, sequence_number(5)])
def test_a_gone_shard_leaves_a_gap_row_and_ends_with_its_children(checkpoint: str) -> None:
    talk = gone(checkpoint)
    gap = talk.call(RecordGap)
    assert (gap.lease, gap.checkpoint) == (talk.lease, checkpoint)
    assert not talk.asks(FindChildren), "the gap row comes first"
    assert talk.tell(gap, True) == [events.GapFound(talk.lease.shard, checkpoint, True)]
    talk.answer(FindChildren, Children(("shard-1",), leaf=False, served_at=CREATED))
    end = talk.call(EndShard)
    assert (end.previous, end.children) == (checkpoint, ("shard-1",))
    assert [each.created for each in end.rows] == [SINCE], "nobody knows when the lost records were written"
    assert kinds(talk.tell(end, Committed())) == ["ShardEnded"]
    assert talk.machine.state is State.GONE


def test_a_gone_shard_that_shows_no_children_ends_as_a_leaf() -> None:
    talk = gone()
    talk.answer(RecordGap, True)
    talk.answer(FindChildren, NONE)
    assert talk.call(EndShard).children == ()


@pytest.mark.parametrize(("listings", "apart"), [(2, GONE_SECONDS), (3, GONE_SECONDS / 2 - 1.0)])
def test_fewer_refusals_or_less_time_prove_nothing(listings: int, apart: float) -> None:
    talk = refuse(Talk(), listings, apart)
    assert talk.asks(Open)
    assert not talk.asks(RecordGap)


def test_refusals_without_a_listing_prove_nothing() -> None:
    """The stream itself may be out of reach, or be gone."""
    talk = Talk()
    for _ in range(50):
        talk.answer(Open, MISSING)
        talk.wait(60.0)
    assert talk.asks(Open)
    assert talk.machine.troubles() == {"Open fails: missing: shard does not exist"}


@pytest.mark.parametrize("kind", [kind for kind in TroubleKind if kind is not TroubleKind.MISSING])
def test_other_trouble_is_no_refusal(kind: TroubleKind) -> None:
    talk = Talk()
    for _ in range(20):
        talk.answer(Open, Trouble(kind, "trouble"))
        talk.machine.hear(LISTING, talk.now)
        talk.wait(60.0)
    assert talk.asks(Open)


def test_a_shard_that_is_found_after_all_is_read_on() -> None:
    talk = refuse(Talk(), listings=2)
    talk.answer(Open, "an iterator")
    talk.machine.hear(LISTING, talk.wait(GONE_SECONDS).now)
    talk.answer(Read, page(game(1)))
    assert talk.call(Commit).unit.records == 1
    talk.answer(Read, MISSING)
    refuse(talk, listings=1)
    assert talk.asks(Open), "refusals are counted anew"


def test_an_iterator_that_is_refused_is_no_refusal_of_the_shard() -> None:
    talk = Talk()
    for _ in range(3):
        talk.answer(Open, "an iterator")
        talk.wait(10.0).answer(Read, MISSING)
        talk.machine.hear(LISTING, talk.now)
        talk.wait(GONE_SECONDS)
    assert talk.asks(Open)


def test_what_was_read_before_is_committed_before_the_gap_is_recorded() -> None:
    talk = Talk(row(owner=ME, created=SINCE))
    talk.vouched = False
    talk.answer(Open, "an iterator")
    talk.answer(Read, page(game(1)))
    talk.answer(Read, MISSING)
    refuse(talk)
    assert not talk.look(), "nothing more to ask, and nothing may be committed"
    talk.vouched = True
    talk.answer(Commit, Committed())
    assert talk.call(RecordGap).checkpoint == sequence_number(1)
    talk.tell(RecordGap(talk.lease, sequence_number(1), 0.0), True)
    talk.answer(FindChildren, Children(("shard-1",), leaf=False, served_at=CREATED))
    assert talk.call(EndShard).rows[0].created == SINCE, "nobody knows when the children's first records were written"


# --- hearing of listings ---


def ending() -> Talk:
    """A talk whose shard waits for its children, which the filter has not shown."""
    talk = Talk(row(owner=ME, checkpoint=sequence_number(5)))
    talk.answer(Open, "first")
    talk.answer(Read, page(then=None))
    talk.answer(FindChildren, NONE)
    assert talk.machine.hides_children
    return talk


def test_a_listing_shows_the_children_that_the_filter_did_not() -> None:
    talk = ending()
    assert not talk.look()
    talk.machine.hear(FAMILY, talk.now)
    assert not talk.machine.hides_children
    end = talk.call(EndShard)
    assert end.children == ("shard-1", "shard-2")
    assert {each.epoch for each in end.rows} == {int(CREATED)}


def test_a_listing_without_children_changes_nothing() -> None:
    talk = ending()
    talk.machine.hear(LISTING, talk.now)
    assert not talk.look()
    assert talk.wait(1.0).asks(FindChildren)


@pytest.mark.parametrize("answer", [NONE, Children(("shard-1",), leaf=False, served_at=CREATED)], ids=["none", "one"])
def test_a_listing_while_the_filter_is_asked_is_what_counts(answer: Children) -> None:
    talk = ending()
    find = talk.wait(1.0).call(FindChildren)
    talk.machine.hear(FAMILY, talk.now)
    assert not talk.look(), "one call at a time"
    talk.tell(find, answer)
    assert talk.call(EndShard).children == ("shard-1", "shard-2")


def test_a_later_listing_does_not_change_the_end_under_way() -> None:
    talk = ending()
    talk.machine.hear(listing_of(1), talk.now)
    end = talk.call(EndShard)
    talk.machine.hear(FAMILY, talk.now)
    talk.tell(end, Trouble(TroubleKind.NETWORK, "no answer"))
    assert talk.wait(2.0).call(EndShard) == end, "an open attempt is repeated as it was"


def test_a_listing_that_shows_children_does_not_end_a_shard_that_is_being_read() -> None:
    talk = Talk()
    talk.answer(Open, "first")
    talk.machine.hear(FAMILY, talk.now)
    talk.answer(Read, page(game(1)))
    talk.answer(Commit, Committed())
    assert talk.machine.state is State.RUNNING
    talk.answer(Read, page(then=None))
    assert talk.asks(FindChildren), "a listing of before the end may not show all of them"
