"""DynamoDB Streams in memory: a table's streams, one after the other."""

from collections.abc import Callable, Mapping
from itertools import count
from typing import Any

from consumer.domain.errors import DataTrimmed, IteratorExpired, Trouble, TroubleKind
from consumer.domain.leases import Shard
from consumer.domain.outcomes import Children, Page, RawPage, StreamListing
from consumer.domain.position import TRIM_HORIZON
from consumer.domain.records import Rules, decode
from tests.fakes.stream import FakeShard, FakeStream, Wire

FIRST_SEQUENCE_NUMBER = 10**21 - 40
"""So near a power of ten that numbers of different lengths are compared."""


class FakeStreams:
    """The Streams port. `clock` is the server's, in unix seconds; `page_records` caps a page.

    What a table does is done to its newest stream; `streams` has them all, by ARN. `listing_of` makes of a fresh
    listing the one that is answered: an older one, say.
    """

    def __init__(self, clock: Callable[[], float], arn: str, page_records: int = 1000) -> None:
        self.streams: dict[str, FakeStream] = {}
        self.page_records = page_records
        self.empty_pages = 0
        self.listing_of: Callable[[str, StreamListing], StreamListing] = lambda _, fresh: fresh
        self._clock = clock
        self._numbers = count(FIRST_SEQUENCE_NUMBER)
        self._iterators = count()
        self._expired_before = 0
        self.enable(arn)

    # --- what a table does ---

    def enable(self, arn: str) -> FakeStream:
        """Switches a stream on, which has no shards yet, after the one before is off."""
        assert arn not in self.streams, f"{arn} was there already"
        if self.streams:
            self.disable()
        self.streams[arn] = FakeStream(arn, self._clock, self._numbers)
        return self.streams[arn]

    def disable(self) -> None:
        """Switches the newest one off."""
        self.newest.disable()

    def remove(self, arn: str) -> None:
        """A stream is gone, a day after it was switched off."""
        assert not self.streams[arn].enabled, f"{arn} is on"
        self.streams[arn].removed = True

    @property
    def newest(self) -> FakeStream:
        """The stream that was switched on last."""
        return next(reversed(self.streams.values()))

    @property
    def arn(self) -> str:
        """The newest stream's."""
        return self.newest.arn

    @property
    def shards(self) -> dict[str, FakeShard]:
        """The newest stream's, by id."""
        return self.newest.shards

    @property
    def enabled(self) -> bool:
        """Whether the newest stream is on."""
        return self.newest.enabled

    @enabled.setter
    def enabled(self, enabled: bool) -> None:
        self.newest.enabled = enabled

    def add_shard(self, shard_id: str, parent: str | None = None) -> FakeShard:
        """Opens a shard."""
        return self.newest.add_shard(shard_id, parent)

    def write(self, shard_id: str, image: Mapping[str, Any], event: str = "INSERT") -> str:
        """Appends a record; its sequence number."""
        return self.newest.write(shard_id, image, event)

    def close(self, shard_id: str) -> None:
        """Ends a shard: no more records."""
        self.newest.close(shard_id)

    def trim(self, shard_id: str, records: int) -> None:
        """The oldest `records` are gone from now on."""
        self.newest.trim(shard_id, records)

    def expire_iterators(self) -> None:
        """All iterators given out so far are too old from now on."""
        self._expired_before = next(self._iterators)

    # --- ports.Streams ---

    def find_stream(self) -> str:
        """See ports.Streams."""
        if not self.enabled:
            raise Trouble(TroubleKind.MISSING, "the table's stream is off")
        return self.arn

    def list_shards(self, stream_arn: str) -> StreamListing:
        """See ports.Streams."""
        stream = self._stream(stream_arn)
        fresh = StreamListing(stream_arn, stream.enabled, stream.listed(), self._date())
        listing = self.listing_of(stream_arn, fresh)
        if listing.enabled and not listing.shards:
            raise Trouble(TroubleKind.MISSING, "the stream lists no shards yet")
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
            raise Trouble(TroubleKind.REJECTED, "this is no iterator")
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

    def poll(self, iterator: str, limit: int, rules: Rules, floor: float | None) -> Page:
        """See ports.Streams."""
        return decoded(self.read(iterator, limit), rules, floor)

    def find_children(self, shard: Shard) -> Children:
        """See ports.Streams."""
        followed = self.arn.rpartition("/")[2] > shard.label
        try:
            stream = self._stream(shard.stream_arn)
        except Trouble:
            if followed:
                return Children((), leaf=True, served_at=self._date())
            raise
        fresh = StreamListing(shard.stream_arn, stream.enabled, stream.listed(), self._date())
        listed = self.listing_of(shard.stream_arn, fresh).shards
        children = tuple(sorted(each.shard_id for each in listed if each.parent == shard.shard_id))
        over = followed or not stream.enabled
        return Children(children, leaf=over and not children, served_at=self._date())

    def _stream(self, arn: str) -> FakeStream:
        stream = self.streams.get(arn)
        if stream is None or stream.removed:
            raise Trouble(TroubleKind.MISSING, "stream does not exist")
        return stream

    def _shard(self, shard: Shard) -> FakeShard:
        found = self._stream(shard.stream_arn).shards.get(shard.shard_id)
        if found is None or found.gone:
            raise Trouble(TroubleKind.MISSING, "shard does not exist")
        return found

    def _iterator(self, shard: Shard, position: int) -> str:
        return f"{shard.stream_arn}|{shard.shard_id}|{position}|{next(self._iterators)}"

    def _date(self) -> float:
        """A Date has whole seconds."""
        return float(int(self._clock()))


def number(wire: Wire) -> str:
    """A record's sequence number."""
    return str(wire["dynamodb"]["SequenceNumber"])


def decoded(page: RawPage, rules: Rules, floor: float | None) -> Page:
    """The plain way: record by record, each as a whole."""
    entries = [decode(wire, rules, floor) for wire in page.records]
    return Page(entries, page.next_iterator, page.size_bytes)
