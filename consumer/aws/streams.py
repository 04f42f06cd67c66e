"""DynamoDB Streams: shard listings, iterators, children, and pages, of which only the fields that count are parsed.

Few records are needed whole, and parsed they take six times the memory of their text. DescribeStream calls share one
rate limit.
"""

import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from email.utils import parsedate_to_datetime
from functools import lru_cache
from math import inf
from threading import Event, Lock
from typing import Any, Final, Generic, Protocol, TypeVar

import msgspec
from msgspec import DecodeError, Struct, defstruct
from msgspec.json import Decoder

from consumer.aws.tables import stream_of
from consumer.aws.wire import body_of_reply, decode_json, keep_bodies, may_pass, translated
from consumer.domain.errors import CallFailed, FailureKind
from consumer.domain.leases import TRIM_HORIZON, Shard, label_of, table_of
from consumer.domain.records import (
    UNKNOWN_CREATION,
    Corrections,
    Entry,
    Rules,
    calendar_by,
    decode,
    plain_game,
    uncounted,
)
from consumer.domain.replies import Children, ListedShard, Page, RawPage, StreamListing
from consumer.domain.timestamps import TimestampFormat
from consumer.domain.windows import Calendar


class LazyRecord(Mapping[str, Any]):
    """The record at an `index` of a page's body, parsed at each use. Raises CallFailed when the body is no JSON."""

    __slots__ = ("_body", "_index")

    def __init__(self, body: bytes, index: int) -> None:
        self._body = body
        self._index = index

    def __getitem__(self, name: str) -> Any:
        return self._record()[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._record())

    def __len__(self) -> int:
        return len(self._record())

    def _record(self) -> dict[str, Any]:
        try:
            record: dict[str, Any] = json.loads(self._body)["Records"][self._index]
        except (ValueError, RecursionError):
            raise CallFailed(FailureKind.MALFORMED, "the record's page cannot be parsed") from None
        return record


def raw_page(body: bytes) -> RawPage:
    """The page in wire form. Raises CallFailed; a record without a sequence number has no position in its shard."""
    try:
        page = decode_json(body)
        records, iterator = page["Records"], page.get("NextShardIterator")
        valid = isinstance(records, list) and (iterator is None or isinstance(iterator, str))
        valid = valid and _are_sequence_numbers([record["dynamodb"]["SequenceNumber"] for record in records])
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
        raise _NO_PAGE from None
    if not valid:
        raise _NO_PAGE
    return RawPage(records, iterator, len(body))


def decoded_page(body: bytes, rules: Rules, start_time: float | None) -> Page:
    """The entries that `decode` makes of the records of `raw_page`. Raises CallFailed.

    Nearly all records are decoded from the few fields that count. An unusual one is decoded as a whole.
    """
    parsed = _parse(body, rules)
    if parsed is None:
        raw = raw_page(body)
        entries = [decode(wire, rules, start_time, LazyRecord(body, index)) for index, wire in enumerate(raw.records)]
        return Page(entries, raw.next_iterator, raw.size_bytes)
    entries, wires, calendar = [], None, calendar_by(rules)
    for index, record in enumerate(parsed.records):
        lazy_record = LazyRecord(body, index)
        entry = _entry(record, rules, calendar, start_time, lazy_record)
        if entry is None:
            wires = wires or raw_page(body).records
            entry = decode(wires[index], rules, start_time, lazy_record)
        entries.append(entry)
    return Page(entries, parsed.next_iterator, len(body))


class _Text(Struct, frozen=True, gc=False):
    text: str = msgspec.field(default="", name="S")


class _Number(Struct, frozen=True, gc=False):
    text: str = msgspec.field(default="", name="N")


class _Image(Protocol):
    player: _Text
    score: _Number
    timestamp: _Text | _Number


_I = TypeVar("_I", bound=_Image)


class _Change(Struct, Generic[_I], frozen=True, gc=False):
    sequence_number: str = msgspec.field(name="SequenceNumber")
    created: float = msgspec.field(default=UNKNOWN_CREATION, name="ApproximateCreationDateTime")
    image: _I | None = msgspec.field(default=None, name="NewImage")


class _Record(Struct, Generic[_I], frozen=True, gc=False):
    change: _Change[_I] = msgspec.field(name="dynamodb")
    event: str = msgspec.field(default="", name="eventName")
    user: msgspec.Raw = msgspec.field(default=msgspec.Raw(), name="userIdentity")


class _Page(Struct, Generic[_I], frozen=True, gc=False):
    records: list[_Record[_I]] = msgspec.field(name="Records")
    next_iterator: str | None = msgspec.field(default=None, name="NextShardIterator")


@lru_cache
def _decoder(rules: Rules) -> Decoder[_Page[_Image]]:
    """ValueError for an attribute whose name has a quote, a backslash or a control character in it."""
    attributes: list[tuple[str, Any, str]] = [
        ("player", _Text, rules.player_attribute),
        ("score", _Number, rules.score_attribute),
        (
            "timestamp",
            _Text if rules.timestamp_format is TimestampFormat.ISO else _Number,
            rules.timestamp_attribute,
        ),
    ]
    fields = [(name, kind, msgspec.field(default=kind(), name=attribute)) for name, kind, attribute in attributes]
    image = defstruct("_Image", fields, frozen=True, gc=False)
    page: Any = _Page
    return Decoder(page[image])


def _parse(body: bytes, rules: Rules) -> _Page[_Image] | None:
    """The fields that count. None when one of them has an unusual type, or when the body is no page at all."""
    try:
        if not body.isascii():
            body.decode()  # the decoder does not validate the text that it skips
        page = _decoder(rules).decode(body)
        valid = _are_sequence_numbers([record.change.sequence_number for record in page.records])
    except (DecodeError, ValueError, RecursionError):
        return None
    return page if valid else None


def _entry(
    record: _Record[_Image],
    rules: Rules,
    calendar: Calendar | None,
    start_time: float | None,
    lazy_record: LazyRecord,
) -> Entry | None:
    """The record decoded; None when the whole record is needed for that."""
    change = record.change
    created = change.created if -UNKNOWN_CREATION < change.created < UNKNOWN_CREATION else UNKNOWN_CREATION
    if record.event != "INSERT" or (start_time is not None and created < start_time):
        if bytes(record.user) not in (b"", b"null"):
            return None  # a removal by the item's time to live, perhaps
        corrects = rules.corrections is Corrections.APPLY
        return uncounted(change.sequence_number, created, record.event, start_time, corrects=corrects)
    image = change.image
    if image is None:
        return None
    return plain_game(
        change.sequence_number,
        created,
        image.player.text,
        image.score.text,
        image.timestamp.text,
        rules,
        calendar,
        lazy_record,
    )


_NO_PAGE: Final = CallFailed(FailureKind.MALFORMED, "the reply of GetRecords is no page of records")


def _are_sequence_numbers(texts: Sequence[str]) -> bool:
    """Whether all of `texts` are sequence numbers. One check for a whole page. TypeError when one is no text."""
    digits = "".join(texts)
    return not texts or (digits.isascii() and digits.isdigit() and all(0 < len(text) <= 40 for text in texts))


DESCRIBES_PER_SECOND: Final = 8
"""DynamoDB takes 10 DescribeStream calls per second. Source: API reference of DescribeStream."""
DESCRIBES_AT_ONCE: Final = 2
MAX_PAGES: Final = 1000
"""A page lists at most 100 shards; a listing with more pages than this is an error."""
RESUMED_SECONDS: Final = 60.0
"""A listing that failed on the way continues where it was, if it began this short a time ago: of many pages some call
always fails."""


class RateLimiter:
    """At most `per_second` calls per second, `burst` of them at once. The others wait, first come, first served.

    It is shared by all threads of the process. Once `stop` is set no call waits.
    """

    def __init__(
        self,
        per_second: float,
        burst: int = 1,
        stop: Event | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._interval_seconds = 1 / per_second
        self._ahead_seconds = (burst - 1) * self._interval_seconds
        self._stop = stop or Event()
        self._clock = clock
        self._lock = Lock()
        self._last_due = -inf

    def wait(self) -> None:
        """Returns when the call may be made."""
        with self._lock:
            now = self._clock()
            self._last_due = max(self._last_due + self._interval_seconds, now - self._ahead_seconds)
            pause_seconds = self._last_due - now
        if pause_seconds > 0:
            self._stop.wait(pause_seconds)


@dataclass(slots=True)
class _PartialListing:
    """A listing up to the page that begins after the shard `last`."""

    began_at: float
    enabled: bool = True
    served_at: float = 0.0
    view: str | None = None
    partition_key: str | None = None
    pages: int = 0
    shards: list[ListedShard] = field(default_factory=list)
    last: str | None = None


class Listings:
    """DescribeStream over a boto3 client: single replies and whole listings. `clock` is monotonic."""

    def __init__(self, client: Any, rate_limiter: RateLimiter, clock: Callable[[], float] = time.monotonic) -> None:
        self._client = client
        self._rate_limiter = rate_limiter
        self._clock = clock
        self._recent: dict[str, tuple[float, StreamListing]] = {}
        self._broken_off: dict[str, _PartialListing] = {}

    @translated()
    def describe(self, stream_arn: str, **request: Any) -> tuple[Mapping[str, Any], float]:
        """One reply's description, and its Date in unix seconds. Raises CallFailed."""
        self._rate_limiter.wait()
        reply = self._client.describe_stream(StreamArn=stream_arn, **request)
        return reply["StreamDescription"], date_of(reply)

    def read(self, stream_arn: str) -> StreamListing:
        """All shards over all pages. Raises CallFailed; the next call may continue from there."""
        partial = self._broken_off.pop(stream_arn, None)
        if partial is None or self._clock() - partial.began_at > RESUMED_SECONDS:
            partial = _PartialListing(self._clock())
        try:
            while self._read_page(stream_arn, partial):
                pass
        except CallFailed as failure:
            if may_pass(failure):
                self._broken_off[stream_arn] = partial
            raise
        shards, served_at, key = tuple(partial.shards), partial.served_at, partial.partition_key
        return StreamListing(stream_arn, partial.enabled, shards, served_at, partial.view, partition_key=key)

    def read_recent(self, stream_arn: str, seconds: float) -> StreamListing:
        """A listing at most so old, which all shards of the stream share."""
        listed_at, listing = self._recent.get(stream_arn, (-inf, None))
        if listing is None or self._clock() - listed_at > seconds:
            listing = self.read(stream_arn)
            self._recent[stream_arn] = (self._clock(), listing)
        return listing

    def _read_page(self, stream_arn: str, partial: _PartialListing) -> bool:
        """Reads the next page; whether there are more."""
        if partial.pages == MAX_PAGES:
            raise CallFailed(FailureKind.MALFORMED, f"DescribeStream has more than {MAX_PAGES} pages")
        start = {} if partial.last is None else {"ExclusiveStartShardId": partial.last}
        description, date = self.describe(stream_arn, **start)
        if partial.pages == 0:
            partial.enabled, partial.served_at = _is_enabled(description), date
            partial.view = description.get("StreamViewType")
            partial.partition_key = _partition_key(description)
        partial.pages += 1
        partial.shards += _shards_of(description)
        partial.last = description.get("LastEvaluatedShardId") or None
        return partial.last is not None


def _is_enabled(description: Mapping[str, Any]) -> bool:
    """Whether DynamoDB still writes records to the stream."""
    return description.get("StreamStatus") in ("ENABLED", "ENABLING")


def _partition_key(description: Mapping[str, Any]) -> str | None:
    """The partition key of the stream's table, as the stream describes it."""
    names = [part["AttributeName"] for part in description.get("KeySchema", ()) if part["KeyType"] == "HASH"]
    return names[0] if names else None


def _shards_of(description: Mapping[str, Any]) -> list[ListedShard]:
    return [ListedShard(shard["ShardId"], shard.get("ParentShardId")) for shard in description.get("Shards", ())]


def date_of(reply: Mapping[str, Any]) -> float:
    """The reply's Date header in unix seconds."""
    try:
        return parsedate_to_datetime(reply["ResponseMetadata"]["HTTPHeaders"]["date"]).timestamp()
    except (LookupError, ValueError, TypeError):
        raise CallFailed(FailureKind.MALFORMED, "the reply has no Date header") from None


LEAF_LISTING_SECONDS: Final = 10.0
"""For how long a full listing of a stream that is off shows which of its shards have no children."""
CHILD_LISTING_SECONDS: Final = 2.0
"""The same for a stream that is on, on an engine without the shard filter: a missing child is searched for again."""


class DynamoStreams:
    """The Streams port over a boto3 client. Records stay in wire form, as GetRecords replied.

    `dynamodb`, a client of the source's region, describes `source_table`. `stream_arn` is a stream that was configured.
    """

    def __init__(
        self,
        client: Any,
        dynamodb: Any = None,
        source_table: str | None = None,
        stream_arn: str | None = None,
        rate_limiter: RateLimiter | None = None,
    ) -> None:
        self._client = client
        self._dynamodb = dynamodb
        self._source_table = source_table
        self._stream_arn = stream_arn
        self._listings = Listings(client, rate_limiter or RateLimiter(DESCRIBES_PER_SECOND, DESCRIBES_AT_ONCE))
        self._filter_works = False
        keep_bodies(client, "GetRecords")

    @translated()
    def find_stream(self) -> str:
        """The configured stream, or the source table's while it is on; see ports.Streams."""
        if self._stream_arn is not None:
            return self._stream_arn
        if self._source_table is None:
            raise CallFailed(FailureKind.MISSING, "neither a stream nor a source table is configured")
        table, _ = self._describe_source()
        stream_arn = stream_of(table)
        if stream_arn is None:
            raise CallFailed(FailureKind.MISSING, f"the stream of table {self._source_table} is off")
        return stream_arn

    def list_shards(self, stream_arn: str) -> StreamListing:
        """All shards over all pages; see ports.Streams."""
        listing = self._listings.read(stream_arn)
        if listing.enabled and not listing.shards:  # it is being enabled; started without roots it would never be read
            raise CallFailed(FailureKind.MISSING, f"stream {stream_arn} lists no shards yet")
        if not listing.enabled and stream_arn == self._stream_arn:
            return replace(listing, successor=self._successor_of(stream_arn))
        return listing

    @translated()
    def open(self, shard: Shard, after: str) -> str:
        """A shard iterator after a checkpoint; see ports.Streams."""
        if after == TRIM_HORIZON:
            return self._iterator(shard, {"ShardIteratorType": TRIM_HORIZON})
        return self._iterator(shard, {"ShardIteratorType": "AFTER_SEQUENCE_NUMBER", "SequenceNumber": after})

    @translated()
    def open_at(self, shard: Shard, first: str) -> str:
        """A shard iterator at a record; see ports.Streams."""
        return self._iterator(shard, {"ShardIteratorType": "AT_SEQUENCE_NUMBER", "SequenceNumber": first})

    @translated()
    def read(self, iterator: str, limit: int) -> RawPage:
        """The next page in wire form; see ports.Streams."""
        return raw_page(self._get_records(iterator, limit))

    @translated()
    def poll(self, iterator: str, limit: int, rules: Rules, start_time: float | None) -> Page:
        """The next page, decoded; see ports.Streams."""
        return decoded_page(self._get_records(iterator, limit), rules, start_time)

    @translated()
    def find_children(self, shard: Shard) -> Children:
        """The children by the shard filter. A shard is a leaf only when a full listing agrees."""
        try:
            description, served_at = self._listings.describe(
                shard.stream_arn, ShardFilter={"Type": "CHILD_SHARDS", "ShardId": shard.shard_id}
            )
        except CallFailed as failure:
            succeeded_at = self._succeeded_at(shard.stream_arn) if failure.kind is FailureKind.MISSING else None
            if succeeded_at is None:
                raise
            return Children((), leaf=True, served_at=succeeded_at)  # 24 hours after it was switched off
        shown = _shards_of(description)
        children = _children(shown, shard)
        if children and len(children) == len(shown):
            self._filter_works = True
            return Children(children, leaf=False, served_at=served_at)
        enabled = _is_enabled(description)
        succeeded = enabled and self._succeeded_at(shard.stream_arn) is not None
        if enabled and not succeeded:
            if not self._filter_works:
                listing = self._listings.read_recent(shard.stream_arn, CHILD_LISTING_SECONDS)
                children = _children(listing.shards, shard)
            return Children(children, leaf=False, served_at=served_at)
        listing = self._listings.read_recent(shard.stream_arn, LEAF_LISTING_SECONDS)
        children = _children(listing.shards, shard)
        return Children(children, not children and (succeeded or not listing.enabled), served_at)

    def _get_records(self, iterator: str, limit: int) -> bytes:
        return body_of_reply(self._client.get_records(ShardIterator=iterator, Limit=limit))

    def _iterator(self, shard: Shard, position: Mapping[str, str]) -> str:
        reply = self._client.get_shard_iterator(StreamArn=shard.stream_arn, ShardId=shard.shard_id, **position)
        iterator = reply.get("ShardIterator")
        if not isinstance(iterator, str):
            raise CallFailed(FailureKind.MALFORMED, "GetShardIterator replied without an iterator")
        return iterator

    def _describe_source(self) -> tuple[Mapping[str, Any], float]:
        reply = self._dynamodb.describe_table(TableName=self._source_table)
        return reply["Table"], date_of(reply)

    def _successor_of(self, stream_arn: str) -> str | None:
        """The newer stream of a stream's table; None also where the table cannot be described."""
        try:
            with translated():
                latest = self._dynamodb.describe_table(TableName=table_of(stream_arn))["Table"].get("LatestStreamArn")
        except CallFailed:
            return None
        return latest if isinstance(latest, str) and _succeeds(latest, stream_arn) else None

    def _succeeded_at(self, stream_arn: str) -> float | None:
        """The Date of a reply that shows a newer stream of the source table; None: there is none, or it is not known.

        DescribeTable is eventually consistent: an older stream than this one proves nothing.
        """
        if self._source_table is None:
            return None
        table, served_at = self._describe_source()
        latest = table.get("LatestStreamArn")
        return served_at if isinstance(latest, str) and _succeeds(latest, stream_arn) else None


def _succeeds(stream_arn: str, other: str) -> bool:
    """Whether it is a later stream of the same table: a label is the time at which the stream was switched on."""
    return stream_arn.rpartition("/")[0] == other.rpartition("/")[0] and label_of(stream_arn) > label_of(other)


def _children(shown: Sequence[ListedShard], shard: Shard) -> tuple[str, ...]:
    """Some engines ignore the filter and list all shards."""
    return tuple(sorted(child.shard_id for child in shown if child.parent == shard.shard_id))
