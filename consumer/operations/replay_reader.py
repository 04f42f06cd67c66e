"""Reads a range of a shard from the stream, as fast as the stream allows."""

from collections import deque
from collections.abc import Mapping
from functools import partial
from typing import Any, Final

from consumer.domain.errors import CallFailed, DataTrimmed, FailureKind, IteratorExpired
from consumer.domain.leases import Shard
from consumer.domain.ports import Backoff, Streams
from consumer.domain.position import SHARD_END, TRIM_HORIZON, rank
from consumer.domain.replay import Range
from consumer.domain.replies import RawPage
from consumer.operations.resume import PAGE_RECORDS
from consumer.operations.steps import Command, OperatorCall, ask

CHECKED_PAGES: Final = 3, 30
"""Consecutive empty pages after which the reader checks whether the end of the range is trimmed."""
MOST_EMPTY_PAGES: Final = 200
"""Consecutive empty pages after which the reader stops: no record has the end's number, or the records are gone."""
EMPTY_PAUSE_SECONDS: Final = 0.2
LONGEST_PAUSE_SECONDS: Final = 5.0
FIRST_PAUSE_SECONDS: Final = 0.25
RECOVERY: Final = 0.8
"""Factor by which the pause shrinks with each page after a throttled one."""

_MAY_BE_GONE: Final = frozenset((FailureKind.THROTTLED, FailureKind.MISSING))
_MAY_REFUSE: Final = _MAY_BE_GONE | {FailureKind.REJECTED}


class Reader:
    """`wires` are the records that were read and not dropped yet. `ended`: none follow them.

    `trimmed`: a part of the range may be gone from the stream; `first_found` is the first record that it had.
    `refusal`: why the stream cannot read from there. `throttles` counts throttled reads.
    """

    def __init__(self, streams: Streams, shard: Shard, wanted: Range, position: str, backoff: Backoff) -> None:
        self.wires: deque[Mapping[str, Any]] = deque()
        self.ended = rank(position) >= rank(wanted.last)
        self.trimmed = False
        self.refusal: str | None = None
        self.first_found: str | None = None
        self.throttles = 0
        self._streams = streams
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

    def fill(self) -> Command[None]:
        """Reads until there are records to take, or the range has ended."""
        while not self.ended and not self.wires:
            pause = max(self._pause_seconds, EMPTY_PAUSE_SECONDS if self._empty_pages else 0.0)
            pause = self._backoff.delay(self._attempt) if self._attempt else pause
            attempt, self._attempt = self._attempt, 0
            try:
                yield from self._read(pause)
            except IteratorExpired:
                self._iterator = None
            except DataTrimmed:
                self._take_trimmed()
            except CallFailed as failure:
                match failure.kind:
                    case FailureKind.THROTTLED:
                        self._attempt = attempt + 1
                        self._slow_down()
                    case FailureKind.MISSING:
                        self.trimmed = self.ended = True
                    case FailureKind.REJECTED if self._checking_end:
                        self._checking_end = False
                    case FailureKind.REJECTED if self._iterator is None and self._after is None:
                        self.refusal, self.ended = failure.detail, True
                    case _:
                        raise

    def drop(self, position: str) -> None:
        """Drops the records up to `position`: they are done."""
        while self.wires and rank(number_of(self.wires[0])) <= rank(position):
            self.wires.popleft()

    @property
    def _after(self) -> str | None:
        """The position after which the next iterator stands. None: it stands at the first record of the range."""
        if self._from_horizon:
            return TRIM_HORIZON
        return self._tail if self._tail != TRIM_HORIZON or self._range.first == TRIM_HORIZON else None

    def _read(self, pause: float) -> Command[None]:
        """Makes one call, after a pause."""
        streams, shard = self._streams, self._shard
        if self._checking_end:
            at_end = partial(streams.open_at, shard, self._range.last)
            yield from ask(OperatorCall.GET_ITERATOR_AT, at_end, pause, _MAY_REFUSE)
            self._checking_end = False
        elif self._iterator is not None:
            read = partial(streams.read, self._iterator, PAGE_RECORDS)
            self._take_page((yield from ask(OperatorCall.GET_RECORDS, read, pause, _MAY_BE_GONE)))
        elif self._after is not None:
            after = partial(streams.open, shard, self._after)
            self._iterator = yield from ask(OperatorCall.GET_SHARD_ITERATOR, after, pause, _MAY_BE_GONE)
        else:
            first = partial(streams.open_at, shard, self._range.first)
            self._iterator = yield from ask(OperatorCall.GET_ITERATOR_AT, first, pause, _MAY_REFUSE)

    def _take_trimmed(self) -> None:
        self.trimmed = True
        if self._checking_end:
            self.ended = True
        else:
            self._from_horizon = self._iterator is None
            self._iterator = None

    def _slow_down(self) -> None:
        self.throttles += 1
        self._pause_seconds = min(max(2 * self._pause_seconds, FIRST_PAUSE_SECONDS), LONGEST_PAUSE_SECONDS)

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
