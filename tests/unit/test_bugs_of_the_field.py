"""Well-known bugs of stream consumers, each as a test over whole workers: reading one shard."""

from dataclasses import replace

import pytest

from consumer.domain.leases import TRIM_HORIZON, rank
from consumer.domain.lineage import RETENTION_SECONDS
from consumer.worker import events
from consumer.worker.calls import execute
from consumer.worker.ledger_calls import Claim
from consumer.worker.shard_calls import Commit, Open, Read
from tests.support.builders import ARN, CREATED, ME, OTHER, shard
from tests.support.cluster import BEGAN_AT, Cluster, single_worker
from tests.support.drivers import NO_ANSWER


def test_the_last_page_comes_with_records_and_no_next_iterator() -> None:
    """Elsewhere: a page without a next iterator is taken for empty, and its records are lost."""
    cluster = Cluster(ME)
    cluster.open_shards(0)
    cluster.write(0, 0, 0)
    cluster.split(0, 1)
    assert cluster.serve(4.0).exact
    assert cluster.row(0).finished


def test_a_child_is_read_from_its_horizon() -> None:
    """Elsewhere: a shard first seen at run time is opened at LATEST, and what it held by then is lost."""
    cluster, worker = single_worker(0)
    worker.hold = Read
    cluster.split(0, 1, 2)
    cluster.write(1, 2)
    cluster.serve(10.0)  # records have whole seconds: these are older than the opening of their shards
    worker.hold = None
    assert cluster.serve(4.0).exact


def test_an_expired_iterator_is_not_used_again() -> None:
    """Elsewhere: the same iterator is retried for ever, or the shard is opened at its checkpoint although later records
    are in the buffer, which are then counted twice."""
    cluster, worker = single_worker(0)
    worker.hold = Commit
    cluster.write(0)
    cluster.serve()
    cluster.streams.expire_iterators()
    cluster.write(0, 0)
    cluster.serve()
    worker.hold = None
    assert cluster.serve(4.0).exact


def test_trimmed_data_leaves_a_gap_row_and_the_shard_goes_on() -> None:
    """Elsewhere: the worker retries the trimmed position for ever, or jumps to the horizon and reports nothing."""
    cluster, _ = single_worker(0)
    cluster.write(0)
    cluster.serve()
    checkpoint = cluster.row(0).checkpoint
    cluster.kill(ME)
    cluster.write(0, 0, 0)
    cluster.streams.trim("shard-0", 3)
    cluster.start_worker(OTHER)
    cluster.serve(10.0)
    assert cluster.counted() == [0, 3]
    assert list(cluster.tables.gaps) == [(shard(0), checkpoint)]
    assert cluster.tables.gaps[shard(0), checkpoint].to == cluster.row(0).checkpoint
    assert not cluster.workers[OTHER].not_ready


def test_a_shard_never_read_whose_row_is_older_than_the_retention_leaves_a_gap_row() -> None:
    """Elsewhere: TRIM_HORIZON of a shard that has lost records opens without an error, and nothing is reported."""
    cluster = Cluster(ME)
    cluster.open_shards(0)
    cluster.workers[ME].hold = Claim
    cluster.serve()
    cluster.kill(ME)
    cluster.write(0, 0)
    cluster.streams.trim("shard-0", 1)
    row = cluster.row(0)
    cluster.tables.rows[shard(0)] = replace(row, created=(row.created or 0.0) - RETENTION_SECONDS)
    cluster.start_worker(OTHER)
    cluster.serve(10.0)
    assert cluster.counted() == [1]
    assert cluster.tables.gaps[shard(0), TRIM_HORIZON].to == cluster.row(0).checkpoint


def test_sequence_numbers_of_21_and_of_40_digits_are_in_the_streams_order() -> None:
    """Elsewhere: they are compared as text, in which a 40-digit number may come before one of 21 digits."""
    numbers = (9 * 10**20, 10**21, 10**39, 10**39 + 1)
    assert sorted(map(str, numbers)) != [*map(str, numbers)]
    assert sorted(map(str, numbers), key=rank) == [*map(str, numbers)]
    cluster, _ = single_worker(0)
    cluster.streams.newest.numbers = iter(numbers)
    for _ in numbers:
        cluster.write(0)
        cluster.serve()
    assert cluster.exact
    assert cluster.row(0).checkpoint == str(numbers[-1])


def test_a_late_page_of_a_lease_that_was_lost_and_claimed_again_is_dropped() -> None:
    """Elsewhere: a page that was requested under the earlier lease goes into the buffer of the new one."""
    cluster, worker = single_worker(0)
    worker.hold = Read
    cluster.write(0)
    cluster.serve()
    late = worker.call(Read)
    page = execute(late, worker.ports)
    stored = cluster.row(0)
    cluster.tables.rows[shard(0)] = replace(stored, owner=OTHER, epoch=stored.epoch + 1)
    worker.machine.coordinator.reload_ledger(worker.now)
    worker.hold = Open
    cluster.serve()
    assert cluster.row(0).epoch == stored.epoch + 2, "lost, and claimed again from an owner that is no member"
    assert worker.deliver(late, page) == []
    cluster.serve()
    assert len([call for call in worker.in_flight if isinstance(call, Open)]) == 1, "one read at a time"
    worker.hold = None
    assert cluster.serve(4.0).exact


def test_a_late_copy_of_a_commit_moves_no_checkpoint_back() -> None:
    """Elsewhere: an attempt that timed out takes effect late, and the records up to the next one are counted twice."""
    cluster, worker = single_worker(0)
    worker.hold = Commit
    cluster.write(0)
    cluster.serve()
    late = worker.call(Commit)
    worker.deliver(late, NO_ANSWER)
    worker.hold = None
    cluster.serve(4.0)
    cluster.write(0)
    cluster.serve(4.0)
    checkpoint = cluster.row(0).checkpoint
    execute(late, worker.ports)
    assert cluster.row(0).checkpoint == checkpoint
    cluster.kill(ME)
    cluster.start_worker(OTHER)
    assert cluster.serve(10.0).exact


@pytest.mark.parametrize("lost", ["reply", "request"])
def test_the_outcome_of_a_commit_without_a_reply_is_decided_by_the_checkpoint(lost: str) -> None:
    """Elsewhere: the outcome of a write that timed out is guessed, and its records are lost or counted twice."""
    cluster, worker = single_worker(0)
    worker.hold = Commit
    cluster.write(0)
    cluster.serve()
    commit = worker.call(Commit)
    if lost == "reply":
        execute(commit, worker.ports)
    worker.deliver(commit, NO_ANSWER)
    cluster.write(0)
    worker.hold = None
    assert cluster.serve(4.0).exact
    assert not any(isinstance(event, events.ShardRewound) for event in worker.reported)


def test_an_idle_shard_started_at_latest_loses_nothing_to_a_kill_before_its_first_record() -> None:
    """Elsewhere: without a checkpoint the restarted worker starts at LATEST again, after the records written since."""
    cluster = Cluster(start_position="LATEST")
    cluster.open_shards(0)
    cluster.write(0)
    cluster.now += 60.0
    cluster.start_worker(ME)
    cluster.serve(10.0)
    assert cluster.tables.stream_starts[ARN].start_time == CREATED + 60.0 == CREATED + cluster.now - BEGAN_AT - 10.0
    cluster.kill(ME)
    cluster.write(0)
    cluster.now += 60.0
    cluster.start_worker(OTHER)
    cluster.serve(10.0)
    assert cluster.counted() == [1], "not the record from before the start, but the one written while no worker ran"
