"""A shard: its sequence numbers, its records as they go over the wire, and what is shown of it."""

import json
from bisect import bisect_left, bisect_right
from collections.abc import Mapping
from dataclasses import dataclass, field
from math import inf
from random import Random
from typing import Any, NamedTuple

FEWEST_DIGITS = 21
MOST_DIGITS = 40
_WIDEST_GAP = 1_000


class SequenceNumbers:
    """The sequence numbers of a shard: they grow, with gaps.

    The first few have one digit less than the others, so that a comparison of texts is wrong.
    """

    def __init__(self, random: Random) -> None:
        self._random = random
        digits = random.randint(FEWEST_DIGITS, MOST_DIGITS - 1)
        self.first: int = 10**digits - random.randint(1, 5 * _WIDEST_GAP)
        self._last: int = self.first

    def take(self) -> int:
        """The next number."""
        self._last += self._random.randint(1, _WIDEST_GAP)
        return self._last


Item = Mapping[str, Any]

SPACE = 2**64
"""Keys of items are hashed into this many values, which the open shards share."""


class Record(NamedTuple):
    """`wire` is its JSON; `created` in unix seconds."""

    number: int
    created: float
    wire: bytes


@dataclass
class Shard:
    """A shard. `trimmed`: how many of the oldest records are gone. Times are the server's unix seconds."""

    shard_id: str
    parent: str | None
    opened_at: float
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
        """Adds a record. ValueError when the shard is closed."""
        if self.closed is not None:
            raise ValueError(f"shard {self.shard_id} is closed")
        self.records.append(record)

    def close(self, now: float) -> None:
        """Ends the shard."""
        if self.closed is None:
            self.closed = now
            self.last_number = self.numbers.take()

    def trim(self, position: int) -> int:
        """Trims all records before `position`; how many were trimmed now."""
        before, self.trimmed = self.trimmed, max(self.trimmed, min(position, len(self.records)))
        return self.trimmed - before

    def position_at(self, number: int) -> int:
        """The position of the first record with this number or a later one."""
        return bisect_left(self.records, number, key=lambda record: record.number)

    def position_after(self, number: int) -> int:
        """The position of the first record with a later number."""
        return bisect_right(self.records, number, key=lambda record: record.number)

    def position_since(self, unix: float) -> int:
        """The position of the first untrimmed record that was created then or later."""
        found = (at for at in range(self.trimmed, len(self.records)) if self.records[at].created >= unix)
        return next(found, len(self.records))

    def is_trimmed(self, number: int) -> bool:
        """Whether this sequence number is before the trim point, or before the shard."""
        oldest = self.records[self.trimmed - 1].number if self.trimmed else self.numbers.first - 1
        return number <= oldest

    def is_listed(self, as_of: float, now: float) -> bool:
        """Whether a listing that is as old as `as_of` shows it."""
        return self.opened_at <= as_of < self.removed and now >= self.hidden_until

    def description(self, as_of: float, now: float, *, show_open: bool) -> dict[str, Any]:
        """The shard as DescribeStream shows it."""
        numbers = {"StartingSequenceNumber": str(self.numbers.first)}
        if self.closed is not None and self.closed <= as_of and not show_open and now >= self.shown_open_until:
            numbers["EndingSequenceNumber"] = str(self.last_number)
        parent = {} if self.parent is None else {"ParentShardId": self.parent}
        return {"ShardId": self.shard_id, "SequenceNumberRange": numbers, **parent}

    def note_read(self, now: float) -> None:
        """Notes a GetRecords; `now` in monotonic seconds."""
        if self.last_read is not None:
            self.longest_pause = max(self.longest_pause, now - self.last_read)
        self.last_read = now
        self.reads += 1


TIME_TO_LIVE = {"type": "Service", "principalId": "dynamodb.amazonaws.com"}
"""Who removed an item whose time to live is over, as AWS's record of the removal says it."""


def wire_form(
    event_id: str,
    number: int,
    event: str,
    created: float,
    keys: Item,
    images: Mapping[str, Item],
    view: str,
    region: str,
    *,
    expired: bool = False,
) -> bytes:
    """A record's JSON. `images` are NewImage and OldImage, as far as it has them. `expired`: see TIME_TO_LIVE."""
    kept = {name: image for name, image in images.items() if _carries(view, name)}
    change = {
        "ApproximateCreationDateTime": int(created),
        "Keys": keys,
        **kept,
        "SequenceNumber": str(number),
        "SizeBytes": sum(len(json.dumps(item)) for item in (keys, *kept.values())),
        "StreamViewType": view,
    }
    record = {
        "eventID": event_id,
        "eventName": event,
        "eventVersion": "1.1",
        "eventSource": "aws:dynamodb",
        "awsRegion": region,
        "dynamodb": change,
        **({"userIdentity": TIME_TO_LIVE} if expired else {}),
    }
    return json.dumps(record, separators=(",", ":")).encode()


def _carries(view: str, image: str) -> bool:
    return view == "NEW_AND_OLD_IMAGES" or view == {"NewImage": "NEW_IMAGE", "OldImage": "OLD_IMAGE"}[image]
