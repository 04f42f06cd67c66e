"""A shard: its records as they go over the wire, and what is shown of it."""

import json
from bisect import bisect_left, bisect_right
from collections.abc import Mapping
from dataclasses import dataclass, field
from math import inf
from typing import Any, NamedTuple

from tests.streams_server.sequence import SequenceNumbers

Item = Mapping[str, Any]

SPACE = 2**64
"""Items' keys are hashed into this many values; open shards share them."""


class Record(NamedTuple):
    """`wire` is its JSON; `created` in unix seconds."""

    number: int
    created: float
    wire: bytes


@dataclass
class Shard:
    """`trimmed` counts the records gone from the front. Times are the server's unix seconds."""

    shard_id: str
    parent: str | None
    born: float
    numbers: SequenceNumbers
    low: int = 0
    high: int = SPACE
    records: list[Record] = field(default_factory=list)
    trimmed: int = 0
    closed: float | None = None
    last_number: int | None = None
    removed: float = inf
    hidden_until: float = 0.0
    shown_open_until: float = 0.0
    children: list[str] = field(default_factory=list)
    reads: int = 0
    last_read: float | None = None
    longest_pause: float = 0.0

    def append(self, record: Record) -> None:
        """ValueError when it is closed: no service writes there."""
        if self.closed is not None:
            raise ValueError(f"shard {self.shard_id} is closed")
        self.records.append(record)

    def close(self, now: float) -> None:
        """No more records."""
        if self.closed is None:
            self.closed = now
            self.last_number = self.numbers.take()

    def trim(self, position: int) -> int:
        """All records before `position` are gone from now on; how many went."""
        before, self.trimmed = self.trimmed, max(self.trimmed, min(position, len(self.records)))
        return self.trimmed - before

    def position_at(self, number: int) -> int:
        """Of the first record with this number or a later one."""
        return bisect_left(self.records, number, key=lambda record: record.number)

    def position_after(self, number: int) -> int:
        """Of the first record with a later number."""
        return bisect_right(self.records, number, key=lambda record: record.number)

    def position_since(self, unix: float) -> int:
        """Of the first record that is there still and was created then or later."""
        found = (at for at in range(self.trimmed, len(self.records)) if self.records[at].created >= unix)
        return next(found, len(self.records))

    def is_trimmed(self, number: int) -> bool:
        """Whether this sequence number lies before the trim point, or before the shard."""
        oldest = self.records[self.trimmed - 1].number if self.trimmed else self.numbers.first - 1
        return number <= oldest

    def is_listed(self, as_of: float, now: float) -> bool:
        """Whether a listing that is as old as `as_of` shows it."""
        return self.born <= as_of < self.removed and now >= self.hidden_until

    def description(self, as_of: float, now: float, *, show_open: bool) -> dict[str, Any]:
        """As DescribeStream tells it."""
        numbers = {"StartingSequenceNumber": str(self.numbers.first)}
        if self.closed is not None and self.closed <= as_of and not show_open and now >= self.shown_open_until:
            numbers["EndingSequenceNumber"] = str(self.last_number)
        parent = {} if self.parent is None else {"ParentShardId": self.parent}
        return {"ShardId": self.shard_id, "SequenceNumberRange": numbers, **parent}

    def note_read(self, now: float) -> None:
        """Somebody polled it; `now` in monotonic seconds."""
        if self.last_read is not None:
            self.longest_pause = max(self.longest_pause, now - self.last_read)
        self.last_read = now
        self.reads += 1


def wire_form(
    event_id: str,
    number: int,
    event: str,
    created: float,
    keys: Item,
    images: Mapping[str, Item],
    view: str,
    region: str,
) -> bytes:
    """A record's JSON. `images` are NewImage and OldImage, as far as there are any."""
    kept = {name: image for name, image in images.items() if _carries(view, name)}
    change = {
        "ApproximateCreationDateTime": int(created),
        "Keys": keys,
        **kept,
        "SequenceNumber": str(number),
        "SizeBytes": sum(len(json.dumps(each)) for each in (keys, *kept.values())),
        "StreamViewType": view,
    }
    record = {
        "eventID": event_id,
        "eventName": event,
        "eventVersion": "1.1",
        "eventSource": "aws:dynamodb",
        "awsRegion": region,
        "dynamodb": change,
    }
    return json.dumps(record, separators=(",", ":")).encode()


def _carries(view: str, image: str) -> bool:
    return view == "NEW_AND_OLD_IMAGES" or view == {"NewImage": "NEW_IMAGE", "OldImage": "OLD_IMAGE"}[image]
