"""The four operations of DynamoDB Streams."""

import time
from collections.abc import Callable, Mapping
from random import Random
from typing import Any, NamedTuple

from tests.streams_server.fault import Fault
from tests.streams_server.faults import Struck
from tests.streams_server.iterators import Iterators
from tests.streams_server.options import LastPage, Options, ShardFilter
from tests.streams_server.refusal import invalid, trimmed
from tests.streams_server.shard import Record, Shard
from tests.streams_server.stream import Stream
from tests.streams_server.streams import Streams

Document = Mapping[str, Any]

_MOST_RECORDS = 1_000
_MOST_SHARDS = 100
_FEW_RECORDS = 5


class Delivery(NamedTuple):
    """A page with records that was answered; `at` in the server's unix seconds."""

    at: float
    label: str
    shard_id: str
    first: str
    last: str
    records: int


class Operations:
    """By name: each takes the request's document and a fault that shapes the answer. Raises Refusal."""

    def __init__(
        self, streams: Streams, options: Options, random: Random, has_moved: Callable[[str, str], bool]
    ) -> None:
        """`has_moved`: whether something of a shard (label and id) was committed."""
        self.iterators = Iterators(streams, options)
        self.deliveries: list[Delivery] = []
        self.by_name: dict[str, Callable[[Document, Struck | None], bytes | Document]] = {
            "DescribeStream": self.describe_stream,
            "ListStreams": self.list_streams,
            "GetShardIterator": self.get_shard_iterator,
            "GetRecords": self.get_records,
        }
        self._streams = streams
        self._options = options
        self._random = random
        self._has_moved = has_moved

    def describe_stream(self, asked: Document, struck: Struck | None) -> Document:
        """A page of shards, or a shard's children."""
        stream = self._streams.by_arn(asked.get("StreamArn"))
        limit = _limit(asked, _MOST_SHARDS, self._options.page_shards)
        now = self._streams.clock()
        as_of = max(stream.born, now - struck.seconds) if struck and struck.fault is Fault.STALE else now
        enabling = now < stream.born + self._options.enabling_seconds
        show_open = struck is not None and struck.fault is Fault.SHOW_OPEN
        shards = self._filtered([] if enabling else stream.listed(as_of), asked.get("ShardFilter"))
        start = asked.get("ExclusiveStartShardId")
        rest = [shard for shard in shards if start is None or shard.shard_id > start]
        page = rest[:limit]
        told = (shard.description(as_of, now, show_open=show_open) for shard in page)
        description = stream.description(told, enabling=enabling)
        if len(rest) > limit:
            description["LastEvaluatedShardId"] = page[-1].shard_id
        return {"StreamDescription": description}

    def list_streams(self, asked: Document, _: Struck | None) -> Document:
        """Streams, of a table or all."""
        limit = _limit(asked, _MOST_SHARDS, _MOST_SHARDS)
        found = [stream for stream in self._streams.all if asked.get("TableName") in (None, stream.table)]
        start = asked.get("ExclusiveStartStreamArn")
        arns = [stream.arn for stream in found]
        rest = found[arns.index(start) + 1 :] if start in arns else found
        answer: dict[str, Any] = {"Streams": [_listed(stream) for stream in rest[:limit]]}
        if len(rest) > limit:
            answer["LastEvaluatedStreamArn"] = rest[limit - 1].arn
        return answer

    def get_shard_iterator(self, asked: Document, _: Struck | None) -> Document:
        """Where to read from."""
        stream = self._streams.by_arn(asked.get("StreamArn"))
        shard = stream.find(str(asked.get("ShardId")))
        return {"ShardIterator": self.iterators.issue(stream, shard, self._position(shard, asked))}

    def get_records(self, asked: Document, struck: Struck | None) -> bytes:
        """A page of records; no next iterator at the end of a closed shard."""
        limit = _limit(asked, _MOST_RECORDS, self._options.page_records)
        fault = struck.fault if struck else None
        stream, shard, position = self.iterators.redeem(asked.get("ShardIterator"), expired=fault is Fault.EXPIRE)
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
        answer = b'{"Records":[' + b",".join(record.wire for record in page) + b"]"
        if fault is not Fault.EMPTY and self._ends(shard, end, page):
            return answer + b"}"
        return answer + b',"NextShardIterator":"' + self.iterators.issue(stream, shard, end).encode() + b'"}'

    def _filtered(self, shards: list[Shard], asked: Document | None) -> list[Shard]:
        if asked is None or self._options.shard_filter is ShardFilter.IGNORED:
            return shards
        if asked.get("Type") != "CHILD_SHARDS" or not asked.get("ShardId"):
            raise invalid("ShardFilter needs the type CHILD_SHARDS and a ShardId")
        if self._options.shard_filter is ShardFilter.EMPTY:
            return []
        return [shard for shard in shards if shard.parent == asked["ShardId"]]

    def _position(self, shard: Shard, asked: Document) -> int:
        match asked.get("ShardIteratorType"):
            case "TRIM_HORIZON":
                return shard.trimmed
            case "LATEST":
                return len(shard.records)
            case ("AT_SEQUENCE_NUMBER" | "AFTER_SEQUENCE_NUMBER") as kind:
                told = str(asked.get("SequenceNumber"))
                if not (told.isascii() and told.isdigit() and len(told) <= 40):
                    raise invalid(f"Invalid SequenceNumber: {told}")
                if shard.is_trimmed(int(told)):
                    raise trimmed()
                at = kind == "AT_SEQUENCE_NUMBER"
                return shard.position_at(int(told)) if at else shard.position_after(int(told))
            case "AT_TIMESTAMP" if self._options.at_timestamp and "Timestamp" in asked:
                return shard.position_since(float(asked["Timestamp"]))
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


def _limit(asked: Document, most: int, ours: int) -> int:
    limit = asked.get("Limit", most)
    if not isinstance(limit, int) or not 1 <= limit <= most:
        raise invalid(f"1 validation error detected: Limit must be from 1 to {most}")
    return min(limit, ours)


def _listed(stream: Stream) -> Document:
    return {"StreamArn": stream.arn, "TableName": stream.table, "StreamLabel": stream.label}
