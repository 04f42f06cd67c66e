"""Gaps of a shard, call by call: what was trimmed before it was read is recorded once, from where the row stands."""

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from consumer.domain.errors import CallFailed, DataTrimmed, FailureKind, IteratorExpired
from consumer.domain.leases import TRIM_HORIZON, Shard
from consumer.domain.lineage import RETENTION_SECONDS
from consumer.domain.replies import Committed, Lost
from consumer.worker import events
from consumer.worker.reader import SURE_PAGES
from consumer.worker.shard import ShardState
from consumer.worker.shard_calls import Commit, Open, Read, RecordGap
from consumer.worker.tuning import Tuning
from tests.support.builders import ARN, CREATED, ME, OTHER, game, games, page, row, sequence_number
from tests.support.drivers import ShardDriver, kinds, opened_shard


@pytest.mark.parametrize("trimmed_at", [Open, Read])
def test_a_trimmed_position_leaves_a_gap_row_before_the_shard_reads_on(trimmed_at: type[Open | Read]) -> None:
    driver = ShardDriver(row(owner=ME, checkpoint=sequence_number(5)), Tuning(wall_offset_seconds=500.0))
    if trimmed_at is Read:
        driver.answer(Open, "first")
    assert driver.answer(trimmed_at, DataTrimmed()) == []
    gap = driver.call(RecordGap)
    assert gap == RecordGap(driver.lease, sequence_number(5), driver.now + 500.0)
    assert not driver.in_flight
    assert driver.deliver(gap, True) == [events.GapFound(driver.lease.shard, sequence_number(5), True)]
    assert driver.call(Open).after == TRIM_HORIZON
    driver.deliver(Open(driver.lease, TRIM_HORIZON), "oldest")
    assert driver.call(Read) == Read(driver.lease, "oldest", sequence_number(5), None)


def test_a_gap_is_recorded_only_when_what_is_buffered_is_committed_and_the_next_unit_fills_it() -> None:
    driver = opened_shard(Tuning(batch_window_seconds=60.0))
    driver.answer(Read, page(*games(1, 2)))
    driver.answer(Read, DataTrimmed())
    assert not driver.has_call(RecordGap)
    commit = driver.call(Commit)
    assert not commit.fills_gap
    assert not driver.has_call(RecordGap), "the checkpoint is not settled yet"
    driver.deliver(commit, Committed())
    assert driver.answer(RecordGap, False) == [events.GapFound(driver.lease.shard, sequence_number(2), False)]
    driver.answer(Open, "oldest")
    driver.answer(Read, page(*games(40, 41)))
    filling = driver.wait(60).call(Commit)
    assert (filling.unit.previous, filling.unit.first, filling.fills_gap) == (
        sequence_number(2),
        sequence_number(40),
        True,
    )
    driver.deliver(filling, Committed())
    driver.answer(Read, page(game(42)))
    assert not driver.wait(60).call(Commit).fills_gap, "once"


def test_after_a_gap_an_expired_iterator_does_not_go_back_to_the_trimmed_position() -> None:
    driver = ShardDriver(row(owner=ME, checkpoint=sequence_number(5)))
    driver.answer(Open, DataTrimmed())
    driver.answer(RecordGap, True)
    driver.answer(Open, "oldest")
    driver.answer(Read, IteratorExpired())
    assert driver.call(Open).after == TRIM_HORIZON


def test_a_failed_gap_row_holds_up_the_reading() -> None:
    driver = ShardDriver(row(owner=ME, checkpoint=sequence_number(5)))
    driver.answer(Open, DataTrimmed())
    reported = driver.answer(RecordGap, CallFailed(FailureKind.MISSING, "no table"))
    assert kinds(reported) == ["RetryScheduled"]
    assert not driver.has_call(Open)
    assert driver.wait(1).has_call(RecordGap)
    assert not driver.has_call(Open)


def test_the_reply_of_a_gap_row_from_before_a_rewind_is_dropped() -> None:
    driver = opened_shard(Tuning(batch_window_seconds=60.0))
    driver.answer(Read, page(game(1)))
    driver.answer(Read, DataTrimmed())
    driver.answer(Commit, Committed())
    gap = driver.call(RecordGap)
    driver.machine._reader.rewind(row(owner=ME, checkpoint=sequence_number(40)), driver.now)
    assert driver.deliver(gap, True) == []
    assert driver.call(Open).after == sequence_number(40)


def test_a_gap_after_the_lease_is_lost_is_not_reported() -> None:
    driver = opened_shard()
    driver.answer(Read, DataTrimmed())
    reported = driver.answer(RecordGap, Lost(row(owner=OTHER, epoch=8, checkpoint=sequence_number(40))))
    assert reported == [events.LeaseLost(driver.lease, OTHER)]
    assert driver.machine.state is ShardState.GONE


def test_a_gap_is_recorded_from_where_the_row_stands() -> None:
    driver = opened_shard()
    driver.answer(Read, DataTrimmed())
    reported = driver.answer(RecordGap, Lost(row(owner=ME, checkpoint=sequence_number(40))))
    assert reported == [events.ShardRewound(driver.lease, sequence_number(40))]
    assert driver.call(Open).after == sequence_number(40)


# --- a trimmed iterator of a shard of which nothing was ever read ---

YOUNG, OLD = 23 * 3600.0, RETENTION_SECONDS - 900.0


def shard_of_a_stream(age_seconds: float, checkpoint: str = TRIM_HORIZON) -> ShardDriver:
    """Its stream was switched on so long ago; the first iterator is there."""
    label = datetime.fromtimestamp(CREATED - age_seconds, UTC).isoformat(timespec="milliseconds").partition("+")[0]
    stream_arn = f"{ARN.rpartition('/')[0]}/{label}"
    start = replace(row(owner=ME, checkpoint=checkpoint), shard=Shard(stream_arn, "shard-0"))
    driver = ShardDriver(start, Tuning(wall_offset_seconds=CREATED - 1000.0))
    driver.answer(Open, "first")
    return driver


@pytest.mark.parametrize(
    ("age_seconds", "empty_pages", "pause_seconds", "loses"),
    [
        (YOUNG, 0, 0, False),
        (YOUNG, 1, 0, False),
        (OLD, SURE_PAGES - 1, 30, True),
        (OLD, SURE_PAGES, 0, True),
        (OLD, SURE_PAGES, 30, False),
    ],
    ids=["young", "young and empty", "old and hardly seen", "old and empty for a moment", "old and surely empty"],
)
def test_no_gap_where_no_record_can_have_been_trimmed(
    age_seconds: float, empty_pages: int, pause_seconds: float, loses: bool
) -> None:
    """A record lives for a day: of a younger stream, or a shard that was empty a moment ago, none was trimmed."""
    driver = shard_of_a_stream(age_seconds)
    for _ in range(empty_pages):
        driver.answer(Read, page())
        driver.wait(pause_seconds)
    assert driver.answer(Read, DataTrimmed()) == []
    driver.wait(driver.tuning.poll_interval_seconds)
    assert driver.has_call(RecordGap) is loses
    if not loses:
        assert driver.call(Open).after == TRIM_HORIZON


def test_a_shard_that_was_empty_a_day_ago_may_have_lost_records() -> None:
    driver = shard_of_a_stream(OLD)
    for _ in range(SURE_PAGES):
        driver.answer(Read, page())
    driver.wait(OLD).answer(Read, DataTrimmed())
    assert driver.has_call(RecordGap)


def test_a_record_read_or_a_checkpoint_makes_a_trimmed_position_a_gap() -> None:
    driver = shard_of_a_stream(YOUNG, sequence_number(5))
    driver.answer(Read, DataTrimmed())
    assert driver.has_call(RecordGap)
    driver = shard_of_a_stream(YOUNG)
    driver.answer(Read, page(game(1)))
    driver.answer(Read, DataTrimmed())
    driver.answer(Commit, Committed())
    assert driver.call(RecordGap).checkpoint == sequence_number(1)


def test_a_shard_that_is_always_trimmed_is_not_asked_without_a_pause() -> None:
    driver = shard_of_a_stream(YOUNG)
    driver.answer(Read, DataTrimmed())
    assert not driver.has_call(Open)
    driver.wait(driver.tuning.poll_interval_seconds)
    assert driver.has_call(Open)
