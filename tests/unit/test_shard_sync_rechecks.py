"""Rechecks of an ended shard's children, also by the worker that claims one of them after the first owner is gone."""

import pytest

from consumer.domain.leases import TRIM_HORIZON, LeaseRow, Ledger, StreamStart, TableNames
from consumer.domain.replies import Children, Done
from consumer.worker.ledger_calls import Adopt, FindLate, FindStream, ListShards, Probe
from consumer.worker.shard_sync import NEW_SHARD_SECONDS, RECHECK_DELAYS_SECONDS, ShardSync
from consumer.worker.stream_start import StreamStarter
from tests.support.builders import ARN, CREATED, build_shards, finished, row
from tests.support.drivers import LinearBackoff

LEDGER = Ledger(
    (finished(0, 1, 2), row(1, parent=0), row(2, parent=0)), (StreamStart(ARN, None, ("shard-0",), complete=True),)
)


def synced() -> ShardSync:
    """Its first sync is over, at 1000 s."""
    shard_sync = ShardSync(
        lambda arn: StreamStarter(arn, TRIM_HORIZON, 1, TableNames("leases", "board")), LinearBackoff()
    )
    (call,) = shard_sync.ready(1000.0, LEDGER, 1)
    assert isinstance(call, FindStream)
    shard_sync.take(call, ARN, 1000.0)
    (call,) = shard_sync.ready(1000.0, LEDGER, 1)
    assert isinstance(call, ListShards)
    shard_sync.take(call, build_shards(3, {0: [1, 2]}), 1000.0)
    assert shard_sync.ready(1000.0, LEDGER, 1) == []
    return shard_sync


def created(seconds_ago: float) -> LeaseRow:
    return row(1, parent=0, epoch=int(CREATED - seconds_ago) + 1)


def test_a_worker_that_claims_a_new_shard_rechecks_its_parent() -> None:
    shard_sync = synced()
    for number in (1, 2):
        shard_sync.shard_claimed(row(number, parent=0, epoch=int(CREATED)), LEDGER, 1000.0, CREATED + 5)
    for delay in RECHECK_DELAYS_SECONDS[:2]:
        assert shard_sync.wake_at() == 1000.0 + delay
        (call,) = shard_sync.ready(1000.0 + delay, LEDGER, 1)
        assert call == FindLate(LEDGER.rows[0]), "once for both children"
        shard_sync.take(call, Children(("shard-1", "shard-2"), leaf=False, served_at=CREATED), 1000.0 + delay)
        assert shard_sync.ready(1000.0 + delay, LEDGER, 1) == []


@pytest.mark.parametrize(
    ("claimed", "ledger"),
    [
        (created(NEW_SHARD_SECONDS + 2), LEDGER),
        (row(0, epoch=int(CREATED)), LEDGER),
        (created(0), Ledger(LEDGER.rows[1:], LEDGER.stream_starts)),
        (created(0), Ledger((row(0), *LEDGER.rows[1:]), LEDGER.stream_starts)),
    ],
    ids=["old", "a root", "parent forgotten", "parent not finished"],
)
def test_other_claims_recheck_nothing(claimed: LeaseRow, ledger: Ledger) -> None:
    shard_sync = synced()
    shard_sync.shard_claimed(claimed, ledger, 1000.0, CREATED)
    assert shard_sync.wake_at() == 1060.0


@pytest.mark.parametrize("shown", [(), ("shard-1",)])
def test_a_reply_that_leaves_out_known_children_needs_a_listing(shown: tuple[str, ...]) -> None:
    """Not every engine serves the filter."""
    shard_sync = synced()
    shard_sync.shard_claimed(created(0), LEDGER, 1000.0, CREATED)
    (call,) = shard_sync.ready(1003.0, LEDGER, 1)
    shard_sync.take(call, Children(shown, leaf=False, served_at=CREATED), 1003.0)
    assert isinstance(shard_sync.ready(1003.0, LEDGER, 1)[0], FindStream)


def test_a_shard_that_ends_twice_at_one_time_is_rechecked_like_any_other() -> None:
    """By a late reply to its end, and by a row that says so."""
    shard_sync = synced()
    shard_sync.shard_ended(LEDGER.rows[0].shard, ("shard-1",), CREATED, 1000.0)
    shard_sync.shard_ended(LEDGER.rows[0].shard, ("shard-1",), None, 1000.0)
    assert shard_sync.wake_at() == 1000.0 + RECHECK_DELAYS_SECONDS[0]


def test_a_root_that_is_not_there_does_not_hold_up_one_that_is() -> None:
    """A stale listing shows one that is long forgotten beside one that the first listing hid."""
    shard_sync = synced()
    now, calls_made = 1060.0, list[object]()
    for _ in range(2):
        while calls := shard_sync.ready(now, LEDGER, 1):
            (call,) = calls
            calls_made.append(call)
            match call:
                case FindStream():
                    shard_sync.take(call, ARN, now)
                case ListShards():
                    shard_sync.take(call, build_shards(5, {0: [1, 2]}), now)
                case Probe(root):
                    shard_sync.take(call, root.shard_id == "shard-3", now)
                case _:
                    shard_sync.take(call, Done(), now)
        now = shard_sync.wake_at()
    adopted = [row.shard.shard_id for call in calls_made if isinstance(call, Adopt) for row in call.adoption.rows]
    assert adopted == ["shard-3"]
