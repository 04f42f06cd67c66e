"""Recount of a range: a machine that reads, cuts and counts, each batch in one transaction with the progress row."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Final

from consumer.domain.errors import Trouble, TroubleKind
from consumer.domain.outcomes import Committed, Done, Refused
from consumer.domain.ports import Backoff
from consumer.domain.position import TRIM_HORIZON, rank
from consumer.domain.quarantine import Head
from consumer.domain.records import Game, Rules
from consumer.domain.replay import Batch, Changed, Overtaken, Progress
from consumer.operations.acts import Examine, Examined
from consumer.operations.replay.calls import Count, Due, FindRows, Put, ReadReply, Reply, Rows
from consumer.operations.replay.cutter import Word, cut_batch, without, word_of
from consumer.operations.replay.plan import trace_of
from consumer.operations.replay.reader import Reader, number_of

MOST_DATES: Final = 50_000
"""Players whose stored date is remembered."""


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
        self._rules, self._floor, self._backoff = rules, floor, backoff
        self._who, self._now = who, now
        self._begin: Put | None = Put(before, progress, trace_of(progress, _began(before, progress), who, now()))
        self._end: Put | None = None
        self._heads: Mapping[str, Head] | None = None
        self._refused: dict[str, str] = {}
        self._words: list[Word] = []
        self._batch: Batch | None = None
        self._later: frozenset[str] = frozenset()
        self._dates: dict[str, str] = {}
        self._apart: set[str] = set()
        self._most: int | None = None
        self._attempt = 0
        self._refusal: str | None = None

    @property
    def begun(self) -> bool:
        """Whether the progress row is there, or another one's."""
        return self._begin is None or self.overtaken is not None

    def due(self) -> Due | None:
        """Begin, find the quarantine's rows, read and count in turn, end. None when there is no more to do."""
        if self.finished or self.overtaken is not None:
            return None
        if self._begin is not None:
            return Due(self._begin)
        if self._heads is None:
            return Due(FindRows(self.progress.shard))
        if (reading := self.reader.due()) is not None:
            return reading
        if not self.reader.wires:
            if self._end is None:
                after = replace(self.progress, running=False)
                self._end = Put(self.progress, after, trace_of(after, "finished", self._who, self._now()))
            return Due(self._end)
        if self._batch is None:
            self._cut()
        assert self._batch is not None
        if self._refusal is not None:
            return Due(Examine(self._only_game()))
        pause = self._backoff.delay(self._attempt) if self._attempt else 0.0
        return Due(Count(self.progress, self._batch, self._later), pause)

    def take(self, reply: Reply) -> Batch | None:
        """The reply to the call that is due; the batch, when it is counted."""
        match reply:
            case Done():
                self._take_done()
            case Rows(heads):
                self._heads = heads
            case Committed():
                return self._take_counted()
            case Overtaken(row) if row is not None and row.runner == self.progress.runner and row.running:
                self._take_mine(row)  # an earlier attempt of ours went through
            case Overtaken():
                self.overtaken = reply
            case Changed():
                self._heads = None
                self._forget_words()
            case Refused():
                self._take_refused(reply)
            case Examined(verdict):
                reason, detail = verdict or ("refused", f"the database refuses it: {self._refusal}")
                self._skip(f"{reason}: {detail}")
            case _:
                self._take_read(reply)
        return None

    def _take_read(self, reply: Reply) -> None:
        assert isinstance(reply, ReadReply)
        self.reader.take(reply)

    def _take_done(self) -> None:
        if self._begin is not None:
            self._begin = None
        else:
            assert self._end is not None
            self.progress, self.finished = self._end.after, True

    def _cut(self) -> None:
        if not self._words:
            self._words = [self._word(wire) for wire in self.reader.wires]
        previous = self.progress.position
        self._batch = cut_batch(self._words, previous, self._most, self._apart)
        deltas = self._batch.unit.deltas
        self._later = frozenset(player for player in deltas if self._dates.get(player, "") > deltas[player].date)

    def _word(self, wire: Mapping[str, object]) -> Word:
        assert self._heads is not None
        number = number_of(wire)
        word = word_of(wire, self._heads.get(number), self._rules, self._floor)
        return without(word, self._refused[number]) if number in self._refused else word

    def _take_counted(self) -> Batch:
        assert self._batch is not None
        counted, self._batch = self._batch, None
        self.progress = self.progress.after(counted)
        self._attempt = 0
        self._most = None if self._most is None or self._most > 500 else 2 * self._most
        self._drop(counted.unit.records)
        return counted

    def _take_mine(self, row: Progress) -> None:
        self.progress = row
        self._forget_words()
        self.reader.drop(row.position)

    def _drop(self, records: int) -> None:
        del self._words[:records]
        self.reader.drop(self.progress.position)

    def _forget_words(self) -> None:
        self._words = []
        self._batch = None

    def _take_refused(self, refused: Refused) -> None:
        assert self._batch is not None
        unit = self._batch.unit
        if refused.later:
            self._later |= refused.later.keys()
            self._remember(refused.later)
        elif refused.invalid is not None and unit.records == 1:
            self._refusal = refused.invalid
        elif refused.invalid is not None:
            self._apart |= refused.suspects
            self._shorten(unit.records)
        else:
            self._attempt += 1
            if self._attempt > 1:
                self._shorten(unit.records)

    def _remember(self, stored: Mapping[str, str]) -> None:
        """Stored dates can only grow: who was refused for one is not asked with an earlier one again."""
        if len(self._dates) > MOST_DATES:
            self._dates.clear()
        self._dates |= stored

    def _shorten(self, records: int) -> None:
        self._most = max(1, records // 2)
        self._batch = None

    def _only_game(self) -> Game:
        entry = self._words[0].entry
        if not isinstance(entry, Game):
            raise Trouble(TroubleKind.REJECTED, f"a table of the replay refuses its own row: {self._refusal}")
        return entry

    def _skip(self, why: str) -> None:
        self._refused[self._words[0].entry.sequence_number] = why
        self._words[0] = without(self._words[0], why)
        self._batch = self._refusal = None


def _began(before: Progress | None, progress: Progress) -> str:
    if before is not None and before.act == progress.act:
        return "resumed"
    gives_up = before is not None and before.running and rank(before.position) > rank(TRIM_HORIZON)
    return "started, another one given up" if gives_up else "started"
