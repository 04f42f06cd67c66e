"""The stream's own truth: what was written where, what is trimmed, and what each record means."""

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from typing import Any

from consumer.domain.leases import Shard
from consumer.domain.position import SHARD_END, TRIM_HORIZON
from consumer.domain.records import Entry, Rules, decode
from tests.fakes import FakeShard, FakeStreams, FakeTables
from tests.fakes.streams import number


class Truth:
    """Records are looked at once; a shard's numbers only grow."""

    def __init__(self, streams: FakeStreams, tables: FakeTables, rules: Rules) -> None:
        self._streams = streams
        self._tables = tables
        self._rules = rules
        self._numbers: dict[Shard, list[int]] = {}
        self._floor: tuple[float | None] | None = None
        self.begins: dict[Shard, int] = {}
        """For a stream that was begun anew: what was trimmed by then lies before the beginning of its shards."""

    def shard(self, name: Shard) -> FakeShard:
        """The shard itself."""
        return self._streams.streams[name.stream_arn].shards[name.shard_id]

    def shards(self) -> list[tuple[Shard, FakeShard]]:
        """All of them, parents before their children."""
        streams = self._streams.streams.values()
        return [(Shard(stream.arn, shard.shard_id), shard) for stream in streams for shard in stream.shards.values()]

    def written(self) -> int:
        """How many records there are."""
        return sum(len(shard.records) for _, shard in self.shards())

    def between(self, name: Shard, previous: str, last: str) -> list[int]:
        """Sequence numbers after `previous`, up to and including `last`."""
        numbers = self.numbers(name)
        if previous == SHARD_END or last == TRIM_HORIZON:
            return []
        at = self.begins.get(name, -1) if previous == TRIM_HORIZON else int(previous)
        first = bisect_right(numbers, at)
        end = len(numbers) if last == SHARD_END else bisect_right(numbers, int(last))
        return numbers[first:end]

    def numbers(self, name: Shard) -> list[int]:
        """All sequence numbers of a shard."""
        records = self.shard(name).records
        known = self._numbers.setdefault(name, [])
        known.extend(int(number(wire)) for wire in records[len(known) :])
        return known

    def trimmed_to(self, name: Shard) -> int:
        """The last sequence number that is gone; -1: none is."""
        shard = self.shard(name)
        return self.numbers(name)[shard.trimmed - 1] if shard.trimmed else -1

    def entries(self, name: Shard, numbers: Sequence[int]) -> list[Entry]:
        """What a run of the shard's records means."""
        if not numbers:
            return []
        self.remember_floor()
        assert self._floor is not None
        first = bisect_right(self.numbers(name), numbers[0]) - 1
        records = self.shard(name).records[first : first + len(numbers)]
        return [decode(wire, self._rules, self._floor[0]) for wire in records]

    def wire(self, name: Shard, sequence_number: str) -> Mapping[str, Any]:
        """One record as it came."""
        return self.shard(name).records[bisect_right(self.numbers(name), int(sequence_number)) - 1]

    def remember_floor(self) -> None:
        """The first stream's start position is that of all; its row may be deleted later."""
        if self._floor is None:
            self._floor = (next(iter(self._tables.pins.values())).floor,)
