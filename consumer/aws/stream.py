"""DynamoDB Streams: which one, listings, shard iterators and pages of records in wire form."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from consumer.aws.errors import translated
from consumer.aws.listings import DESCRIBES_AT_ONCE, DESCRIBES_PER_SECOND, Listings, date_of, is_enabled, listed
from consumer.aws.pace import Pace
from consumer.aws.records import decoded_page, raw_page
from consumer.aws.wire import as_it_came, keep_bodies
from consumer.domain.errors import Trouble, TroubleKind
from consumer.domain.leases import Shard, label_of
from consumer.domain.outcomes import Children, ListedShard, Page, RawPage, StreamListing
from consumer.domain.position import TRIM_HORIZON
from consumer.domain.records import Rules

LAST_LISTING_SECONDS: Final = 10.0
"""For how long a full listing of a stream that is off says which of its shards have no children."""
SHARED_LISTING_SECONDS: Final = 2.0
"""The same of one that is on, where the filter is not served: a child that it does not show is looked for again."""


class DynamoStreams:
    """The Streams port over a boto3 client. GetRecords' answer is taken as the bytes it came in (wire form).

    `dynamodb`, the client of the source's region, describes `source_table`; `stream_arn` is a stream that was chosen.
    """

    def __init__(
        self,
        client: Any,
        dynamodb: Any = None,
        source_table: str | None = None,
        stream_arn: str | None = None,
        pace: Pace | None = None,
    ) -> None:
        self._client = client
        self._dynamodb = dynamodb
        self._source_table = source_table
        self._stream_arn = stream_arn
        self._listings = Listings(client, pace or Pace(DESCRIBES_PER_SECOND, DESCRIBES_AT_ONCE))
        self._filters = False
        keep_bodies(client, "GetRecords")

    @translated()
    def find_stream(self) -> str:
        """The chosen stream, or the source table's; see ports.Streams. A stream that is off is none."""
        if self._stream_arn is not None:
            return self._stream_arn
        if self._source_table is None:
            raise Trouble(TroubleKind.MISSING, "neither a stream nor a source table is named")
        table, _ = self._describe_source()
        stream_arn = table.get("LatestStreamArn")
        if not isinstance(stream_arn, str) or not table.get("StreamSpecification", {}).get("StreamEnabled"):
            raise Trouble(TroubleKind.MISSING, f"the stream of table {self._source_table} is off")
        return stream_arn

    def list_shards(self, stream_arn: str) -> StreamListing:
        """All shards over all pages; see ports.Streams."""
        listing = self._listings.listing(stream_arn)
        if listing.enabled and not listing.shards:  # while it is being enabled; pinned so, it would never be read
            raise Trouble(TroubleKind.MISSING, f"stream {stream_arn} lists no shards yet")
        return listing

    @translated()
    def open(self, shard: Shard, after: str) -> str:
        """A shard iterator behind a checkpoint; see ports.Streams."""
        where: dict[str, str] = {"ShardIteratorType": TRIM_HORIZON}
        if after != TRIM_HORIZON:
            where = {"ShardIteratorType": "AFTER_SEQUENCE_NUMBER", "SequenceNumber": after}
        return self._iterator(shard, where)

    @translated()
    def open_at(self, shard: Shard, first: str) -> str:
        """A shard iterator at a record; see ports.Streams."""
        return self._iterator(shard, {"ShardIteratorType": "AT_SEQUENCE_NUMBER", "SequenceNumber": first})

    @translated()
    def read(self, iterator: str, limit: int) -> RawPage:
        """The next page in wire form; see ports.Streams."""
        return raw_page(self._records(iterator, limit))

    @translated()
    def poll(self, iterator: str, limit: int, rules: Rules, floor: float | None) -> Page:
        """The next page, decoded; see ports.Streams."""
        return decoded_page(self._records(iterator, limit), rules, floor)

    @translated()
    def find_children(self, shard: Shard) -> Children:
        """The children by the shard filter. That there will be none is said only when a full listing agrees."""
        try:
            description, served_at = self._listings.describe(
                shard.stream_arn, ShardFilter={"Type": "CHILD_SHARDS", "ShardId": shard.shard_id}
            )
        except Trouble as trouble:
            followed_at = self._followed_at(shard.stream_arn) if trouble.kind is TroubleKind.MISSING else None
            if followed_at is None:
                raise
            return Children((), leaf=True, served_at=followed_at)  # 24 hours after it was switched off
        shown = listed(description)
        children = _children(shown, shard)
        if children and len(children) == len(shown):
            self._filters = True
            return Children(children, leaf=False, served_at=served_at)
        followed = is_enabled(description) and self._followed_at(shard.stream_arn) is not None
        if is_enabled(description) and not followed:
            if not self._filters:  # an engine that does not serve the filter: one listing for all who wait
                children = _children(self._listings.shared(shard.stream_arn, SHARED_LISTING_SECONDS).shards, shard)
            return Children(children, leaf=False, served_at=served_at)
        listing = self._listings.shared(shard.stream_arn, LAST_LISTING_SECONDS)
        children = _children(listing.shards, shard)
        return Children(children, not children and (followed or not listing.enabled), served_at)

    def _records(self, iterator: str, limit: int) -> bytes:
        answer = self._client.get_records(ShardIterator=iterator, Limit=limit)
        body: bytes = answer["Body"] if "Body" in answer else as_it_came(answer)
        return body

    def _iterator(self, shard: Shard, where: Mapping[str, str]) -> str:
        answer = self._client.get_shard_iterator(StreamArn=shard.stream_arn, ShardId=shard.shard_id, **where)
        iterator = answer.get("ShardIterator")
        if not isinstance(iterator, str):
            raise Trouble(TroubleKind.MALFORMED, "GetShardIterator answered without an iterator")
        return iterator

    def _describe_source(self) -> tuple[Mapping[str, Any], float]:
        answer = self._dynamodb.describe_table(TableName=self._source_table)
        return answer["Table"], date_of(answer)

    def _followed_at(self, stream_arn: str) -> float | None:
        """When the source table was seen to have a newer stream; None: it has none, or is not known.

        DescribeTable is eventually consistent: an older stream than this one says nothing.
        """
        if self._source_table is None:
            return None
        table, served_at = self._describe_source()
        latest = table.get("LatestStreamArn")
        return served_at if isinstance(latest, str) and _follows(latest, stream_arn) else None


def _follows(stream_arn: str, other: str) -> bool:
    """Whether it is a later stream of the same table: labels are the moments at which streams were switched on."""
    return stream_arn.rpartition("/")[0] == other.rpartition("/")[0] and label_of(stream_arn) > label_of(other)


def _children(shown: Sequence[ListedShard], shard: Shard) -> tuple[str, ...]:
    """Some engines ignore the filter and answer the whole list."""
    return tuple(sorted(child.shard_id for child in shown if child.parent == shard.shard_id))
