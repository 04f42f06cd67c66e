"""The lease, leaderboard and quarantine tables in memory, with the conditions of the real ones.

`off` names guards that are switched off, so that a test can show what each is for. There are no client tokens here:
they hide a missing guard for ten minutes.
"""

from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field, replace
from datetime import date
from decimal import Context, Decimal

from consumer.domain.breaker import Symptom
from consumer.domain.errors import CallFailed, FailureKind
from consumer.domain.fold import Unit
from consumer.domain.leases import SHARD_END, Lease, LeaseRow, Shard, TableNames
from consumer.domain.operator_ports import Acknowledgement
from consumer.domain.records import EXACT, Game, Poison, Reason, Verdict
from consumer.domain.replies import CommitReply, Committed, Done, Lost, Refused
from tests.support.fakes.ledgers import FakeLedgers


@dataclass
class Score:
    """A player's row of the leaderboard. `wrong`: attributes that have a value of another type instead."""

    games: int
    total: Decimal
    date: str | None
    wrong: dict[str, Decimal | str] = field(default_factory=dict)

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
    """A quarantined record: its head row, and its parts in `poison`."""

    poison: Poison
    state: str
    at: float
    stream_arn: str = ""


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
        self.gaps: dict[tuple[Shard, str], Gap] = {}
        self.refuses_games = False
        """Whether the leaderboard refuses every game, as with an index whose key has another type."""
        self.on_commit: Callable[[Lease, Unit, bool], None] = lambda *_: None
        self.on_end: Callable[[Lease, tuple[LeaseRow, ...]], None] = lambda *_: None
        self.on_halt: Callable[[LeaseRow, int], None] = lambda *_: None

    def commit(self, lease: Lease, unit: Unit, later: frozenset[str], *, fills_gap: bool) -> CommitReply:
        """See ports.Commits."""
        row = self.rows.get(lease.shard)
        if row is None or not self._may_advance("commit", row, lease, unit.previous):
            return Lost(row)
        refused = self.refusal(unit, later)
        if refused is not None:
            return refused
        self.add(unit, later)
        for poison in unit.poison:
            key = (lease.shard.shard_id, poison.sequence_number)
            if not self._guards("quarantine_once", key not in self.quarantine):
                self.quarantine[key] = Quarantined(poison, "pending", unit.cut_at, lease.shard.stream_arn)
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
            had_game=stored.had_game or unit.first_game,
        )
        if unit.circuit.free_to is not None:
            circuit = replace(circuit, free_to=stored.free_to)
        self.rows[lease.shard] = replace(row, checkpoint=unit.last, created=unit.created, circuit=circuit)
        self.on_commit(lease, unit, fills_gap)
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

    def examine(self, game: Game) -> Verdict | None:
        """See ports.Commits."""
        stored = self.board.get(game.player) or Score(0, Decimal(0), None)
        if stored.uncountable:
            return Reason.TOTAL_TYPE, "the stored totalScore or gamesPlayed is no number"
        if not stored.dated:
            return Reason.DATE_TYPE, "the stored lastPlayedDate is no date"
        try:
            EXACT.add(stored.total, game.score)
        except ArithmeticError:
            return Reason.TOTAL_OVERFLOW, "the new totalScore would leave the range of a DynamoDB number"
        known = any(score.dated and not score.uncountable for score in self.board.values())
        if self._guards("examine_sound", known and not self.refuses_games):
            raise CallFailed(FailureKind.REJECTED, "the leaderboard refuses the games of all players")
        return None

    def refusal(self, unit: Unit, later: frozenset[str]) -> Refused | None:
        """Why the leaderboard refuses a unit's deltas; None: it takes them."""
        if self.refuses_games and unit.deltas:
            return Refused(invalid="type mismatch of an index key")
        refused = self._refused_dates(unit, later)
        if refused is not None and self._guards("commit_date", holds=False):
            return refused
        try:
            for player in unit.deltas:
                self._added(player, unit, later)
        except (ArithmeticError, TypeError):
            return Refused(invalid="Number overflow or wrong type")  # names no action, as DynamoDB Local does
        return None

    def add(self, unit: Unit, later: frozenset[str]) -> None:
        """Adds deltas that the leaderboard takes."""
        self.board |= {player: self._added(player, unit, later) for player in unit.deltas}

    def _may_advance(self, write: str, row: LeaseRow, lease: Lease, previous: str) -> bool:
        return self._fenced(write, row, lease) and not self._guards(f"{write}_previous", row.checkpoint == previous)

    def _refused_dates(self, unit: Unit, later: frozenset[str]) -> Refused | None:
        """The condition is that no date is stored, or one that sorts before; the stored text may be no date."""
        scores = {player: score for player in unit.deltas.keys() - later if (score := self.board.get(player))}
        failed = frozenset(player for player, score in scores.items() if score.keeps(unit.deltas[player].date))
        if not failed:
            return None
        suspects = frozenset(player for player in failed if not scores[player].dated)
        invalid = "a stored lastPlayedDate is no date" if suspects else None
        stored = {player: scores[player].date or "" for player in failed - suspects}
        return Refused(later=stored, invalid=invalid, suspects=suspects)

    def _added(self, player: str, unit: Unit, later: frozenset[str]) -> Score:
        """DynamoDB's ADD: exact, or refused. Raises TypeError when a stored attribute is no number."""
        delta = unit.deltas[player]
        stored = self.board.get(player) or Score(0, Decimal(0), None)
        if stored.uncountable:
            raise TypeError("an operand has an incorrect type")
        total = _WIDE.add(stored.total, delta.total)
        EXACT.create_decimal(total)
        date = stored.date if player in later else delta.date
        return Score(stored.games + delta.games, total, date, stored.wrong)


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
