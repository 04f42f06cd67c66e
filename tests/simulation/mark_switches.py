"""Switches of marked writes: their rules, many rows in one call, and checkpoints that lag behind."""

from dataclasses import replace
from math import inf
from typing import Any

from consumer.domain import marks
from consumer.domain.errors import CallFailed
from consumer.domain.fold import Unit
from consumer.domain.marks import Lineage, Route, StoredRow
from consumer.domain.replies import Done, RowRefused
from consumer.worker.commit_attempt import CommitAttempt
from consumer.worker.row_writes import RowWrites
from consumer.worker.shard_calls import Release
from consumer.worker.writer import Writer
from tests.simulation.switches import getter_of, switch

# --- marked writes ---


@switch(getter_of(CommitAttempt.rows_settled))
def rows_before_checkpoint(original: Any, self: CommitAttempt) -> Any:
    """The transaction, or the checkpoint, goes while single writes of the unit have no reply."""
    return original(self) or self.unit is not None


@switch(RowWrites.take)
def cut_again_after_refusal(original: Any, self: RowWrites, call: Any, reply: Any, now: float) -> Any:
    """A single write that is refused for the row's mark counts as done."""
    if isinstance(reply, list):
        reply = [Done() if isinstance(each, RowRefused) else each for each in reply]
    return original(self, call, reply, now)


@switch(RowWrites.write)
def poison_takes_its_player(original: Any, self: RowWrites, unit: Unit, **given: Any) -> Any:
    """The good games of a player with poison go ahead in a single write; the poison is quarantined after it."""
    return original(self, replace(unit, transacted=frozenset()), **given)


@switch(RowWrites.write)
def transaction_keeps_marks(original: Any, self: RowWrites, unit: Unit, **given: Any) -> Any:
    """Transactions add what they have to rows without a look at the mark, and leave it."""
    rows = original(self, unit, **given)
    return tuple(write._replace(route=Route.PLAIN, found=None, mark=None) for write in rows)


@switch(RowWrites.place_of)
def marked_is_dealt_with(original: Any, self: RowWrites, player: str, created: float) -> Any:
    """Records that the row's mark covers are written again."""
    place = original(self, player, created)
    return place if place.dealt_with_to == inf else place._replace(dealt_with_to=-1)


@switch(marks.route)
def take_over_in_transaction(original: Any, *given: Any, together: bool = False) -> Route:
    """A finished shard's mark is followed by a single write, as an ancestor's is."""
    found: Route = original(*given, together=together)
    if found is Route.TAKE_OVER:
        return Route.MARKED if together else Route.FOLLOW
    return found


@switch(marks.route)
def first_mark_in_transaction(original: Any, *given: Any, together: bool = False) -> Route:
    """A row without a mark gets one by a single write."""
    found: Route = original(*given, together=together)
    return Route.FOLLOW if found is Route.FRESH and not together else found


@switch(marks.route)
def descendant_is_dealt_with(
    original: Any, row: StoredRow, shard: str, lineage: Lineage, *given: Any, **more: Any
) -> Route:
    """The mark of a descendant counts as that of any other shard."""
    found: Route = original(row, shard, lineage, *given, **more)
    if found is not Route.DEALT_WITH or row.mark is None:
        return found
    return Route.TAKE_OVER if row.mark.shard in lineage.finished else Route.SHARED


@switch(marks.route)
def living_shard_keeps_mark(original: Any, *given: Any, **more: Any) -> Route:
    """The mark of another shard that is not finished is taken over."""
    found: Route = original(*given, **more)
    return Route.TAKE_OVER if found is Route.SHARED else found


@switch(marks.route)
def unknown_mark_halts(original: Any, *given: Any, **more: Any) -> Route:
    """A mark whose shard is not known is taken over."""
    found: Route = original(*given, **more)
    return Route.TAKE_OVER if found is Route.UNKNOWN else found


# --- many rows in one call, and checkpoints that lag behind ---


@switch(RowWrites.take)
def each_row_has_its_reply(original: Any, self: RowWrites, call: Any, reply: Any, now: float) -> Any:
    """A call counts as done when one of its rows is."""
    if isinstance(reply, list) and Done() in reply:
        reply = [Done() if isinstance(each, CallFailed) else each for each in reply]
    return original(self, call, reply, now)


@switch(Writer.next_call)
def saved_before_release(original: Any, self: Writer, now: float) -> Any:
    """A lease is released although the checkpoint lags behind."""
    if self.releasing and self.unsaved is not None and not self.attempt.row_writes.begun:
        return Release(self.lease)
    return original(self, now)


@switch(Writer.next_call)
def saved_before_end(original: Any, self: Writer, now: float) -> Any:
    """A shard is ended although the checkpoint lags behind."""
    if self.unsaved is not None and self.reader.ended and not self.attempt.buffer and not self.releasing:
        return self.next_end()
    return original(self, now)


@switch(getter_of(CommitAttempt.only_rows))
def transaction_before_checkpoint(original: Any, self: CommitAttempt) -> Any:
    """A unit ends with its single writes, although it has rows left for a transaction."""
    return original(self) or (self.unit is not None and self.rows_settled and not self.unit.poison)


@switch(getter_of(Writer.may_end))
def one_end_of_a_unit(original: Any, self: Writer) -> Any:
    """A late reply for rows ends a unit that is in a transaction, or may be."""
    return original(self) or self.reader.gap is None


@switch(getter_of(Writer.may_end))
def gap_is_filled_first(original: Any, self: Writer) -> Any:
    """A unit after a gap ends with its single writes, and the checkpoint passes the gap alone."""
    return original(self) or not self.attempt.rows_settled


@switch(Writer.rewind)
def unsaved_is_forgotten(original: Any, self: Writer, *given: Any) -> Any:
    """After a rewind the checkpoint moves to where it was to move before."""
    unsaved = self.unsaved
    original(self, *given)
    self.unsaved = unsaved


@switch(CommitAttempt.follow)
def unit_follows_a_move(_original: Any, *_: Any) -> None:
    """A unit that was cut before the checkpoint moved is sent as it was cut."""
