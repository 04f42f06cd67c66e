"""Recount of a range: a machine that reads, cuts and counts, each batch in one transaction with the progress row."""

from collections.abc import Callable
from dataclasses import replace

from consumer.domain.outcomes import Committed, Done, Refused
from consumer.domain.ports import Backoff
from consumer.domain.position import TRIM_HORIZON, rank
from consumer.domain.records import Rules
from consumer.domain.replay import Batch, Changed, Overtaken, Progress
from consumer.operations.acts import Examine, Examined
from consumer.operations.replay.batches import Batches
from consumer.operations.replay.calls import Count, Due, FindRows, Put, ReadReply, Reply, Rows
from consumer.operations.replay.plan import trace_of
from consumer.operations.replay.reader import Reader


class Recount:
    """`before` is the progress row as it was found, `progress` as it is to be; `now` in unix seconds.

    `take` tells each batch that was counted. `overtaken`: another one has the row, and what it says now.
    """

    def __init__(
        self,
        before: Progress | None,
        progress: Progress,
        reader: Reader,
        rules: Rules,
        floor: float | None,
        backoff: Backoff,
        who: str,
        now: Callable[[], float],
    ) -> None:
        self.progress = progress
        self.overtaken: Overtaken | None = None
        self.finished = False
        self.reader = reader
        self._batches = Batches(rules, floor)
        self._backoff = backoff
        self._conflicts = 0
        self._who, self._now = who, now
        self._begin: Put | None = Put(before, progress, trace_of(progress, _began(before, progress), who, now()))
        self._end: Put | None = None

    @property
    def begun(self) -> bool:
        """Whether the progress row is there, or another one's."""
        return self._begin is None or self.overtaken is not None

    def due(self) -> Due | None:
        """Begin, find the quarantine's rows, read and count in turn, end. None when there is no more to do."""
        batches = self._batches
        if self.finished or self.overtaken is not None:
            return None
        if self._begin is not None:
            return Due(self._begin)
        if batches.heads is None:
            return Due(FindRows(self.progress.shard))
        if (reading := self.reader.due()) is not None:
            return reading
        if not self.reader.wires:
            return Due(self._ending())
        if batches.refusal is not None:
            return Due(Examine(batches.only_game))
        batch = batches.cut(self.reader.wires, self.progress.position)
        pause = self._backoff.delay(self._conflicts) if self._conflicts else 0.0
        return Due(Count(self.progress, batch, batches.later), pause)

    def take(self, reply: Reply) -> Batch | None:
        """The reply to the call that is due; the batch, when it is counted."""
        match reply:
            case Done():
                self._take_done()
            case Rows(heads):
                self._batches.heads = heads
            case Committed():
                return self._take_counted()
            case Overtaken(row) if row is not None and row.runner == self.progress.runner and row.running:
                self._move(row)  # an earlier attempt of ours went through
                self._batches.forget()
            case Overtaken():
                self.overtaken = reply
            case Changed():
                self._batches.heads = None
                self._batches.forget()
            case Refused(conflict=conflict):
                self._conflicts += conflict
                self._batches.take_refused(reply, often=self._conflicts > 1)
            case Examined(verdict):
                self._batches.skip(verdict)
            case _:
                assert isinstance(reply, ReadReply)
                self.reader.take(reply)
        return None

    def _ending(self) -> Put:
        if self._end is None:
            after = replace(self.progress, running=False)
            outcome = "finished, a part was trimmed" if self.reader.trimmed else "finished"
            self._end = Put(self.progress, after, trace_of(after, outcome, self._who, self._now()))
        return self._end

    def _take_done(self) -> None:
        if self._begin is not None:
            self._begin = None
        else:
            assert self._end is not None
            self.progress, self.finished = self._end.after, True

    def _take_counted(self) -> Batch:
        counted = self._batches.take_counted()
        self._move(self.progress.after(counted))
        self._conflicts = 0
        return counted

    def _move(self, progress: Progress) -> None:
        self.progress = progress
        self.reader.drop(progress.position)


def _began(before: Progress | None, progress: Progress) -> str:
    if before is not None and before.act == progress.act:
        return "resumed"
    gives_up = before is not None and before.running and rank(before.position) > rank(TRIM_HORIZON)
    return "started, another one given up" if gives_up else "started"
