"""Reads a range of a shard from the stream, at the pace that the stream allows."""

from collections import deque
from collections.abc import Mapping
from typing import Any, Final

from consumer.domain.leases import Shard
from consumer.domain.outcomes import RawPage
from consumer.domain.ports import Backoff
from consumer.domain.position import SHARD_END, TRIM_HORIZON, rank
from consumer.domain.replay import Range
from consumer.operations.replay.calls import Due, Gone, OpenAt, Reply, Strange, Throttled
from consumer.operations.resume import Expired, Open, Opened, Read, Trimmed

DOUBTED_PAGES: Final = 3, 30
"""Empty pages running after which it is asked whether the range's end is trimmed."""
MOST_EMPTY_PAGES: Final = 200
"""Empty pages running after which no more is waited for: the end is no record's number, or what led to it is gone."""
EMPTY_PAUSE_SECONDS: Final = 0.2
SLOWEST_SECONDS: Final = 5.0
FIRST_PACE_SECONDS: Final = 0.25
RECOVERY: Final = 0.8
"""By how much the pace quickens with each answer after a throttle."""


class Reader:
    """Records that were read and not dropped yet are in `wires`. `ended`: there are no more behind them.

    `trimmed`: a part of the range may be gone from the stream; `first_found` is the first record that it had. `gone`:
    the whole shard is. `strange`: why the stream cannot begin there. `throttles` counts how often it was too fast.
    """

    def __init__(self, shard: Shard, wanted: Range, position: str, backoff: Backoff) -> None:
        self.wires: deque[Mapping[str, Any]] = deque()
        self.ended = rank(position) >= rank(wanted.last)
        self.trimmed = self.gone = False
        self.strange: str | None = None
        self.first_found: str | None = None
        self.throttles = 0
        self._shard = shard
        self._range = wanted
        self._backoff = backoff
        self._tail = position
        self._from_horizon = False
        self._iterator: str | None = None
        self._doubting = False
        self._empty_pages = 0
        self._attempt = 0
        self._pace_seconds = 0.0

    @property
    def found(self) -> bool:
        """Whether it is known what the range begins with."""
        return self.ended or bool(self.wires)

    def due(self) -> Due | None:
        """The next question; None while there are records to be taken, and at the end."""
        if self.found:
            return None
        if self._attempt:
            return Due(self._call(), self._backoff.delay(self._attempt))
        return Due(self._call(), max(self._pace_seconds, EMPTY_PAUSE_SECONDS if self._empty_pages else 0.0))

    def take(self, reply: Reply) -> None:
        """The answer to it."""
        if isinstance(reply, Throttled):
            self.throttles += 1
            self._attempt += 1
            self._pace_seconds = min(max(2 * self._pace_seconds, FIRST_PACE_SECONDS), SLOWEST_SECONDS)
            return
        self._attempt = 0
        match reply:
            case RawPage():
                self._take_page(reply)
            case Opened() | Strange() if self._doubting:
                self._doubting = False
            case Opened(iterator):
                self._iterator = iterator
            case Trimmed() if self._doubting:
                self.trimmed = self.ended = True
            case Trimmed():
                self.trimmed = True
                self._from_horizon = self._iterator is None
                self._iterator = None
            case Expired():
                self._iterator = None
            case Gone():
                self.gone = self.trimmed = self.ended = True
            case Strange(detail):
                self.strange = detail
                self.ended = True

    def drop(self, position: str) -> None:
        """All up to `position` is dealt with."""
        while self.wires and rank(number_of(self.wires[0])) <= rank(position):
            self.wires.popleft()

    def _call(self) -> OpenAt | Open | Read:
        if self._doubting:
            return OpenAt(self._shard, self._range.last)
        if self._iterator is not None:
            return Read(self._shard.stream_arn, self._iterator)
        if self._from_horizon:
            return Open(self._shard, TRIM_HORIZON)
        if self._tail != TRIM_HORIZON or self._range.first == TRIM_HORIZON:
            return Open(self._shard, self._tail)
        return OpenAt(self._shard, self._range.first)

    def _take_page(self, page: RawPage) -> None:
        self._pace_seconds = self._pace_seconds * RECOVERY if self._pace_seconds > FIRST_PACE_SECONDS / 2 else 0.0
        self._iterator = page.next_iterator
        self._from_horizon = False
        self.ended = page.next_iterator is None
        self._empty_pages = 0 if page.records else self._empty_pages + 1
        for wire in page.records:
            number = number_of(wire)
            if rank(number) > rank(self._range.last):
                self.ended = True
                break
            if self._range.holds(number) and rank(number) > rank(self._tail):
                self.first_found = self.first_found or number
                self.wires.append(wire)
                self._tail = number
        self.ended |= rank(self._tail) >= rank(self._range.last)
        if self._empty_pages >= MOST_EMPTY_PAGES:
            self.ended = self.trimmed = True
        self._doubting = self._empty_pages in DOUBTED_PAGES and self._range.last != SHARD_END


def number_of(wire: Mapping[str, Any]) -> str:
    """A record's sequence number."""
    return str(wire["dynamodb"]["SequenceNumber"])
