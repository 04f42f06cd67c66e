"""Invariants of the ledger and the board, checked after every step against the records that the stream holds."""

from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from decimal import Context, Decimal
from typing import Any

from consumer.domain.fold import Delta, Unit
from consumer.domain.leases import SHARD_END, TRIM_HORIZON, Adoption, Lease, LeaseRow, Shard, rank
from consumer.domain.marks import RowWrite
from consumer.domain.quarantine import EntryState
from consumer.domain.records import Entry, Game, Poison, Rules, decode
from tests.support.fakes import FakeShard, FakeStreams, FakeTables
from tests.support.fakes.streams import number as sequence_number_of
from tests.support.fakes.tables import Gap


class Violation(AssertionError):
    """An invariant is broken: its name, and the smallest facts needed to see it."""

    def __init__(self, name: str, facts: str) -> None:
        super().__init__(name, facts)
        self.name = name
        self.facts = facts

    def __str__(self) -> str:
        return f"{self.name}: {self.facts}"


class WrittenRecords:
    """The records that were written to the streams, what each means, and what is trimmed.

    `rules`: those by which they are read. `lenient`: where workers differ, those that take the most for games.
    `begins`: for a stream that was adopted, the last trimmed number of each shard then: what came before never counts.
    """

    def __init__(self, streams: FakeStreams, tables: FakeTables, rules: Rules, lenient: Rules) -> None:
        self.rules = rules
        self.lenient = lenient
        self._streams = streams
        self._tables = tables
        self._numbers: dict[Shard, list[int]] = {}
        self._start_time: tuple[float | None] | None = None
        self.begins: dict[Shard, int] = {}

    def shard(self, name: Shard) -> FakeShard:
        """The shard of that name."""
        return self._streams.streams[name.stream_arn].shards[name.shard_id]

    def shards(self) -> list[tuple[Shard, FakeShard]]:
        """Every shard with its name, parents before their children."""
        streams = self._streams.streams.values()
        return [(Shard(stream.arn, shard.shard_id), shard) for stream in streams for shard in stream.shards.values()]

    def count(self) -> int:
        """How many records were written."""
        return sum(len(shard.records) for _, shard in self.shards())

    def between(self, name: Shard, previous: str, last: str) -> list[int]:
        """The sequence numbers after `previous`, up to and including `last`."""
        numbers = self.numbers(name)
        if previous == SHARD_END or last == TRIM_HORIZON:
            return []
        at = self.begins.get(name, -1) if previous == TRIM_HORIZON else int(previous)
        first = bisect_right(numbers, at)
        end = len(numbers) if last == SHARD_END else bisect_right(numbers, int(last))
        return numbers[first:end]

    def numbers(self, name: Shard) -> list[int]:
        """All sequence numbers of a shard. They only grow, so each record is read once."""
        records = self.shard(name).records
        known = self._numbers.setdefault(name, [])
        known.extend(int(sequence_number_of(wire)) for wire in records[len(known) :])
        return known

    def trimmed_to(self, name: Shard) -> int:
        """The last trimmed sequence number; -1: none is trimmed."""
        shard = self.shard(name)
        return self.numbers(name)[shard.trimmed - 1] if shard.trimmed else -1

    def entries(self, name: Shard, numbers: Sequence[int], rules: Rules | None = None) -> list[Entry]:
        """The decoded records of a run of a shard's numbers."""
        if not numbers:
            return []
        self.remember_start_time()
        assert self._start_time is not None
        first = bisect_right(self.numbers(name), numbers[0]) - 1
        records = self.shard(name).records[first : first + len(numbers)]
        return [decode(wire, rules or self.rules, self._start_time[0]) for wire in records]

    def wire(self, name: Shard, sequence_number: str) -> Mapping[str, Any]:
        """One record as the stream holds it."""
        return self.shard(name).records[bisect_right(self.numbers(name), int(sequence_number)) - 1]

    def remember_start_time(self) -> None:
        """Reads the start time, before the first stream's row may be deleted: it holds for all streams."""
        if self._start_time is None:
            self._start_time = (next(iter(self._tables.stream_starts.values())).start_time,)


WIDE = Context(prec=400)


@dataclass
class Expected:
    """What a player's row must hold."""

    games: int = 0
    total: Decimal = Decimal(0)
    date: str = ""


class LedgerInvariants:
    """Follows every effect on the lease table and the board, whatever caused it.

    `deleted`: shards whose row was deleted by hand; `finished_once`: those of them that had finished.
    OperatorInvariants reports what operators do: `states` are those of quarantined records; `skipped` are records that
    a placed shard leaves out. `waiting`: shards that no living worker may read.
    """

    def __init__(self, records: WrittenRecords, tables: FakeTables) -> None:
        self.records = records
        self.deleted: set[Shard] = set()
        self.finished_once: set[Shard] = set()
        self.ends: Counter[str] = Counter()
        self.lost: set[int] = set()
        self.skipped: set[int] = set()
        self.states: dict[str, str] = {}
        self.waiting: Callable[[], frozenset[Shard]] = frozenset
        self.on_count: Callable[[Game], None] = lambda _: None
        self.on_ended: Callable[[Shard, int], None] = lambda *_: None
        self._ended_again = 0
        self._adopted: set[Shard] = set()
        self._tables = tables
        self._ended: dict[int, str] = {}
        self._changed = True
        self._waited: frozenset[Shard] = frozenset()
        self._done = False
        self._checkpoints: dict[Shard, str] = {}
        self._committers: dict[tuple[Shard, int], str] = {}
        self._expected: dict[str, Expected] = {}
        self._gaps: dict[tuple[Shard, str], Gap] = {}
        tables.on_commit = self._on_commit
        tables.on_end = self._on_end
        tables.on_adopt = self._on_adopt
        tables.on_create_root_rows = self._create_once

    # --- after every step ---

    def _on_commit(self, lease: Lease, unit: Unit, rows: Sequence[RowWrite], fills_gap: bool) -> None:
        self._one_committer(lease)
        self._forward(lease.shard, unit.last)
        self._after_parent(lease.shard)
        numbers = self.records.between(lease.shard, unit.previous, unit.last)
        if fills_gap:
            first = int(unit.first)
            lost = [number for number in numbers if number < first]
            self._lose(lost, lease.shard, unit.previous)
            numbers = [number for number in numbers if number >= first]
        numbers = self._pass_behind(lease, unit, numbers)
        if len(numbers) != unit.records:
            raise Violation(
                "a unit is a run of consecutive records",
                f"{lease.shard.shard_id} {unit.previous}..{unit.last}: {unit.records} records, {len(numbers)} written",
            )
        self._end(lease, unit, rows, numbers)
        self._check_quarantine(lease.shard, {poison.sequence_number for poison in unit.poison})
        self._conserve()

    def _pass_behind(self, _lease: Lease, _unit: Unit, numbers: list[int]) -> list[int]:
        """Of the records that the checkpoint passes, those of the unit; see MarkInvariants."""
        return numbers

    def _end(self, lease: Lease, unit: Unit, _rows: Sequence[RowWrite], numbers: Sequence[int]) -> None:
        """The records of a unit end with it."""
        for number in numbers:
            self._end_once(number, lease)
            self.on_ended(lease.shard, number)
        self._compare(self.records.entries(lease.shard, numbers), {poison.sequence_number for poison in unit.poison})

    def _end_once(self, number: int, lease: Lease) -> None:
        if number in self._ended:
            raise Violation("a record ends once", f"{number} was committed before, in {self._ended[number]}")
        self._ended[number] = f"{lease.shard.shard_id} epoch {lease.epoch}"

    def _compare(self, committed: Sequence[Entry], quarantined: Collection[str]) -> None:
        """Totals are the fold of the committed records, less the quarantined ones, which have a row in quarantine."""
        changed: dict[str, Expected] = {}
        for entry in committed:
            if isinstance(entry, Game) and entry.sequence_number in quarantined:
                self._check_refusal(entry)
                continue
            self.ends[type(entry).__name__] += 1
            if isinstance(entry, Game):
                changed[entry.player] = self._count(entry)
            elif isinstance(entry, Poison) and entry.sequence_number not in quarantined:
                raise Violation("poison is quarantined", f"{entry.sequence_number} is not in the quarantine")
        self._match(changed)

    def _count(self, game: Game) -> Expected:
        expected = self._expected.setdefault(game.player, Expected())
        expected.games += 1
        expected.total = WIDE.add(expected.total, game.score)
        expected.date = max(expected.date, game.date)
        self.on_count(game)
        return expected

    def _match(self, changed: Mapping[str, Expected]) -> None:
        for player, expected in changed.items():
            score = self._tables.board[player]
            if (score.games, score.total, score.date) != (expected.games, expected.total, expected.date):
                raise Violation("totals are the fold of the committed records", f"{player}: {score} not {expected}")

    def _conserve(self) -> None:
        """The tables hold what was applied and quarantined; with the ignored records that is all that ended."""
        ends = self.ends
        games = sum(score.games for score in self._tables.board.values())
        quarantined = len(self._tables.quarantine)
        by_operators = ends["Redriven"] + ends["Replayed"] + ends["Stored"]
        expected = (ends["Game"] + by_operators, len(self.states))
        if (games, quarantined) != expected or ends.total() - by_operators != len(self._ended) + self._ended_again:
            facts = f"{games} games, {quarantined} in quarantine; {dict(ends)} of {len(self._ended)}"
            raise Violation("what ended is what the tables hold", facts)

    def _check_quarantine(self, shard: Shard, poison: Collection[str]) -> None:
        """An existing row stays as it is: a re-driven or discarded record is not pending again."""
        for sequence_number in poison:
            state = self._tables.quarantine[shard.shard_id, sequence_number].state
            if state != self.states.setdefault(sequence_number, EntryState.PENDING):
                raise Violation("a quarantine row stays", f"{sequence_number} is {state} again")

    # --- what operators do ---

    def checkpoint(self, shard: Shard) -> str:
        """How far a shard was counted, also when its row is gone."""
        return self._checkpoints.get(shard, TRIM_HORIZON)

    def redrive(self, game: Game) -> None:
        """A quarantined record was applied."""
        self.ends["Redriven"] += 1
        self._match({game.player: self._count(game)})
        self._conserve()

    def replay(self, deltas: Mapping[str, Delta], games: Sequence[Game]) -> None:
        """Games were counted once more."""
        for game in games:
            self.on_count(game)
        for player, delta in deltas.items():
            expected = self._expected.setdefault(player, Expected())
            expected.games += delta.games
            expected.total = WIDE.add(expected.total, delta.total)
            expected.date = max(expected.date, delta.date)
            self.ends["Replayed"] += delta.games
        self._match({player: self._expected[player] for player in deltas})
        self._conserve()

    def ledger_lost(self) -> None:
        """Epochs begin again."""
        self._committers.clear()

    def adopt(self, stream_arn: str, still_missing: Collection[Shard]) -> None:
        """A stream whose ledger was lost is adopted: what it still holds is read once more, as at its first start."""
        self._changed = True
        self.deleted &= set(still_missing)
        for name, shard in self.records.shards():
            if name.stream_arn != stream_arn or name in self._tables.rows:
                continue
            self._adopted.add(name)
            self.records.begins[name] = self.records.trimmed_to(name)
            behind = self.records.numbers(name) if shard.gone else self.records.numbers(name)[: shard.trimmed]
            self.skipped.update(number for number in behind if number not in self._ended and number not in self.lost)
            if shard.gone:
                self._checkpoints[name] = SHARD_END

    def move(self, shard: Shard, checkpoint: str) -> None:
        """`checkpoint set` moves a shard: back, so that records end again; or forward, so that some never end."""
        self._changed = True
        self.deleted.discard(shard)
        before = self._checkpoints.get(shard, TRIM_HORIZON)
        self._checkpoints[shard] = checkpoint
        for number in self.records.between(shard, checkpoint, before):
            self._ended_again += self._ended.pop(number, None) is not None
            self.skipped.discard(number)
        for number in self.records.between(shard, before, checkpoint):
            if number not in self._ended and number not in self.lost:
                self.skipped.add(number)

    def _check_refusal(self, game: Game) -> None:
        """A game is poison only if the board cannot hold it (another shard may have lowered the sum since)."""
        self.ends["Refused"] += 1
        if abs(game.score) < Decimal("1e125"):
            raise Violation("only what is refused alone is poison", f"{game.sequence_number} of {game.player}")

    def _on_end(self, lease: Lease, rows: Sequence[LeaseRow]) -> None:
        self._one_committer(lease)
        self._after_parent(lease.shard)
        at = self._checkpoints.get(lease.shard, TRIM_HORIZON)
        behind = self.records.between(lease.shard, at, SHARD_END)
        trimmed_to = self.records.trimmed_to(lease.shard)
        self._lose([number for number in behind if number <= trimmed_to and number not in self.lost], lease.shard, at)
        left = [number for number in behind if number > trimmed_to]
        if left or not self.records.shard(lease.shard).closed:
            raise Violation("a shard ends after its last record", f"{lease.shard.shard_id} ended with {left} left")
        self._forward(lease.shard, SHARD_END)
        self._create_once(rows)

    def _on_adopt(self, adoption: Adoption) -> None:
        self._create_once(adoption.rows)
        if isinstance(adoption.into, LeaseRow) and not self._tables.rows[adoption.into.shard].finished:
            raise Violation("a child comes after its parent", f"{adoption.into.shard} is not finished")

    def _create_once(self, rows: Sequence[LeaseRow]) -> None:
        for row in rows:
            if row.shard in self._adopted:
                self._adopted.remove(row.shard)
                self.move(row.shard, row.checkpoint)
            elif self._checkpoints.get(row.shard) or row.shard in self.deleted:
                raise Violation("a row is created once", f"{row.shard} had one")

    def _lose(self, numbers: Sequence[int], shard: Shard, checkpoint: str) -> None:
        """Records that are left out must be trimmed and have a gap row."""
        for number in numbers:
            if number > self.records.trimmed_to(shard) or (shard, checkpoint) not in self._tables.gaps:
                raise Violation("nothing is lost silently", f"{number} of {shard.shard_id} was left out")
            self.lost.add(number)

    def _one_committer(self, lease: Lease) -> None:
        owner = self._committers.setdefault((lease.shard, lease.epoch), lease.owner)
        if owner != lease.owner:
            raise Violation("one committer per shard and epoch", f"{lease} beside {owner}")

    def _forward(self, shard: Shard, checkpoint: str) -> None:
        self._changed = True
        before = self._checkpoints.get(shard, TRIM_HORIZON)
        if rank(checkpoint) <= rank(before):
            raise Violation("a checkpoint never goes back", f"{shard.shard_id}: {before} -> {checkpoint}")
        self._checkpoints[shard] = checkpoint

    def _after_parent(self, shard: Shard) -> None:
        """The parent is finished; or, in an adopted stream, it is gone: its row may have outlived the stream's row."""
        parent = self.records.shard(shard).parent
        if parent:
            name = Shard(shard.stream_arn, parent)
            row = self._tables.rows.get(name)
            gone = shard in self.records.begins and self.records.shard(name).gone
            if row is not None and not row.finished and not gone and name not in self.finished_once:
                raise Violation("a child comes after its parent", f"{shard.shard_id} before {parent}")

    def check_gaps(self) -> None:
        """A gap row stays as it was first written; only its end is filled, once."""
        for key, gap in self._tables.gaps.items():
            known = self._gaps.get(key)
            if known is not None and (known.found_at != gap.found_at or known.to not in (None, gap.to)):
                raise Violation("a gap row stays", f"{key[0]} after {key[1]}: {known} became {gap}")
            row = self._tables.rows.get(key[0])
            if known is None and gap.to is None and row is not None and row.checkpoint != key[1]:
                raise Violation(
                    "a gap begins at its shard's checkpoint", f"{key[0]} after {key[1]}, not {row.checkpoint}"
                )
            if known is None or known.to != gap.to:
                self._gaps[key] = Gap(gap.found_at, gap.to)

    # --- at the end of a run ---

    def is_done(self) -> bool:
        """Whether nothing is undone. Called after every step, so it checks only after a change."""
        waiting = self.waiting()
        if self._changed or waiting != self._waited:
            self._changed, self._waited = False, waiting
            self._done = not self.undone()
        return self._done

    def more_was_written(self) -> None:
        """Records were written after all had ended."""
        self._changed = True

    def undone(self) -> list[str]:
        """Records that have not ended yet, and closed shards that have not ended."""
        left: list[str] = []
        stuck = self.deleted | self.waiting()
        for name, shard in self.records.shards():
            if shard.parent and Shard(name.stream_arn, shard.parent) in stuck:
                stuck.add(name)
            if name not in stuck:
                left += self._undone(name, closed=shard.closed)
        known = self._ended.keys() | self.lost | self.skipped
        if not left and not stuck and len(known) != self.records.count():
            facts = f"{len(self._ended)}, {len(self.lost)} lost, {len(self.skipped)} skipped of {self.records.count()}"
            raise Violation("applied, quarantined, ignored and lost are all that was written", facts)
        return left

    def _undone(self, name: Shard, *, closed: bool) -> list[str]:
        at = self._checkpoints.get(name, TRIM_HORIZON)
        if (name, at) in self._tables.gaps:
            behind = self.records.between(name, at, SHARD_END)
            trimmed_to = self.records.trimmed_to(name)
            self._lose([number for number in behind if number <= trimmed_to], name, at)
        numbers = self.records.numbers(name)
        known = (self._ended, self.lost, self.skipped)
        left = [f"{name}:{number}" for number in numbers if not any(number in ends for ends in known)]
        if closed and self._checkpoints.get(name) != SHARD_END:
            left.append(f"{name} has not ended")
        return left
