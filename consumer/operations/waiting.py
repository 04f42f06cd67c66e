"""What waits in a halted shard behind its checkpoint: how many records, which are good, and why the others are not."""

import json
from collections import Counter
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Final, NamedTuple

from consumer.domain.errors import CallFailed, DataTrimmed, IteratorExpired
from consumer.domain.leases import TRIM_HORIZON, LeaseRow
from consumer.domain.ports import Streams
from consumer.domain.records import Correction, Game, Poison, Reason, Rules, decode
from consumer.operations.steps import Command, OperatorCall, ask

PAGE_RECORDS: Final = 1000
EMPTY_PAGES: Final = 2
"""Consecutive empty pages after which the shard holds no more records: one empty page may come before records."""
PREVIEW_RECORDS: Final = 20_000
"""So many records of a shard are looked at before an operator is asked: some seconds."""
SHOWN_CHARACTERS: Final = 60

Report = Callable[[int], object]


def _unreported(_: int) -> None:
    pass


class Example(NamedTuple):
    """A poison record: what it has in the field that is wrong, or a sentence where no field is."""

    sequence_number: str
    text: str


class Waiting:
    """The records behind a halted shard's checkpoint, as far as they were read, by these rules.

    They end with the newest record of the moment at which the first call was made; `whole`: that one was read. `newest`
    is the last record that was read. `trimmed`: some were gone from the stream. `unknown`: why they cannot be read.
    """

    def __init__(self, row: LeaseRow, rules: Rules, start_time: float | None = None) -> None:
        self.row = row
        self.read = 0
        self.good = 0
        self.poison: Counter[str] = Counter()
        self.examples: dict[str, Example] = {}
        self.newest: str | None = None
        self.whole = False
        self.trimmed = False
        self.unknown: str | None = None
        self._rules = rules
        self._start_time = start_time
        self._moment: float | None = None

    @property
    def ignored(self) -> int:
        """Changes, removals, and records from before the start position."""
        return self.read - self.good - self.poison.total()

    def preview(self, streams: Streams, report: Report, *, must_read: bool) -> Command[None]:
        """Reads the first records. Not `must_read`: a stream that cannot be read is `unknown`, and no failure."""
        try:
            yield from self.read_on(streams, report, PREVIEW_RECORDS)
        except CallFailed as failure:
            if must_read:
                raise
            self.unknown = failure.detail

    def read_on(self, streams: Streams, report: Report = _unreported, most: int | None = None) -> Command[None]:
        """Reads on to the end, or until `most` records were read. Later records do not belong to the moment."""
        shard, iterator, empty_pages = self.row.shard, None, 0
        after = self.newest or self.row.checkpoint
        if self._moment is None:
            listing = yield from ask(OperatorCall.READ_CLOCK, partial(streams.list_shards, shard.stream_arn))
            self._moment = listing.served_at
        while not self.whole and empty_pages < EMPTY_PAGES and (most is None or self.read < most):
            try:
                if iterator is None:
                    iterator = yield from ask(OperatorCall.GET_SHARD_ITERATOR, partial(streams.open, shard, after))
                page = yield from ask(OperatorCall.GET_RECORDS, partial(streams.read, iterator, PAGE_RECORDS))
            except IteratorExpired:
                iterator = None
                continue
            except DataTrimmed:
                self.trimmed = True
                after, iterator = TRIM_HORIZON, None
                continue
            for wire in page.records:
                self.whole = self._is_later(wire)
                if self.whole:
                    break
                self._add(wire)
            report(len(page.records))
            after, iterator = self.newest or after, page.next_iterator
            empty_pages = 0 if page.records else empty_pages + 1
            self.whole |= iterator is None or empty_pages == EMPTY_PAGES

    def _is_later(self, wire: Mapping[str, Any]) -> bool:
        created = wire["dynamodb"].get("ApproximateCreationDateTime")
        assert self._moment is not None
        return isinstance(created, int | float) and created > self._moment

    def _add(self, wire: Mapping[str, Any]) -> None:
        self.read += 1
        self.newest = str(wire["dynamodb"]["SequenceNumber"])
        match decode(wire, self._rules, self._start_time):
            case Game() | Correction():
                self.good += 1
            case Poison(sequence_number, _, _, reason, detail, _):
                self.poison[reason] += 1
                if reason not in self.examples:
                    self.examples[reason] = Example(sequence_number, _shown(wire, reason, self._rules) or detail)


def _shown(wire: Mapping[str, Any], reason: Reason, rules: Rules) -> str | None:
    """The attribute that is wrong, with its value in DynamoDB JSON; None: no attribute is, or it is not there."""
    name = getattr(rules, f"{reason.partition('_')[0]}_attribute", None)
    image = wire["dynamodb"].get("NewImage")
    if name is None or not isinstance(image, Mapping) or name not in image:
        return None
    value = json.dumps(image[name], default=repr)
    return f"{name} is {value if len(value) <= SHOWN_CHARACTERS else value[: SHOWN_CHARACTERS - 3] + '...'}"
