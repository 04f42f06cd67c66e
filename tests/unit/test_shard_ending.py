import pytest

from consumer.domain.errors import Trouble, TroubleKind
from consumer.domain.leases import LeaseRow
from consumer.domain.outcomes import Children, Committed, Done, Lost, Refused
from consumer.domain.position import SHARD_END, TRIM_HORIZON
from consumer.worker import events
from consumer.worker.calls import Commit, EndShard, FindChildren, Open, Read, Release
from consumer.worker.state import State
from tests.builders import CREATED, ME, OTHER, game, page, row, sequence_number, shard
from tests.talks import Talk, kinds

TWO = Children(("shard-1", "shard-2"), leaf=False, served_at=CREATED + 0.9)


def child(number: int) -> LeaseRow:
    created = game(6).created
    return LeaseRow(shard(number), ME, int(CREATED), TRIM_HORIZON, parent="shard-0", created=created)


def ended() -> Talk:
    """A talk whose shard has ended and is committed."""
    talk = Talk(row(owner=ME, checkpoint=sequence_number(5)))
    talk.answer(Open, "first")
    talk.answer(Read, page(game(6), then=None))
    talk.answer(Commit, Committed())
    return talk


def ending() -> Talk:
    """A talk whose shard's end is under way."""
    talk = ended()
    talk.answer(FindChildren, TWO)
    assert talk.asks(EndShard)
    return talk


def test_an_end_writes_the_childrens_rows_with_epochs_of_the_servers_seconds() -> None:
    talk = ended()
    talk.answer(FindChildren, TWO)
    end = talk.call(EndShard)
    assert end == EndShard(talk.lease, sequence_number(6), ("shard-1", "shard-2"), (child(1), child(2)))
    assert talk.tell(end, Committed()) == [events.ShardEnded(talk.lease, end.children, end.rows)]
    assert talk.machine.state is State.GONE
    assert talk.wait(1000).look() == []


def test_children_not_visible_yet_are_looked_for_again_soon() -> None:
    talk = ended()
    for delay in (1, 2, 3, 4, 4, 4):
        assert talk.answer(FindChildren, Children((), leaf=False, served_at=CREATED)) == []
        assert not talk.wait(delay - 0.1).asks(FindChildren)
        assert talk.wait(0.1).asks(FindChildren)
        assert not talk.asks(EndShard)
    talk.answer(FindChildren, TWO)
    assert talk.asks(EndShard)


def test_a_leaf_ends_without_children() -> None:
    talk = ended()
    talk.answer(FindChildren, Children((), leaf=True, served_at=CREATED))
    end = talk.call(EndShard)
    assert (end.children, end.rows) == ((), ())


def test_a_child_whose_row_exists_is_left_out() -> None:
    talk = ending()
    assert talk.answer(EndShard, Refused(existing=frozenset({"shard-2"}))) == []
    end = talk.call(EndShard)
    assert (end.children, end.rows) == (("shard-1", "shard-2"), (child(1),))
    talk.tell(end, Refused(existing=frozenset({"shard-1"})))
    assert talk.call(EndShard).rows == ()


def test_an_open_answer_is_settled_by_our_finished_row() -> None:
    talk = ending()
    end = talk.call(EndShard)
    assert kinds(talk.tell(end, Trouble(TroubleKind.NETWORK, "no answer"))) == ["RetryScheduled"]
    assert talk.wait(1).call(EndShard) == end
    finished = row(owner=ME, checkpoint=SHARD_END, children=("shard-1", "shard-2"))
    assert talk.tell(end, Lost(finished)) == [events.ShardEnded(talk.lease, ("shard-1", "shard-2"), ())]
    assert talk.machine.state is State.GONE


@pytest.mark.parametrize("call", [FindChildren, EndShard])
def test_trouble_is_asked_again(call: type[FindChildren | EndShard]) -> None:
    talk = ended()
    if call is EndShard:
        talk.answer(FindChildren, TWO)
    told = talk.answer(call, Trouble(TroubleKind.THROTTLED, "busy"))
    assert told == [events.RetryScheduled(call.__name__, TroubleKind.THROTTLED, "busy", 1, 1.0, talk.lease)]
    assert not talk.wait(0.9).asks(call)
    assert talk.wait(0.1).asks(call)


@pytest.mark.parametrize(
    ("answer", "told"),
    [(Refused(conflict=True), TroubleKind.CONFLICT), (Refused(invalid="no"), TroubleKind.REJECTED)],
)
def test_a_refused_end_is_asked_again(answer: Refused, told: TroubleKind) -> None:
    talk = ending()
    for attempt in (1, 2, 3, 4):
        (event,) = talk.answer(EndShard, answer)
        assert isinstance(event, events.RetryScheduled)
        assert (event.kind, event.attempt) == (told, attempt)
        assert talk.wait(attempt).asks(EndShard)


def test_somebody_elses_row_and_no_row() -> None:
    talk = ending()
    assert talk.answer(EndShard, Lost(row(owner=OTHER, epoch=8, checkpoint=SHARD_END))) == [
        events.LeaseLost(talk.lease, OTHER)
    ]
    talk = ending()
    assert talk.answer(EndShard, Lost(None)) == [events.ShardHalted(talk.lease.shard, sequence_number(6))]
    assert talk.machine.state is State.HALTED


def test_our_row_elsewhere_rewinds_and_the_shard_is_read_again() -> None:
    talk = ending()
    assert talk.answer(EndShard, Lost(row(owner=ME, checkpoint=sequence_number(3)))) == [
        events.ShardRewound(talk.lease, sequence_number(3))
    ]
    assert talk.machine.state is State.RUNNING
    assert talk.call(Open).after == sequence_number(3)
    talk.tell(Open(talk.lease, sequence_number(3)), "again")
    talk.answer(Read, page(game(6), then=None))
    assert talk.call(Commit).unit.previous == sequence_number(3)


@pytest.mark.parametrize("before", ["children", "end"])
def test_a_drain_before_the_end_is_sent_releases(before: str) -> None:
    talk = ended()
    find = talk.call(FindChildren)
    if before == "end":
        talk.tell(find, TWO)
    talk.machine.drain()
    if before == "children":
        assert not talk.asks(Release)
        talk.tell(find, TWO)
    assert kinds(talk.look()) == ["Release"]


def test_a_drain_waits_for_the_end_under_way_and_settles_an_open_one() -> None:
    talk = ending()
    end = talk.call(EndShard)
    talk.machine.drain()
    assert not talk.asks(Release)
    talk.tell(end, Trouble(TroubleKind.NETWORK, "no answer"))
    assert not talk.asks(Release)
    assert talk.wait(1).call(EndShard) == end
    assert talk.tell(end, Committed()) == [events.ShardEnded(talk.lease, end.children, end.rows)]


def test_a_drain_after_a_rewind_releases() -> None:
    talk = ending()
    end = talk.call(EndShard)
    talk.tell(end, Trouble(TroubleKind.NETWORK, "no answer"))
    talk.machine.drain()
    talk.wait(1).answer(EndShard, Lost(row(owner=ME, checkpoint=sequence_number(3))))
    assert kinds(talk.look()) == ["Release"]
    assert talk.answer(Release, Done()) == [events.LeaseReleased(talk.lease)]


def test_an_answer_that_is_none_is_a_defect() -> None:
    with pytest.raises(AssertionError, match="Done is no answer to FindChildren"):
        ended().answer(FindChildren, Done())
