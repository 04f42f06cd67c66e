"""What a recount counts next: batches as large as the answers so far allow."""

from collections.abc import Iterable, Mapping
from typing import Any, Final

from consumer.domain.errors import Trouble, TroubleKind
from consumer.domain.outcomes import Refused
from consumer.domain.quarantine import Head
from consumer.domain.records import Game, Rules, Verdict
from consumer.domain.replay import Batch
from consumer.operations.replay.cutter import Word, cut_batch, without, word_of
from consumer.operations.replay.reader import number_of

MOST_DATES: Final = 50_000
"""Players whose stored date is remembered."""
MOST_RECORDS: Final = 1_000
"""A batch that was shortened to fewer grows again with each success, until it is left to the transaction's limits."""


class Batches:
    """`heads`: the shard's quarantine rows, None while they must be read. `batch` is under way; players in `later` keep
    their stored date. `refusal`: why the database refuses the only record of it.
    """

    def __init__(self, rules: Rules, floor: float | None) -> None:
        self.heads: Mapping[str, Head] | None = None
        self.batch: Batch | None = None
        self.later: frozenset[str] = frozenset()
        self.refusal: str | None = None
        self._rules, self._floor = rules, floor
        self._words: list[Word] = []
        self._refused: dict[str, str] = {}
        self._dates: dict[str, str] = {}
        self._apart: set[str] = set()
        self._most: int | None = None

    def cut(self, wires: Iterable[Mapping[str, Any]], previous: str) -> Batch:
        """The batch under way, or the next one of the records behind `previous`."""
        if self.batch is None:
            self._words = self._words or [self._word(wire) for wire in wires]
            self.batch = cut_batch(self._words, previous, self._most, self._apart)
            deltas = self.batch.unit.deltas
            self.later = frozenset(player for player in deltas if self._dates.get(player, "") > deltas[player].date)
        return self.batch

    def take_counted(self) -> Batch:
        """It is counted: which one that was."""
        assert self.batch is not None
        counted, self.batch = self.batch, None
        del self._words[: counted.unit.records]
        self._most = 2 * self._most if self._most is not None and self._most < MOST_RECORDS else None
        return counted

    def forget(self) -> None:
        """All is cut anew."""
        self._words = []
        self.batch = None

    def take_refused(self, refused: Refused, *, often: bool) -> None:
        """It was refused. `often`: by others' transactions, not for the first time."""
        assert self.batch is not None
        records = self.batch.unit.records
        if refused.later:
            self.later |= refused.later.keys()
            self._remember(refused.later)
        elif refused.invalid is not None and records == 1:
            self.refusal = refused.invalid
        elif refused.invalid is not None or often:
            self._apart |= refused.suspects
            self._most = max(1, records // 2)
            self.batch = None

    @property
    def only_game(self) -> Game:
        """The record that was refused alone. Raises Trouble when there is none that could be to blame."""
        entry = self._words[0].entry
        if not isinstance(entry, Game):
            raise Trouble(TroubleKind.REJECTED, f"a table refuses the replay's own row: {self.refusal}")
        return entry

    def skip(self, verdict: Verdict | None) -> None:
        """It counts as nothing, and why."""
        reason, detail = verdict or ("refused", f"the database refuses it: {self.refusal}")
        word = without(self._words[0], f"{reason}: {detail}")
        self._words[0], self._refused[word.entry.sequence_number] = word, str(word.why)
        self.batch = self.refusal = None

    def _word(self, wire: Mapping[str, Any]) -> Word:
        assert self.heads is not None
        number = number_of(wire)
        word = word_of(wire, self.heads.get(number), self._rules, self._floor)
        return without(word, self._refused[number]) if number in self._refused else word

    def _remember(self, stored: Mapping[str, str]) -> None:
        """Stored dates can only grow: who was refused for one is not asked with an earlier one again."""
        if len(self._dates) > MOST_DATES:
            self._dates.clear()
        self._dates |= stored
