"""Counts what of a range is not counted yet: its pending quarantine entries. Each is a redrive by the current rules."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Final

from consumer.domain.fold import Unit
from consumer.domain.position import TRIM_HORIZON
from consumer.domain.quarantine import EntryState, QuarantineEntry
from consumer.domain.records import Rules
from consumer.domain.replay import Batch, Overtaken, Progress, Range
from consumer.domain.replies import Committed, Done
from consumer.operations.quarantine import NO_REPAIR, Applied, Apply, Examine, Fetch, Redrive, Result
from consumer.operations.quarantine import Reply as QuarantineReply
from consumer.operations.replay.calls import Count, Due, Put, Reply
from consumer.operations.replay.plan import ACTION, audit_entry_of

STEP_RECORDS: Final = 20
"""Records after which the progress row moves on. It guards nothing here: that an entry is pending does."""


def pending_of(entries: Iterable[QuarantineEntry], wanted: Range) -> list[QuarantineEntry]:
    """The pending entries of the range, in the order of the stream."""
    pending = (
        entry for entry in entries if entry.state == EntryState.PENDING and wanted.contains(entry.sequence_number)
    )
    return sorted(pending, key=lambda entry: entry.order)


class PendingReplay:
    """The machine, like Recount. `take` returns the result for each record.

    `now` returns unix seconds, `token` a new unique token.
    """

    def __init__(
        self,
        before: Progress | None,
        progress: Progress,
        entries: Sequence[QuarantineEntry],
        rules: Rules,
        who: str,
        now: Callable[[], float],
        token: Callable[[], str],
    ) -> None:
        self.progress = replace(progress, position=TRIM_HORIZON, games=0, skipped=0)
        self.overtaken: Overtaken | None = None
        self.finished = False
        self._rules, self._who, self._now, self._token = rules, who, now, token
        resumed = before is not None and before.replay_id == progress.replay_id
        audit_entry = audit_entry_of(self.progress, "resumed" if resumed else "started", who, now())
        self._begin: Put | None = Put(before, self.progress, audit_entry)
        self._end: Put | None = None
        self._entries = list(reversed(entries))
        self._redrive: Redrive | None = None
        self._games = self._skipped = self._since = 0
        self._last: QuarantineEntry | None = None

    @property
    def begun(self) -> bool:
        """Whether the progress row is written, or another run has it."""
        return self._begin is None or self.overtaken is not None

    @property
    def waiting(self) -> int:
        """How many records are left."""
        return len(self._entries)

    def due(self) -> Due | None:
        """Start, the calls of each record with the progress row now and then, end."""
        if self.finished or self.overtaken is not None:
            return None
        if self._begin is not None:
            return Due(self._begin)
        if self._last is not None and self._since >= STEP_RECORDS:
            return Due(Count(self.progress, _step(self.progress, self._last), frozenset()))
        if self._redrive is None and self._entries:
            entry = self._entries.pop()
            self._last = entry
            self._redrive = Redrive(entry, NO_REPAIR, self._rules, self._who, self._now(), self._token(), ACTION)
        if self._redrive is not None:
            call = self._redrive.due()
            assert isinstance(call, Fetch | Apply | Examine)
            return Due(call)
        if self._end is None:
            after = replace(self.progress, running=False, games=self._games, skipped=self._skipped)
            self._end = Put(self.progress, after, audit_entry_of(after, "finished", self._who, self._now()))
        return Due(self._end)

    def take(self, reply: Reply) -> Result | None:
        """Takes the reply to the call that was due. Returns the result for a record, when there is one."""
        match reply:
            case Overtaken(row) if row is not None and row.runner == self.progress.runner and row.running:
                self._move(row)
            case Overtaken():
                self.overtaken = reply
            case Committed():
                assert self._last is not None
                self._move(self.progress.after(_step(self.progress, self._last)))
            case Done() if self._begin is not None:
                self._begin = None
            case Done() if self._end is not None:
                self.progress, self.finished = self._end.after, True
            case _:
                assert isinstance(reply, QuarantineReply)
                return self._take_quarantine_reply(reply)
        return None

    def _move(self, progress: Progress) -> None:
        self.progress = progress
        self._since = 0

    def _take_quarantine_reply(self, reply: QuarantineReply) -> Result | None:
        assert self._redrive is not None
        self._redrive.take(reply)
        result = self._redrive.result
        if result is None:
            return None
        self._redrive = None
        self._since += 1
        self._games += isinstance(result, Applied)
        self._skipped += not isinstance(result, Applied)
        return result


def _step(progress: Progress, entry: QuarantineEntry) -> Batch:
    number = entry.sequence_number
    return Batch(Unit(progress.position, number, number, 0, {}, (), {}, 0.0, 0.0), {}, {})
