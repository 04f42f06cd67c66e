"""Invariants of operators' commands: each acts once, on what it read, with an audit entry; floods stay outside."""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence, Sized
from dataclasses import replace
from decimal import Context, Decimal

from consumer.domain.breaker import Breaker
from consumer.domain.fold import Delta, Unit
from consumer.domain.leases import TRIM_HORIZON, BindingChange, Lease, LeaseRow, Shard, TableBinding, rank
from consumer.domain.marks import RowWrite
from consumer.domain.operator_ports import Gap
from consumer.domain.quarantine import Application, EntryState, OperatorAction, QuarantineEntry, decode_again, repaired
from consumer.domain.records import Entry, Game, Outcome, Poison, Rules, decode
from consumer.domain.replay import Batch, Mode, Progress
from consumer.domain.replies import Lost
from consumer.domain.windows import WindowKind
from consumer.operations.quarantine import ChangedConcurrently
from consumer.settings import MOST_WINDOWS
from tests.simulation.ledger_invariants import LedgerInvariants, Violation
from tests.simulation.worker_invariants import WorkerInvariants
from tests.support.fakes import FakeQuarantine, FakeReplays, FakeTables
from tests.support.fakes.operators import FakeGaps, FakeLeaseAdmin, FakeTableBindings
from tests.support.fakes.tables import Gap as GapRow

_WIDE = Context(prec=400)


class OperatorInvariants:
    """Follows what operators' commands do to the tables, and reports it to the invariants of the ledger.

    `rules`: those by which a command may have read the records it counts.
    """

    def __init__(
        self,
        ledger: LedgerInvariants,
        workers: WorkerInvariants,
        tables: FakeTables,
        operators: FakeQuarantine,
        lease_admin: FakeLeaseAdmin,
        bindings: FakeTableBindings,
        gaps: FakeGaps,
        replays: FakeReplays,
        breaker: Breaker | None,
        rules: Callable[[], Sequence[Rules]],
    ) -> None:
        self._ledger = ledger
        self._rules = rules
        self._workers = workers
        self._tables = tables
        self._operators = operators
        self._lease_admin = lease_admin
        self._bindings = bindings
        self._gaps = gaps
        self.replays = ReplayInvariants(ledger, operators, replays, rules)
        self._breaker = breaker
        self._actions: Counter[str] = Counter()
        self._recent: dict[Shard, list[bool]] = {}
        self._let_through_to: dict[Shard, str | None] = {}
        self._had_game: set[Shard] = set()
        self._highest_epochs: dict[Shard, int] = {}
        self._claimed_epochs: dict[Shard, int] = {}
        self._ledger_commit, self._worker_claim = tables.on_commit, tables.on_claim
        tables.on_commit = self._on_commit
        tables.on_claim = self._on_claim
        tables.on_halt = self._on_halt
        operators.on_resolve = self._on_resolve
        operators.on_resume = self._on_resume
        lease_admin.on_place = self._on_place
        bindings.on_change_binding = self._on_change_binding
        gaps.on_acknowledge = self._on_acknowledge

    def resolved(self, entry: QuarantineEntry, result: object, token: str) -> None:
        """A command reports what became of a record."""
        done = self._operators.actions.get((entry.shard_id, entry.sequence_number), ("", None))[0]
        if isinstance(result, ChangedConcurrently) and done == token:
            raise Violation("an action recognises itself", f"{entry} was resolved by this same action")

    def resumed(self, shard: Shard, reply: object, token: str) -> None:
        """A command reports what became of a halted shard."""
        if isinstance(reply, Lost) and reply.row is not None and self._operators.resumed.get(shard) == token:
            raise Violation("an action recognises itself", f"{shard} was resumed by this same action")

    def epoch_ahead_of_clock(self, shard: Shard, now: float) -> bool:
        """Whether claims came faster than one per second, which happens only in simulated time."""
        return self._highest_epochs.get(shard, 0) >= int(now)

    def ledger_lost(self) -> None:
        """Epochs and replays of the lost ledger say nothing about the next one."""
        self._highest_epochs.clear()
        self._claimed_epochs.clear()
        self._ledger.ledger_lost()
        self.replays.ledger_lost()

    def _on_resolve(self, action: OperatorAction, application: Application | None) -> None:
        """A quarantined record is applied once, as repaired, or discarded."""
        number = action.entry.sequence_number
        state = self._ledger.states[number]
        if state != EntryState.PENDING:
            raise Violation("a quarantined record is resolved once", f"{number} was {state}")
        self._check_audit("quarantine", self._operators.audit)
        self._ledger.states[number] = EntryState.DISCARDED if application is None else EntryState.APPLIED
        if application is None:
            return
        wire = self._ledger.records.wire(action.entry.shard, number)
        wanted: object = None
        for rules in self._rules():
            entry = decode(repaired(wire, application.repairs, rules), _with_all_windows(rules), None)
            wanted = {entry.player: (1, entry.score, entry.date)} if isinstance(entry, Game) else None
            counted = {player: delta[:3] for player, delta in application.deltas.items()}
            if isinstance(entry, Game) and wanted == counted and _of_these_days([entry], application.deltas.values()):
                self._ledger.records.rules = rules
                self._ledger.redrive(entry)
                return
        raise Violation("a re-driven record counts as repaired", f"{number}: {wanted}, not {application.deltas}")

    def _on_resume(self, seen: LeaseRow, stored: LeaseRow, let_through_to: str | None) -> None:
        """An operator resumes the halt that the command read, not a later one."""
        shard = seen.shard
        if stored.circuit.halted_at is None or stored.circuit.resumes != seen.circuit.resumes:
            facts = f"{shard}: {stored.circuit} was read as {seen.circuit}"
            raise Violation("a resume is for the halt that was read", facts)
        self._recent.pop(shard, None)
        if let_through_to is not None:
            self._let_through_to[shard] = let_through_to
        self._check_audit("quarantine", self._operators.audit)

    def _on_halt(self, stored: LeaseRow, resumes: int) -> None:
        """A halt that was decided before a resume does not undo it."""
        if stored.circuit.resumes != resumes:
            facts = f"{stored.shard} was resumed {stored.circuit.resumes} times; the halt knows of {resumes}"
            raise Violation("a late halt does not undo a resume", facts)

    def _on_place(self, seen: LeaseRow | None, before: LeaseRow | None, after: LeaseRow) -> None:
        """The row was as the operator was shown; no living worker loses its lease, and the epoch is new."""
        shard = after.shard
        if _position(seen) != _position(before):
            raise Violation("a shard is placed as it was read", f"{shard}: {_position(before)}, not {_position(seen)}")
        if before is not None:
            self._workers.check_no_lease_stolen(before, "an operator")
        highest = max(self._highest_epochs.get(shard, 0), before.epoch if before is not None else 0)
        if before is None and after.epoch == highest > self._claimed_epochs.get(shard, 0):
            return  # two operators made the row again in one second, and it was deleted between: no lease had the epoch
        if after.epoch <= highest:
            raise Violation("an epoch is never used again", f"{shard} is placed with {after.epoch} after {highest}")
        self._highest_epochs[shard] = after.epoch
        self._recent.pop(shard, None)
        self._let_through_to.pop(shard, None)
        if before is None:
            self._had_game.add(shard)  # the lost row may have said so
            self._operators.resumed.pop(shard, None)
        self._check_audit("ledger", self._lease_admin.trail)
        self._ledger.move(shard, after.checkpoint)

    def _on_change_binding(self, change: BindingChange, stored: TableBinding | None, has_stream_start: bool) -> None:
        """The binding was as the operator was shown."""
        if (stored, has_stream_start) != (change.before, change.has_stream_start):
            facts = f"{change} of {stored}, {'with' if has_stream_start else 'without'} a stream row"
            raise Violation("what is adopted is what was read", facts)
        self._check_audit("bindings", self._bindings.trail)
        if change.after is None:
            for shard in {*self._recent, *self._let_through_to} - self._tables.rows.keys():
                self._recent.pop(shard, None)
                self._let_through_to.pop(shard, None)
            self._ledger.adopt(change.stream_arn, self._tables.load().missing)

    def _on_acknowledge(self, gap: Gap, stored: GapRow) -> None:
        """No other operator has acknowledged it, and its row is what the operator read."""
        if stored.acknowledged is not None:
            raise Violation("a gap is acknowledged once", f"{gap.name}: {stored.acknowledged}")
        self._check_audit("gaps", self._gaps.trail)

    def _check_audit(self, where: str, trail: Sized) -> None:
        self._actions[where] += 1
        if len(trail) != self._actions[where]:
            facts = f"{self._actions[where]} actions, {len(trail)} audit entries"
            raise Violation("every action has an audit entry", facts)

    def _on_claim(self, before: LeaseRow, claimed: LeaseRow) -> None:
        self._claimed_epochs[claimed.shard] = claimed.epoch
        self._highest_epochs[claimed.shard] = max(self._highest_epochs.get(claimed.shard, 0), claimed.epoch)
        self._worker_claim(before, claimed)

    def _on_commit(self, lease: Lease, unit: Unit, rows: Sequence[RowWrite], fills_gap: bool) -> None:
        self._ledger_commit(lease, unit, rows, fills_gap)
        numbers = self._ledger.records.between(lease.shard, unit.previous, unit.last)
        if fills_gap:
            numbers = [number for number in numbers if number >= int(unit.first)]
        games_behind = self._check_first_game(lease.shard, unit, numbers)
        if self._breaker is not None and (unit.poison or self._recent.get(lease.shard)):
            self._watch_flood(lease.shard, unit, numbers, self._breaker)
        if games_behind or Outcome.ALREADY_SETTLED in unit.outcomes:
            self._had_game.add(lease.shard)

    def _check_first_game(self, shard: Shard, unit: Unit, numbers: Sequence[int]) -> bool:
        """A row says that its lineage had a game as soon as its checkpoint has passed one. Whether it has passed one.

        What only lenient workers take for a game need not be noted: others may have read it since.
        """
        poison = {record.sequence_number for record in unit.poison}
        entries = self._ledger.records.entries(shard, numbers, self._ledger.records.lenient)
        games = [entry for entry in entries if isinstance(entry, Game) and entry.sequence_number not in poison]
        rules = self._ledger.records.rules
        for game in () if self._tables.rows[shard].circuit.had_game else games:
            if isinstance(decode(self._ledger.records.wire(shard, game.sequence_number), rules, None), Game):
                raise Violation("a row knows of its first game", f"{game.sequence_number} of {shard}")
        return bool(games)

    def _watch_flood(self, shard: Shard, unit: Unit, numbers: Sequence[int], breaker: Breaker) -> None:
        """Fewer of the last records are quarantined than trip the breaker, unless an operator let them through."""
        recent = self._recent.setdefault(shard, [])
        poison = {record.sequence_number for record in unit.poison}
        let_through_to = self._let_through_to.get(shard)
        for entry in self._ledger.records.entries(shard, numbers, self._ledger.records.lenient):
            bad = isinstance(entry, Poison) or entry.sequence_number in poison
            if bad and let_through_to is not None and rank(entry.sequence_number) <= rank(let_through_to):
                continue
            if bad or isinstance(entry, Game):
                recent.append(bad)
                del recent[: -breaker.window]
            if isinstance(entry, Game) and not bad:
                self._had_game.add(shard)
            if sum(recent) >= (breaker.poison if self._lineage_had_game(shard) else breaker.first):
                raise Violation("a flood is not quarantined", f"{entry.sequence_number} of {shard}: {recent}")
        if let_through_to is not None and rank(unit.last) >= rank(let_through_to):
            del self._let_through_to[shard]

    def _lineage_had_game(self, shard: Shard) -> bool:
        """Whether the shard or an ancestor has had a good record."""
        parent = self._ledger.records.shard(shard).parent
        return shard in self._had_game or (
            parent is not None and self._lineage_had_game(Shard(shard.stream_arn, parent))
        )


def _position(row: LeaseRow | None) -> tuple[str | None, int, str] | None:
    return None if row is None else (row.owner, row.epoch, row.checkpoint)


class ReplayInvariants:
    """Follows the batches that replays count into the worker's board or another one: each record once per replay."""

    def __init__(
        self,
        ledger: LedgerInvariants,
        operators: FakeQuarantine,
        replays: FakeReplays,
        rules: Callable[[], Sequence[Rules]],
    ) -> None:
        self._ledger = ledger
        self._rules = rules
        self._operators = operators
        self._replays = replays
        self._may_count_again: set[str] = set()
        self._counted: dict[tuple[Shard, str], dict[int, str]] = {}
        replays.on_counted_under = self._on_count

    def begins(self, replay_id: str, *, again: bool) -> None:
        """`again`: the operator allows this replay to count what another one has counted."""
        if again:
            self._may_count_again.add(replay_id)

    def ledger_lost(self) -> None:
        """With the ledger the progress of replays is gone."""
        self._counted.clear()

    def _on_count(self, stored: Progress, progress: Progress, batch: Batch) -> None:
        if stored.runner != progress.runner:
            raise Violation("one replay per shard and target", f"{progress.runner} counts, {stored.runner} has the row")
        if progress.mode is Mode.PENDING:
            if batch.unit.deltas:
                raise Violation("a replay of pending records counts by re-drives", f"{batch}")
            return
        numbers = self._numbers(progress, batch)
        counted = self._counted.setdefault((progress.shard, progress.target), {})
        for number in numbers:
            before = counted.get(number)
            if before == progress.replay_id or (before is not None and progress.replay_id not in self._may_count_again):
                raise Violation("a replay counts a record once", f"{number}, in {before} and {progress.replay_id}")
            counted[number] = progress.replay_id
        counts = {player: delta[:3] for player, delta in batch.unit.deltas.items()}
        wanted: dict[str, tuple[int, Decimal, str]] = {}
        for rules in self._rules():
            games = self._games(progress.shard, numbers, batch, _with_all_windows(rules))
            wanted = _folded(games)
            if wanted == counts and _of_these_days(games, batch.unit.deltas.values()):
                break
        else:
            facts = f"{numbers} of {progress.shard}: {counts}, not {wanted}"
            raise Violation("a replay counts as the quarantine rows say", facts)
        if progress.target not in self._replays.boards:
            self._ledger.records.rules = rules
            self._ledger.replay(batch.unit.deltas, games)

    def _numbers(self, progress: Progress, batch: Batch) -> list[int]:
        """The records of the batch: a run that follows the position, without trimmed records."""
        records, unit = self._ledger.records, batch.unit
        between = records.between(progress.shard, TRIM_HORIZON, unit.last)
        after = -1 if progress.position == TRIM_HORIZON else int(progress.position)
        of_range = [number for number in between if progress.range.contains(str(number)) and number > after]
        numbers = of_range[len(of_range) - unit.records :]
        left = of_range[: len(of_range) - unit.records]
        if len(numbers) != unit.records or any(number > records.trimmed_to(progress.shard) for number in left):
            facts = f"{unit.records} records up to {unit.last} after {progress.position}; {left} left out"
            raise Violation("a replay leaves nothing out", facts)
        return numbers

    def _games(self, shard: Shard, numbers: list[int], batch: Batch, rules: Rules) -> list[Game]:
        entries = self._ledger.records.entries(shard, numbers, rules)
        found = [self._as_quarantined(shard, entry, rules) for entry in entries]
        return [game for game in found if isinstance(game, Game) and game.sequence_number not in batch.skipped]

    def _as_quarantined(self, shard: Shard, entry: Entry, rules: Rules) -> Entry | None:
        """The record as its quarantine row has it (None: not applied); without a row the record itself."""
        number = entry.sequence_number
        state = self._ledger.states.get(number)
        if state is None:
            return entry
        if state != EntryState.APPLIED:
            return None
        _, resolution = self._operators.actions[shard.shard_id, number]
        wire = self._ledger.records.wire(shard, number)
        repairs = resolution.repairs if resolution is not None else {}
        return decode_again(wire, repairs, rules, only_wrong=False)[0]


def _with_all_windows(rules: Rules) -> Rules:
    return replace(rules, windows=tuple((kind, MOST_WINDOWS) for kind in WindowKind))


def _of_these_days(games: Iterable[Game], deltas: Iterable[Delta]) -> bool:
    """Whether the deltas count in windows of these games only: by other rules a game may be of another day."""
    named = {window for game in games for window in game.windows}
    return all(each.window in named for delta in deltas for each in delta.windows)


def _folded(games: Sequence[Game]) -> dict[str, tuple[int, Decimal, str]]:
    found: dict[str, tuple[int, Decimal, str]] = {}
    for game in games:
        number, total, date = found.get(game.player, (0, Decimal(0), ""))
        found[game.player] = number + 1, _WIDE.add(total, game.score), max(date, game.date)
    return found
