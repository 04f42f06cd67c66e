"""What the quarantine says of items, as `verify` takes it."""

from collections.abc import Iterator, Mapping
from functools import partial
from itertools import islice
from typing import Any, Final

from consumer.domain.corrections import IndexRow
from consumer.domain.operator_ports import CountedPage, LifeOver, Quarantine, Scans
from consumer.domain.quarantine import EntryState, QuarantineEntry
from consumer.domain.records import Rules
from consumer.domain.verification import corrects
from consumer.operations.game_fold import name_of, note_of, note_of_item, note_of_life, version_of
from consumer.operations.steps import Command, OperatorCall, ask
from consumer.operations.sums import Note, Sums

ENTRIES_AT_ONCE: Final = 50


class ReadPacing:
    """How long to wait before the next page, so that no more units are read per second than an operator allows."""

    def __init__(self, units_per_second: float | None) -> None:
        self._rate = units_per_second
        self.units = 0.0
        self._pause_seconds = 0.0

    def read(self, units: float) -> None:
        """A page took so many units."""
        self.units += units
        if self._rate is not None:
            self._pause_seconds += units / self._rate

    def pause(self) -> float:
        """Seconds to wait now."""
        pause_seconds, self._pause_seconds = self._pause_seconds, 0.0
        return pause_seconds


class QuarantineNotes:
    """Reads all of it, as often as it is asked to, into the notes of `sums`. `keys`: of the source table."""

    def __init__(self, scans: Scans, quarantine: Quarantine, sums: Sums, pace: ReadPacing) -> None:
        self.keys: tuple[str, ...] = ()
        self._scans, self._quarantine, self._sums, self._pace = scans, quarantine, sums, pace
        self._readings = 0

    def read(self, rules: Rules) -> Command[list[str]]:
        """Takes what the quarantine says now. Returns the players of whom it says something else than before."""
        self._readings += 1
        if corrects(rules):
            touched = yield from self._read_items(rules)
        else:
            touched = yield from ask(OperatorCall.READ_NOTES, partial(self._read_entries, rules))
        return [player for player in touched if player is not None]

    def _read_items(self, rules: Rules) -> Command[set[str | None]]:
        """Where corrections count, index rows say what counts of an item; what they do not name counts as it is."""
        sums, touched = self._sums, set[str | None]()
        page: CountedPage | None = None
        while page is None or page.after is not None:
            step = partial(self._scans.counted_items, None if page is None else page.after)
            page = yield from ask(OperatorCall.READ_NOTES, step, self._pace.pause())
            self._pace.read(page.units)
            notes = []
            for row in page.rows:
                note = yield from self._note(row, rules)
                notes.append(note)
            known = sums.versions(note.entry for note in notes)
            for note in notes:
                version, player = known.get(note.entry, (None, None))
                touched |= set() if version == note.version else {note.player, player}
            sums.note(notes, self._readings)
        return touched.union(sums.forget(self._readings))

    def _note(self, row: IndexRow | LifeOver, rules: Rules) -> Command[Note]:
        if isinstance(row, IndexRow):
            return note_of_item(row, rules)
        record = None
        if row.state == EntryState.APPLIED:
            record = yield from ask(OperatorCall.READ_NOTES, partial(self._record, row))
        return note_of_life(row, record, rules)

    def _record(self, life: LifeOver) -> Mapping[str, Any] | ValueError:
        entry = QuarantineEntry(*life.record, reason="", state=life.state, player=None, parts=life.parts)
        (record,) = self._quarantine.records([entry])
        return record

    def _read_entries(self, rules: Rules) -> set[str | None]:
        touched: set[str | None] = set()
        for some in _batches(self._quarantine.entries(), ENTRIES_AT_ONCE):
            known = self._sums.versions(map(name_of, some))
            changed = [
                entry for entry in some if name_of(entry) not in known or known[name_of(entry)][0] != version_of(entry)
            ]
            records = self._quarantine.records(changed) if changed else []
            notes = [note_of(entry, record, rules, self.keys) for entry, record in zip(changed, records, strict=True)]
            self._sums.note(notes)
            if self._readings > 1:
                touched |= {note.player for note in notes}
                touched |= {known[note.entry][1] for note in notes if note.entry in known}
        return touched


def _batches(items: Iterator[QuarantineEntry], most: int) -> Iterator[list[QuarantineEntry]]:
    while some := list(islice(items, most)):
        yield some
