"""Invariants of marked writes, checked at every effect on a player's row: what a mark covers has ended, once."""

from collections.abc import Collection, Sequence
from decimal import Decimal
from functools import reduce
from typing import Final

from consumer.domain.fold import Delta, Unit
from consumer.domain.leases import SHARD_END, TRIM_HORIZON, Lease, Shard
from consumer.domain.marks import Mark, RowWrite, StoredRow
from consumer.domain.records import Entry, Game, Ignored, Poison, Rules, decode
from tests.simulation.ledger_invariants import WIDE, Expected, LedgerInvariants, Violation, WrittenRecords
from tests.support.fakes import FakeTables

LENIENT: Final = Rules(max_future_seconds=864_000)
"""The rules of some workers in some runs. What only they take for a game may be applied, and may be quarantined."""

NOTHING: Final = Delta(0, Decimal(0), "")


class MarkInvariants(LedgerInvariants):
    """The invariants of a keyed run. A game ends by a single write or with its unit, a poison record with its unit.

    `_again`: records that ended and are read again after a step back; they end again unless a mark covers them.
    `_optional`: records that an operator skipped, and unskipped: a late write may have passed them.
    """

    def __init__(self, records: WrittenRecords, tables: FakeTables) -> None:
        super().__init__(records, tables)
        self._again: set[int] = set()
        self._optional: set[int] = set()
        self._marks: dict[str, Mark] = {}
        self._decoded: dict[tuple[Shard, Rules], list[Entry]] = {}
        tables.on_write_row = self._on_write_row

    # --- after every step ---

    def _on_write_row(self, write: RowWrite, _before: StoredRow) -> None:
        """A single write adds the player's games up to its mark that had not ended."""
        assert write.mark is not None
        shard, to = self._shard_of(write.mark), int(write.mark.to)
        self._changed = True
        found = [entry for entry in self._entries(shard) if _is_of(entry, write.player)]
        entries = [entry for entry in found if int(entry.sequence_number) <= to and self._is_open(entry)]
        self._end_player(shard, entries, write, frozenset(), "a single write")
        self._conserve()

    def _on_commit(self, lease: Lease, unit: Unit, rows: Sequence[RowWrite], fills_gap: bool) -> None:
        if unit.previous != self.checkpoint(lease.shard):
            facts = f"{lease.shard} {unit.previous}..{unit.last}, and it is {self.checkpoint(lease.shard)}"
            raise Violation("a unit follows the ledger's checkpoint", facts)
        row = self._tables.rows[lease.shard]
        if (row.owner, row.epoch) != lease[1:]:
            raise Violation("a zombie moves no checkpoint", f"{lease} up to {unit.last}: {row.owner} has #{row.epoch}")
        super()._on_commit(lease, unit, rows, fills_gap)

    def _pass_behind(self, lease: Lease, unit: Unit, numbers: list[int]) -> list[int]:
        """The checkpoint lags behind: records before the unit have ended, by single writes, or as a mark says."""
        behind = [number for number in numbers if not unit.records or number < int(unit.first)]
        self._end(lease, unit, (), behind)
        return numbers[len(behind) :]

    def _end(self, lease: Lease, unit: Unit, rows: Sequence[RowWrite], numbers: Sequence[int]) -> None:
        poison = {poison.sequence_number for poison in unit.poison}
        writes = {write.player: write for write in rows}
        found: dict[str, list[Entry]] = {player: [] for player in writes}
        of_unit = set(numbers)
        for entry in self._entries(lease.shard):
            number = int(entry.sequence_number)
            if number not in of_unit:
                continue
            if isinstance(entry, Ignored):
                self._end_once(number, lease)
                self._again.discard(number)
                self.ends["Ignored"] += 1
            elif number not in self._ended:
                assert entry.player is not None
                found.setdefault(entry.player, []).append(entry)
            elif entry.sequence_number in poison:
                raise Violation("a record ends once", f"{number} is quarantined, and ended in {self._ended[number]}")
        start = self._tables.stream_starts.get(lease.shard.stream_arn)
        plain = start is not None and not start.keyed  # the stream before, which version 0.1 has started
        for player, entries in sorted(found.items()):
            write = writes.get(player) or (RowWrite(player, NOTHING) if plain else None)
            if write is not None:
                self._end_player(lease.shard, entries, write, poison, f"{lease.shard.shard_id} epoch {lease.epoch}")
            elif entries:
                self._settle_covered(lease.shard, player, entries)

    def _end_player(
        self, shard: Shard, entries: Sequence[Entry], write: RowWrite, poison: Collection[str], where: str
    ) -> None:
        """The records of one player that were open: those that the write counts, or quarantines, end."""
        added = self._added(entries, write, poison)
        for entry in added:
            number = int(entry.sequence_number)
            for of_operators in (self._again, self._optional, self.skipped, self.lost):
                of_operators.discard(number)
            self._ended[number] = where
            self.on_ended(shard, number)
            if entry.sequence_number not in poison:
                assert isinstance(entry, Game)
                self.ends["Game"] += 1
                self._count(entry)
            elif isinstance(decode(self.records.wire(shard, entry.sequence_number), self.records.rules, None), Poison):
                self.ends["Poison"] += 1
            else:
                assert isinstance(entry, Game)
                self._check_refusal(entry)
        if write.delta.games:
            self._match({write.player: self._expected[write.player]})
        left = [entry for entry in entries if entry not in added]
        if write.mark is None:
            self._settle_covered(shard, write.player, left)
            return
        self._settle_covered(
            shard, write.player, [entry for entry in left if int(entry.sequence_number) in self._again]
        )
        self._check_mark(write.player, write.mark)
        self._lose([int(e.sequence_number) for e in left if not self._may_be_left(e)], shard, self.checkpoint(shard))
        self._settle(left)

    def _added(self, entries: Sequence[Entry], write: RowWrite, poison: Collection[str]) -> Sequence[Entry]:
        """Which of the entries the write counts or quarantines: all, or without those that an operator skipped; after a
        gap the last ones of them.
        """
        required = [entry for entry in entries if not self._may_be_left(entry)]
        for chosen in (entries, required):
            size = write.delta.games + sum(entry.sequence_number in poison for entry in chosen)
            last = chosen[len(chosen) - size :] if size <= len(chosen) else []
            folded = _fold([entry for entry in last if entry.sequence_number not in poison])
            if folded == write.delta[:3] and size == len(last):
                return last
        facts = f"{write} adds not {[entry[:4] for entry in required]}"
        raise Violation("a row write adds the player's games up to its mark", facts)

    def _settle_covered(self, shard: Shard, player: str, entries: Sequence[Entry]) -> None:
        """Records that the checkpoint passes, and no write counts: they were counted before, as a mark says."""
        for entry in entries:
            if not self._may_be_left(entry) or not self._covers(self._marks.get(player), shard, entry):
                raise Violation("what the checkpoint passes has ended", f"{entry[:4]} of {shard}")
        self._settle(entries)

    def _settle(self, entries: Sequence[Entry]) -> None:
        for entry in entries:
            number = int(entry.sequence_number)
            if number not in self.lost:
                self.skipped.add(number)
            self._again.discard(number)

    def _check_mark(self, player: str, mark: Mark) -> None:
        before = self._marks.get(player)
        self._marks[player] = mark
        if before is None:
            return
        if before.shard == mark.shard and int(mark.to) <= int(before.to):
            raise Violation("a mark never moves back", f"{player}: {before} -> {mark}")
        if self._descends(self._shard_of(before), self._shard_of(mark)):
            raise Violation("a mark never moves back", f"{player}: {before} -> {mark}, of an ancestor")

    # --- what operators do ---

    def store(self, player: str, games: int, total: Decimal, date: str) -> None:
        """Games were added to a row by something else than a worker: an older version, a back-fill."""
        expected = self._expected.setdefault(player, Expected())
        expected.games += games
        expected.total += total
        expected.date = max(expected.date, date)
        self.ends["Stored"] += games
        self._match({player: expected})

    def forget_mark(self, shard: Shard, player: str) -> None:
        """An operator accepts that the shard's records count again under a mark of which nothing is known."""
        self._marks.pop(player, None)
        self._end_again(shard, player, self.records.between(shard, self.checkpoint(shard), SHARD_END))

    def move(self, shard: Shard, checkpoint: str) -> None:
        """As without marks; but what a mark covers, of this shard or of a descendant, is not counted again."""
        self._changed = True
        self.deleted.discard(shard)
        before = self._checkpoints.get(shard, TRIM_HORIZON)
        self._checkpoints[shard] = checkpoint
        self._end_again(shard, None, self.records.between(shard, checkpoint, before))
        for number in self.records.between(shard, before, checkpoint):
            if number not in self._ended and number not in self.lost:
                self.skipped.add(number)
                self._again.discard(number)

    def _end_again(self, shard: Shard, player: str | None, numbers: Sequence[int]) -> None:
        """These records are read again (`player`: only this one's), and end again unless a mark covers them."""
        chosen = set(numbers)
        for entry in self._entries(shard):
            number = int(entry.sequence_number)
            owner = None if isinstance(entry, Ignored) else entry.player
            if number not in chosen or player not in (None, owner):
                continue
            if owner is not None and self._covers(self._marks.get(owner), shard, entry):
                continue
            if self._ended.pop(number, None) is not None:
                self._ended_again += 1
                self._again.add(number)
            if number in self.skipped:
                self.skipped.discard(number)
                self._optional.add(number)

    # --- records, shards and marks ---

    def _entries(self, shard: Shard) -> list[Entry]:
        """All records of a shard, as lenient workers decode them."""
        lenient = self.records.lenient
        known = self._decoded.setdefault((shard, lenient), [])
        known += self.records.entries(shard, self.records.numbers(shard)[len(known) :], lenient)
        return known

    def _is_open(self, entry: Entry) -> bool:
        """Whether the record has not ended, and may."""
        return not isinstance(entry, Ignored) and int(entry.sequence_number) not in self._ended

    def _may_be_left(self, entry: Entry) -> bool:
        """Whether the record need not be counted by the write that passes it."""
        number = int(entry.sequence_number)
        return any(number in those for those in (self._again, self._optional, self.skipped, self.lost))

    def _lose(self, numbers: Sequence[int], shard: Shard, checkpoint: str) -> None:
        super()._lose([number for number in numbers if number not in self._ended], shard, checkpoint)

    def _covers(self, mark: Mark | None, shard: Shard, entry: Entry) -> bool:
        if mark is None:
            return False
        of = self._shard_of(mark)
        return int(entry.sequence_number) <= int(mark.to) if of == shard else self._descends(of, shard)

    def _shard_of(self, mark: Mark) -> Shard:
        return next(name for name, _ in self.records.shards() if str(name) == mark.shard)

    def _descends(self, shard: Shard, ancestor: Shard) -> bool:
        while parent := self.records.shard(shard).parent:
            shard = Shard(shard.stream_arn, parent)
            if shard == ancestor:
                return True
        return False


def _is_of(entry: Entry, player: str) -> bool:
    return not isinstance(entry, Ignored) and entry.player == player


def _fold(entries: Sequence[Entry]) -> tuple[int, Decimal, str] | None:
    """What these games add, windows apart; None: one of them is none."""
    games = [entry for entry in entries if isinstance(entry, Game)]
    if len(games) != len(entries):
        return None
    total = reduce(WIDE.add, (game.score for game in games), Decimal(0))
    return len(games), total, max((game.date for game in games), default="")
