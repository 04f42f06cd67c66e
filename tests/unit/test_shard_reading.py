"""Reads of a shard, call by call: iterators, poll intervals, empty pages, late replies, and the lag."""

from dataclasses import replace

import pytest

from consumer.domain.errors import CallFailed, DataTrimmed, FailureKind, IteratorExpired
from consumer.domain.leases import TRIM_HORIZON, enabled_at
from consumer.domain.lineage import RETENTION_SECONDS
from consumer.domain.replies import Children, Committed, Lost
from consumer.worker import events
from consumer.worker.calls import Operation, Reply
from consumer.worker.reader import SCANT_RECORDS, SURE_PAGES
from consumer.worker.shard import ShardState
from consumer.worker.shard_calls import PAGE_RECORDS, Commit, EndShard, FindChildren, Open, Read
from consumer.worker.tuning import Tuning
from tests.support.builders import ARN, CREATED, ME, game, games, page, row, sequence_number
from tests.support.drivers import ShardDriver, opened_shard


@pytest.mark.parametrize("checkpoint", [TRIM_HORIZON, sequence_number(5)])
def test_it_opens_at_the_checkpoint_and_reads_from_there(checkpoint: str) -> None:
    driver = ShardDriver(row(owner=ME, checkpoint=checkpoint))
    assert driver.call(Open) == Open(driver.lease, checkpoint)
    assert not driver.has_call(Open), "one read at a time"
    driver.deliver(Open(driver.lease, checkpoint), "first")
    assert driver.call(Read) == Read(driver.lease, "first", checkpoint, None)
    assert not driver.has_call(Commit)


def test_a_shard_is_read_at_most_once_per_poll_interval_counted_from_read_to_read() -> None:
    driver = opened_shard(Tuning(poll_interval_seconds=0.25))
    read = driver.call(Read)
    driver.wait(0.125).deliver(read, page(game(1), then="second"))
    assert not driver.has_call(Read)
    assert driver.wait(0.125).call(Read) == Read(driver.lease, "second", sequence_number(1), None)
    reported = driver.wait(0.5).deliver(Read(driver.lease, "second", sequence_number(1), None), page(then="third"))
    assert reported == [events.CaughtUp(driver.lease)]
    assert driver.call(Read).iterator == "third", "the reply took longer than the interval"


def test_a_shard_that_has_been_idle_for_long_is_polled_rarely_until_its_first_record() -> None:
    driver = opened_shard(
        Tuning(
            poll_interval_seconds=0.25,
            idle_poll_interval_seconds=1.0,
            idle_after_seconds=30.0,
            caught_up_after_seconds=20.0,
        )
    )
    for _ in range(121):  # 30 s after the first empty page
        driver.answer(Read, page())
    assert not driver.wait(0.75).has_call(Read)
    driver.wait(0.25)
    driver.answer(Read, page())
    driver.wait(1.0)
    driver.answer(Read, page(game(1)))
    assert driver.wait(0.25).has_call(Read), "fast again"
    driver.answer(Read, page())
    assert driver.wait(0.25).has_call(Read), "idle time is counted from the start again"


def test_an_empty_page_counts_from_when_it_was_requested_not_from_when_it_came() -> None:
    """Records may have come in between, and the children's rows say that their records are newer."""
    driver = opened_shard(Tuning(poll_interval_seconds=1.0, caught_up_after_seconds=7.0, wall_offset_seconds=CREATED))
    asked_at = driver.now
    read = driver.call(Read)
    driver.wait(5.0).deliver(read, page())
    for _ in range(SURE_PAGES - 1):
        driver.answer(Read, page())
        driver.wait(1.0)
    driver.answer(Read, page(then=None))
    driver.answer(FindChildren, Children(("shard-2",), leaf=False, served_at=CREATED))
    assert [child.created for child in driver.call(EndShard).rows] == [CREATED + asked_at]


def test_after_many_empty_pages_the_newest_prove_nothing_yet() -> None:
    """Records may have come before them, and pages be empty all the same."""
    driver = opened_shard(Tuning(poll_interval_seconds=1.0, caught_up_after_seconds=7.0, wall_offset_seconds=CREATED))
    asked_at = driver.now
    for _ in range(SURE_PAGES + 3):
        driver.answer(Read, page())
        driver.wait(1.0)
    driver.answer(Read, page(then=None))
    driver.answer(FindChildren, Children(("shard-2",), leaf=False, served_at=CREATED))
    assert [child.created for child in driver.call(EndShard).rows] == [CREATED + asked_at + 3.0]


def test_a_few_empty_pages_prove_nothing() -> None:
    """The shard may be closed for long, its last records behind them, and its children's older than the pages."""
    driver = opened_shard(Tuning(poll_interval_seconds=1.0, caught_up_after_seconds=7.0, wall_offset_seconds=CREATED))
    for _ in range(SURE_PAGES - 1):
        driver.answer(Read, page())
        driver.wait(1.0)
    driver.answer(Read, page(then=None))
    driver.answer(FindChildren, Children(("shard-2",), leaf=False, served_at=CREATED))
    assert [child.created for child in driver.call(EndShard).rows] == [None]


def test_an_idle_poll_interval_shorter_than_the_ordinary_one_changes_nothing() -> None:
    driver = opened_shard(Tuning(poll_interval_seconds=2.0, idle_poll_interval_seconds=1.0, idle_after_seconds=0.0))
    driver.answer(Read, page())
    assert not driver.wait(1.9).has_call(Read)


def test_shards_share_the_read_ahead_budget() -> None:
    driver = opened_shard(Tuning(lookahead_bytes=1000, total_lookahead_bytes=500))
    driver.answer(Read, page(game(1), size_bytes=200))
    assert driver.call(Read).limit == PAGE_RECORDS
    driver.budget.take(600)  # by other shards
    driver.deliver(Read(driver.lease, "next", sequence_number(1), None), page(game(2), size_bytes=100))
    for _ in range(2):
        assert not driver.wait(1).has_call(Read), "this shard has something to commit"
        driver.answer(Commit, Committed())
    assert driver.call(Read).limit == SCANT_RECORDS, "with nothing read it may go on, in small pages"


def test_it_reads_ahead_while_a_commit_is_in_flight_up_to_a_bound_in_bytes() -> None:
    driver = opened_shard(Tuning(lookahead_bytes=250))
    for seq in (1, 2, 3):
        driver.answer(Read, page(game(seq), then=f"after {seq}", size_bytes=100))
    commit = driver.call(Commit)
    assert not driver.has_call(Read), "300 bytes are not committed"
    assert not driver.wait(1000).has_call(Read)
    driver.deliver(commit, Committed())
    assert driver.has_call(Read), "the first page is gone from the buffer"


def test_an_expired_iterator_is_opened_again_after_what_is_buffered() -> None:
    driver = opened_shard()
    driver.answer(Read, page(*games(1, 3)))
    assert driver.answer(Read, IteratorExpired()) == []
    assert driver.answer(Open, "fresh") == []
    assert driver.call(Read) == Read(driver.lease, "fresh", sequence_number(3), None)
    assert driver.call(Commit).unit.records == 3, "nothing was dropped"


def test_an_iterator_that_expires_on_empty_pages_is_opened_where_it_was() -> None:
    driver = opened_shard(checkpoint=sequence_number(7))
    driver.answer(Read, page())
    driver.wait(1).answer(Read, IteratorExpired())
    assert driver.call(Open).after == sequence_number(7)


def test_a_failed_read_is_retried_after_the_back_off_and_forgotten_after_a_success() -> None:
    driver = opened_shard()
    read = driver.call(Read)
    for attempt in (1, 2, 3):
        reported = driver.deliver(read, CallFailed(FailureKind.THROTTLED, "busy"))
        assert reported == [
            events.RetryScheduled(
                Operation.GET_RECORDS, FailureKind.THROTTLED, "busy", attempt, float(attempt), driver.lease
            )
        ]
        assert not driver.wait(attempt - 0.1).has_call(Read)
        assert driver.wait(0.1).call(Read) == read, "the same call"
    driver.deliver(read, page(then="second"))
    driver.wait(1)
    assert driver.answer(Read, CallFailed(FailureKind.NETWORK, "down")) == [
        events.RetryScheduled(Operation.GET_RECORDS, FailureKind.NETWORK, "down", 1, 1.0, driver.lease)
    ]


LATE: list[Reply] = [page(*games(2, 3)), DataTrimmed(), IteratorExpired(), page(then=None)]


@pytest.mark.parametrize("late", LATE, ids=["page", "trimmed", "expired", "end"])
def test_a_late_reply_to_a_read_from_before_a_rewind_is_dropped(late: Reply) -> None:
    driver = opened_shard()
    driver.answer(Read, page(game(1), then="second"))
    old = driver.call(Read)
    driver.answer(Commit, Lost(row(owner=ME, checkpoint=sequence_number(40))))
    assert not driver.has_call(Open), "one read at a time"
    assert driver.deliver(old, late) == []
    assert driver.call(Open).after == sequence_number(40)
    assert not driver.in_flight, "nothing of it is in the buffer"


@pytest.mark.parametrize("late", ["iterator", DataTrimmed()], ids=["iterator", "trimmed"])
def test_a_late_reply_to_an_open_from_before_a_rewind_is_dropped(late: Reply) -> None:
    driver = opened_shard()
    driver.answer(Read, page(game(1), then="second"))
    driver.answer(Read, IteratorExpired())
    old = driver.call(Open)
    driver.answer(Commit, Lost(row(owner=ME, checkpoint=sequence_number(40))))
    assert driver.deliver(old, late) == []
    assert driver.call(Open).after == sequence_number(40)


def test_the_last_page_may_hold_records() -> None:
    driver = opened_shard()
    driver.answer(Read, page(*games(1, 2), then=None))
    commit = driver.call(Commit)
    assert not driver.wait(100).has_call(Read), "the shard has no more"
    assert not driver.has_call(FindChildren), "its records come first"
    driver.deliver(commit, Committed())
    assert driver.has_call(FindChildren)
    assert driver.machine.state is ShardState.ENDING


@pytest.mark.parametrize(
    ("call", "reply"),
    [(Open, page()), (Read, "iterator"), (Read, True), (Open, Committed()), (Read, Lost(None))],
)
def test_a_reply_of_the_wrong_type_is_a_defect(call: type[Open | Read], reply: Reply) -> None:
    driver = opened_shard() if call is Read else ShardDriver()
    with pytest.raises(AssertionError, match="is no reply to"):
        driver.answer(call, reply)


def test_the_lag_is_the_age_of_the_oldest_record_known_and_not_committed() -> None:
    driver = ShardDriver(row(owner=ME))
    assert (driver.machine.lag_seconds(1e10), driver.machine.lag_known) == (RETENTION_SECONDS, False)
    child = row(owner=ME, created=CREATED - 100.0, parent=9)
    driver = ShardDriver(child, Tuning(wall_offset_seconds=CREATED - 990.0))
    assert (driver.machine.lag_seconds(CREATED), driver.machine.lag_known) == (100.0, False), "an upper bound"
    driver.answer(Open, "first")
    driver.answer(Read, page(*games(1, 2)))
    oldest = game(1).created
    assert (driver.machine.lag_seconds(oldest + 50.0), driver.machine.lag_known) == (50.0, True)
    assert driver.machine.lag_seconds(oldest - 1.0) == 0.0
    driver.answer(Commit, Committed())
    assert driver.machine.lag_seconds(oldest + 51.0) == 50.0, "what comes after the last one is not known"
    driver.answer(Read, page())
    assert driver.machine.lag_seconds(oldest + 51.0) == 50.0, "one empty page proves little"
    driver.wait(1).answer(Read, page())
    assert (driver.machine.lag_seconds(oldest + 51.0), driver.machine.lag_known) == (0.0, True)


def read_empty_pages(driver: ShardDriver, seconds: float, every: float = 1.0) -> None:
    """Empty pages, the first of them requested now."""
    until = driver.now + seconds
    while driver.now < until:
        driver.answer(Read, page())
        driver.wait(every)


SLOW = Tuning(poll_interval_seconds=1.0, idle_poll_interval_seconds=9.0, idle_after_seconds=5.0)


def test_empty_pages_are_no_proof_of_being_caught_up_before_they_have_lasted_a_minute() -> None:
    """They come before data too. Until then the lag is unknown, its bound grows, and polling is not slowed."""
    driver = ShardDriver(row(owner=ME, created=CREATED, parent=9), replace(SLOW, wall_offset_seconds=CREATED))
    driver.answer(Open, "first")
    for _ in range(60):
        read_empty_pages(driver, 1.0)
        assert driver.has_call(Read), "at full pace"
        assert not driver.machine.lag_known
        assert driver.machine.lag_seconds(CREATED + driver.now) == driver.now
    driver.answer(Read, page())
    assert driver.machine.lag_known
    assert driver.machine.lag_seconds(CREATED + driver.now) == 0.0
    assert not driver.wait(8.0).has_call(Read), "now it is idle"
    assert driver.wait(1.0).has_call(Read)


def test_a_few_empty_pages_prove_nothing_however_far_apart_they_are() -> None:
    driver = opened_shard(Tuning(poll_interval_seconds=30.0))
    for _ in range(SURE_PAGES - 1):
        assert not driver.machine.lag_known
        driver.answer(Read, page())
        driver.wait(30.0)
    driver.answer(Read, page())
    assert driver.machine.lag_known


@pytest.mark.parametrize(
    ("age_seconds", "known"), [(0.0, True), (89.0, True), (91.0, False), (1e9, False), (-91.0, False)]
)
def test_a_record_proves_the_tip_when_it_is_recent(age_seconds: float, known: bool) -> None:
    """DynamoDB Local rounds creation times down to a minute. A backlog's records are old, and more may follow."""
    driver = opened_shard(SLOW)
    offset = game(1).created - driver.now + age_seconds
    driver = opened_shard(replace(SLOW, wall_offset_seconds=offset))
    driver.answer(Read, page(game(1)))
    driver.answer(Commit, Committed())
    driver.wait(1.0)
    assert driver.machine.lag_known is known
    read_empty_pages(driver, 3.0)
    assert driver.machine.lag_known is known
    assert (driver.machine.lag_seconds(driver.now + offset) == 0.0) is known or age_seconds < 0


@pytest.mark.parametrize("what", ["a new iterator", "a pause", "a rewind"])
def test_what_interrupts_the_reading_has_the_tip_proven_again(what: str) -> None:
    """A new iterator begins at the last record, which may be hours old."""
    driver = opened_shard(SLOW)
    driver = opened_shard(replace(SLOW, wall_offset_seconds=game(1).created - driver.now))
    driver.answer(Read, page(game(1)))
    if what == "a rewind":
        driver.answer(Commit, Lost(row(owner=ME, checkpoint=sequence_number(0), created=1e9)))
        assert not driver.machine.lag_known
        return
    driver.answer(Commit, Committed())
    driver.wait(1.0)
    read_empty_pages(driver, 3.0)
    assert _known(driver)
    if what == "a pause":
        driver.wait(70.0).answer(Read, page())
    else:
        driver.answer(Read, IteratorExpired())
        driver.answer(Open, "fresh")
    for _ in range(58):
        assert _known(driver) is False
        driver.wait(1.0).answer(Read, page())
    driver.wait(2.0).answer(Read, page())
    driver.wait(9.0).answer(Read, page())
    assert _known(driver)


def _known(driver: ShardDriver) -> bool:
    return driver.machine.lag_known


def test_after_a_rewind_the_shard_does_not_count_as_caught_up() -> None:
    driver = opened_shard()
    driver.answer(Read, page(game(1)))
    commit = driver.call(Commit)
    for _ in range(2):
        driver.answer(Read, page())
        driver.wait(1)
    driver.deliver(commit, Lost(row(owner=ME, checkpoint=sequence_number(0), created=1e9)))
    assert driver.machine.lag_seconds(1e9 + 600.0) == 600.0
    assert driver.machine.lag_seconds(2e9) == RETENTION_SECONDS, "the stream has nothing that is older"


@pytest.mark.parametrize(
    ("start_time", "bound"),
    [(None, RETENTION_SECONDS), (CREATED - 300.0, 305.0), (CREATED - 90 * 86_400, RETENTION_SECONDS)],
)
def test_a_root_that_no_worker_has_read_may_be_as_late_as_its_stream_reaches_back(
    start_time: float | None, bound: float
) -> None:
    """Its row says since when the stream is listed, not how old its records are."""
    driver = ShardDriver(row(owner=ME, created=CREATED), replace(SLOW, wall_offset_seconds=CREATED), start_time)
    assert (driver.machine.lag_seconds(CREATED + 5.0), driver.machine.lag_known) == (bound, False)
    driver.answer(Open, "first")
    read_empty_pages(driver, 61.0)
    assert (driver.machine.lag_seconds(CREATED + driver.now), driver.machine.lag_known) == (0.0, True)


def test_a_root_of_a_young_stream_is_no_later_than_the_stream_is_old() -> None:
    born = enabled_at(ARN)
    assert born is not None
    driver = ShardDriver(row(owner=ME, created=born + 50.0), SLOW)
    assert (driver.machine.lag_seconds(born + 60.0), driver.machine.lag_known) == (60.0, False)


def test_a_shard_whose_reads_have_failed_for_a_minute_is_not_known_to_be_caught_up() -> None:
    """An outage: the worker saw nothing new because it saw nothing."""
    driver = opened_shard(SLOW)
    driver = opened_shard(replace(SLOW, wall_offset_seconds=game(1).created - driver.now))
    read_empty_pages(driver, 61.0)
    assert _known(driver)
    began, away = driver.now, CallFailed(FailureKind.SERVER, "away")
    known = {}
    while driver.now - began < 100.0:
        if driver.has_call(Read):
            driver.answer(Read, away)
            known[driver.now - began] = _known(driver)
        driver.wait(1.0)
    assert [seconds for seconds, still in known.items() if still] == [seconds for seconds in known if seconds < 68.0]
    assert not _known(driver)
    assert driver.machine.lag_seconds(game(1).created + driver.now - 1000.0) > 60.0
