import pytest

from consumer.domain.outcomes import Lost
from consumer.worker.calls import Claim, Commit, EndShard, Leave, Load, Release
from tests.builders import shard
from tests.talks import IMAGE, NO_ANSWER, Shift, done, reading, stream, total


def test_a_drain_releases_and_leaves() -> None:
    shift = reading()
    shift.machine.drain()
    shift.serve(5.0)
    assert done(shift)
    assert not shift.machine.shards
    assert shift.tables.rows[shard(0)].owner is None
    assert shift.tables.workers == {}


def test_a_drain_settles_the_commit_under_way_first() -> None:
    shift = reading()
    shift.streams.write("shard-0", IMAGE)
    shift.serve(1.0, but=Commit)
    commit = shift.call(Commit)
    shift.machine.drain()
    shift.serve(1.0)
    assert not done(shift)
    assert not shift.asks(Leave)
    shift.tell(commit, shift.tables.commit(commit.lease, commit.unit, commit.later, fills_gap=False))
    shift.serve(1.0)
    assert done(shift)
    assert total(shift) == 150


def test_a_claim_answered_during_a_drain_is_given_back() -> None:
    shift = Shift(streams=stream())
    shift.serve(2.0, but=Claim)
    claim = shift.call(Claim)
    shift.machine.drain()
    shift.serve(1.0)
    assert not done(shift), "it is ours by now, for all we know"
    shift.tell(claim, shift.tables.claim(claim.row, claim.lease))
    shift.serve(1.0)
    assert done(shift)
    assert shift.tables.rows[shard(0)].owner is None


@pytest.mark.parametrize("arrives", [True, False])
def test_a_claim_whose_answer_is_lost_during_a_drain_is_asked_again_and_given_back(arrives: bool) -> None:
    """The row would name a worker that has left."""
    shift = Shift(streams=stream())
    shift.serve(2.0, but=Claim)
    claim = shift.call(Claim)
    shift.machine.drain()
    if arrives:
        shift.tables.claim(claim.row, claim.lease)
    shift.tell(claim, NO_ANSWER)
    assert not shift.asks(Claim), "after a while"
    shift.serve(5.0)
    assert done(shift)
    assert shift.tables.rows[shard(0)].owner is None
    assert isinstance(shift.tables.claim(claim.row, claim.lease), Lost), "a late first attempt takes no effect"


def ending() -> tuple[Shift, EndShard]:
    """A shard with a child is being ended."""
    shift = Shift(streams=stream(2, {0: 1}))
    shift.streams.close("shard-0")
    shift.serve(2.0, but=EndShard)
    return shift, shift.call(EndShard)


def test_children_that_come_with_the_end_of_a_shard_during_a_drain_are_given_back() -> None:
    shift, end = ending()
    shift.machine.drain()
    shift.tell(end, shift.tables.end(end.lease, end.previous, end.children, end.rows))
    shift.serve(2.0)
    assert done(shift)
    assert shift.tables.rows[shard(1)].owner is None


def test_children_of_an_end_whose_answer_is_lost_during_a_drain_are_given_back() -> None:
    """Their rows have our name, and the finished row does not tell who made them."""
    shift, end = ending()
    shift.machine.drain()
    shift.serve(1.0, but=EndShard)
    shift.tables.end(end.lease, end.previous, end.children, end.rows)
    shift.tell(end, NO_ANSWER)
    shift.serve(5.0)
    assert done(shift)
    assert shift.tables.rows[shard(1)].owner is None


def test_a_drain_waits_until_it_has_read_what_is_in_its_name() -> None:
    shift = reading()
    shift.machine.drain()
    shift.serve(1.0, but=Load)
    assert not shift.machine.shards
    for _ in range(2):
        assert not shift.asks(Leave)
        shift.answer(Load, NO_ANSWER)
        shift.now += 2.0
    shift.serve(5.0)
    assert done(shift)


def test_a_drain_before_the_first_beat_leaves_at_once() -> None:
    shift = Shift(streams=stream())
    shift.machine.drain()
    shift.serve(1.0)
    assert done(shift)
    assert shift.tables.workers == {}


def test_a_halted_shard_does_not_hold_up_a_drain() -> None:
    shift = reading()
    shift.tables.rows.clear()
    shift.streams.write("shard-0", IMAGE)
    shift.serve(2.0)
    shift.machine.drain()
    shift.serve(2.0)
    assert done(shift)


def test_a_shard_that_halts_during_a_drain_does_not_hold_it_up() -> None:
    shift = reading()
    shift.streams.write("shard-0", IMAGE)
    shift.serve(1.0, but=Commit)
    shift.machine.drain()
    shift.answer(Commit, Lost(None))
    shift.serve(2.0)
    assert done(shift)


def test_a_release_whose_answer_is_lost_is_repeated() -> None:
    shift = reading()
    shift.machine.drain()
    shift.answer(Release, NO_ANSWER)
    shift.serve(5.0)
    assert done(shift)
