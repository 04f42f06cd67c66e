"""What must hold after every step, checked against the stream's own truth."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from decimal import Context, Decimal

from consumer.domain.leaderboard import Unit
from consumer.domain.leases import Adoption, Lease, LeaseRow, Shard
from consumer.domain.position import SHARD_END, TRIM_HORIZON, rank
from consumer.domain.records import Entry, Game, Poison, Rules, decode
from tests.fakes import FakeShard, FakeStreams, FakeTables
from tests.fakes.streams import number

_WIDE = Context(prec=400)


class Violation(AssertionError):
    """An invariant is broken: its name, and the smallest facts needed to see it."""

    def __init__(self, name: str, facts: str) -> None:
        super().__init__(f"{name}: {facts}")
        self.name = name


@dataclass
class Expected:
    """What a player's row must say."""

    games: int = 0
    total: Decimal = Decimal(0)
    date: str = ""


class Oracle:
    """Follows every effect on the tables, whoever caused it."""

    def __init__(self, streams: FakeStreams, tables: FakeTables, rules: Rules) -> None:
        self._streams = streams
        self._tables = tables
        self._rules = rules
        self._entries: dict[str, Entry] = {}
        self._ended: dict[str, str] = {}
        self._changed = True
        self._done = False
        self.deleted: set[Shard] = set()
        """Shards whose row was deleted by hand."""
        self._checkpoints: dict[Shard, str] = {}
        self._committers: dict[tuple[Shard, int], str] = {}
        self._expected: dict[str, Expected] = {}
        self.lost: set[tuple[Shard, str]] = set()
        self.ends: dict[str, int] = {}
        tables.on_commit = self._on_commit
        tables.on_end = self._on_end
        tables.on_adopt = self._on_adopt

    def _on_commit(self, lease: Lease, unit: Unit, fills_gap: bool) -> None:
        self._one_committer(lease)
        self._forward(lease.shard, unit.last)
        self._after_parent(lease.shard)
        truth = self._between(lease.shard, unit.previous, unit.last)
        if fills_gap:
            self._lose([seq for seq in truth if rank(seq) < rank(unit.first)], lease.shard, unit.previous)
            truth = [seq for seq in truth if rank(seq) >= rank(unit.first)]
        if len(truth) != unit.records:
            raise Violation(
                "a unit is a run of consecutive records",
                f"{lease.shard.shard_id} {unit.previous}..{unit.last}: {unit.records} records, {len(truth)} written",
            )
        for seq in truth:
            if seq in self._ended:
                raise Violation("a record ends once", f"{seq} was committed before, in {self._ended[seq]}")
            self._ended[seq] = f"{lease.shard.shard_id} epoch {lease.epoch}"
        self._compare(truth, {poison.sequence_number for poison in unit.poison})

    def _compare(self, committed: Sequence[str], quarantined: Collection[str]) -> None:
        """Totals are the fold of the committed records, less the quarantined ones, which lie in the quarantine."""
        touched = set()
        for seq in committed:
            entry = self._entry(seq)
            if seq in quarantined and isinstance(entry, Game):
                self._refused_rightly(entry)
                continue
            kind = type(entry).__name__
            self.ends[kind] = self.ends.get(kind, 0) + 1
            if isinstance(entry, Game):
                touched.add(entry.player)
                expected = self._expected.setdefault(entry.player, Expected())
                expected.games += 1
                expected.total = _WIDE.add(expected.total, entry.score)
                expected.date = max(expected.date, entry.date)
            elif isinstance(entry, Poison) and not any(key[1] == seq for key in self._tables.quarantine):
                raise Violation("poison is quarantined", f"{seq} is not in the quarantine")
        for player in sorted(touched):
            expected, score = self._expected[player], self._tables.board[player]
            if (score.games, score.total, score.date) != (expected.games, expected.total, expected.date):
                raise Violation("totals are the fold of the committed records", f"{player}: {score} not {expected}")

    def _refused_rightly(self, game: Game) -> None:
        """At apply only what the board cannot hold is poison (another shard may have made room since)."""
        self.ends["Refused"] = self.ends.get("Refused", 0) + 1
        if abs(game.score) < Decimal("1e125"):
            raise Violation("only what is refused alone is poison", f"{game.sequence_number} of {game.player}")

    def _on_end(self, lease: Lease, rows: Sequence[LeaseRow]) -> None:
        self._one_committer(lease)
        shard = self._fake(lease.shard)
        at = self._checkpoints.get(lease.shard, TRIM_HORIZON)
        left = [seq for seq in self._between(lease.shard, at, SHARD_END) if (lease.shard, seq) not in self.lost]
        self._lose([seq for seq in left if int(seq) <= self._trimmed_to(lease.shard)], lease.shard, at)
        left = [seq for seq in left if int(seq) > self._trimmed_to(lease.shard)]
        if left or not shard.closed:
            raise Violation("a shard ends after its last record", f"{shard.shard_id} ended with {left} left")
        self._forward(lease.shard, SHARD_END)
        self._put_once(rows)

    def _on_adopt(self, adoption: Adoption) -> None:
        self._put_once(adoption.rows)
        if isinstance(adoption.into, LeaseRow) and not self._tables.rows[adoption.into.shard].finished:
            raise Violation("a child comes after its parent", f"{adoption}")

    def _put_once(self, rows: Sequence[LeaseRow]) -> None:
        for row in rows:
            if self._checkpoints.get(row.shard) or row.shard in self.deleted:
                raise Violation("a row is put once", f"{row.shard} had one")

    def _lose(self, seqs: Sequence[str], shard: Shard, checkpoint: str) -> None:
        """What is passed over must be trimmed and have a gap row."""
        for seq in seqs:
            if int(seq) > self._trimmed_to(shard) or (shard, checkpoint) not in self._tables.gaps:
                raise Violation("nothing is lost silently", f"{seq} of {shard.shard_id} was passed over")
            self.lost.add((shard, seq))

    def _fake(self, shard: Shard) -> FakeShard:
        return self._streams.streams[shard.stream_arn].shards[shard.shard_id]

    def _trimmed_to(self, name: Shard) -> int:
        shard = self._fake(name)
        return int(number(shard.records[shard.trimmed - 1])) if shard.trimmed else -1

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
        parent = self._fake(shard).parent
        if parent:
            row = self._tables.rows.get(Shard(shard.stream_arn, parent))
            if row is not None and not row.finished:
                raise Violation("a child comes after its parent", f"{shard.shard_id} before {parent}")

    def _between(self, shard: Shard, previous: str, last: str) -> list[str]:
        numbers = [number(wire) for wire in self._fake(shard).records]
        return [seq for seq in numbers if rank(previous) < rank(seq) <= rank(last)]

    def _entry(self, seq: str) -> Entry:
        if seq not in self._entries:
            floor = next(iter(self._tables.pins.values())).floor
            for stream in self._streams.streams.values():
                for wire in (wire for shard in stream.shards.values() for wire in shard.records):
                    if number(wire) not in self._entries:
                        self._entries[number(wire)] = decode(wire, self._rules, floor)
        return self._entries[seq]

    # --- at the end ---

    def is_done(self) -> bool:
        """Whether nothing is undone. Asked after every step, so it looks only when something has changed."""
        if self._changed:
            self._changed = False
            self._done = not self.undone()
        return self._done

    def undone(self) -> list[str]:
        """Records that have not ended anywhere yet, and closed shards that have not ended."""
        left = []
        stuck = set(self.deleted)
        for stream in self._streams.streams.values():
            for shard in stream.shards.values():  # parents come before their children
                name = Shard(stream.arn, shard.shard_id)
                if shard.parent and Shard(stream.arn, shard.parent) in stuck:
                    stuck.add(name)
                if name not in stuck:
                    left += self._undone(name, shard)
        return left

    def _undone(self, name: Shard, shard: FakeShard) -> list[str]:
        at = self._checkpoints.get(name, TRIM_HORIZON)
        if (name, at) in self._tables.gaps:
            behind = self._between(name, at, SHARD_END)
            self._lose([seq for seq in behind if int(seq) <= self._trimmed_to(name)], name, at)
        left = [
            f"{name}:{number(wire)}"
            for wire in shard.records
            if number(wire) not in self._ended and (name, number(wire)) not in self.lost
        ]
        row = self._tables.rows.get(name)
        if shard.closed and (row is None or not row.finished):
            left.append(f"{name} has not ended")
        return left
