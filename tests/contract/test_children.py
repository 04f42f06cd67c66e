"""Children and leaves of a stream that splits, pages, hides shards and is stale: over the streams server."""

import os
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from typing import Any
from unittest import mock

import pytest

from consumer.aws.clients import Clients, connect
from consumer.aws.leases import DynamoLeases
from consumer.aws.streams import RESUMED_SECONDS, DynamoStreams, Listings, RateLimiter
from consumer.aws.tables import LEASE_KEYS, QUARANTINE_KEYS, DynamoTables
from consumer.domain.errors import CallFailed, FailureKind
from consumer.domain.leases import Shard, StreamStart, TableNames
from tests.streams_server import Fault, Remote, Rule, ShardFilter, StreamsThread, build_shards, shard_id
from tests.support.builders import ARN, CREATED
from tests.support.engines import TableEngine
from tests.support.processes import until

LATER = "2999-01-01T00:00:00.000"
EARLIER = "2001-01-01T00:00:00.000"


class CountedRateLimiter(RateLimiter):
    """Counts the calls instead of delaying them."""

    def __init__(self) -> None:
        super().__init__(1e9)
        self.waits = 0

    def wait(self) -> None:
        self.waits += 1


class Source:
    """A client that names one latest stream for every table, as a stale DescribeTable does."""

    def __init__(self, stream_arn: str | None) -> None:
        self._stream_arn = stream_arn

    def describe_table(self, TableName: str) -> dict[str, Any]:  # noqa: N803
        latest = {"LatestStreamArn": self._stream_arn} if self._stream_arn else {}
        date = {"HTTPHeaders": {"date": "Sat, 31 Jan 2026 12:00:00 GMT"}}
        return {"Table": {"TableName": TableName, **latest}, "ResponseMetadata": date}


@pytest.fixture
def server(ministack_url: str) -> Iterator[StreamsThread]:
    with StreamsThread(ministack_url, seed=7) as server:
        yield server


@pytest.fixture
def remote(server: StreamsThread) -> Remote:
    return server.remote


@pytest.fixture
def clients(server: StreamsThread) -> Iterator[Clients]:
    with mock.patch.dict(os.environ, TableEngine("ministack", server.url).variables()):
        made = connect(threads=2)
    with closing(made.dynamodb), closing(made.streams):
        yield made


@pytest.fixture
def rate_limiter() -> CountedRateLimiter:
    return CountedRateLimiter()


@pytest.fixture
def streams(clients: Clients, rate_limiter: CountedRateLimiter) -> DynamoStreams:
    return DynamoStreams(clients.streams, rate_limiter=rate_limiter)


@pytest.fixture
def arn(remote: Remote) -> str:
    """Shard 0 rolled over to 1, which was split into 2 and 3; 4 and 5 are roots."""
    return remote.create_stream("games", build_shards(6, {0: 1, 1: [2, 3]}), keys=["gameId"])


def found(streams: DynamoStreams, arn: str, number: int) -> tuple[tuple[str, ...], bool]:
    """A shard's children, and whether it is a leaf."""
    children = streams.find_children(Shard(arn, shard_id(number)))
    assert abs(children.served_at - time.time()) < 5
    return children.shard_ids, children.leaf


def ids(*numbers: int) -> tuple[str, ...]:
    return tuple(map(shard_id, numbers))


def with_label(arn: str, label: str) -> str:
    return f"{arn.rpartition('/')[0]}/{label}"


@pytest.mark.parametrize(
    ("how", "page_shards", "calls"),
    [
        (ShardFilter.SERVED, 100, 2),
        (ShardFilter.IGNORED, 100, 2 + 1),
        (ShardFilter.IGNORED, 3, 2 + 2),
        (ShardFilter.EMPTY, 100, 2 + 1),
    ],
)
def test_without_the_filter_one_listing_serves_all_shards_of_a_stream_that_is_on(
    remote: Remote, streams: DynamoStreams, arn: str, how: ShardFilter, page_shards: int, calls: int
) -> None:
    remote.set_options(shard_filter=how, page_shards=page_shards)
    remote.clear_counts()
    assert found(streams, arn, 1) == (ids(2, 3), False)
    assert found(streams, arn, 0) == (ids(1), False)
    assert remote.counts().calls["DescribeStream"] == calls


def test_no_visible_children_make_no_leaf_and_a_filter_that_works_needs_no_listing(
    remote: Remote, streams: DynamoStreams, arn: str
) -> None:
    assert found(streams, arn, 1) == (ids(2, 3), False)
    remote.clear_counts()
    assert found(streams, arn, 4) == ((), False)
    assert remote.counts().calls["DescribeStream"] == 1


@pytest.mark.parametrize("fault", [Fault.THROTTLE, Fault.FAIL, Fault.CUT, Fault.LOSE_REPLY])
def test_a_listing_that_failed_on_the_way_continues_where_it_was(
    remote: Remote, streams: DynamoStreams, arn: str, fault: Fault
) -> None:
    """Of many pages some call always fails."""
    whole = streams.list_shards(arn)
    remote.set_options(page_shards=1)
    remote.set_faults(Rule(fault, calls=(2, 5, 6), operations=("DescribeStream",)))
    remote.clear_counts()
    for _ in range(3):
        with pytest.raises(CallFailed):
            streams.list_shards(arn)
    listing = streams.list_shards(arn)
    assert listing == replace(whole, served_at=listing.served_at)
    assert remote.counts().calls["DescribeStream"] == 6 + 3
    assert streams.list_shards(arn).shards == whole.shards
    assert remote.counts().calls["DescribeStream"] == 6 + 3 + 6, "a whole listing is not continued"


def test_a_listing_that_failed_long_ago_begins_again(clients: Clients, remote: Remote, arn: str) -> None:
    now = 0.0
    listings = Listings(clients.streams, CountedRateLimiter(), lambda: now)
    remote.set_options(page_shards=1)
    remote.set_faults(Rule(Fault.FAIL, calls=(4,), operations=("DescribeStream",)))
    with pytest.raises(CallFailed):
        listings.read(arn)
    remote.split(5)
    now = RESUMED_SECONDS + 1
    remote.clear_counts()
    assert len(listings.read(arn).shards) == 8
    assert remote.counts().calls["DescribeStream"] == 8


def test_a_listing_that_cannot_continue_begins_again(clients: Clients, remote: Remote, arn: str) -> None:
    listings = Listings(clients.streams, CountedRateLimiter())
    remote.set_options(page_shards=1)
    remote.set_faults(Rule(Fault.FAIL, calls=(2,), operations=("DescribeStream",)))
    with pytest.raises(CallFailed):
        listings.read(arn)
    remote.remove_stream(arn)
    for _ in range(2):
        with pytest.raises(CallFailed) as raised:
            listings.read(arn)
        assert raised.value.kind is FailureKind.MISSING
        assert not listings._broken_off


@pytest.mark.parametrize("how", ShardFilter)
@pytest.mark.parametrize("page_shards", [1, 3, 100])
def test_all_pages_of_a_stream_that_is_off_show_which_shard_is_a_leaf(
    remote: Remote, streams: DynamoStreams, arn: str, how: ShardFilter, page_shards: int
) -> None:
    remote.disable()
    remote.set_options(shard_filter=how, page_shards=page_shards)
    assert found(streams, arn, 0) == (ids(1), False)
    children, leaf = found(streams, arn, 1)
    assert not leaf
    assert children
    assert set(children) <= {*ids(2, 3)}
    for number in (2, 3, 4, 5):
        assert found(streams, arn, number) == ((), True)


def test_a_stale_reply_makes_no_leaf(remote: Remote, streams: DynamoStreams, arn: str) -> None:
    """It says that the stream is off, and does not show the earlier split."""
    time.sleep(0.5)  # the stream must be older than the stale reply
    remote.split(4)
    remote.disable()
    remote.set_faults(Rule(Fault.STALE, times=1, seconds=(0.4, 0.4)))
    children, leaf = found(streams, arn, 4)
    assert (children, leaf) == (ids(6, 7), False)


def test_a_stream_that_is_gone(remote: Remote, clients: Clients, streams: DynamoStreams, arn: str) -> None:
    """Its table may have another stream now, which must be a later one of the same table."""
    remote.disable()
    remote.remove_stream(arn)
    shard = Shard(arn, shard_id(0))
    other_table = with_label(arn, LATER).replace("games", "others")
    silent: list[DynamoStreams] = [
        DynamoStreams(clients.streams, Source(latest), "games")
        for latest in (None, arn, with_label(arn, EARLIER), other_table)
    ]
    for asked in (streams, *silent):
        with pytest.raises(CallFailed) as raised:
            asked.find_children(shard)
        assert raised.value.kind is FailureKind.MISSING
    children = DynamoStreams(clients.streams, Source(with_label(arn, LATER)), "games").find_children(shard)
    assert (children.shard_ids, children.leaf, children.served_at) == ((), True, CREATED)


@pytest.mark.parametrize("how", ShardFilter)
def test_a_stream_that_has_a_successor_ends_even_if_it_is_said_to_be_on(
    remote: Remote, clients: Clients, arn: str, how: ShardFilter
) -> None:
    remote.set_options(shard_filter=how, page_shards=1)
    other_table = with_label(arn, LATER).replace("games", "others")
    for latest in (None, arn, with_label(arn, EARLIER), other_table):
        assert found(DynamoStreams(clients.streams, Source(latest), "games"), arn, 4) == ((), False)
    followed = DynamoStreams(clients.streams, Source(with_label(arn, LATER)), "games")
    assert found(followed, arn, 4) == ((), True)
    children, leaf = found(followed, arn, 1)
    assert not leaf
    assert set(children) <= {*ids(2, 3)}


def test_every_describe_stream_waits_for_the_rate_limiter(
    remote: Remote, streams: DynamoStreams, rate_limiter: CountedRateLimiter, arn: str
) -> None:
    remote.set_options(page_shards=2)
    remote.clear_counts()
    streams.list_shards(arn)
    streams.find_children(Shard(arn, shard_id(1)))
    remote.disable()
    streams.find_children(Shard(arn, shard_id(5)))
    assert rate_limiter.waits == remote.counts().calls["DescribeStream"] == 3 + 1 + 1 + 3


def test_the_default_rate_limit_is_below_that_of_aws(clients: Clients, remote: Remote, arn: str) -> None:
    streams = DynamoStreams(clients.streams)
    remote.clear_counts()
    until_at = time.monotonic() + 1.5
    while time.monotonic() < until_at:
        streams.find_children(Shard(arn, shard_id(1)))
    assert remote.counts().calls["DescribeStream"] > 5
    assert remote.counts().busiest["DescribeStream"] <= 10


def test_a_stream_that_is_off_may_list_no_shards(remote: Remote, streams: DynamoStreams) -> None:
    """All of them may be trimmed. A stream that is being switched on lists none either, which is a failed call."""
    remote.set_options(enabling_seconds=60.0)
    arn = remote.create_stream("games", build_shards(1), keys=["gameId"])
    with pytest.raises(CallFailed) as raised:
        streams.list_shards(arn)
    assert raised.value.kind is FailureKind.MISSING
    remote.set_options(enabling_seconds=0.0)
    assert len(streams.list_shards(arn).shards) == 1
    remote.disable()
    remote.remove(0)
    listing = streams.list_shards(arn)
    assert (listing.enabled, listing.shards) == (False, ())


def test_a_configured_stream_is_the_one(clients: Clients) -> None:
    """Also where the table has another one. Without a table there is nothing to ask."""
    assert DynamoStreams(clients.streams, Source(None), "games", ARN).find_stream() == ARN
    assert DynamoStreams(clients.streams, stream_arn=ARN).find_stream() == ARN
    with pytest.raises(CallFailed) as raised:
        DynamoStreams(clients.streams).find_stream()
    assert raised.value.kind is FailureKind.MISSING


def test_a_read_that_meets_a_transaction_is_a_conflict(remote: Remote, clients: Clients) -> None:
    """TransactGetItems is cancelled then: another worker is starting the stream, which is no fault of the request."""
    names = ("children-leases", "children-board", "children-quarantine")
    tables = DynamoTables(clients.dynamodb, clients.streams, threading.Event())
    tables.ensure(names[0], LEASE_KEYS)
    tables.ensure(names[2], QUARANTINE_KEYS)
    leases = DynamoLeases(clients.dynamodb, TableNames(*names))
    remote.set_options(hold_seconds=1.0)
    writer = threading.Thread(
        target=leases.record_stream_start, args=(StreamStart(ARN, None, (), complete=False), None, CREATED)
    )
    met: list[FailureKind] = []

    def meets() -> bool:
        try:
            leases.read_origin(ARN)
        except CallFailed as failure:
            met.append(failure.kind)
        return bool(met)

    writer.start()
    until(meets, "the read meets the transaction")
    writer.join()
    assert met == [FailureKind.CONFLICT]
    assert leases.read_origin(ARN).stream_start == StreamStart(ARN, None, (), complete=False)
