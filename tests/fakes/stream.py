"""One stream of a table in memory: shards that split, roll over, end, hide, are trimmed and go."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from consumer.domain.outcomes import ListedShard

Wire = Mapping[str, Any]


@dataclass
class FakeShard:
    """`trimmed` counts the records gone from the front; `hidden` keeps it out of listings; `gone`: nothing has it."""

    shard_id: str
    parent: str | None
    records: list[Wire] = field(default_factory=list)
    closed: bool = False
    trimmed: int = 0
    hidden: bool = False
    gone: bool = False


@dataclass
class FakeStream:
    """`clock` and `numbers` are the table's. `removed`, a day after it was switched off: it answers nothing more."""

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

    def write(self, shard_id: str, image: Mapping[str, Any], event: str = "INSERT") -> str:
        """Appends a record; its sequence number."""
        number = str(next(self.numbers))
        change: dict[str, Any] = {
            "ApproximateCreationDateTime": float(int(self.clock())),
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

    def disable(self) -> None:
        """Every open shard ends without children."""
        self.enabled = False
        for shard in self.shards.values():
            shard.closed = True

    def listed(self) -> tuple[ListedShard, ...]:
        """What a fresh listing shows."""
        shown = (shard for shard in self.shards.values() if not shard.hidden and not shard.gone)
        return tuple(ListedShard(shard.shard_id, shard.parent) for shard in shown)
