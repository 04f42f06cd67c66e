"""What must hold after every step of the ledger and the board, checked against the stream's own truth."""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from decimal import Context, Decimal

from consumer.domain.leaderboard import Delta, Unit
from consumer.domain.leases import Adoption, Lease, LeaseRow, Shard
from consumer.domain.position import SHARD_END, TRIM_HORIZON, rank
from consumer.domain.quarantine import State
from consumer.domain.records import Entry, Game, Poison
from tests.fakes import FakeTables
from tests.fakes.tables import Gap
from tests.simulation.truth import Truth
from tests.simulation.violation import Violation

_WIDE = Context(prec=400)


@dataclass
class Expected:
    """What a player's row must say."""

    games: int = 0
    total: Decimal = Decimal(0)
    date: str = ""


class Oracle:
    """Follows every effect on the tables, whoever caused it. `deleted`: shards whose row was deleted by hand.

    What people asked for is told it (see Oversight): `states` of quarantined records, `skipped` ones, and `again`: how
    many are to end a second time.
    """

    def __init__(self, truth: Truth, tables: FakeTables) -> None:
        self.truth = truth
        self.deleted: set[Shard] = set()
        self.ends: Counter[str] = Counter()
        self.lost: set[int] = set()
        self.skipped: set[int] = set()
        self.states: dict[str, str] = {}
        self._again = 0
        self._anew: set[Shard] = set()
        self._tables = tables
        self._ended: dict[int, str] = {}
        self._changed = True
        self._done = False
        self._checkpoints: dict[Shard, str] = {}
        self._committers: dict[tuple[Shard, int], str] = {}
        self._expected: dict[str, Expected] = {}
        self._gaps: dict[tuple[Shard, str], Gap] = {}
        tables.on_commit = self._on_commit
        tables.on_end = self._on_end
        tables.on_adopt = self._on_adopt
        tables.on_plant = self._put_once

    # --- after every step ---

    def _on_commit(self, lease: Lease, unit: Unit, fills_gap: bool) -> None:
        self._one_committer(lease)
        self._forward(lease.shard, unit.last)
        self._after_parent(lease.shard)
        truth = self.truth.between(lease.shard, unit.previous, unit.last)
        if fills_gap:
            first = int(unit.first)
            self._lose([each for each in truth if each < first], lease.shard, unit.previous)
            truth = [each for each in truth if each >= first]
        if len(truth) != unit.records:
            raise Violation(
                "a unit is a run of consecutive records",
                f"{lease.shard.shard_id} {unit.previous}..{unit.last}: {unit.records} records, {len(truth)} written",
            )
        for each in truth:
            if each in self._ended:
                raise Violation("a record ends once", f"{each} was committed before, in {self._ended[each]}")
            self._ended[each] = f"{lease.shard.shard_id} epoch {lease.epoch}"
        poison = {poison.sequence_number for poison in unit.poison}
        self._compare(self.truth.entries(lease.shard, truth), poison)
        self._keep(lease.shard, poison)
        self._conserve()

    def _compare(self, committed: Sequence[Entry], quarantined: Collection[str]) -> None:
        """Totals are the fold of the committed records, less the quarantined ones, which lie in the quarantine."""
        touched: dict[str, Expected] = {}
        for entry in committed:
            if isinstance(entry, Game) and entry.sequence_number in quarantined:
                self._refused_rightly(entry)
                continue
            self.ends[type(entry).__name__] += 1
            if isinstance(entry, Game):
                touched[entry.player] = self._count(entry)
            elif isinstance(entry, Poison) and entry.sequence_number not in quarantined:
                raise Violation("poison is quarantined", f"{entry.sequence_number} is not in the quarantine")
        self._match(touched)

    def _count(self, game: Game) -> Expected:
        expected = self._expected.setdefault(game.player, Expected())
        expected.games += 1
        expected.total = _WIDE.add(expected.total, game.score)
        expected.date = max(expected.date, game.date)
        return expected

    def _match(self, touched: Mapping[str, Expected]) -> None:
        for player, expected in touched.items():
            score = self._tables.board[player]
            if (score.games, score.total, score.date) != (expected.games, expected.total, expected.date):
                raise Violation("totals are the fold of the committed records", f"{player}: {score} not {expected}")

    def _conserve(self) -> None:
        """Applied, quarantined and ignored records are all that ended, and what the tables hold."""
        ends = self.ends
        games = sum(score.games for score in self._tables.board.values())
        quarantined = len(self._tables.quarantine)
        more = ends["Redriven"] + ends["Replayed"]
        told = (ends["Game"] + more, len(self.states))
        if (games, quarantined) != told or ends.total() - more != len(self._ended) + self._again:
            facts = f"{games} games, {quarantined} in quarantine; {dict(ends)} of {len(self._ended)}"
            raise Violation("what ended is what the tables hold", facts)

    def _keep(self, shard: Shard, poison: Collection[str]) -> None:
        """A row that is there already stays as it is: what was redriven or discarded is not pending again."""
        for sequence_number in poison:
            state = self._tables.quarantine[shard.shard_id, sequence_number].state
            if state != self.states.setdefault(sequence_number, State.PENDING):
                raise Violation("a quarantine row stays", f"{sequence_number} is {state} again")

    # --- what people ask for ---

    def checkpoint(self, shard: Shard) -> str:
        """How far it was counted, also when its row is gone."""
        return self._checkpoints.get(shard, TRIM_HORIZON)

    def redrive(self, game: Game) -> None:
        """A quarantined record counts."""
        self.ends["Redriven"] += 1
        self._match({game.player: self._count(game)})
        self._conserve()

    def replay(self, deltas: Mapping[str, Delta]) -> None:
        """Games count once more."""
        for player, delta in deltas.items():
            expected = self._expected.setdefault(player, Expected())
            expected.games += delta.games
            expected.total = _WIDE.add(expected.total, delta.total)
            expected.date = max(expected.date, delta.date)
            self.ends["Replayed"] += delta.games
        self._match({player: self._expected[player] for player in deltas})
        self._conserve()

    def ledger_lost(self) -> None:
        """Epochs begin anew."""
        self._committers.clear()

    def begin_anew(self, stream_arn: str, still_missing: Collection[Shard]) -> None:
        """A stream whose ledger was lost is adopted: what it still has is read once more, as at first sight."""
        self._changed = True
        self.deleted &= set(still_missing)
        for name, shard in self.truth.shards():
            if name.stream_arn != stream_arn or name in self._tables.rows:
                continue
            self._anew.add(name)
            self.truth.begins[name] = self.truth.trimmed_to(name)
            behind = self.truth.numbers(name) if shard.gone else self.truth.numbers(name)[: shard.trimmed]
            self.skipped.update(each for each in behind if each not in self._ended and each not in self.lost)
            if shard.gone:
                self._checkpoints[name] = SHARD_END

    def move(self, shard: Shard, checkpoint: str) -> None:
        """A shard is placed: back, so that records end again; or forward, so that some never do."""
        self._changed = True
        self.deleted.discard(shard)
        before = self._checkpoints.get(shard, TRIM_HORIZON)
        self._checkpoints[shard] = checkpoint
        for each in self.truth.between(shard, checkpoint, before):
            self._again += self._ended.pop(each, None) is not None
            self.skipped.discard(each)
        for each in self.truth.between(shard, before, checkpoint):
            if each not in self._ended and each not in self.lost:
                self.skipped.add(each)

    def _refused_rightly(self, game: Game) -> None:
        """At apply only what the board cannot hold is poison (another shard may have made room since)."""
        self.ends["Refused"] += 1
        if abs(game.score) < Decimal("1e125"):
            raise Violation("only what is refused alone is poison", f"{game.sequence_number} of {game.player}")

    def _on_end(self, lease: Lease, rows: Sequence[LeaseRow]) -> None:
        self._one_committer(lease)
        self._after_parent(lease.shard)
        at = self._checkpoints.get(lease.shard, TRIM_HORIZON)
        behind = self.truth.between(lease.shard, at, SHARD_END)
        trimmed_to = self.truth.trimmed_to(lease.shard)
        self._lose([each for each in behind if each <= trimmed_to and each not in self.lost], lease.shard, at)
        left = [each for each in behind if each > trimmed_to]
        if left or not self.truth.shard(lease.shard).closed:
            raise Violation("a shard ends after its last record", f"{lease.shard.shard_id} ended with {left} left")
        self._forward(lease.shard, SHARD_END)
        self._put_once(rows)

    def _on_adopt(self, adoption: Adoption) -> None:
        self._put_once(adoption.rows)
        if isinstance(adoption.into, LeaseRow) and not self._tables.rows[adoption.into.shard].finished:
            raise Violation("a child comes after its parent", f"{adoption.into.shard} is not finished")

    def _put_once(self, rows: Sequence[LeaseRow]) -> None:
        for row in rows:
            if row.shard in self._anew:
                self._anew.remove(row.shard)
                self.move(row.shard, row.checkpoint)
            elif self._checkpoints.get(row.shard) or row.shard in self.deleted:
                raise Violation("a row is put once", f"{row.shard} had one")

    def _lose(self, numbers: Sequence[int], shard: Shard, checkpoint: str) -> None:
        """What is passed over must be trimmed and have a gap row."""
        for each in numbers:
            if each > self.truth.trimmed_to(shard) or (shard, checkpoint) not in self._tables.gaps:
                raise Violation("nothing is lost silently", f"{each} of {shard.shard_id} was passed over")
            self.lost.add(each)

    def _one_committer(self, lease: Lease) -> None:
        owner = self._committers.setdefault((lease.shard, lease.epoch), lease.owner)
        if owner != lease.owner:
            raise Violation("one committer a shard and epoch", f"{lease} beside {owner}")

    def _forward(self, shard: Shard, checkpoint: str) -> None:
        self._changed = True
        before = self._checkpoints.get(shard, TRIM_HORIZON)
        if rank(checkpoint) <= rank(before):
            raise Violation("a checkpoint never goes back", f"{shard.shard_id}: {before} -> {checkpoint}")
        self._checkpoints[shard] = checkpoint

    def _after_parent(self, shard: Shard) -> None:
        """Or after it is gone, where a stream is begun anew: its row may have outlived the stream's."""
        parent = self.truth.shard(shard).parent
        if parent:
            name = Shard(shard.stream_arn, parent)
            row = self._tables.rows.get(name)
            before = shard in self.truth.begins and self.truth.shard(name).gone
            if row is not None and not row.finished and not before:
                raise Violation("a child comes after its parent", f"{shard.shard_id} before {parent}")

    def check_gaps(self) -> None:
        """A gap's row stays as it was first written, but for its end, which is filled once."""
        for key, gap in self._tables.gaps.items():
            known = self._gaps.get(key)
            if known is not None and (known.found_at != gap.found_at or known.to not in (None, gap.to)):
                raise Violation("a gap row stays", f"{key[0]} after {key[1]}: {known} became {gap}")
            stands = self._tables.rows.get(key[0])
            if known is None and gap.to is None and stands is not None and stands.checkpoint != key[1]:
                raise Violation("a gap is where its shard stands", f"{key[0]} after {key[1]}, not {stands.checkpoint}")
            if known is None or known.to != gap.to:
                self._gaps[key] = Gap(gap.found_at, gap.to)

    # --- at the end ---

    def is_done(self) -> bool:
        """Whether nothing is undone. Asked after every step, so it looks only when something has changed."""
        if self._changed:
            self._changed = False
            self._done = not self.undone()
        return self._done

    def undone(self) -> list[str]:
        """Records that have not ended anywhere yet, and closed shards that have not ended."""
        left: list[str] = []
        stuck = set(self.deleted)
        for name, shard in self.truth.shards():
            if shard.parent and Shard(name.stream_arn, shard.parent) in stuck:
                stuck.add(name)
            if name not in stuck:
                left += self._undone(name, closed=shard.closed)
        known = self._ended.keys() | self.lost | self.skipped
        if not left and not stuck and len(known) != self.truth.written():
            facts = f"{len(self._ended)}, {len(self.lost)} lost, {len(self.skipped)} skipped of {self.truth.written()}"
            raise Violation("applied, quarantined, ignored and lost is all that was written", facts)
        return left

    def _undone(self, name: Shard, *, closed: bool) -> list[str]:
        at = self._checkpoints.get(name, TRIM_HORIZON)
        if (name, at) in self._tables.gaps:
            behind = self.truth.between(name, at, SHARD_END)
            trimmed_to = self.truth.trimmed_to(name)
            self._lose([each for each in behind if each <= trimmed_to], name, at)
        numbers = self.truth.numbers(name)
        known = (self._ended, self.lost, self.skipped)
        left = [f"{name}:{each}" for each in numbers if not any(each in ends for ends in known)]
        if closed and self._checkpoints.get(name) != SHARD_END:
            left.append(f"{name} has not ended")
        return left
