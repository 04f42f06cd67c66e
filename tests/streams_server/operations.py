"""The four operations of DynamoDB Streams, and shard iterators."""

import time
from collections.abc import Callable, Mapping
from random import Random
from typing import Any, NamedTuple

from tests.streams_server.faults import DrawnFault, Fault
from tests.streams_server.options import LastPage, Options, ShardFilter
from tests.streams_server.refusal import Refusal, invalid, trimmed
from tests.streams_server.shard import Record, Shard
from tests.streams_server.stream import Stream, Streams

_VERSION = "1"


class Iterators:
    """Shard iterators: opaque text that holds a position and the time of issue. Nothing is stored."""

    def __init__(self, streams: Streams, options: Options) -> None:
        self._streams = streams
        self._options = options
        self._expired_before = 0

    def issue(self, stream: Stream, shard: Shard, position: int) -> str:
        """An iterator of `position`, issued now."""
        return f"{stream.arn}|{_VERSION}|{shard.shard_id}|{position}|{time.monotonic_ns()}"

    def redeem(self, iterator: object, *, expired: bool = False) -> tuple[Stream, Shard, int]:
        """Its position. Raises Refusal when it is expired, of a removed shard, or no iterator."""
        parts = str(iterator).split("|")
        if len(parts) != 5 or parts[1] != _VERSION or not (parts[3] + parts[4]).isdigit():
            raise invalid("Invalid ShardIterator")
        made = int(parts[4])
        age_seconds = (time.monotonic_ns() - made) / 1e9
        if expired or made < self._expired_before or age_seconds > self._options.iterator_seconds:
            raise Refusal("ExpiredIteratorException", "Iterator expired")
        stream = self._streams.by_arn(parts[0])
        return stream, stream.find(parts[2]), int(parts[3])

    def expire(self) -> None:
        """All iterators issued so far are expired."""
        self._expired_before = time.monotonic_ns()


Document = Mapping[str, Any]

_MOST_RECORDS = 1_000
_MOST_SHARDS = 100
_FEW_RECORDS = 5


class Delivery(NamedTuple):
    """A page with records that was sent; `at` in the server's unix seconds."""

    at: float
    label: str
    shard_id: str
    first: str
    last: str
    records: int


class Operations:
    """The operations by name. Each takes the request's document and a fault that changes the reply; raises Refusal."""

    def __init__(
        self, streams: Streams, options: Options, random: Random, has_moved: Callable[[str, str], bool]
    ) -> None:
        """`has_moved`: whether a record of a shard (label and id) was committed."""
        self.iterators = Iterators(streams, options)
        self.deliveries: list[Delivery] = []
        self.by_name: dict[str, Callable[[Document, DrawnFault | None], bytes | Document]] = {
            "DescribeStream": self.describe_stream,
            "ListStreams": self.list_streams,
            "GetShardIterator": self.get_shard_iterator,
            "GetRecords": self.get_records,
        }
        self._streams = streams
        self._options = options
        self._random = random
        self._has_moved = has_moved

    def describe_stream(self, request: Document, drawn: DrawnFault | None) -> Document:
        """A page of shards, or of one shard's children."""
        stream = self._streams.by_arn(request.get("StreamArn"))
        limit = _limit(request, _MOST_SHARDS, self._options.page_shards)
        now = self._streams.clock()
        as_of = max(stream.enabled_at, now - drawn.seconds) if drawn and drawn.fault is Fault.STALE else now
        enabling = now < stream.enabled_at + self._options.enabling_seconds
        show_open = drawn is not None and drawn.fault is Fault.SHOW_OPEN
        shards = self._filtered([] if enabling else stream.listed(as_of), request.get("ShardFilter"))
        start = request.get("ExclusiveStartShardId")
        rest = [shard for shard in shards if start is None or shard.shard_id > start]
        page = rest[:limit]
        described = (shard.description(as_of, now, show_open=show_open) for shard in page)
        description = stream.description(described, enabling=enabling)
        if len(rest) > limit:
            description["LastEvaluatedShardId"] = page[-1].shard_id
        return {"StreamDescription": description}

    def list_streams(self, request: Document, _: DrawnFault | None) -> Document:
        """The streams of one table, or all."""
        limit = _limit(request, _MOST_SHARDS, _MOST_SHARDS)
        found = [stream for stream in self._streams.all if request.get("TableName") in (None, stream.table)]
        start = request.get("ExclusiveStartStreamArn")
        arns = [stream.arn for stream in found]
        rest = found[arns.index(start) + 1 :] if start in arns else found
        reply: dict[str, Any] = {"Streams": [_listed(stream) for stream in rest[:limit]]}
        if len(rest) > limit:
            reply["LastEvaluatedStreamArn"] = rest[limit - 1].arn
        return reply

    def get_shard_iterator(self, request: Document, _: DrawnFault | None) -> Document:
        """An iterator of the requested position."""
        stream = self._streams.by_arn(request.get("StreamArn"))
        shard = stream.find(str(request.get("ShardId")))
        return {"ShardIterator": self.iterators.issue(stream, shard, self._position(shard, request))}

    def get_records(self, request: Document, drawn: DrawnFault | None) -> bytes:
        """A page of records; no next iterator at the end of a closed shard."""
        limit = _limit(request, _MOST_RECORDS, self._options.page_records)
        fault = drawn.fault if drawn else None
        stream, shard, position = self.iterators.redeem(request.get("ShardIterator"), expired=fault is Fault.EXPIRE)
        shard.note_read(time.monotonic())
        if fault is Fault.TRIM and (self._options.trim_unread or self._has_moved(stream.label, shard.shard_id)):
            shard.trim(position + self._random.randint(1, _FEW_RECORDS))
        if position < shard.trimmed:
            raise trimmed()
        if fault is Fault.SHORT:
            limit = min(limit, self._random.randint(1, _FEW_RECORDS))
        page = [] if fault is Fault.EMPTY else self._page(shard, position, limit)
        if page:
            first, last = str(page[0].number), str(page[-1].number)
            self.deliveries.append(
                Delivery(self._streams.clock(), stream.label, shard.shard_id, first, last, len(page))
            )
        end = position + len(page)
        reply = b'{"Records":[' + b",".join(record.wire for record in page) + b"]"
        if fault is not Fault.EMPTY and self._ends(shard, end, page):
            return reply + b"}"
        return reply + b',"NextShardIterator":"' + self.iterators.issue(stream, shard, end).encode() + b'"}'

    def _filtered(self, shards: list[Shard], request: Document | None) -> list[Shard]:
        if request is None or self._options.shard_filter is ShardFilter.IGNORED:
            return shards
        if request.get("Type") != "CHILD_SHARDS" or not request.get("ShardId"):
            raise invalid("ShardFilter needs the type CHILD_SHARDS and a ShardId")
        if self._options.shard_filter is ShardFilter.EMPTY:
            return []
        return [shard for shard in shards if shard.parent == request["ShardId"]]

    def _position(self, shard: Shard, request: Document) -> int:
        match request.get("ShardIteratorType"):
            case "TRIM_HORIZON":
                return shard.trimmed
            case "LATEST":
                return len(shard.records)
            case ("AT_SEQUENCE_NUMBER" | "AFTER_SEQUENCE_NUMBER") as kind:
                number = str(request.get("SequenceNumber"))
                if not (number.isascii() and number.isdigit() and len(number) <= 40):
                    raise invalid(f"Invalid SequenceNumber: {number}")
                if shard.is_trimmed(int(number)):
                    raise trimmed()
                at = kind == "AT_SEQUENCE_NUMBER"
                return shard.position_at(int(number)) if at else shard.position_after(int(number))
            case "AT_TIMESTAMP" if self._options.at_timestamp and "Timestamp" in request:
                return shard.position_since(float(request["Timestamp"]))
        raise invalid("Invalid ShardIteratorType, or what it needs is missing")

    def _page(self, shard: Shard, position: int, limit: int) -> list[Record]:
        """At least one record, however large it is."""
        page: list[Record] = []
        size = 0
        for record in shard.records[position : position + limit]:
            size += len(record.wire)
            if page and size > self._options.page_bytes:
                break
            page.append(record)
        return page

    def _ends(self, shard: Shard, end: int, page: list[Record]) -> bool:
        if shard.closed is None or end < len(shard.records):
            return False
        match self._options.last_page:
            case LastPage.TOGETHER:
                return True
            case LastPage.APART:
                return not page
            case LastPage.EITHER:
                return not page or self._random.random() < 0.5


def _limit(request: Document, most: int, ours: int) -> int:
    limit = request.get("Limit", most)
    if not isinstance(limit, int) or not 1 <= limit <= most:
        raise invalid(f"1 validation error detected: Limit must be from 1 to {most}")
    return min(limit, ours)


def _listed(stream: Stream) -> Document:
    return {"StreamArn": stream.arn, "TableName": stream.table, "StreamLabel": stream.label}
