"""DynamoDB Streams in memory: a table's streams, one after the other, and the shards of each."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import count
from typing import Any

from consumer.domain.errors import CallFailed, DataTrimmed, FailureKind, IteratorExpired
from consumer.domain.leases import TRIM_HORIZON, Shard, label_of
from consumer.domain.records import Rules, decode
from consumer.domain.replies import Children, ListedShard, Page, RawPage, StreamListing

Wire = Mapping[str, Any]
NO_KEY: Wire = {}

FIRST_SEQUENCE_NUMBER = 10**21 - 40
"""Close to a power of ten, so that tests compare numbers of different lengths."""


@dataclass
class FakeShard:
    """A shard. `trimmed` counts the records that are gone from the front.

    `hidden`: listings do not show it. `gone`: no call finds it. `numbers`: those of its records; None: the table's.
    """

    shard_id: str
    parent: str | None
    records: list[Wire] = field(default_factory=list)
    closed: bool = False
    trimmed: int = 0
    hidden: bool = False
    gone: bool = False
    numbers: Iterator[int] | None = None


@dataclass
class FakeStream:
    """A stream of a table. `clock` and `numbers` are the table's. `removed`: it was switched off a day ago."""

    arn: str
    clock: Callable[[], float]
    numbers: Iterator[int]
    enabled: bool = True
    removed: bool = False
    shards: dict[str, FakeShard] = field(default_factory=dict)

    def add_shard(self, shard_id: str, parent: str | None = None) -> FakeShard:
        """Opens a shard."""
        self.shards[shard_id] = FakeShard(shard_id, parent)
        return self.shards[shard_id]

    def write(
        self,
        shard_id: str,
        image: Mapping[str, Any],
        event: str = "INSERT",
        key: Mapping[str, Any] = NO_KEY,
        old: Mapping[str, Any] | None = None,
        user: Mapping[str, str] | None = None,
    ) -> str:
        """Appends a record, with the old image if there is one. Returns its sequence number.

        `user`: who has removed the item, if that was a service. A key without `itemId` is one of a new item.
        """
        number = str(next(self.shards[shard_id].numbers or self.numbers))
        change: dict[str, Any] = {
            "ApproximateCreationDateTime": float(int(self.clock())),
            "Keys": dict(key) if "itemId" in key else {**key, "itemId": {"S": number}},
            "SequenceNumber": number,
            "SizeBytes": 60,
            "StreamViewType": "NEW_IMAGE",
        }
        if event != "REMOVE":
            change["NewImage"] = dict(image)
        if old is not None:
            change |= {"OldImage": dict(old), "StreamViewType": "NEW_AND_OLD_IMAGES"}
        by = {} if user is None else {"userIdentity": dict(user)}
        self.shards[shard_id].records.append({"eventID": number, "eventName": event, "dynamodb": change, **by})
        return number

    def close(self, shard_id: str) -> None:
        """Ends a shard: no more records."""
        self.shards[shard_id].closed = True

    def trim(self, shard_id: str, records: int) -> None:
        """Removes the oldest `records`."""
        shard = self.shards[shard_id]
        shard.trimmed = min(len(shard.records), shard.trimmed + records)

    def disable(self) -> None:
        """Ends every open shard without children."""
        self.enabled = False
        for shard in self.shards.values():
            shard.closed = True

    def listed(self) -> tuple[ListedShard, ...]:
        """The shards that a fresh listing shows."""
        shown = (shard for shard in self.shards.values() if not shard.hidden and not shard.gone)
        return tuple(ListedShard(shard.shard_id, shard.parent) for shard in shown)


class FakeStreams:
    """The Streams port, and the table's side of it. `clock` is the server's, in unix seconds.

    Writes, splits and so on go to the newest stream; `streams` has all of them, by ARN. A page has at most
    `page_records` records. `listing_of` may replace a fresh listing by an older one.
    """

    def __init__(self, clock: Callable[[], float], arn: str, page_records: int = 1000) -> None:
        self.streams: dict[str, FakeStream] = {}
        self.page_records = page_records
        self.empty_pages = 0
        self.partition_key: str | None = None
        self.listing_of: Callable[[str, StreamListing], StreamListing] = lambda _, fresh: fresh
        self._clock = clock
        self._numbers = count(FIRST_SEQUENCE_NUMBER)
        self._iterators = count()
        self._expired_before = 0
        self.enable(arn)

    def enable(self, arn: str) -> FakeStream:
        """Switches the stream before off, and a new one without shards on."""
        assert arn not in self.streams, f"{arn} exists already"
        if self.streams:
            self.disable()
        self.streams[arn] = FakeStream(arn, self._clock, self._numbers)
        return self.streams[arn]

    def disable(self) -> None:
        """Switches the newest stream off."""
        self.newest.disable()

    def remove(self, arn: str) -> None:
        """Removes a stream that is off."""
        assert not self.streams[arn].enabled, f"{arn} is on"
        self.streams[arn].removed = True

    @property
    def newest(self) -> FakeStream:
        """The stream that was switched on last; the properties and methods below are its."""
        return next(reversed(self.streams.values()))

    @property
    def arn(self) -> str:
        """Its ARN."""
        return self.newest.arn

    @property
    def shards(self) -> dict[str, FakeShard]:
        """Its shards, by id."""
        return self.newest.shards

    @property
    def enabled(self) -> bool:
        """Whether it is on."""
        return self.newest.enabled

    @enabled.setter
    def enabled(self, enabled: bool) -> None:
        self.newest.enabled = enabled

    def add_shard(self, shard_id: str, parent: str | None = None) -> FakeShard:
        """Opens a shard."""
        return self.newest.add_shard(shard_id, parent)

    def write(
        self,
        shard_id: str,
        image: Mapping[str, Any],
        event: str = "INSERT",
        key: Mapping[str, Any] = NO_KEY,
        old: Mapping[str, Any] | None = None,
        user: Mapping[str, str] | None = None,
    ) -> str:
        """Appends a record; see FakeStream."""
        return self.newest.write(shard_id, image, event, key, old, user)

    def close(self, shard_id: str) -> None:
        """Ends a shard: no more records."""
        self.newest.close(shard_id)

    def trim(self, shard_id: str, records: int) -> None:
        """Removes the oldest `records`."""
        self.newest.trim(shard_id, records)

    def expire_iterators(self) -> None:
        """Lets all iterators of so far expire."""
        self._expired_before = next(self._iterators)

    def find_stream(self) -> str:
        """See ports.Streams."""
        if not self.enabled:
            raise CallFailed(FailureKind.MISSING, "the table's stream is off")
        return self.arn

    def list_shards(self, stream_arn: str) -> StreamListing:
        """See ports.Streams."""
        stream = self._stream(stream_arn)
        fresh = StreamListing(
            stream_arn, stream.enabled, stream.listed(), self._date(), partition_key=self.partition_key
        )
        listing = self.listing_of(stream_arn, fresh)
        if listing.enabled and not listing.shards:
            raise CallFailed(FailureKind.MISSING, "the stream lists no shards yet")
        return listing

    def open(self, shard: Shard, after: str) -> str:
        """See ports.Streams."""
        found = self._shard(shard)
        position = found.trimmed
        if after != TRIM_HORIZON:
            position = sum(int(number(wire)) <= int(after) for wire in found.records)
            if position and position - 1 < found.trimmed:
                raise DataTrimmed
        return self._iterator(shard, position)

    def open_at(self, shard: Shard, first: str) -> str:
        """See ports.Streams."""
        found = self._shard(shard)
        position = sum(int(number(wire)) < int(first) for wire in found.records)
        if position < found.trimmed:
            raise DataTrimmed
        return self._iterator(shard, position)

    def read(self, iterator: str, limit: int) -> RawPage:
        """See ports.Streams."""
        if iterator.count("|") != 3:
            raise CallFailed(FailureKind.REJECTED, "this is no iterator")
        arn, shard_id, position, serial = iterator.split("|")
        if int(serial) <= self._expired_before and self._expired_before:
            raise IteratorExpired
        name, start = Shard(arn, shard_id), int(position)
        shard = self._shard(name)
        if start < shard.trimmed:
            raise DataTrimmed
        if self.empty_pages:
            self.empty_pages -= 1
            return RawPage([], self._iterator(name, start), 2)
        page = shard.records[start : start + min(limit, self.page_records)]
        end = start + len(page)
        ended = shard.closed and end == len(shard.records)
        return RawPage(page, None if ended else self._iterator(name, end), 200 * len(page) + 2)

    def poll(self, iterator: str, limit: int, rules: Rules, start_time: float | None) -> Page:
        """See ports.Streams."""
        return decoded(self.read(iterator, limit), rules, start_time)

    def find_children(self, shard: Shard) -> Children:
        """See ports.Streams."""
        succeeded = label_of(self.arn) > shard.label
        try:
            stream = self._stream(shard.stream_arn)
        except CallFailed:
            if succeeded:
                return Children((), leaf=True, served_at=self._date())
            raise
        fresh = StreamListing(
            shard.stream_arn, stream.enabled, stream.listed(), self._date(), partition_key=self.partition_key
        )
        listed = self.listing_of(shard.stream_arn, fresh).shards
        children = tuple(sorted(child.shard_id for child in listed if child.parent == shard.shard_id))
        over = succeeded or not stream.enabled
        return Children(children, leaf=over and not children, served_at=self._date())

    def _stream(self, arn: str) -> FakeStream:
        stream = self.streams.get(arn)
        if stream is None or stream.removed:
            raise CallFailed(FailureKind.MISSING, "stream does not exist")
        return stream

    def _shard(self, shard: Shard) -> FakeShard:
        found = self._stream(shard.stream_arn).shards.get(shard.shard_id)
        if found is None or found.gone:
            raise CallFailed(FailureKind.MISSING, "shard does not exist")
        return found

    def _iterator(self, shard: Shard, position: int) -> str:
        return f"{shard.stream_arn}|{shard.shard_id}|{position}|{next(self._iterators)}"

    def _date(self) -> float:
        """The Date header: whole seconds."""
        return float(int(self._clock()))


def number(wire: Wire) -> str:
    """A record's sequence number."""
    return str(wire["dynamodb"]["SequenceNumber"])


def decoded(page: RawPage, rules: Rules, start_time: float | None) -> Page:
    """The page decoded record by record, each as a whole."""
    entries = [decode(wire, rules, start_time) for wire in page.records]
    return Page(entries, page.next_iterator, page.size_bytes)
