"""DynamoDB Streams: listings, shard iterators and pages of records in wire form."""

import json
from collections.abc import Iterator, Mapping
from email.utils import parsedate_to_datetime
from typing import Any, Final

from consumer.aws.errors import translated
from consumer.aws.wire import keep_bodies
from consumer.domain.errors import Trouble, TroubleKind
from consumer.domain.leases import Shard
from consumer.domain.outcomes import Children, ListedShard, RawPage, StreamListing
from consumer.domain.position import TRIM_HORIZON, is_sequence_number

MAX_LISTING_PAGES: Final = 1000
"""A listing has at most 100 shards a page; past this many pages it is not believed."""


class DynamoStreams:
    """The Streams port over a boto3 client. GetRecords' answer is taken as the bytes it came in (wire form)."""

    def __init__(self, client: Any) -> None:
        self._client = client
        keep_bodies(client, "GetRecords")

    @translated()
    def list_shards(self, stream_arn: str) -> StreamListing:
        """All shards over all pages; see ports.Streams."""
        shards: list[ListedShard] = []
        enabled, served_at = True, 0.0
        for number, (description, date) in enumerate(self._pages(stream_arn)):
            if number == 0:
                enabled, served_at = _is_enabled(description), date
            shards += _listed(description)
        if not shards:  # a stream being enabled lists none for a while; pinned so, it would never be read
            raise Trouble(TroubleKind.MISSING, f"stream {stream_arn} lists no shards yet")
        return StreamListing(stream_arn, enabled, tuple(shards), served_at)

    @translated()
    def open(self, shard: Shard, after: str) -> str:
        """A shard iterator; see ports.Streams."""
        where: dict[str, str] = {"ShardIteratorType": TRIM_HORIZON}
        if after != TRIM_HORIZON:
            where = {"ShardIteratorType": "AFTER_SEQUENCE_NUMBER", "SequenceNumber": after}
        answer = self._client.get_shard_iterator(StreamArn=shard.stream_arn, ShardId=shard.shard_id, **where)
        iterator = answer.get("ShardIterator")
        if not isinstance(iterator, str):
            raise Trouble(TroubleKind.MALFORMED, "GetShardIterator answered without an iterator")
        return iterator

    @translated()
    def read(self, iterator: str, limit: int) -> RawPage:
        """The next page; see ports.Streams."""
        answer = self._client.get_records(ShardIterator=iterator, Limit=limit)
        return raw_page(answer["Body"])

    @translated()
    def find_children(self, shard: Shard) -> Children:
        """The children by the shard filter, or from the full listing where the engine does not serve that."""
        answer = self._client.describe_stream(
            StreamArn=shard.stream_arn, ShardFilter={"Type": "CHILD_SHARDS", "ShardId": shard.shard_id}
        )
        description = answer["StreamDescription"]
        children = _children(_listed(description), shard)
        enabled, served_at = _is_enabled(description), _date_of(answer)
        if not children:
            listing = self.list_shards(shard.stream_arn)
            children = _children(listing.shards, shard)
            enabled = listing.enabled
        return Children(children, leaf=not children and not enabled, served_at=served_at)

    def _pages(self, stream_arn: str) -> Iterator[tuple[Mapping[str, Any], float]]:
        start: dict[str, str] = {}
        for _ in range(MAX_LISTING_PAGES):
            answer = self._client.describe_stream(StreamArn=stream_arn, **start)
            description = answer["StreamDescription"]
            yield description, _date_of(answer)
            last = description.get("LastEvaluatedShardId")
            if not last:
                return
            start = {"ExclusiveStartShardId": last}
        raise Trouble(TroubleKind.MALFORMED, f"DescribeStream has more than {MAX_LISTING_PAGES} pages")


def raw_page(body: bytes) -> RawPage:
    """An answer of GetRecords; Trouble when it is none. A record without a sequence number has no place in a shard."""
    try:
        answer = json.loads(body)
        records, iterator = answer["Records"], answer.get("NextShardIterator")
        sound = isinstance(records, list) and (iterator is None or isinstance(iterator, str))
        sound = sound and all(is_sequence_number(record["dynamodb"]["SequenceNumber"]) for record in records)
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
        raise _NO_PAGE from None
    if not sound:
        raise _NO_PAGE
    return RawPage(records, iterator, len(body))


_NO_PAGE: Final = Trouble(TroubleKind.MALFORMED, "GetRecords answered what is no page of records")


def _is_enabled(description: Mapping[str, Any]) -> bool:
    return description.get("StreamStatus") in ("ENABLED", "ENABLING")


def _listed(description: Mapping[str, Any]) -> list[ListedShard]:
    return [ListedShard(shard["ShardId"], shard.get("ParentShardId")) for shard in description.get("Shards", ())]


def _children(listed: list[ListedShard] | tuple[ListedShard, ...], shard: Shard) -> tuple[str, ...]:
    """Some engines ignore the filter and answer the whole list."""
    return tuple(sorted(child.shard_id for child in listed if child.parent == shard.shard_id))


def _date_of(answer: Mapping[str, Any]) -> float:
    """The server's Date in unix seconds."""
    try:
        return parsedate_to_datetime(answer["ResponseMetadata"]["HTTPHeaders"]["date"]).timestamp()
    except (LookupError, ValueError, TypeError):
        raise Trouble(TroubleKind.MALFORMED, "the answer has no Date header") from None
