"""Measurements that do not depend on the machine's speed; and that the measurements find what they search for."""

from tests.performance.figures import Figure, worst
from tests.performance.measure.cluster import Written, waits
from tests.performance.measure.heartbeats import heartbeats
from tests.performance.measure.transfers import join, read_again
from tests.streams_server import Transaction
from tests.streams_server.operations import Delivery


def test_no_committed_record_is_read_again_when_a_worker_joins(ministack_url: str) -> None:
    _, again = join(ministack_url, workers=2, shards=7, ttl_seconds=2, rounds=1)
    assert again.ok, again


def test_idle_workers_write_only_heartbeats(ministack_url: str) -> None:
    sent, others, _ = heartbeats(ministack_url, shards=10, workers=2, ttl_seconds=2, seconds=5)
    assert sent.ok, sent
    assert others.ok, others


def test_a_committed_record_that_is_read_again_is_found() -> None:
    log = [commit(1.0, "a", "99"), commit(2.0, "a", "107"), commit(2.0, "b", "107"), commit(3.0, "b", "SHARD_END")]
    fresh = [page(1.5, "a", "100"), page(2.5, "a", "108"), page(1.9, "b", "107"), page(2.5, "b", "1000")]
    again = [page(1.5, "a", "99"), page(2.5, "a", "107"), page(3.5, "b", "1000")]
    assert read_again(fresh, log) == []
    assert [found for found, _ in read_again(again, log)] == again


def test_a_record_waits_for_the_commit_that_covers_it() -> None:
    log = [commit(1.0, "a", "99"), commit(5.0, "b", "300"), commit(7.0, "a", "101")]
    written = [Written(0.5, "a", 99), Written(0.5, "a", 100), Written(2.0, "a", 102), Written(4.0, "b", 200)]
    assert waits(written, log, until=10.0) == dict(zip(written, [0.5, 6.5, 8.0, 1.0], strict=True))


def test_a_figure_over_its_limit_is_not_ok() -> None:
    assert not worst("waiting", [0.1, 3.1], 3.0).ok
    assert Figure("writes", 0, "writes", 0).ok
    assert Figure("polls", 1e9).ok


def commit(at: float, shard: str, checkpoint: str) -> Transaction:
    return Transaction(at, f"shard#label#{shard}", "w1/x", 1, "TRIM_HORIZON", checkpoint, 1, 2, repeated=False)


def page(at: float, shard: str, first: str) -> Delivery:
    return Delivery(at, "label", shard, first, first, 1)
