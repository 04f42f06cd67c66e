"""A stream that is switched off and on again is another stream, read beside the one before it."""

import time

import pytest

from consumer.domain.errors import CallFailed, FailureKind
from consumer.domain.leases import TRIM_HORIZON, Shard
from consumer.domain.replies import ListedShard
from tests.contract.subject import Subject
from tests.contract.test_streams import images, item, read_all


def test_the_tables_stream_is_found(subject: Subject) -> None:
    first = subject.make_source()
    assert subject.streams.find_stream() == first.stream_arn
    subject.switch_off()
    with pytest.raises(CallFailed) as raised:
        subject.streams.find_stream()
    assert raised.value.kind is FailureKind.MISSING
    second = subject.switch_on()
    assert second.stream_arn != first.stream_arn
    assert subject.streams.find_stream() == second.stream_arn
    assert subject.streams.list_shards(second.stream_arn).shards == (ListedShard(second.shard_id, None),)


def test_a_stream_that_was_switched_off_is_read_beside_its_successor(subject: Subject) -> None:
    first = subject.make_source()
    subject.write([item(1), item(2)])
    subject.switch_off()
    second = subject.switch_on()
    subject.write([item(4)])
    found, then = read_all(subject, subject.streams.open(first, TRIM_HORIZON), 10_000)
    assert (images(found), then) == ([item(1), item(2)], None)
    found, then = read_all(subject, subject.streams.open(second, TRIM_HORIZON), 1)
    assert images(found) == [item(4)]
    assert then is not None
    assert not subject.streams.list_shards(first.stream_arn).enabled
    assert subject.streams.list_shards(second.stream_arn).enabled
    for shard, leaf in ((first, True), (second, False)):
        children = subject.streams.find_children(shard)
        assert (children.shard_ids, children.leaf) == ((), leaf)
        assert abs(children.served_at - time.time()) < 5


def test_a_stream_that_is_gone_and_has_a_successor_ends_in_leaves(subject: Subject) -> None:
    shard = subject.make_source()
    table, _, _ = shard.stream_arn.rpartition("/stream/")
    gone = Shard(f"{table}/stream/2001-01-01T00:00:00.000", shard.shard_id)
    children = subject.streams.find_children(gone)
    assert (children.shard_ids, children.leaf) == ((), True)
    assert abs(children.served_at - time.time()) < 5
    for ask in (lambda: subject.streams.list_shards(gone.stream_arn), lambda: subject.streams.open(gone, TRIM_HORIZON)):
        with pytest.raises(CallFailed) as raised:
            ask()
        assert raised.value.kind is FailureKind.MISSING
