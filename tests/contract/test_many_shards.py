"""A listing over many pages, as DescribeStream serves them: over the streams server."""

import os
from contextlib import closing
from unittest import mock

from consumer.aws.clients import connect
from consumer.aws.streams import DynamoStreams, RateLimiter
from tests.streams_server import StreamsThread, build_shards, shard_id
from tests.support.engines import TableEngine

SHARDS = 250


def test_a_listing_has_the_shards_of_all_pages(ministack_url: str) -> None:
    """Elsewhere: DescribeStream shows 100 shards, and the rest is never read."""
    with StreamsThread(ministack_url, seed=7) as server:
        arn = server.remote.create_stream("many-shards", build_shards(SHARDS, {0: SHARDS - 1}), keys=["gameId"])
        with mock.patch.dict(os.environ, TableEngine("ministack", server.url).variables()):
            clients = connect(threads=1)
        with closing(clients.dynamodb), closing(clients.streams):
            server.remote.clear_counts()
            listing = DynamoStreams(clients.streams, rate_limiter=RateLimiter(1e9)).list_shards(arn)
        assert server.remote.counts().calls["DescribeStream"] == 3
    parents = {shard.shard_id: shard.parent for shard in listing.shards}
    assert len(listing.shards) == SHARDS
    assert parents == {shard_id(number): None for number in range(SHARDS)} | {shard_id(SHARDS - 1): shard_id(0)}
