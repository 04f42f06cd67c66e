"""What of a range is not counted yet, counted: its pending quarantine rows, each a redrive by the rules of now."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Final

from consumer.domain.leaderboard import Unit
from consumer.domain.outcomes import Committed, Done
from consumer.domain.position import TRIM_HORIZON
from consumer.domain.quarantine import Head, State
from consumer.domain.records import Rules
from consumer.domain.replay import Batch, Overtaken, Progress, Range
from consumer.operations.acts import Apply, Examine, Fetch
from consumer.operations.acts import Reply as ActReply
from consumer.operations.redrive import NO_REPAIR, Applied, Redrive, Result
from consumer.operations.replay.calls import Count, Due, Put, Reply
from consumer.operations.replay.plan import ACT, trace_of

STEP_RECORDS: Final = 20
"""So often the progress row moves on. It guards nothing here: that a row is pending does."""


def pending_of(heads: Iterable[Head], wanted: Range) -> list[Head]:
    """The pending ones of the range, in the shard's order."""
    chosen = (head for head in heads if head.state == State.PENDING and wanted.holds(head.sequence_number))
    return sorted(chosen, key=lambda head: head.order)


class Leftovers:
    """The machine. It is like Recount, and `take` tells what became of each record."""

    def __init__(
        self,
        before: Progress | None,
        progress: Progress,
        heads: Sequence[Head],
        rules: Rules,
        who: str,
        now: Callable[[], float],
        token: Callable[[], str],
    ) -> None:
        self.progress = replace(progress, position=TRIM_HORIZON, games=0, skipped=0)
        self.overtaken: Overtaken | None = None
        self.finished = False
        self._rules, self._who, self._now, self._token = rules, who, now, token
        resumed = before is not None and before.act == progress.act
        trace = trace_of(self.progress, "resumed" if resumed else "started", who, now())
        self._begin: Put | None = Put(before, self.progress, trace)
        self._end: Put | None = None
        self._heads = list(reversed(heads))
        self._redrive: Redrive | None = None
        self._games = self._stayed = self._since = 0
        self._last: Head | None = None

    @property
    def begun(self) -> bool:
        """Whether the progress row is there, or another one's."""
        return self._begin is None or self.overtaken is not None

    @property
    def waiting(self) -> int:
        """Records to come."""
        return len(self._heads)

    def due(self) -> Due | None:
        """Begin, each record's calls, and the progress row now and then; end."""
        if self.finished or self.overtaken is not None:
            return None
        if self._begin is not None:
            return Due(self._begin)
        if self._last is not None and self._since >= STEP_RECORDS:
            return Due(Count(self.progress, _step(self.progress, self._last), frozenset()))
        if self._redrive is None and self._heads:
            head = self._heads.pop()
            self._last = head
            self._redrive = Redrive(head, NO_REPAIR, self._rules, self._who, self._now(), self._token(), ACT)
        if self._redrive is not None:
            call = self._redrive.due()
            assert isinstance(call, Fetch | Apply | Examine)
            return Due(call)
        if self._end is None:
            after = replace(self.progress, running=False, games=self._games, skipped=self._stayed)
            self._end = Put(self.progress, after, trace_of(after, "finished", self._who, self._now()))
        return Due(self._end)

    def take(self, reply: Reply) -> Result | None:
        """The reply to the call that is due; what became of a record, when it is known."""
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
                assert isinstance(reply, ActReply)
                return self._take_act(reply)
        return None

    def _move(self, progress: Progress) -> None:
        self.progress = progress
        self._since = 0

    def _take_act(self, reply: ActReply) -> Result | None:
        assert self._redrive is not None
        self._redrive.take(reply)
        result = self._redrive.result
        if result is None:
            return None
        self._redrive = None
        self._since += 1
        self._games += isinstance(result, Applied)
        self._stayed += not isinstance(result, Applied)
        return result


def _step(progress: Progress, head: Head) -> Batch:
    number = head.sequence_number
    return Batch(Unit(progress.position, number, number, 0, {}, (), {}, 0.0, 0.0), {}, {})
