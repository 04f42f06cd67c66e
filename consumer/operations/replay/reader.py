"""Reads a range of a shard from the stream, as fast as the stream allows."""

from collections import deque
from collections.abc import Mapping
from typing import Any, Final

from consumer.domain.leases import Shard
from consumer.domain.ports import Backoff
from consumer.domain.position import SHARD_END, TRIM_HORIZON, rank
from consumer.domain.replay import Range
from consumer.domain.replies import RawPage
from consumer.operations.replay.calls import Due, InvalidSequenceNumber, OpenAt, Reply, ShardGone, Throttled
from consumer.operations.resume import Expired, Open, Opened, Read, Trimmed

CHECKED_PAGES: Final = 3, 30
"""Consecutive empty pages after which the reader checks whether the end of the range is trimmed."""
MOST_EMPTY_PAGES: Final = 200
"""Consecutive empty pages after which the reader stops: no record has the end's number, or the records are gone."""
EMPTY_PAUSE_SECONDS: Final = 0.2
LONGEST_PAUSE_SECONDS: Final = 5.0
FIRST_PAUSE_SECONDS: Final = 0.25
RECOVERY: Final = 0.8
"""Factor by which the pause shrinks with each page after a throttled one."""


class Reader:
    """The machine. `wires` are the records that were read and not dropped yet. `ended`: none follow them.

    `trimmed`: a part of the range may be gone from the stream; `first_found` is the first record that it had. `gone`:
    the whole shard is gone. `refusal`: why the stream cannot read from there. `throttles` counts throttled reads.
    """

    def __init__(self, shard: Shard, wanted: Range, position: str, backoff: Backoff) -> None:
        self.wires: deque[Mapping[str, Any]] = deque()
        self.ended = rank(position) >= rank(wanted.last)
        self.trimmed = self.gone = False
        self.refusal: str | None = None
        self.first_found: str | None = None
        self.throttles = 0
        self._shard = shard
        self._range = wanted
        self._backoff = backoff
        self._tail = position
        self._from_horizon = False
        self._iterator: str | None = None
        self._checking_end = False
        self._empty_pages = 0
        self._attempt = 0
        self._pause_seconds = 0.0

    @property
    def found(self) -> bool:
        """Whether the first records of the range are known."""
        return self.ended or bool(self.wires)

    def due(self) -> Due | None:
        """The next call. None: there are records to take, or the range has ended."""
        if self.found:
            return None
        if self._attempt:
            return Due(self._call(), self._backoff.delay(self._attempt))
        return Due(self._call(), max(self._pause_seconds, EMPTY_PAUSE_SECONDS if self._empty_pages else 0.0))

    def take(self, reply: Reply) -> None:
        """Takes the reply to the call that was due."""
        if isinstance(reply, Throttled):
            self.throttles += 1
            self._attempt += 1
            self._pause_seconds = min(max(2 * self._pause_seconds, FIRST_PAUSE_SECONDS), LONGEST_PAUSE_SECONDS)
            return
        self._attempt = 0
        match reply:
            case RawPage():
                self._take_page(reply)
            case Opened() | InvalidSequenceNumber() if self._checking_end:
                self._checking_end = False
            case Opened(iterator):
                self._iterator = iterator
            case Trimmed() if self._checking_end:
                self.trimmed = self.ended = True
            case Trimmed():
                self.trimmed = True
                self._from_horizon = self._iterator is None
                self._iterator = None
            case Expired():
                self._iterator = None
            case ShardGone():
                self.gone = self.trimmed = self.ended = True
            case InvalidSequenceNumber(detail):
                self.refusal = detail
                self.ended = True

    def drop(self, position: str) -> None:
        """Drops the records up to `position`: they are done."""
        while self.wires and rank(number_of(self.wires[0])) <= rank(position):
            self.wires.popleft()

    def _call(self) -> OpenAt | Open | Read:
        if self._checking_end:
            return OpenAt(self._shard, self._range.last)
        if self._iterator is not None:
            return Read(self._shard.stream_arn, self._iterator)
        if self._from_horizon:
            return Open(self._shard, TRIM_HORIZON)
        if self._tail != TRIM_HORIZON or self._range.first == TRIM_HORIZON:
            return Open(self._shard, self._tail)
        return OpenAt(self._shard, self._range.first)

    def _take_page(self, page: RawPage) -> None:
        self._pause_seconds = self._pause_seconds * RECOVERY if self._pause_seconds > FIRST_PAUSE_SECONDS / 2 else 0.0
        self._iterator = page.next_iterator
        self._from_horizon = False
        self.ended = page.next_iterator is None
        self._empty_pages = 0 if page.records else self._empty_pages + 1
        for wire in page.records:
            number = number_of(wire)
            if rank(number) > rank(self._range.last):
                self.ended = True
                break
            if self._range.contains(number) and rank(number) > rank(self._tail):
                self.first_found = self.first_found or number
                self.wires.append(wire)
                self._tail = number
        self.ended |= rank(self._tail) >= rank(self._range.last)
        if self._empty_pages >= MOST_EMPTY_PAGES:
            self.ended = self.trimmed = True
        self._checking_end = self._empty_pages in CHECKED_PAGES and self._range.last != SHARD_END


def number_of(wire: Mapping[str, Any]) -> str:
    """A record's sequence number."""
    return str(wire["dynamodb"]["SequenceNumber"])
