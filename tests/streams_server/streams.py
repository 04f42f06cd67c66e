"""All streams of all tables."""

from collections.abc import Callable, Sequence
from random import Random

from tests.streams_server.refusal import not_found
from tests.streams_server.stream import ONE_SHARD, Stream, fresh_label
from tests.streams_server.tree import Tree

VIEW = "NEW_AND_OLD_IMAGES"


class Streams:
    """In the order in which they were switched on."""

    def __init__(self, clock: Callable[[], float], random: Random) -> None:
        self.all: list[Stream] = []
        self.clock = clock
        self._random = random

    def add(
        self, table: str, keys: Sequence[str], tree: Tree = ONE_SHARD, view: str = VIEW, label: str | None = None
    ) -> Stream:
        """Switches a stream on. Its parents are still open. ValueError when the table's last one is on."""
        before = self.latest(table)
        if before is not None and before.enabled:
            raise ValueError(f"the stream of {table} is on: {before.arn}")
        moment = self.clock()
        while label is None or self._has(table, label):
            label = fresh_label(moment)
            moment += 0.001
        stream = Stream(table, label, keys, view, self.clock, self._random)
        stream.grow(tree)
        self.all.append(stream)
        return stream

    def remove(self, stream: Stream) -> None:
        """24 hours after it was switched off."""
        self.all.remove(stream)

    def latest(self, table: str) -> Stream | None:
        """The table's newest stream."""
        return next((stream for stream in reversed(self.all) if stream.table == table), None)

    def by_arn(self, arn: object) -> Stream:
        """Raises Refusal."""
        found = next((stream for stream in self.all if stream.arn == arn), None)
        if found is None:
            raise not_found(f"Requested resource not found: Stream: {arn} not found")
        return found

    def by_name(self, name: str | None) -> Stream:
        """By ARN, by label, by table (its newest one); None: the newest of all. Raises Refusal."""
        for stream in reversed(self.all):
            if name is None or name in (stream.arn, stream.label, stream.table):
                return stream
        raise not_found(f"no stream {name}")

    def _has(self, table: str, label: str) -> bool:
        return any((stream.table, stream.label) == (table, label) for stream in self.all)
