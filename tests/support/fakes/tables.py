"""The lease, leaderboard and quarantine tables in memory, with the conditions of the real ones.

`off` names guards that are switched off, so that a test can show what each is for. There are no client tokens here:
they hide a missing guard for ten minutes.
"""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date
from decimal import Context, Decimal

from consumer.aws.commits import shares_of
from consumer.aws.corrections import changed_head
from consumer.domain.breaker import Symptom
from consumer.domain.corrections import FoundItem, IndexRow, ItemWrite, KeptImage, RecordKey
from consumer.domain.errors import CallFailed, FailureKind
from consumer.domain.fold import Unit
from consumer.domain.leases import SHARD_END, Lease, LeaseRow, Shard, TableNames
from consumer.domain.marks import ABSENT, Mark, Route, RowWrite, StoredRow
from consumer.domain.numbers import EXACT
from consumer.domain.operator_ports import Acknowledgement
from consumer.domain.quarantine import EntryState
from consumer.domain.records import Correction, Game, Poison, Reason, Verdict
from consumer.domain.replies import CommitReply, Committed, Done, Lost, Refused, RowRefused, RowReply
from consumer.domain.windows import GAMES, SCORE
from tests.support.fakes.ledgers import FakeLedgers


@dataclass
class Score:
    """A player's row of the leaderboard. `wrong`: attributes that have a value of another type instead."""

    games: int
    total: Decimal
    date: str | None
    wrong: dict[str, Decimal | str] = field(default_factory=dict)
    mark: Mark | None = None
    windows: dict[str, tuple[int, Decimal]] = field(default_factory=dict)

    @property
    def uncountable(self) -> bool:
        """Whether nothing can be added to it."""
        return not self.wrong.keys().isdisjoint(("gamesPlayed", "totalScore"))

    def keeps(self, date: str) -> bool:
        """Whether it refuses this date: the stored one is later, or sorts after it, or is no text."""
        return "lastPlayedDate" in self.wrong or (self.date is not None and self.date > date)

    @property
    def dated(self) -> bool:
        """Whether the stored date, if there is one, is a date."""
        return "lastPlayedDate" not in self.wrong and (self.date is None or _is_date(self.date))


@dataclass
class Quarantined:
    """A quarantined record: its head row, and its parts in `poison`. `kept`: see domain.corrections."""

    poison: Poison
    state: str
    at: float
    stream_arn: str = ""
    kept: KeptImage | None = None


@dataclass
class Gap:
    """A gap row. `acknowledged`: by which operator's action (token), and the acknowledgement."""

    found_at: float
    to: str | None
    acknowledged: tuple[str, Acknowledgement] | None = None


class FakeTables(FakeLedgers):
    """The Ledgers, Membership and Commits ports."""

    def __init__(self, names: TableNames | None = None, off: Collection[str] = ()) -> None:
        super().__init__(names or TableNames(), off)
        self.board: dict[str, Score] = {}
        self.quarantine: dict[tuple[str, str], Quarantined] = {}
        self.index_rows: dict[str, IndexRow] = {}
        self.gaps: dict[tuple[Shard, str], Gap] = {}
        self.refuses_games = False
        """Whether the leaderboard refuses every game, as with an index whose key has another type."""
        self.on_commit: Callable[[Lease, Unit, Sequence[RowWrite], bool], None] = lambda *_: None
        self.on_write_row: Callable[[RowWrite, StoredRow], None] = lambda *_: None
        self.stale_row: Callable[[str], StoredRow | None] = lambda _: None
        self.on_end: Callable[[Lease, tuple[LeaseRow, ...]], None] = lambda *_: None
        self.on_halt: Callable[[LeaseRow, int], None] = lambda *_: None

    def read_rows(
        self, players: Sequence[str], *, consistent: bool = False, windows: bool = False
    ) -> Mapping[str, StoredRow]:
        """See ports.Commits. `stale_row` may say what an earlier read would have said."""
        stale = {} if consistent else {player: row for player in players if (row := self.stale_row(player)) is not None}
        rows = {player: stale.get(player) or self.stored_row(player) for player in players}
        return {player: row._replace(windows=_windows(row) if windows else None) for player, row in rows.items()}

    def read_items(self, items: Sequence[str]) -> Mapping[str, FoundItem | None]:
        """See ports.Commits."""
        return {item: self.find_item(item) for item in items}

    def find_item(self, item: str) -> FoundItem | None:
        """The item's index row as it is now."""
        row = self.index_rows.get(item)
        head = None if row is None or row.record is None else self.quarantine.get(row.record)
        if row is None or head is None:
            return row and FoundItem(row)
        return FoundItem(row, head.state, len(head.poison.parts))

    def change_item(self, write: ItemWrite, own: Collection[RecordKey] = ()) -> None:
        """Changes an index row, and head rows of its records. `own`: as for changed_head."""
        if write.left is not None:
            self.index_rows[write.item] = write.left
        elif write.found is not None:
            self.index_rows.pop(write.item, None)
        changed, kept = changed_head(write, own), write.kept
        old = None if changed is None else self.quarantine.get(changed)
        if old is not None and write.supersedes:
            old.state = EntryState.SUPERSEDED.value
        if kept is not None and kept.record == changed and old is not None:
            old.kept = kept
        elif kept is not None and kept.record in own:
            new = self.quarantine[kept.record]
            new.kept = new.kept or kept

    def item_fits(self, write: ItemWrite, own: Collection[RecordKey] = ()) -> bool:
        """Whether the index row belongs to the record that was found, and its head row has the state that was found."""
        now, found = self.find_item(write.item), write.found
        same_row = (now is None) is (found is None) and (now and now.row.record) == (found and found.row.record)
        same_row = same_row or write.inserted or (found is None and write.left is None)
        changed = changed_head(write, own)
        head = None if changed is None else self.quarantine.get(changed)
        same_head = changed is None or (head is not None and found is not None and head.state == found.state)
        return not (self._guards("item_unchanged", same_row) or self._guards("item_head_unchanged", same_head))

    def stored_row(self, player: str) -> StoredRow:
        """What the board says of a player now. `windows` None: it has none."""
        score = self.board.get(player)
        if score is None:
            return ABSENT
        windows = frozenset(score.windows) or None
        return StoredRow(mark=score.mark, date=score.date if score.dated else None, windows=windows)

    def write_rows(self, writes: Sequence[RowWrite]) -> list[RowReply]:
        """See ports.Commits."""
        return [self.write_row(write) for write in writes]

    def probe_statements(self, *, windows: bool = False) -> str | None:  # noqa: ARG002
        """See ports.Commits."""
        return None

    def write_row(self, write: RowWrite) -> Done | RowRefused | Refused:
        """One of them."""
        refused = self.refusal([write])
        if refused is None:
            before = self.stored_row(write.player)
            self.add([write])
            self.on_write_row(write, before)
            return Done()
        if refused.rows or refused.later:
            return RowRefused(self.stored_row(write.player))
        return refused

    def commit(self, lease: Lease, unit: Unit, rows: Sequence[RowWrite], *, fills_gap: bool) -> CommitReply:
        """See ports.Commits."""
        row = self.rows.get(lease.shard)
        if row is None or not self._may_advance("commit" if unit.records else "move", row, lease, unit.previous):
            return Lost(row)
        own = {RecordKey(lease.shard.shard_id, poison.sequence_number): poison for poison in unit.poison}
        refused, items = self.refusal(rows), not all(self.item_fits(write, own) for write in unit.items)
        if refused is not None or items:
            return replace(refused or Refused(), items=items)
        self.add(rows)
        for key, poison in own.items():
            if not self._guards("quarantine_once", key not in self.quarantine):
                self.quarantine[key] = Quarantined(poison, "pending", unit.cut_at, lease.shard.stream_arn)
        for write in unit.items:
            self.change_item(write, own)
        if fills_gap:
            gap = self.gaps.setdefault((lease.shard, unit.previous), Gap(unit.cut_at, None))
            if not self._guards("gap_filled_once", gap.to is None):
                gap.to = unit.first
        stored = row.circuit
        circuit = replace(
            unit.circuit,
            halted_at=stored.halted_at,
            symptom=stored.symptom,
            resumes=stored.resumes,
            had_game=stored.had_game or unit.circuit.had_game,
            ignored=stored.ignored or unit.circuit.ignored,
        )
        if unit.circuit.free_to is not None:
            circuit = replace(circuit, free_to=stored.free_to)
        self.rows[lease.shard] = replace(row, checkpoint=unit.last, created=unit.created, circuit=circuit)
        self.on_commit(lease, unit, rows, fills_gap)
        return Committed()

    def halt(self, lease: Lease, previous: str, resumes: int, halted_at: float, symptom: Symptom) -> Done | Lost:
        """See ports.Commits."""
        row = self.rows.get(lease.shard)
        if row is None or not self._may_advance("halt", row, lease, previous):
            return Lost(row)
        if self._guards("halt_unresumed", row.circuit.resumes == resumes):
            return Lost(row)
        self.rows[lease.shard] = replace(row, circuit=replace(row.circuit, halted_at=halted_at, symptom=symptom))
        self.on_halt(row, resumes)
        return Done()

    def end(self, lease: Lease, previous: str, children: tuple[str, ...], rows: tuple[LeaseRow, ...]) -> CommitReply:
        """See ports.Commits."""
        row = self.rows.get(lease.shard)
        if row is None or not self._may_advance("end", row, lease, previous):
            return Lost(row)
        existing = frozenset(child.shard.shard_id for child in rows if child.shard in self.rows)
        if self._guards("end_if_absent", not existing):
            return Refused(existing=existing)
        self.rows |= {child.shard: child for child in rows}
        self.rows[lease.shard] = replace(row, checkpoint=SHARD_END, children=children)
        self.on_end(lease, rows)
        return Committed()

    def record_gap(self, shard: Shard, checkpoint: str, found_at: float, lease: Lease | None = None) -> bool | Lost:
        """See ports.Commits."""
        row = self.rows.get(shard)
        if lease is not None and (row is None or not self._may_advance("gap", row, lease, checkpoint)):
            return Lost(row)
        if self._guards("gap_if_absent", (shard, checkpoint) not in self.gaps):
            return False
        self.gaps[shard, checkpoint] = Gap(found_at, None)
        return True

    def examine(self, game: Game | Correction) -> Verdict | None:
        """See ports.Commits."""
        for player, score, windows in shares_of(game):
            if (verdict := self._verdict_on(player, score, windows)) is not None:
                return verdict
        known = any(score.dated and not score.uncountable for score in self.board.values())
        if self._guards("examine_sound", known and not self.refuses_games):
            raise CallFailed(FailureKind.REJECTED, "the leaderboard refuses the games of all players")
        return None

    def _verdict_on(self, player: str, score: Decimal, windows: Collection[str] | None) -> Verdict | None:
        stored = self.board.get(player) or Score(0, Decimal(0), None)
        if windows is None:
            windows = stored.windows
        names = {f"{window}{end}" for window in windows for end in (GAMES, SCORE)}
        if stored.uncountable or not stored.wrong.keys().isdisjoint(names):
            return Reason.TOTAL_TYPE, "the stored totalScore or gamesPlayed, or that of a window, is no number"
        if not stored.dated:
            return Reason.DATE_TYPE, "the stored lastPlayedDate is no date"
        try:
            for total in (stored.total, *(stored.windows[each][1] for each in windows if each in stored.windows)):
                EXACT.add(total, score)
        except ArithmeticError:
            return Reason.TOTAL_OVERFLOW, "the new totalScore, or that of a window, would leave the range of a number"
        return None

    def refusal(self, writes: Sequence[RowWrite]) -> Refused | None:
        """Why the leaderboard refuses these writes; None: it takes them."""
        if self.refuses_games and any(write.delta.adds for write in writes):
            return Refused(invalid="type mismatch of an index key")
        other = {write.player: self.stored_row(write.player) for write in writes if not self._mark_fits(write)}
        refused = self._refused_dates([write for write in writes if write.player not in other])
        if other or (refused is not None and self._guards("commit_date", holds=False)):
            return replace(refused or Refused(), rows=other)
        try:
            for write in writes:
                self._added(write)
        except (ArithmeticError, TypeError):
            return Refused(invalid="Number overflow or wrong type")  # names no action, as DynamoDB Local does
        return None

    def add(self, writes: Sequence[RowWrite]) -> None:
        """Adds deltas that the leaderboard takes."""
        for write in writes:
            score = self._added(write)
            if score is not None:
                self.board[write.player] = score

    def _mark_fits(self, write: RowWrite) -> bool:
        score = self.board.get(write.player)
        mark = None if score is None else score.mark
        found = write.found
        match write.route:
            case Route.PLAIN:
                return True
            case Route.INSERT:
                return not self._guards("insert_no_row", score is None)
            case Route.FRESH:
                return not self._guards("fresh_no_mark", mark is None)
            case Route.SHARED:
                same = mark is not None and found is not None and mark.shard == found.shard
                return not self._guards("shared_shard", same)
        same_shard = (mark and mark.shard) == (found and found.shard)
        same_to = (mark and mark.to) == (found and found.to)
        guard = "row" if write.route.single else "marked"
        return not (self._guards(f"{guard}_shard", same_shard) or self._guards(f"{guard}_to", same_to))

    def _may_advance(self, write: str, row: LeaseRow, lease: Lease, previous: str) -> bool:
        return self._fenced(write, row, lease) and not self._guards(f"{write}_previous", row.checkpoint == previous)

    def _refused_dates(self, writes: Sequence[RowWrite]) -> Refused | None:
        """The condition is that no date is stored, or one that sorts before; the stored text may be no date."""
        failed = {
            write.player: score
            for write in writes
            if write.dated and write.delta.date and (score := self.board.get(write.player)) is not None
            if score.keeps(write.delta.date)
        }
        if not failed:
            return None
        suspects = frozenset(player for player, score in failed.items() if not score.dated)
        invalid = "a stored lastPlayedDate is no date" if suspects else None
        stored = {player: score.date or "" for player, score in failed.items() if player not in suspects}
        return Refused(later=stored, invalid=invalid, suspects=suspects)

    def _added(self, write: RowWrite) -> Score | None:
        """DynamoDB's ADD: exact, or refused. Raises TypeError when a stored attribute is no number. None: no change."""
        delta, stored = write.delta, self.board.get(write.player)
        before = stored or Score(0, Decimal(0), None)
        if not delta.adds:
            return replace(before, mark=write.mark) if write.mark is not None else stored
        names = {f"{window}{end}" for window, _, _ in delta.windows for end in (GAMES, SCORE)}
        if before.uncountable or not before.wrong.keys().isdisjoint(names):
            raise TypeError("an operand has an incorrect type")
        windows = {window: sums for window, sums in before.windows.items() if window not in write.drops}
        for window, games, total in delta.windows:
            had = before.windows.get(window, (0, Decimal(0)))
            windows[window] = had[0] + games, _sum(had[1], total)
        date = delta.date if write.dated and delta.date else before.date
        total = _sum(before.total, delta.total)
        return Score(before.games + delta.games, total, date, before.wrong, write.mark or before.mark, windows)


class FakePending:
    """The PendingRecords port over FakeTables. Not `indexed`: the quarantine table lacks its index."""

    def __init__(self, tables: FakeTables, *, indexed: bool = True) -> None:
        self._tables = tables
        self.indexed = indexed

    def count(self) -> int | None:
        """See ports.PendingRecords."""
        return sum(self.scan()) if self.indexed else None

    def scan(self) -> Iterator[int]:
        """See ports.PendingRecords. A row is a page."""
        yield from (row.state == "pending" for row in self._tables.quarantine.values())


def _is_date(stored: str) -> bool:
    try:
        return date.fromisoformat(stored).isoformat() == stored
    except ValueError:
        return False


_WIDE = Context(prec=400)


def _sum(stored: Decimal, added: Decimal) -> Decimal:
    """Raises ArithmeticError when no number of DynamoDB can hold it."""
    total = _WIDE.add(stored, added)
    EXACT.create_decimal(total)
    return total


def _windows(row: StoredRow) -> frozenset[str] | None:
    return (row.windows or frozenset()) if row.exists else None
