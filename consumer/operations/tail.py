"""What a stream holds behind a shard's checkpoint: `verify` looks there when a shard shows no newer record."""

from functools import partial
from typing import Final

from consumer.domain import verification
from consumer.domain.errors import CallFailed, DataTrimmed, FailureKind, IteratorExpired
from consumer.domain.leases import TRIM_HORIZON, LeaseRow, rank
from consumer.domain.operator_ports import Tips
from consumer.domain.verification import SURE_PAGES
from consumer.operations.replay_plan import number_of
from consumer.operations.steps import Command, OperatorCall, ask

PAUSE_SECONDS: Final = 0.25
"""Between two pages: a shard may be read five times per second, and its worker reads it too."""
PAGE_RECORDS: Final = 100
"""At most: one is enough to know."""
_MAY_BE_GONE: Final = frozenset((FailureKind.MISSING, FailureKind.REJECTED))


class Tail:
    """The records of one shard behind its checkpoint. `unread`: there are some, which its worker has to deal with."""

    def __init__(self, row: LeaseRow, streams: Tips) -> None:
        self.checkpoint = row.checkpoint
        self.unread = False
        self._shard = row.shard
        self._streams = streams
        self._position = row.checkpoint
        self._iterator: str | None = None
        self._asked: list[float] = []

    def quiet(self, moment: float) -> bool:
        """Whether nothing is there that was written by `moment`."""
        return verification.quiet(self._asked, moment)

    def read_on(self, now: float) -> Command[None]:
        """Reads on, until enough pages were empty or a record comes. `now`: the server's unix seconds, or earlier."""
        for _ in range(2 * SURE_PAGES):
            if self.unread or self.quiet(now - verification.SETTLING_SECONDS):
                return
            try:
                yield from self._read(now)
            except DataTrimmed:
                self._position, self._iterator = TRIM_HORIZON, None
            except IteratorExpired:
                self._iterator = None
            except CallFailed as failure:
                if failure.kind not in _MAY_BE_GONE:
                    raise
                self._iterator = None
                return

    def _read(self, now: float) -> Command[None]:
        if self._iterator is None:
            self._asked.clear()
            open_at = partial(self._streams.open, self._shard, self._position)
            self._iterator = yield from ask(OperatorCall.GET_SHARD_ITERATOR, open_at, answers=_MAY_BE_GONE)
        read = partial(self._streams.read, self._iterator, PAGE_RECORDS)
        page = yield from ask(OperatorCall.GET_RECORDS, read, PAUSE_SECONDS, _MAY_BE_GONE)
        self._iterator = page.next_iterator
        if any(rank(number_of(wire)) > rank(self.checkpoint) for wire in page.records):
            self.unread = True
        elif page.records:
            self._asked.clear()
            self._position = number_of(page.records[-1])
        else:
            self._asked.append(now)
        if page.next_iterator is None and not self.unread:
            # It has ended: only when its worker has found its children is it known where the games went on.
            self.unread = True
