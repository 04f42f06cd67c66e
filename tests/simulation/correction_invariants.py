"""Invariants of correcting runs, checked at every effect: rows, index rows and heads are as the items' records say."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from consumer.domain.fold import Unit
from consumer.domain.leases import Lease, Shard
from consumer.domain.marks import RowWrite, StoredRow
from consumer.domain.quarantine import Application, EntryState, OperatorAction
from consumer.domain.records import Correction, Entry, Game, Ignored, Image, Poison, Rules, decode, image_of, item_of
from tests.simulation.item_book import Book, Change, Sum, Worth
from tests.simulation.ledger_invariants import LedgerInvariants, Violation
from tests.simulation.mark_invariants import MarkInvariants
from tests.simulation.operator_invariants import OperatorInvariants
from tests.support.fakes.tables import Score

if TYPE_CHECKING:
    from tests.simulation.correcting import Correcting

NO_ROW = Score(0, Decimal(0), None)


class CorrectionLedger(LedgerInvariants):
    """The invariants of a correcting run without marks. `correcting` is set as soon as there is one."""

    correcting: Correcting

    @property
    def book(self) -> Book:
        """What the items' records say."""
        return self.correcting.book

    def _end(self, lease: Lease, unit: Unit, rows: Sequence[RowWrite], numbers: Sequence[int]) -> None:
        for number in numbers:
            self._end_once(number, lease)
        entries = self.records.entries(lease.shard, numbers)
        end_records(self, lease.shard, entries, {each.sequence_number for each in unit.poison})
        self.compare({write.player for write in rows})

    def compare(self, players: Collection[str]) -> None:
        """These players' rows, all index rows and all heads."""
        compare_board(self, players, self._tables.board)
        compare_items(self)

    def _conserve(self) -> None:
        compare_sizes(self)


class CorrectionMarks(MarkInvariants):
    """The invariants of a correcting run with marks."""

    correcting: Correcting

    @property
    def book(self) -> Book:
        """What the items' records say."""
        return self.correcting.book

    def _on_write_row(self, write: RowWrite, _before: StoredRow) -> None:
        """A single write ends the player's records up to its mark that had not ended."""
        assert write.mark is not None
        shard, to = self._shard_of(write.mark), int(write.mark.to)
        self._changed = True
        entries = [each for each in self._entries(shard) if _is_of(each, write.player)]
        self._end_open(shard, [each for each in entries if int(each.sequence_number) <= to], (), "a single write")
        self._check_mark(write.player, write.mark)
        self.compare({write.player})

    def _pass_behind(self, lease: Lease, unit: Unit, numbers: list[int]) -> list[int]:
        """The checkpoint lags behind: records before the unit have ended, or change nothing."""
        behind = {number for number in numbers if not unit.records or number < int(unit.first)}
        entries = [each for each in self._entries(lease.shard) if int(each.sequence_number) in behind]
        self._end_open(lease.shard, entries, (), f"{lease.shard.shard_id} epoch {lease.epoch}")
        return [number for number in numbers if number not in behind]

    def _end(self, lease: Lease, unit: Unit, rows: Sequence[RowWrite], numbers: Sequence[int]) -> None:
        of_unit, poison = set(numbers), {each.sequence_number for each in unit.poison}
        entries = [each for each in self._entries(lease.shard) if int(each.sequence_number) in of_unit]
        for entry in entries:
            if int(entry.sequence_number) in self._ended and entry.sequence_number in poison:
                raise Violation("a record ends once", f"{entry.sequence_number} is quarantined, and has ended")
        self._end_open(lease.shard, entries, poison, f"{lease.shard.shard_id} epoch {lease.epoch}")
        for write in rows:
            if write.mark is not None:
                self._check_mark(write.player, write.mark)
        self.compare({write.player for write in rows})

    def _end_open(self, shard: Shard, entries: Sequence[Entry], poison: Collection[str], where: str) -> None:
        left = [each for each in entries if int(each.sequence_number) not in self._ended]
        self._ended |= {int(each.sequence_number): where for each in left}
        end_records(self, shard, left, poison)

    def store(self, player: str, games: int, total: Decimal, date: str) -> None:
        """Games were added to a row by a back-fill."""
        self.book.add_stored(player, games, total, date)
        self.compare({player})

    def compare(self, players: Collection[str]) -> None:
        """These players' rows, all index rows and all heads."""
        compare_board(self, players, self._tables.board)
        compare_items(self)

    def _conserve(self) -> None:
        compare_sizes(self)


Invariants = CorrectionLedger | CorrectionMarks


def unended_before(ledger: Invariants, shard: Shard) -> list[Shard]:
    """Shards of earlier streams with records that have not ended."""
    shards = [name for name, _ in ledger.records.shards() if name.label < shard.label]
    return [name for name in shards if any(number not in ledger._ended for number in ledger.records.numbers(name))]


def end_records(ledger: Invariants, shard: Shard, entries: Sequence[Entry], poison: Collection[str]) -> None:
    """These records have ended, in order, read by the rules of their writer; those of `poison` in quarantine."""
    if entries and (early := unended_before(ledger, shard)):
        raise Violation("a later stream waits", f"{entries[0].sequence_number} of {shard} before {early}")
    numbers = [int(each.sequence_number) for each in entries]
    for number in numbers:
        (entry,) = ledger.records.entries(shard, [number])
        quarantined = entry.sequence_number in poison
        ledger.on_ended(shard, number)
        if isinstance(entry, Ignored):
            ledger.ends["Ignored"] += 1
            continue
        wire = ledger.records.wire(shard, entry.sequence_number)
        if isinstance(entry, Poison) != quarantined:
            if not quarantined:
                raise Violation("poison is quarantined", f"{number} is not in the quarantine")
            ledger.correcting.check_refusal(entry, wire["dynamodb"]["Keys"])
        ledger.ends["Poison" if quarantined else type(entry).__name__] += 1
        new = worth_of(wire, ledger.records.rules)
        ledger.book.end(number, item_of(wire["dynamodb"]["Keys"]), change_of(wire), new, quarantined=quarantined)


def worth_of(wire: Any, rules: Rules) -> Worth | None:
    """What the new image of a record counts; None: it has none, or that is no game."""
    entry = decode(wire, rules, None)
    match entry:
        case Game(player=player, score=score, date=date):
            return Worth(player, score, date)
        case Correction(new=Image() as image):
            return worth(image)
        case _:
            return None


def worth(image: Image) -> Worth:
    """What an image counts."""
    return Worth(image.player, image.score, image.played[0])


def worth_of_image(image: Any, created: float, rules: Rules) -> Worth:
    """What an image counts in a record that was created then. Raises Fault."""
    return worth(image_of({"ApproximateCreationDateTime": created, "NewImage": image}, "NewImage", rules))


def change_of(wire: Any) -> Change:
    """What a record says of its item."""
    if wire["eventName"] == "REMOVE":
        return Change.EXPIRED if "userIdentity" in wire else Change.REMOVED
    return Change.INSERTED if wire["eventName"] == "INSERT" else Change.MODIFIED


def compare_board(ledger: Invariants, players: Collection[str], board: dict[str, Score]) -> None:
    """Rows are the fold of the items; a date is that of a game that was counted, and none that counts is newer."""
    book = ledger.book
    for player in sorted({*players, *book.sums}):
        row, expected = board.get(player, NO_ROW), book.sums.get(player, Sum())
        if (row.games, row.total) != (expected.games, expected.total):
            raise Violation("totals are the fold of the items", f"{player}: {row} not {expected}")
        if not book.newest_of(player) <= (row.date or "") <= expected.newest:
            facts = f"{player}: {row.date}, not from {book.newest_of(player)} to {expected.newest}"
            raise Violation("a date is the newest that was counted", facts)


def compare_items(ledger: Invariants) -> None:
    """Each index row and each head is as the records of its item say."""
    found = ledger.correcting.found_rows()
    expected = {item: (last, counted) for item, last, counted in ledger.book.rows()}
    for item in sorted({*found, *expected}):
        if found.get(item) != expected.get(item):
            raise Violation("index rows are exact", f"{item}: {found.get(item)}, not {expected.get(item)}")
    for number, (state, kept, has_kept) in ledger.correcting.found_heads().items():
        head = ledger.book.heads[number]
        if state != ledger.states[str(number)]:
            raise Violation("a head is never stale", f"{number} is {state}, not {ledger.states[str(number)]}")
        if state in (EntryState.PENDING, EntryState.DISCARDED) and (
            has_kept != head.life.over or (has_kept and kept != head.life.counted)
        ):
            facts = f"{number}: {kept if has_kept else 'nothing said'}, not {head.life}"
            raise Violation("a head keeps what stays counted", facts)


def compare_sizes(ledger: Invariants) -> None:
    """What ended is what the quarantine holds."""
    if (ledger.correcting.heads_stored(), ledger.ends.total()) != (len(ledger.book.heads), len(ledger._ended)):
        facts = f"{len(ledger.book.heads)} records in quarantine; {dict(ledger.ends)} of {len(ledger._ended)}"
        raise Violation("what ended is what the tables hold", facts)


class CorrectionOperators(OperatorInvariants):
    """Operators re-drive, discard and restore what belongs to an item as they read it."""

    def __init__(self, *given: Any) -> None:
        super().__init__(*given)
        self._tokens: set[str] = set()

    def _on_resolve(self, action: OperatorAction, application: Application | None) -> None:
        number, ledger = action.entry.sequence_number, self._ledger
        assert isinstance(ledger, CorrectionLedger | CorrectionMarks)
        state = ledger.states[number]
        if state != EntryState.PENDING:
            raise Violation("a quarantined record is resolved once", f"{number} was {state}")
        self._check_first_effect(action)
        ledger.states[number] = EntryState.DISCARDED if application is None else EntryState.APPLIED
        players: set[str] = set()
        if application is not None:
            wire = ledger.records.wire(action.entry.shard, number)
            players = ledger.book.redrive(int(number), worth_of(wire, self._rules()[-1]))
        ledger.compare(players)

    def on_restore(self, action: OperatorAction) -> None:
        """A discarded record is pending again."""
        number, ledger = action.entry.sequence_number, self._ledger
        assert isinstance(ledger, CorrectionLedger | CorrectionMarks)
        if ledger.states[number] != EntryState.DISCARDED:
            raise Violation("a discarded record is restored", f"{number} was {ledger.states[number]}")
        self._check_first_effect(action)
        ledger.states[number] = EntryState.PENDING
        ledger.book.happened["restored"] += 1
        ledger.compare(())

    def _check_first_effect(self, action: OperatorAction) -> None:
        """A late repetition of a discard discards once more what was restored meanwhile: that is the same entry."""
        if action.token not in self._tokens:
            self._tokens.add(action.token)
            self._check_audit("quarantine", self._operators.audit)

    def _check_first_game(self, shard: Shard, unit: Unit, numbers: Sequence[int]) -> bool:  # noqa: ARG002
        return False


def _is_of(entry: Entry, player: str) -> bool:
    return not isinstance(entry, Ignored) and entry.player == player
