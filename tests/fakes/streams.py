"""A DynamoDB stream in memory: shards that split, roll over, end, hide and are trimmed."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from itertools import count
from typing import Any

from consumer.domain.errors import DataTrimmed, IteratorExpired, Trouble, TroubleKind
from consumer.domain.leases import Shard
from consumer.domain.outcomes import Children, ListedShard, RawPage, StreamListing
from consumer.domain.position import TRIM_HORIZON

Wire = Mapping[str, Any]

FIRST_SEQUENCE_NUMBER = 10**21 - 40
"""So near a power of ten that numbers of different lengths are compared."""


@dataclass
class FakeShard:
    """`trimmed` counts the records gone from the front; `hidden` keeps it out of listings."""

    shard_id: str
    parent: str | None
    records: list[Wire] = field(default_factory=list)
    closed: bool = False
    trimmed: int = 0
    hidden: bool = False


class FakeStreams:
    """The Streams port. `clock` is the server's, in unix seconds; `page_records` caps a page."""

    def __init__(self, clock: Callable[[], float], arn: str, page_records: int = 1000) -> None:
        self.arn = arn
        self.enabled = True
        self.shards: dict[str, FakeShard] = {}
        self.page_records = page_records
        self.empty_pages = 0
        self._clock = clock
        self._numbers = count(FIRST_SEQUENCE_NUMBER)
        self._iterators = count()
        self._expired_before = 0

    # --- what a table does ---

    def add_shard(self, shard_id: str, parent: str | None = None) -> FakeShard:
        """Opens a shard."""
        self.shards[shard_id] = FakeShard(shard_id, parent)
        return self.shards[shard_id]

    def write(self, shard_id: str, image: Mapping[str, Any], event: str = "INSERT") -> str:
        """Appends a record; its sequence number."""
        number = str(next(self._numbers))
        change: dict[str, Any] = {
            "ApproximateCreationDateTime": float(int(self._clock())),
            "Keys": {},
            "SequenceNumber": number,
            "SizeBytes": 60,
            "StreamViewType": "NEW_IMAGE",
        }
        if event != "REMOVE":
            change["NewImage"] = dict(image)
        self.shards[shard_id].records.append({"eventID": number, "eventName": event, "dynamodb": change})
        return number

    def close(self, shard_id: str) -> None:
        """Ends a shard: no more records."""
        self.shards[shard_id].closed = True

    def trim(self, shard_id: str, records: int) -> None:
        """The oldest `records` are gone from now on."""
        shard = self.shards[shard_id]
        shard.trimmed = min(len(shard.records), shard.trimmed + records)

    def expire_iterators(self) -> None:
        """All iterators given out so far are too old from now on."""
        self._expired_before = next(self._iterators)

    # --- ports.Streams ---

    def list_shards(self, stream_arn: str) -> StreamListing:
        """See ports.Streams."""
        self._known(stream_arn)
        listed = tuple(ListedShard(shard.shard_id, shard.parent) for shard in self.shards.values() if not shard.hidden)
        return StreamListing(stream_arn, self.enabled, listed, float(int(self._clock())))

    def open(self, shard: Shard, after: str) -> str:
        """See ports.Streams."""
        self._known(shard.stream_arn)
        found = self.shards.get(shard.shard_id)
        if found is None:
            raise Trouble(TroubleKind.MISSING, "shard does not exist")
        position = found.trimmed
        if after != TRIM_HORIZON:
            position = sum(int(number(wire)) <= int(after) for wire in found.records)
            if position and position - 1 < found.trimmed:
                raise DataTrimmed
        return f"{shard.shard_id}|{position}|{next(self._iterators)}"

    def read(self, iterator: str, limit: int) -> RawPage:
        """See ports.Streams."""
        if iterator.count("|") != 2:
            raise Trouble(TroubleKind.REJECTED, "this is no iterator")
        shard_id, position, serial = iterator.split("|")
        if int(serial) <= self._expired_before and self._expired_before:
            raise IteratorExpired
        shard, start = self.shards[shard_id], int(position)
        if start < shard.trimmed:
            raise DataTrimmed
        if self.empty_pages:
            self.empty_pages -= 1
            return RawPage([], f"{shard_id}|{start}|{next(self._iterators)}", 2)
        page = shard.records[start : start + min(limit, self.page_records)]
        end = start + len(page)
        ended = shard.closed and end == len(shard.records)
        return RawPage(page, None if ended else f"{shard_id}|{end}|{next(self._iterators)}", 200 * len(page) + 2)

    def find_children(self, shard: Shard) -> Children:
        """See ports.Streams."""
        self._known(shard.stream_arn)
        children = tuple(
            sorted(
                child.shard_id for child in self.shards.values() if child.parent == shard.shard_id and not child.hidden
            )
        )
        return Children(children, leaf=not children and not self.enabled, served_at=float(int(self._clock())))

    def _known(self, stream_arn: str) -> None:
        if stream_arn != self.arn:
            raise Trouble(TroubleKind.MISSING, "stream does not exist")


def number(wire: Wire) -> str:
    """A record's sequence number."""
    return str(wire["dynamodb"]["SequenceNumber"])
