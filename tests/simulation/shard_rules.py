"""Rules of a shard that is read and committed, taken away; see mutations."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any
from unittest.mock import patch

from consumer.domain.leases import Shard
from consumer.domain.position import TRIM_HORIZON
from consumer.domain.records import Game
from consumer.worker.absence import Absence
from consumer.worker.attempt import Attempt
from consumer.worker.calls import Commit, Open, RecordGap, Release
from consumer.worker.reader import Reader
from consumer.worker.writer import WriteCall, Writer
from tests.fakes import FakeStreams
from tests.simulation.mutations import mutation


@mutation
def page_follows_buffer() -> Iterator[None]:
    """Any page is taken, whatever was asked since."""
    with patch.object(Reader, "_still_asked", lambda *_: True):
        yield


@mutation
def buffer_is_thrown_away() -> Iterator[None]:
    """What was read is kept although the row stands elsewhere."""
    with patch.object(Reader, "rewind", lambda *_: None):
        yield


@mutation
def same_unit_again() -> Iterator[None]:
    """After an answer that leaves it open another unit is cut."""
    original = Writer.doubt

    def doubt(self: Writer, call: object) -> None:
        self.attempt.forget()
        original(self, call)

    with patch.object(Writer, "doubt", doubt):
        yield


@mutation
def end_after_last_unit() -> Iterator[None]:
    """A shard is ended when its last record is read, not when it is committed."""
    original = Writer.next_call

    def next_call(self: Writer, now: float) -> WriteCall:
        if not self._reader.ended or self.attempt.unit is not None or self.releasing:
            return original(self, now)
        buffer, self._reader.buffer = self._reader.buffer, type(self._reader.buffer)(self.checkpoint)
        call = original(self, now)
        self._reader.buffer = buffer
        return call

    with patch.object(Writer, "next_call", next_call):
        yield


@mutation
def release_after_commit() -> Iterator[None]:
    """A lease is given back although an attempt may yet take effect."""
    original = Writer.next_call

    def next_call(self: Writer, now: float) -> WriteCall:
        return Release(self._lease) if self.releasing else original(self, now)

    with patch.object(Writer, "next_call", next_call):
        yield


@mutation
def gap_row_first() -> Iterator[None]:
    """The shard reads on before its gap is written down."""
    original = Reader.next_call

    def next_call(self: Reader, lease: Any, checkpoint: str, unix_now: float) -> Any:
        call = original(self, lease, checkpoint, unix_now)
        if isinstance(call, RecordGap) and not self.gone:
            self.trimmed, self.lossy, self.gap, self._open_at = False, True, checkpoint, TRIM_HORIZON
            return Open(lease, TRIM_HORIZON)
        return call

    with patch.object(Reader, "next_call", next_call):
        yield


@mutation
def unread_may_be_trimmed() -> Iterator[None]:
    """A shard that was never read is read from the horizon, however old it may be."""
    with patch.object(Reader, "_too_old", lambda *_: False):
        yield


@mutation
def gone_after_three_answers() -> Iterator[None]:
    """One refusal is enough."""
    with patch.object(Absence, "proven", property(lambda self: self._answers >= 1)):
        yield


@mutation
def children_from_horizon() -> Iterator[None]:
    """A shard that was never read is read from its newest record on."""
    original = FakeStreams.open

    def opened(self: FakeStreams, shard: Shard, after: str) -> str:
        records = self.streams[shard.stream_arn].shards[shard.shard_id].records
        latest = after == TRIM_HORIZON and records
        return original(self, shard, str(records[-1]["dynamodb"]["SequenceNumber"]) if latest else after)

    with patch.object(FakeStreams, "open", opened):
        yield


@mutation
def refused_alone() -> Iterator[None]:
    """A unit is refused, and its first record has to answer for it."""
    original = Attempt._suspect_of

    def suspect_of(self: Attempt, unit: Any, reply: Any, detail: str, buffer: Any) -> Any:
        head = buffer.head()
        if isinstance(head, Game):
            self._suspect, self.unit = (head, detail), None
            return None
        return original(self, unit, reply, detail, buffer)

    with patch.object(Attempt, "_suspect_of", suspect_of):
        yield


@mutation
def unit_fixed_when_cut() -> Iterator[None]:
    """What a unit follows is looked up when it is sent, not when it is cut."""
    original = Attempt.next_call

    def next_call(self: Attempt, lease: Any, buffer: Any, checkpoint: str, *given: Any) -> Any:
        call = original(self, lease, buffer, checkpoint, *given)
        if isinstance(call, Commit) and call.unit.previous != checkpoint:
            self.unit = replace(call.unit, previous=checkpoint)
            return replace(call, unit=self.unit)
        return call

    with patch.object(Attempt, "next_call", next_call):
        yield
