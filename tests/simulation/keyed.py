"""What a keyed run has besides: players of lineages, stale reads of rows, rows and streams of version 0.1."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal
from itertools import count
from typing import TYPE_CHECKING, Any, Final

from consumer.domain.breaker import HaltReason, Symptom
from consumer.domain.errors import CallFailed
from consumer.domain.leases import TRIM_HORIZON, LeaseRow, Shard, StreamStart, TableBinding, table_arn_of
from consumer.domain.marks import ABSENT, StoredRow, lineage_of
from consumer.domain.records import Rules
from consumer.domain.replies import Committed, Done, RowRefused
from consumer.worker.calls import Call, Ports
from consumer.worker.shard_calls import Commit, EndShard, Halt, WriteRows
from consumer.worker.tuning import Tuning
from tests.simulation.dice import PlannedEvents
from tests.simulation.ledger_invariants import Violation
from tests.simulation.mark_invariants import LENIENT, MarkInvariants
from tests.simulation.nemesis import Fault
from tests.simulation.old_views import OldViews
from tests.simulation.scale import FAULT_SECONDS, LATEST_SECONDS
from tests.support.fakes import FakeShard
from tests.support.fakes.streams import FIRST_SEQUENCE_NUMBER
from tests.support.fakes.tables import Score

if TYPE_CHECKING:
    from tests.simulation.simulation import Simulation

PLAYER_ATTRIBUTE: Final = Rules().player_attribute
BIG: Final = "big"
"""Has games with scores that no sum can hold."""
PLAYERS: Final = ("p0", "p1", "p2", "p3", BIG)
DISPUTED_TIMESTAMP: Final = "2027-01-19"
"""A time that lenient workers take, and others find too far in the future."""
NUMBERS_PER_SHARD: Final = 1_000
ROW_FAULTS: Final = (Fault.LATE, Fault.LATE, Fault.LOST_REPLY, Fault.DUPLICATE, Fault.CRASH_AFTER, Fault.SLOW)
LAST_WRITE_SECONDS: Final = FAULT_SECONDS + 45.0
"""Until then a late single write may take effect; the last ones after all workers have left."""
LATEST_SOON_SECONDS: Final = 6.0
"""In runs with old views a late single write is so late: another worker has just gone on with the shard then."""


class Keyed(PlannedEvents):
    """The keyed flavour of a run: its source's partition key is the player."""

    def __init__(self, simulation: Simulation, invariants: MarkInvariants) -> None:
        super().__init__(simulation, simulation.dice.source("keyed"))
        self.views = OldViews(simulation, self)
        random = self._plans = self.random
        self.unsettled_writes = 0
        self._invariants = invariants
        self._shared = random.choice((0.0, 0.0, 0.25, 0.8))
        self._ranges = random.sample(range(-20, 20), 40) if random.random() < 0.4 else None
        correcting = simulation.corrects
        self._disputes = random.random() < 0.35 and simulation.changing is None and not correcting
        self._stale = random.choice((0.0, 0.1, 0.3))
        self._faults = random.choice((0.0, 0.1, 0.3, 0.5))
        self._writes = self._fates = 0
        self._very_late = random.choice((0.0, 0.5, 1.0))
        self._dealt: dict[Shard, dict[Shard, list[str]]] = {}
        self._past: dict[str, list[StoredRow]] = {}
        if self.views.chosen:
            self._shared, self._faults = 0.8, 0.5
        simulation.streams.partition_key = PLAYER_ATTRIBUTE
        simulation.tables.stale_row = self._stale_row

    # --- which players' games a shard carries ---

    def players_of(self, shard: Shard) -> list[str]:
        """The players of a root are its part of all, those of a child its part of its parent's."""
        streams = self._simulation.streams.streams
        parent = streams[shard.stream_arn].shards[shard.shard_id].parent
        above = Shard(shard.stream_arn, parent or "")
        if above not in self._dealt:
            shards = streams[shard.stream_arn].shards.values()
            siblings = [Shard(shard.stream_arn, each.shard_id) for each in shards if each.parent == parent]
            self._dealt[above] = self._deal(PLAYERS if parent is None else self.players_of(above), siblings, above)
        return self._dealt[above][shard]

    def ordinary_players_of(self, shard: Shard) -> list[str]:
        """Those whose scores any sum can hold."""
        return [player for player in self.players_of(shard) if player != BIG]

    def _deal(self, players: list[str] | tuple[str, ...], shards: list[Shard], above: Shard) -> dict[Shard, list[str]]:
        random = self._simulation.dice.source(f"players under {above}")
        dealt: dict[Shard, list[str]] = {shard: [] for shard in shards}
        for player in players:
            mine = random.choice(shards)
            for shard in shards:
                if shard == mine or (above.shard_id and random.random() < self._shared):
                    dealt[shard].append(player)
        return dealt

    def number(self, shard: FakeShard, nth: int) -> None:
        """A new shard. In some runs its sequence numbers lie in a range of their own, perhaps below its parent's."""
        if self._ranges is not None:
            shard.numbers = count(FIRST_SEQUENCE_NUMBER + self._ranges[nth] * NUMBERS_PER_SHARD)

    def image(self, shard: Shard, image: dict[str, Any]) -> dict[str, Any] | None:
        """The image as a player of the shard writes it; None: the shard has no player."""
        random = self._simulation.dice.source(f"image {self._simulation.now:.6f}")
        wants_big = image[PLAYER_ATTRIBUTE] == {"S": BIG}
        players = [player for player in self.players_of(shard) if (player == BIG) == wants_big]
        if not players:
            return None
        player = random.choice(players)
        if self._disputes and random.random() < 0.15:
            image["timestamp"] = {"S": DISPUTED_TIMESTAMP}
        return image | {PLAYER_ATTRIBUTE: {"S": player}}

    # --- workers ---

    def equip(self, owner: str, ports: Ports) -> tuple[Ports, int]:
        """A worker's ports, and how many rows it remembers. In some runs some are of a release with other rules."""
        random = self._simulation.dice.source(f"equipment of {owner}")
        lenient = self._disputes and random.random() < 0.5
        return replace(ports, rules=LENIENT) if lenient else ports, random.choice((1, 3, 1000))

    def tune(self, owner: str, tuning: Tuning) -> Tuning:
        """A worker's tuning: how far its checkpoints lag behind, and how many rows it writes in one call."""
        random = self._simulation.dice.source(f"tuning of {owner}")
        lag_seconds, writes = random.choice((0.0, 0.3, 1.0, 5.0, 30.0)), random.choice((1, 2, 25))
        return replace(tuning, checkpoint_interval_seconds=lag_seconds, writes_per_call=writes)

    def fault(self, owner: str, shard: Shard, kind: str = "row") -> Fault:
        """What becomes of single writes, or of a move of the checkpoint: in most runs many are late, come twice, or are
        their sender's last act.
        """
        random = self._simulation.dice.source(f"{kind} faults of {owner}")
        hit, fault = random.random() < self._faults, random.choice(ROW_FAULTS)
        self._writes += 1
        if hit and self._simulation.dice.takes_place(f"{owner} single write {self._writes}: {fault.value}"):
            if fault in (Fault.LATE, Fault.LOST_REPLY):
                self.views.no_reply(shard)
            return fault
        return Fault.NONE

    def row_fate(self, owner: str) -> tuple[bool, float, float]:
        """Whether one row of many has a fault, and two draws for it, from 0 to 1: how late, and which."""
        random = self._simulation.dice.source(f"row fates of {owner}").random
        hit, late, which = random() < self._faults / 2, random(), random()
        self._fates += 1
        return hit and self._simulation.dice.takes_place(f"{owner} row {self._fates} of many"), late, which

    def dies(self, owner: str) -> bool:
        """Whether the sender of a late single write dies, so that it is not sent again."""
        dies = self._simulation.dice.source(f"deaths of {owner}").random() < 0.3
        return dies and self._simulation.dice.takes_place(f"{owner} dies after single write {self._writes}")

    def latest(self, late: float) -> float:
        """After how many seconds a late single write takes effect: in some runs any time, up to after the end."""
        random = self._simulation.dice.source("late rows")
        if self.views.chosen:
            return LATEST_SOON_SECONDS * late
        if random.random() < self._very_late:
            return max(0.0, LAST_WRITE_SECONDS - self._simulation.now) * late
        return LATEST_SECONDS * late

    def all_arrived(self) -> bool:
        """Whether every single write that was ever sent has taken effect, or was lost."""
        return not self.unsettled_writes

    def watch(self, effect: Callable[[], object]) -> Callable[[], object]:
        """Counts a late single write until it takes effect."""
        self.unsettled_writes += 1

        def take_effect() -> object:
            self.unsettled_writes -= 1
            return effect()

        return take_effect

    # --- rows ---

    def calm(self) -> None:
        """No read is stale any more, and no single write fails."""
        self._stale = self._faults = 0.0

    def note(self, call: Call, reply: object) -> None:
        """A worker's call took effect."""
        happened = self._simulation.happened
        if isinstance(call, WriteRows) and isinstance(reply, list):
            for write, each in zip(call.writes, reply, strict=True):
                happened[f"row: {write.route}"] += isinstance(each, Done)
                happened["row refused"] += isinstance(each, RowRefused)
                happened["row failed beside others"] += isinstance(each, CallFailed) and len(reply) > 1
        elif isinstance(call, Commit) and isinstance(reply, Committed):
            happened.update(f"row: {write.route}" for write in call.rows)
        elif isinstance(call, EndShard) and isinstance(reply, Committed):
            self.views.ended(call.lease.shard)
        elif isinstance(call, Halt) and isinstance(reply, Done):
            self._check_halt(call)
        self.note_rows()

    def _check_halt(self, halt: Halt) -> None:
        """No shard halts for a mark that is known: its shard has a row."""
        if halt.symptom.reason is not HaltReason.MARK_UNKNOWN:
            return
        self._simulation.happened["halt for a mark"] += 1
        mark = self._simulation.tables.board[self._player_of(halt.lease.shard, halt.symptom)].mark
        if mark is not None and any(str(shard) == mark.shard for shard in self._simulation.tables.rows):
            raise Violation("no shard halts for a mark that is known", f"{halt.lease.shard}: {halt.symptom.detail}")

    def _player_of(self, shard: Shard, symptom: Symptom) -> str:
        key = self._invariants.records.wire(shard, symptom.sequence_number)["dynamodb"]["Keys"]
        return str(key[PLAYER_ATTRIBUTE]["S"])

    def note_rows(self) -> None:
        """Something took effect: rows may be other ones than they were."""
        for player in self._simulation.tables.board:
            past = self._past.setdefault(player, [ABSENT])
            row = self._simulation.tables.stored_row(player)
            if row != past[-1]:
                past.append(row)

    def _stale_row(self, player: str) -> StoredRow | None:
        random = self._simulation.dice.source("stale rows")
        if random.random() >= self._stale:
            return None
        self._simulation.happened["stale row"] += 1
        found = random.choice(self._past.get(player, [ABSENT]))
        known = map(str, self._simulation.tables.rows)
        if found.mark is not None and found.mark.shard not in known:
            return None  # a shard is forgotten days after its last mark: no read is so old
        return found

    # --- what others do ---

    def plan(self) -> None:
        """Plans rows without marks, a stream of version 0.1, and finished rows that are deleted."""
        random = self._plans
        self.views.plan()
        if random.random() < 0.3:
            for player in PLAYERS[: random.choice((1, 3, 4))]:
                self._store(player)
        if random.random() < 0.3:
            for _ in range(3):
                self._at("row without mark", 1, lambda: self._store(self.random.choice(PLAYERS[:4])))
        if random.random() < 0.5:
            self._simulation.interventions.plan_thefts(random.choice((4, 12, 30)))
        for _ in range(random.choice((0, 0, 1, 3))):
            self._at("delete finished row", 6, self._delete_finished_row)
        if random.random() < 0.15 and self._simulation.start == TRIM_HORIZON and not self._simulation.corrects:
            self._start_as_0_1(complete=random.random() < 0.7)

    def _at(self, what: str, first: float, action: Callable[[], None]) -> None:
        self.plan_event(f"keyed {what}", self._plans.uniform(first, 20), action)

    def _store(self, player: str) -> None:
        """An older version, a re-drive or a back-fill adds games, and leaves the mark alone."""
        board = self._simulation.tables.board
        before = board.get(player) or Score(0, Decimal(0), None)
        after = replace(
            before, games=before.games + 2, total=before.total + 3, date=max(before.date or "", "2025-05-05")
        )
        if abs(before.total) > 1_000_000:
            return
        board[player] = after
        self.note_rows()
        self._simulation.happened["row stored"] += 1
        self._invariants.store(player, 2, Decimal(3), "2025-05-05")

    def _start_as_0_1(self, *, complete: bool) -> None:
        """A worker of version 0.1 has started the stream."""
        tables, streams = self._simulation.tables, self._simulation.streams
        roots = tuple(each.shard_id for each in streams.newest.listed() if each.parent is None)
        if not roots:
            return
        arn, now = streams.arn, self._simulation.unix_now()
        tables.stream_starts[arn] = StreamStart(arn, None, roots, complete=complete, started_at=now, protocol=1)
        tables.bindings[arn] = TableBinding(arn, tables.names.leases, tables.names.leaderboard)
        tables.source = table_arn_of(arn)
        for root in roots if complete else roots[:1]:
            row = LeaseRow(Shard(arn, root), None, int(now), TRIM_HORIZON, created=now)
            tables.rows[row.shard] = row
        self._simulation.happened["started as 0.1"] += 1

    def _delete_finished_row(self) -> None:
        """A finished row is deleted by hand, and made again further back.

        Not where marks are taken over, by another stream or by a sibling that shares players: they would hide what the
        earlier ones covered, so that the step back may count, or quarantine, a second time, as the prompt says.
        """
        tables = self._simulation.tables
        if len(self._simulation.streams.streams) > 1 or self._shared or self._simulation.corrects:
            return
        missing = tables.load().missing
        made_again = self._invariants.finished_once
        old = sorted(
            shard
            for shard, row in tables.rows.items()
            if row.finished and row.children and shard not in made_again and self._can_end_again(row)
        )
        if not old or missing or self._simulation.interventions.ledger_lost:
            return
        named = {score.mark.shard for score in tables.board.values() if score.mark is not None}
        marked = [shard for shard in old if str(shard) in named]
        shard = self.random.choice(marked if marked and self.random.random() < 0.5 else old)
        row = tables.rows.pop(shard)
        if shard not in tables.load().missing:  # nothing names it any more, so it cannot be made again
            tables.rows[shard] = row
            return
        self._invariants.deleted.add(shard)
        self._invariants.finished_once.add(shard)
        self._simulation.happened["finished row deleted"] += 1
        self._simulation.note("outside", f"deletes the finished row of {shard}")
        self._simulation.operators.recreate_soon()

    @property
    def made_again(self) -> bool:
        """Whether a finished row was deleted, to be made again."""
        return bool(self._invariants.finished_once)

    def _can_end_again(self, row: LeaseRow) -> bool:
        """Whether its children are there, and a row made now has an epoch above all that it had."""
        rows, stream = self._simulation.tables.rows, self._simulation.streams.streams[row.shard.stream_arn]
        children = [stream.shards[child] for child in row.children]
        there = all(
            not child.gone and (found := rows.get(Shard(stream.arn, child.shard_id))) and found.unlisted_since is None
            for child in children
        )
        return there and row.epoch < int(self._simulation.unix_now())

    def accept_marks(self) -> bool:
        """An operator accepts the marks of which nothing is known. Whether a shard was halted for one.

        A row with another mark by now, or with none, stays as it is: then the command refuses.
        """
        tables, found = self._simulation.tables, False
        for row in list(tables.rows.values()):
            symptom = row.circuit.symptom
            if row.circuit.halted_at is None or symptom is None or symptom.reason is not HaltReason.MARK_UNKNOWN:
                continue
            name = self._player_of(row.shard, symptom)
            mark = tables.board[name].mark
            if mark is None or lineage_of(tables.load()).knows(mark.shard):
                continue
            tables.board[name].mark = None
            self._invariants.forget_mark(row.shard, name)
            self._simulation.happened["mark accepted"] += 1
            found = True
        return found
