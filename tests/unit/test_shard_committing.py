"""Commits of a shard, call by call: units, retries, conflicts, dates, and when a unit is due."""

import pytest

from consumer.domain.errors import CallFailed, FailureKind
from consumer.domain.leases import TRIM_HORIZON
from consumer.domain.marks import ABSENT, StoredRow
from consumer.domain.replies import Committed, Done, Lost, Refused
from consumer.worker import events
from consumer.worker.calls import Operation
from consumer.worker.commit_attempt import UNLIMITED_RECORDS
from consumer.worker.known_rows import KnownRows
from consumer.worker.shard import ShardState
from consumer.worker.shard_calls import Commit, FindChildren, Open, Read
from consumer.worker.tuning import Tuning
from tests.support.builders import ME, OTHER, game, games, ignored, later_of, page, row, sequence_number
from tests.support.drivers import ShardDriver, kinds, opened_shard


def holding(last: int, tuning: Tuning | None = None) -> ShardDriver:
    """A shard with games 1 to `last` buffered, and the next read in flight."""
    driver = opened_shard(tuning)
    driver.answer(Read, page(*games(1, last), then="second"))
    assert driver.wait(driver.tuning.poll_interval_seconds).has_call(Read)
    return driver


def test_a_unit_is_committed_and_the_next_begins_where_it_ended() -> None:
    driver = holding(2)
    commit = driver.call(Commit)
    assert (commit.unit.previous, commit.unit.last, sorted(later_of(commit)), commit.fills_gap) == (
        TRIM_HORIZON,
        sequence_number(2),
        [],
        False,
    )
    driver.answer(Read, page(*games(3, 4)))
    assert not driver.has_call(Commit), "one commit at a time"
    driver.wait(0.5)
    assert driver.deliver(commit, Committed()) == [events.UnitCommitted(driver.lease, commit.unit, 0.5, settled=False)]
    assert driver.machine.checkpoint == sequence_number(2)
    following = driver.call(Commit).unit
    assert (following.previous, following.first, following.last) == tuple(map(sequence_number, (2, 3, 4)))


def test_a_unit_carries_unix_time() -> None:
    driver = holding(1, Tuning(wall_offset_seconds=1e9))
    assert driver.call(Commit).unit.cut_at == driver.now + 1e9


def test_a_commit_with_unknown_outcome_is_retried_with_the_very_same_unit() -> None:
    driver = holding(2)
    commit = driver.call(Commit)
    for attempt in (1, 2, 3):
        reported = driver.deliver(commit, CallFailed(FailureKind.NETWORK, "no answer"))
        assert reported == [
            events.RetryScheduled(
                Operation.COMMIT, FailureKind.NETWORK, "no answer", attempt, float(attempt), driver.lease
            )
        ]
        if attempt == 1:
            driver.answer(Read, page(*games(3, 9)))
        assert not driver.wait(attempt - 0.1).has_call(Commit)
        again = driver.wait(0.1).call(Commit)
        assert again == commit
        assert again.unit is commit.unit, "not cut again, whatever was read in the meantime"
    assert driver.deliver(commit, Committed()) == [events.UnitCommitted(driver.lease, commit.unit, 6.0, settled=False)]


def test_an_earlier_attempt_that_took_effect_settles_the_unit() -> None:
    driver = holding(2)
    commit = driver.call(Commit)
    driver.deliver(commit, CallFailed(FailureKind.NETWORK, "no answer"))
    reported = driver.wait(1).answer(Commit, Lost(row(owner=ME, checkpoint=sequence_number(2))))
    assert reported == [events.UnitCommitted(driver.lease, commit.unit, 1.0, settled=True)]
    assert driver.machine.checkpoint == sequence_number(2)
    assert driver.machine.state is ShardState.RUNNING


@pytest.mark.parametrize("checkpoint", [TRIM_HORIZON, sequence_number(1), sequence_number(9)])
def test_the_leases_row_at_another_checkpoint_rewinds(checkpoint: str) -> None:
    driver = holding(2)
    reported = driver.answer(Commit, Lost(row(owner=ME, checkpoint=checkpoint)))
    assert reported == [events.ShardRewound(driver.lease, checkpoint)]
    driver.answer(Read, page(*games(3, 4)))
    assert driver.call(Open).after == checkpoint
    assert not driver.in_flight, "the buffer is dropped, and the late page with it"
    driver.deliver(Open(driver.lease, checkpoint), "fresh")
    driver.answer(Read, page(game(50)))
    assert driver.call(Commit).unit.previous == checkpoint


@pytest.mark.parametrize(
    ("owner", "epoch"),
    [(OTHER, 8), (None, 7), (ME, 8), (OTHER, 7)],
    ids=["taken", "released", "later me", "same epoch"],
)
def test_a_lost_lease_drops_the_shard(owner: str | None, epoch: int) -> None:
    driver = holding(2)
    commit = driver.call(Commit)
    reported = driver.deliver(commit, Lost(row(owner=owner, epoch=epoch, checkpoint=commit.unit.last)))
    assert reported == [events.LeaseLost(driver.lease, owner)]
    assert driver.machine.state is ShardState.GONE
    assert driver.answer(Read, page(game(3))) == []
    assert driver.wait(1000).start_due() == []


def test_a_missing_row_halts() -> None:
    driver = holding(2)
    driver.answer(Commit, Committed())
    driver.answer(Read, page(game(3)))
    read = driver.call(Read)
    assert driver.answer(Commit, Lost(None)) == [events.ShardHalted(driver.lease.shard, sequence_number(2))]
    assert driver.machine.state is ShardState.HALTED
    assert driver.deliver(read, page(game(4))) == []
    assert driver.wait(1000).start_due() == []
    driver.machine.drain()
    assert driver.machine.state is ShardState.HALTED


def test_later_dates_are_left_out_of_the_same_unit() -> None:
    driver = opened_shard()
    driver.answer(Read, page(game(1), game(2, "bar")))
    first = driver.call(Commit)
    assert driver.deliver(first, Refused(later={"foo": "2026-12-31"})) == []
    second = driver.call(Commit)
    assert second.unit is first.unit
    assert later_of(second) == {"foo"}
    driver.deliver(second, Refused(later={"bar": "2026-12-31"}))
    third = driver.call(Commit)
    assert later_of(third) == {"foo", "bar"}
    driver.deliver(third, Committed())
    driver.answer(Read, page(game(3), game(4, "new"), game(5, "bar", date="2027-01-01")))
    assert later_of(driver.call(Commit)) == {"foo"}, "a later date is stored, and can only grow"


def test_a_date_that_was_written_is_known() -> None:
    driver = opened_shard()
    driver.answer(Read, page(game(1, date="2026-02-02")))
    driver.answer(Commit, Committed())
    for seq, date, later in ((2, "2026-02-01", {"foo"}), (3, "2026-02-02", set()), (4, "2026-02-03", set())):
        driver.answer(Read, page(game(seq, date=date)))
        commit = driver.call(Commit)
        assert later_of(commit) == later
        driver.deliver(commit, Committed())


def test_a_date_of_another_shard_of_this_worker_is_known_too() -> None:
    driver = opened_shard()
    driver.known.learn_date("foo", "2026-12-31")
    driver.answer(Read, page(game(1)))
    assert later_of(driver.call(Commit)) == {"foo"}


def conflict(driver: ShardDriver) -> int:
    """The commit meets a conflict; returns how many records the next attempt has."""
    (reported,) = driver.answer(Commit, Refused(conflict=True))
    assert isinstance(reported, events.RetryScheduled)
    assert reported.kind is FailureKind.CONFLICT
    assert not driver.has_call(Commit)
    driver.wait(reported.delay_seconds)
    commit = driver.call(Commit)
    driver.in_flight.append(commit)
    assert (commit.unit.previous, commit.unit.first) == (TRIM_HORIZON, sequence_number(1))
    return commit.unit.records


def test_repeated_conflicts_halve_the_unit_from_its_end() -> None:
    driver = holding(9)
    assert [conflict(driver) for _ in range(11)] == [9, 9, 4, 4, 4, 2, 2, 2, 1, 1, 1]


def test_a_halved_unit_grows_again_with_each_success() -> None:
    driver = holding(16)
    assert [conflict(driver) for _ in range(9)][-1] == 2
    sizes = []
    for _ in range(4):
        commit = driver.call(Commit)
        sizes.append(commit.unit.records)
        driver.deliver(commit, Committed())
    assert sizes == [2, 4, 8, 2], "the last two are the rest"


def test_a_unit_that_has_grown_back_is_not_limited_any_more() -> None:
    driver = opened_shard()
    driver.answer(Read, page(*games(1, 2 * UNLIMITED_RECORDS - 2)))
    for _ in range(3):
        conflict(driver)
    sizes = []
    for batch in range(3):
        commit = driver.call(Commit)
        sizes.append(commit.unit.records)
        driver.answer(Read, page(*games((batch + 2) * 100_000, (batch + 2) * 100_000 + 20_000)))
        driver.deliver(commit, Committed())
    assert sizes[0] == UNLIMITED_RECORDS - 1
    assert driver.call(Commit).unit.records > UNLIMITED_RECORDS


def test_only_consecutive_conflicts_count() -> None:
    driver = holding(4)
    conflict(driver)
    conflict(driver)
    driver.answer(Commit, Committed())
    driver.answer(Read, page(*games(5, 8)))
    driver.answer(Commit, Refused(conflict=True))
    assert driver.wait(5).call(Commit).unit.records == 4


def test_records_wait_for_the_batch_window() -> None:
    driver = holding(1, Tuning(batch_window_seconds=2.0))
    driver.wait(1.3).answer(Read, page(game(2)))
    assert not driver.wait(0.4).has_call(Commit)
    assert driver.wait(0.1).call(Commit).unit.records == 2, "counted from the oldest"


@pytest.mark.parametrize("why", ["lookahead", "end"])
def test_the_batch_window_is_cut_short(why: str) -> None:
    driver = opened_shard(Tuning(batch_window_seconds=60.0, lookahead_bytes=1000))
    driver.answer(Read, page(game(1), size_bytes=1000) if why == "lookahead" else page(game(1), then=None))
    assert driver.has_call(Commit)


def test_ignored_records_alone_move_the_checkpoint_but_not_once_per_page() -> None:
    driver = opened_shard(Tuning(ignored_window_seconds=5.0))
    for seq in range(1, 11):
        driver.answer(Read, page(ignored(seq)))
        assert not driver.wait(0.25).has_call(Commit)
    unit = driver.wait(2.5).call(Commit).unit
    assert (unit.records, unit.last) == (10, sequence_number(10))


def test_a_game_among_ignored_records_is_committed_at_once() -> None:
    driver = opened_shard(Tuning(ignored_window_seconds=5.0))
    driver.answer(Read, page(ignored(1)))
    assert not driver.has_call(Commit)
    driver.answer(Read, page(ignored(2), game(3)))
    assert driver.call(Commit).unit.records == 3


def test_nothing_is_committed_or_ended_while_no_heartbeat_is_written() -> None:
    driver = opened_shard()
    driver.may_commit = False
    driver.answer(Read, page(game(1)))
    assert kinds(driver.wait(1).start_due()) == ["Read"]
    assert driver.machine.wake_at(may_commit=False) == float("inf")
    driver.may_commit = True
    driver.answer(Commit, Committed())
    driver.may_commit = False
    driver.answer(Read, page(then=None))
    assert not driver.has_call(FindChildren)
    driver.may_commit = True
    assert driver.has_call(FindChildren)


def test_a_reply_of_the_wrong_type_is_a_defect() -> None:
    driver = holding(1)
    with pytest.raises(AssertionError, match="Done is no reply to Commit"):
        driver.answer(Commit, Done())


def test_a_later_stored_date_is_known_until_many_other_players_have_come() -> None:
    known = KnownRows(100)
    known.learn_date("foo", "2026-02-01")
    known.learn_date("foo", "2026-01-01")
    assert known.get("foo") == StoredRow(date="2026-02-01")
    known.learn({f"p{number}": ABSENT for number in range(100)})
    assert known.get("foo") is None
    assert len(known) == 100
