"""Shard iterators: short-lived, opaque to whoever uses them."""

import time

from tests.streams_server.options import Options
from tests.streams_server.refusal import Refusal, invalid
from tests.streams_server.shard import Shard
from tests.streams_server.stream import Stream
from tests.streams_server.streams import Streams

_VERSION = "1"


class Iterators:
    """They say where they lead and when they were made; nothing is stored."""

    def __init__(self, streams: Streams, options: Options) -> None:
        self._streams = streams
        self._options = options
        self._expired_before = 0

    def issue(self, stream: Stream, shard: Shard, position: int) -> str:
        """One that leads to `position`, made now."""
        return f"{stream.arn}|{_VERSION}|{shard.shard_id}|{position}|{time.monotonic_ns()}"

    def redeem(self, told: object, *, expired: bool = False) -> tuple[Stream, Shard, int]:
        """Where it leads. Raises Refusal: expired, of what is gone, or no iterator at all."""
        parts = str(told).split("|")
        if len(parts) != 5 or parts[1] != _VERSION or not (parts[3] + parts[4]).isdigit():
            raise invalid("Invalid ShardIterator")
        made = int(parts[4])
        age_seconds = (time.monotonic_ns() - made) / 1e9
        if expired or made < self._expired_before or age_seconds > self._options.iterator_seconds:
            raise Refusal("ExpiredIteratorException", "Iterator expired")
        stream = self._streams.by_arn(parts[0])
        return stream, stream.find(parts[2]), int(parts[3])

    def expire(self) -> None:
        """All that were made so far are too old."""
        self._expired_before = time.monotonic_ns()
