"""Shard sync: finished rows that are forgotten, and streams that are switched off and on."""

from dataclasses import replace

import pytest

from consumer.domain.errors import UnsafeRefused
from consumer.domain.leases import LeaseRow, Ledger, Origin, TableBinding
from consumer.domain.records import Corrections, Rules
from consumer.domain.replies import Done, Lost
from consumer.domain.stream_halt import StreamHaltReason
from consumer.worker import events
from consumer.worker.calls import Reply
from consumer.worker.ledger_calls import (
    CompleteStreamStart,
    CreateRootRows,
    FindStream,
    Forget,
    ListShards,
    Mark,
    ReadOrigin,
    RecordStreamStart,
)
from consumer.worker.shard_sync import MOST_STEP_RETRIES, SYNC_INTERVAL_SECONDS
from consumer.worker.stream_start import DEFAULT_RULES
from tests.support.builders import ARN, CREATED, build_shards, finished, row, shard
from tests.support.drivers import NO_ANSWER, kinds
from tests.support.sync_driver import LATER, LONG_AGO, MISSING, SINCE, TABLES, SyncDriver, listed, stream_start

# --- finished rows that are forgotten ---


def test_a_row_is_forgotten_with_the_roots_as_they_are_at_that_time() -> None:
    rows = [finished(number, unlisted_since=LONG_AGO) for number in (0, 1)]
    driver = SyncDriver(*rows, row(2), stream_starts=(stream_start(0, 1, 2),)).sync(listed((2, None)))
    first = driver.call(Forget)
    assert first == Forget(rows[0], stream_start(0, 1, 2))
    assert driver.deliver(first, Done()) == [events.RowForgotten(shard(0))]
    second = driver.call(Forget)
    assert second == Forget(rows[1], stream_start(1, 2)), "the first one has left the list"
    assert driver.deliver(second, Lost(None)) == [events.LedgerChanged()]


def test_a_row_that_is_no_root_leaves_the_streams_row_alone() -> None:
    old = finished(1, parent=0, unlisted_since=LONG_AGO)
    driver = SyncDriver(old, row(2), stream_starts=(stream_start(2),)).sync(listed((2, None)))
    assert driver.call(Forget) == Forget(old, None)


def test_a_finished_row_is_marked_with_the_servers_time() -> None:
    driver = SyncDriver(finished(0), row(1), stream_starts=(stream_start(0, 1),)).sync(listed((1, None)))
    mark = driver.call(Mark)
    assert mark == Mark(finished(0), CREATED)
    assert driver.deliver(mark, Done()) == []


# --- streams ---

OLD = (TableBinding(ARN, *TABLES[:2]), stream_start(0))


def found(rules: Rules = DEFAULT_RULES) -> SyncDriver:
    """A sync has found a new stream; the old one is listed."""
    driver = SyncDriver(row(0), rules=rules)
    driver.answer(FindStream, LATER)
    assert driver.call(ListShards) == ListShards(ARN), "the streams that are known come first"
    driver.deliver(ListShards(ARN), build_shards(1, {}))
    return driver


def test_a_new_stream_is_started_step_by_step_and_the_next_sync_waits_for_it() -> None:
    driver = found()
    driver.machine.shard_ended(shard(0), ("shard-1",), SINCE, driver.now - 10.0)
    assert driver.call(ReadOrigin) == ReadOrigin(LATER)
    driver.deliver(ReadOrigin(LATER), Origin(None, None, (OLD,)))
    listing = replace(build_shards(1, {}), stream_arn=LATER)
    assert driver.answer(ListShards, listing) == [], "it belongs to the stream start, not to the sync"
    assert driver.answer(RecordStreamStart, Done()) == [events.StreamStarted(LATER, None, ("shard-0",), ARN)]
    driver.wait(SYNC_INTERVAL_SECONDS)
    driver.answer(CreateRootRows, Done())
    assert driver.answer(CompleteStreamStart, Done()) == [events.LedgerChanged()]
    assert driver.has_call(FindStream), "it had to wait"


def test_a_stream_start_that_fails_for_long_is_left_to_the_next_sync() -> None:
    driver = found()
    for attempt in range(1, MOST_STEP_RETRIES + 1):
        assert kinds(driver.answer(ReadOrigin, NO_ANSWER)) == ["RetryScheduled"]
        driver.wait(attempt)
    assert driver.answer(ReadOrigin, NO_ANSWER) == []
    assert driver.has_call(FindStream), "soon"


def test_a_new_stream_that_belongs_to_other_tables_ends_the_worker() -> None:
    driver = found()
    with pytest.raises(UnsafeRefused):
        driver.answer(ReadOrigin, Origin(None, TableBinding(LATER, *TABLES[:2])))


def test_a_stream_start_that_another_worker_began_is_completed() -> None:
    driver = SyncDriver(row(0), stream_starts=(stream_start(0), stream_start(0, arn=LATER, complete=False)))
    driver.answer(FindStream, ARN)
    for arn in (ARN, LATER):
        driver.answer(ListShards, replace(build_shards(1, {}), stream_arn=arn))
    assert driver.call(ReadOrigin) == ReadOrigin(LATER)


def test_a_stale_reply_that_names_an_older_stream_starts_nothing() -> None:
    driver = SyncDriver(stream_starts=(stream_start(), stream_start(arn=LATER)))
    driver.answer(FindStream, ARN.replace("2026-01-01", "2026-01-15"))
    for arn in (ARN, LATER):
        assert driver.call(ListShards) == ListShards(arn)
        driver.deliver(ListShards(arn), replace(build_shards(0, {}), stream_arn=arn))
    assert not driver.start_due()


@pytest.mark.parametrize(("newest", "again"), [(LATER, False), (ARN, True), (MISSING, True)], ids=str)
def test_a_stream_that_is_gone_is_not_listed_again_once_there_is_a_later_one(newest: Reply, again: bool) -> None:
    driver = SyncDriver(stream_starts=(stream_start(), stream_start(arn=LATER)))
    listed_arns: list[str] = []
    for _ in range(2):
        driver.answer(FindStream, newest)
        while driver.has_call(ListShards):
            arn = driver.call(ListShards).stream_arn
            listed_arns.append(arn)
            driver.deliver(ListShards(arn), MISSING if arn == ARN else replace(build_shards(0, {}), stream_arn=LATER))
        driver.wait(SYNC_INTERVAL_SECONDS)
    assert listed_arns == ([ARN, LATER, ARN, LATER] if again else [ARN, LATER, LATER])


# --- a stream that is off, or has no images ---


def halts(driver: SyncDriver, *rows: LeaseRow) -> dict[StreamHaltReason, str]:
    return dict(driver.machine.halts(Ledger(rows, driver.ledger.stream_starts)))


def test_a_table_whose_stream_is_off_halts_when_everything_is_read() -> None:
    driver = SyncDriver(finished(0))
    driver.answer(FindStream, MISSING)
    driver.answer(ListShards, replace(listed((0, None)), enabled=False))
    assert halts(driver, row(0)) == {}, "a shard is left to read"
    assert "there is none" in halts(driver, finished(0))[StreamHaltReason.OFF]
    driver.wait(SYNC_INTERVAL_SECONDS).answer(FindStream, LATER)
    assert halts(driver, finished(0)) == {}, "it is on again, and is started now"


def test_a_configured_stream_that_is_off_names_the_newer_one() -> None:
    driver = SyncDriver(finished(0)).sync(listed((0, None)))
    assert halts(driver, finished(0)) == {}
    driver.wait(SYNC_INTERVAL_SECONDS).sync(replace(listed((0, None)), enabled=False, successor=LATER))
    (sentence,) = halts(driver, finished(0)).values()
    assert f"CONSUMER_STREAM_ARN to {LATER}" in sentence
    driver.wait(SYNC_INTERVAL_SECONDS).answer(FindStream, ARN)
    assert len(halts(driver, finished(0))) == 1, "until a listing says otherwise"
    driver.answer(ListShards, MISSING)
    assert "there is none" in halts(driver, finished(0))[StreamHaltReason.OFF]


def test_before_anything_is_started_no_stream_halts() -> None:
    driver = SyncDriver(stream_starts=())
    driver.answer(FindStream, MISSING)
    assert halts(driver) == {}


@pytest.mark.parametrize(
    ("view", "needed"), [("NEW_IMAGE", "CONSUMER_CORRECTIONS=apply"), ("NEW_AND_OLD_IMAGES", None)]
)
def test_where_corrections_count_a_successor_without_old_images_halts(view: str, needed: str | None) -> None:
    driver = found(Rules(corrections=Corrections.APPLY))
    driver.answer(ReadOrigin, Origin(None, None, (OLD,)))
    driver.answer(ListShards, replace(build_shards(1, {}), stream_arn=LATER, view=view))
    assert driver.has_call(RecordStreamStart) is (needed is None)
    if needed is not None:
        said = halts(driver, row(0))[StreamHaltReason.VIEW_TYPE]
        assert all(each in said for each in (view, needed, "A view type cannot be changed"))


def test_a_successor_without_images_is_not_recorded_and_halts_while_the_older_stream_is_read() -> None:
    driver = found()
    driver.answer(ReadOrigin, Origin(None, None, (OLD,)))
    listing = replace(build_shards(1, {}), stream_arn=LATER, view="KEYS_ONLY")
    assert driver.answer(ListShards, listing) == []
    assert not driver.has_call(RecordStreamStart)
    assert "KEYS_ONLY" in halts(driver, row(0))[StreamHaltReason.VIEW_TYPE]
    driver.wait(SYNC_INTERVAL_SECONDS).answer(FindStream, LATER)
    assert driver.call(ListShards) == ListShards(ARN), "the older stream is synced on"
    driver.deliver(ListShards(ARN), build_shards(1, {}))
    assert not driver.start_due(), "a view type cannot change"
    third = ARN.replace("2026-01-01", "2026-03-03")
    driver.wait(SYNC_INTERVAL_SECONDS).answer(FindStream, third)
    driver.answer(ListShards, build_shards(1, {}))
    assert driver.call(ReadOrigin) == ReadOrigin(third)
    assert halts(driver, row(0)) == {}
