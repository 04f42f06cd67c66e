"""Gaps of a shard, call by call: what was trimmed before it was read is told, once, from where the row stands."""

import pytest

from consumer.domain.errors import DataTrimmed, IteratorExpired, Trouble, TroubleKind
from consumer.domain.outcomes import Committed, Lost
from consumer.domain.position import TRIM_HORIZON
from consumer.worker import events
from consumer.worker.calls import Commit, Open, Read, RecordGap
from consumer.worker.state import State
from consumer.worker.tuning import Tuning
from tests.builders import ME, OTHER, game, games, page, row, sequence_number
from tests.talks import Talk, kinds, opened


@pytest.mark.parametrize("trimmed_at", [Open, Read])
def test_a_trimmed_position_leaves_a_gap_row_before_the_shard_reads_on(trimmed_at: type[Open | Read]) -> None:
    talk = Talk(row(owner=ME, checkpoint=sequence_number(5)), Tuning(wall_offset_seconds=500.0))
    if trimmed_at is Read:
        talk.answer(Open, "first")
    assert talk.answer(trimmed_at, DataTrimmed()) == []
    gap = talk.call(RecordGap)
    assert gap == RecordGap(talk.lease, sequence_number(5), talk.now + 500.0)
    assert not talk.under_way
    assert talk.tell(gap, True) == [events.GapFound(talk.lease.shard, sequence_number(5), True)]
    assert talk.call(Open).after == TRIM_HORIZON
    talk.tell(Open(talk.lease, TRIM_HORIZON), "oldest")
    assert talk.call(Read) == Read(talk.lease, "oldest", sequence_number(5), None)


def test_a_gap_is_recorded_only_when_what_is_buffered_is_committed_and_the_next_unit_fills_it() -> None:
    talk = opened(Tuning(batch_window_seconds=60.0))
    talk.answer(Read, page(*games(1, 2)))
    talk.answer(Read, DataTrimmed())
    assert not talk.asks(RecordGap)
    commit = talk.call(Commit)
    assert not commit.fills_gap
    assert not talk.asks(RecordGap), "the position is not settled yet"
    talk.tell(commit, Committed())
    assert talk.answer(RecordGap, False) == [events.GapFound(talk.lease.shard, sequence_number(2), False)]
    talk.answer(Open, "oldest")
    talk.answer(Read, page(*games(40, 41)))
    filling = talk.wait(60).call(Commit)
    assert (filling.unit.previous, filling.unit.first, filling.fills_gap) == (
        sequence_number(2),
        sequence_number(40),
        True,
    )
    talk.tell(filling, Committed())
    talk.answer(Read, page(game(42)))
    assert not talk.wait(60).call(Commit).fills_gap, "once"


def test_after_a_gap_an_expired_iterator_does_not_go_back_to_the_trimmed_position() -> None:
    talk = Talk(row(owner=ME, checkpoint=sequence_number(5)))
    talk.answer(Open, DataTrimmed())
    talk.answer(RecordGap, True)
    talk.answer(Open, "oldest")
    talk.answer(Read, IteratorExpired())
    assert talk.call(Open).after == TRIM_HORIZON


def test_trouble_with_the_gap_row_holds_up_the_reading() -> None:
    talk = Talk(row(owner=ME, checkpoint=sequence_number(5)))
    talk.answer(Open, DataTrimmed())
    told = talk.answer(RecordGap, Trouble(TroubleKind.MISSING, "no table"))
    assert kinds(told) == ["RetryScheduled"]
    assert not talk.asks(Open)
    assert talk.wait(1).asks(RecordGap)
    assert not talk.asks(Open)


def test_a_late_gap_row_of_before_a_rewind_is_dropped() -> None:
    talk = opened(Tuning(batch_window_seconds=60.0))
    talk.answer(Read, page(game(1)))
    talk.answer(Read, DataTrimmed())
    talk.answer(Commit, Committed())
    gap = talk.call(RecordGap)
    talk.machine._reader.rewind(sequence_number(40), talk.now)
    assert talk.tell(gap, True) == []
    assert talk.call(Open).after == sequence_number(40)


def test_a_gap_behind_what_another_worker_has_committed_is_not_told() -> None:
    talk = opened()
    talk.answer(Read, DataTrimmed())
    told = talk.answer(RecordGap, Lost(row(owner=OTHER, epoch=8, checkpoint=sequence_number(40))))
    assert told == [events.LeaseLost(talk.lease, OTHER)]
    assert talk.machine.state is State.GONE


def test_a_gap_is_told_from_where_the_row_stands() -> None:
    talk = opened()
    talk.answer(Read, DataTrimmed())
    told = talk.answer(RecordGap, Lost(row(owner=ME, checkpoint=sequence_number(40))))
    assert told == [events.ShardRewound(talk.lease, sequence_number(40))]
    assert talk.call(Open).after == sequence_number(40)
