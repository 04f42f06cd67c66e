"""The unit in flight: cut once and sent unchanged until it is committed, or cut smaller when DynamoDB refuses it."""

from collections import OrderedDict, deque
from collections.abc import Collection
from dataclasses import replace
from typing import Final

from consumer.domain.breaker import Breaker, Circuit, HaltReason, Symptom, symptom_of
from consumer.domain.cut import NOTHING_CORRECTED, Corrects, cut
from consumer.domain.errors import FailureKind
from consumer.domain.fold import Limits, Unit
from consumer.domain.leases import Lease
from consumer.domain.marks import RowWrite
from consumer.domain.records import Correction, Game, Ignored, Outcome, Poison, Reason
from consumer.domain.replies import Refused
from consumer.domain.text import quoted
from consumer.worker import events
from consumer.worker.calls import Reply
from consumer.worker.known_rows import KnownRows
from consumer.worker.reader import Buffer
from consumer.worker.row_writes import RowWrites
from consumer.worker.shard_calls import Commit, Examine, Halt, RowCall

PATIENT_CONFLICTS: Final = 2
"""Consecutive conflicts after which the unit is halved: fewer rows meet fewer conflicts."""
UNLIMITED_RECORDS: Final = 10_000
"""A unit that has grown back to this many records is not limited any more."""
MOST_MARKED_RECORDS: Final = 10_000
"""Records of a unit of single writes: what is read again, and skipped, after a crash."""
APART_PLAYERS: Final = 1_000
"""Refused players that are remembered. A forgotten one costs some more refusals, nothing else."""


class CommitAttempt:
    """Cuts units off the buffer, and decides what a refusal means. `unit` is in flight or to be sent again.

    `keyed`: the source's key is the player, so that rows have marks (see domain.marks); `row_writes` then makes the
    single writes, and a unit may be cut again as long as no transaction of it has an unknown outcome.
    """

    def __init__(
        self,
        buffer: Buffer,
        known: KnownRows,
        row_writes: RowWrites,
        breaker: Breaker,
        circuit: Circuit,
        shard_id: str,
        *,
        keyed: bool,
    ) -> None:
        self.buffer = buffer
        self.circuit = circuit
        self.keyed = keyed
        self.row_writes = row_writes
        self.unit: Unit | None = None
        self.first_sent_at = 0.0
        self._known = known
        self._corrects = Corrects(shard_id, known.calendar, row_writes.find_item)
        self._breaker = breaker
        self._rows: tuple[RowWrite, ...] = ()
        self._conflicts = 0
        self._quarantined: deque[Symptom] = deque(maxlen=breaker.window)
        self._most_records: int | None = None
        self._apart: OrderedDict[str, None] = OrderedDict()
        self._suspect: tuple[Game | Correction, str] | None = None
        self._found_no_reason = False
        self._condemned: Game | Correction | None = None
        self._unmarked = False
        self._awaited = MOST_MARKED_RECORDS
        self._cut_before: Unit | None = None

    @property
    def rows_settled(self) -> bool:
        """Whether every single write has a definite reply: then the rest of the unit may be committed, or it halts."""
        if not self._reads_rows or not self.buffer or self._suspect is not None:
            return True
        return self.row_writes.idle and not self.row_writes.stale and (self.unit is not None or self._must_halt)

    @property
    def only_rows(self) -> bool:
        """Whether every record of the unit has ended by a single write: nothing is left for a transaction."""
        unit = self.unit
        return self.keyed and unit is not None and self.rows_settled and not (self._rows or unit.poison or unit.items)

    @property
    def _reads_rows(self) -> bool:
        """Whether anything is read before a unit is cut: rows, for their marks or for the windows that they may lose,
        or the index rows of corrected items.
        """
        return self.keyed or self._known.have_windows or self._known.corrects

    def follow(self, checkpoint: str) -> None:
        """The checkpoint has moved: the unit, which was not sent yet, follows it."""
        if self.unit is not None:
            self.unit = replace(self.unit, previous=checkpoint)

    def row_calls(self, checkpoint: str, now: float, unix_now: float) -> list[RowCall]:
        """The calls for rows that are due. Where a unit is to be cut, those that must come before."""
        row_writes = self.row_writes
        if self.rows_settled:
            return []
        if row_writes.idle and (row_writes.stale or self.unit is None):
            most = self._awaited if self.unit is None else self.unit.records
            self.unit = None
            row_writes.begin()
            if not self._must_halt:
                self._cut_by_rows(checkpoint, now, unix_now, most)
        return row_writes.ready(now)

    def next_call(
        self, lease: Lease, checkpoint: str, gap: str | None, now: float, unix_now: float
    ) -> Commit | Halt | Examine:
        """The unit to send, cut now if there is none; or the examination of a record that was refused alone; or the
        halt before a flood of poison, or before a row whose mark is not known.
        """
        if self._suspect is not None:
            game, detail = self._suspect
            return Examine(lease, game, (Reason.REFUSED, detail) if self._found_no_reason else None)
        if self.unit is None:
            symptom = self._symptom()
            if symptom is not None:
                return Halt(lease, checkpoint, self.circuit.resumes, unix_now, symptom)
            assert not self._reads_rows, "a unit is cut when its rows are known"
            self._use(self._cut(checkpoint, unix_now))
            self.first_sent_at = now
        assert self.unit is not None
        return Commit(lease, self.unit, self._rows, fills_gap=gap == self.unit.previous)

    def grow(self, held: Collection[str], unix_now: float) -> None:
        """Takes in what has come while the unit waited, up to a record of a player whose lock another unit holds.

        Not where an index row brings in such a player, or a correction stops that names one without changing its row.
        """
        unit = self.unit
        if not self.keyed and unit is not None and len(self.buffer) > unit.records:
            grown = self._cut(unit.previous, unix_now, held)
            more = grown.deltas.keys() - unit.deltas.keys()
            if grown.records < unit.records or not more.isdisjoint(held):
                return
            if self.row_writes.knows(grown) and not grown.not_looked_up:
                self._use(grown)

    def settle(self, unit: Unit) -> Unit:
        """The unit is committed: the next one may be larger again. Returns it with what became of its records."""
        known = self._known
        known.learn({write.player: write.after(known.get(write.player)) for write in self._rows})
        for player in self._apart.keys() & {player for player, delta in unit.deltas.items() if delta.adds}:
            del self._apart[player]
        self.circuit = replace(unit.circuit, resumes=max(unit.circuit.resumes, self.circuit.resumes))
        self._quarantined.extend(map(_symptom, unit.poison))
        self._conflicts = 0
        if self._most_records is not None:
            self._most_records = None if self._most_records >= UNLIMITED_RECORDS else self._most_records * 2
        self._drop_unit()
        settled = unit.outcomes.get(Outcome.ALREADY_SETTLED, 0)
        mine = self.row_writes.settle(settled, None if self.keyed else unit.deltas)
        if not mine:
            return unit
        applied = unit.outcomes.get(Outcome.APPLIED, 0) + mine
        outcomes = {**unit.outcomes, Outcome.APPLIED: applied, Outcome.ALREADY_SETTLED: settled - mine}
        return replace(unit, outcomes={outcome: count for outcome, count in outcomes.items() if count})

    def resume(self, circuit: Circuit) -> None:
        """An operator has closed the circuit, and may have changed the row that it was opened for."""
        self.circuit = circuit
        oldest = self.buffer.oldest() if self.buffer else None
        if self.keyed and isinstance(oldest, Game | Correction | Poison) and oldest.player is not None:
            self.row_writes.forget(oldest.player)

    def rewind(self, circuit: Circuit) -> None:
        """The row stands elsewhere, with this circuit."""
        self.circuit = circuit
        self.forget()

    def forget(self) -> None:
        """No unit is in flight any more."""
        self._drop_unit()
        self.row_writes.clear()

    def refuse(self, unit: Unit, reply: Refused) -> FailureKind | None:
        """Decides what to do after a refusal; None: the next call may be made at once."""
        for player, date in reply.later.items():
            self._known.learn_date(player, date)
        self._rows = tuple(
            write._replace(dated=False) if write.player in reply.later else write for write in self._rows
        )
        if reply.rows:
            self.row_writes.refuse(reply.rows)
        if reply.items:
            self.row_writes.forget_items()
        if reply.invalid is not None:
            return self.narrow_down(unit, reply, reply.invalid)
        if not reply.conflict:
            return None
        self._conflicts += 1
        if self._conflicts > PATIENT_CONFLICTS and unit.records > 1:
            self._conflicts = 0
            self._cut_at_most(unit.records // 2)
        return FailureKind.CONFLICT

    def take_row(self, call: RowCall, reply: Reply, now: float) -> list[events.Event]:
        """Takes the reply to a call for rows. Records whose single write is refused for good are committed apart."""
        reported = self.row_writes.take(call, reply, now)
        while self.row_writes.refused:
            self._keep_apart(self.row_writes.refused.pop())
        return reported

    def narrow_down(self, unit: Unit, reply: Refused, detail: str) -> FailureKind | None:
        """Narrows a refusal down to one record, in order. Only a game that is refused alone is examined.

        Where its quarantine is refused too, a table is to blame: the record is a game again.
        """
        if unit.records > 1:
            found = reply.suspects - self._apart.keys()  # one that is apart came with poison, or with an index row
            for player in sorted(reply.suspects):
                self._keep_apart(player)
            self._cut_at_most(unit.records if found else unit.records // 2)
            return None
        oldest = self.buffer.oldest()
        if isinstance(oldest, Game | Correction):
            self.examine_next(oldest, detail)
            return None
        if self.keyed and not self._unmarked:
            self._unmarked = self.row_writes.stale = True  # the row may be too large for a mark
            return None
        if self._condemned is not None:
            self.buffer.replace_oldest(self._condemned)
            self.forget()
        return FailureKind.REJECTED

    def examine_next(self, game: Game | Correction, detail: str) -> None:
        """The next call examines `game`, the oldest record, which was refused with `detail`."""
        self._suspect = (game, detail)

    def examined(self, poison: Poison | None) -> None:
        """The suspect is poison; or no reason was found, then it is sent once more, and the next refusal is final.

        Both examinations found that the table takes other writes: before that refusal, and after it.
        """
        assert self._suspect is not None
        game, _ = self._suspect
        self._suspect = None
        self._found_no_reason = poison is None
        if poison is not None:
            self.buffer.replace_oldest(poison)
            self._condemned = game
            for player in game.players:
                self._keep_apart(player)
            self.unit = None

    def examination_failed(self) -> None:
        """What failed here may be why the suspect was refused: it is sent again, and the next refusal is not final."""
        self._suspect = None
        self._found_no_reason = False

    @property
    def _must_halt(self) -> bool:
        """Whether there is no unit because the oldest record may not be committed."""
        return self.unit is None and bool(self.buffer) and self._symptom() is not None

    def _symptom(self) -> Symptom | None:
        """Why the shard must halt before the oldest record; None: it need not."""
        oldest = self.buffer.oldest()
        if isinstance(oldest, Poison) and self._breaker.stops(oldest, self.circuit):
            return symptom_of([*self._quarantined, _symptom(oldest)])
        if not self.keyed or isinstance(oldest, Ignored) or oldest.player is None:
            return None
        mark = self.row_writes.unknown_mark(oldest.player, oldest.created)
        if mark is None:
            return None
        detail = (
            f"the row of player {quoted(oldest.player)} has a mark of the shard {mark.shard} (up to {mark.to}), which "
            "neither the lease table nor the stream knows"
        )
        return Symptom(HaltReason.MARK_UNKNOWN, detail, oldest.sequence_number, oldest.player)

    def _cut_by_rows(self, checkpoint: str, now: float, unix_now: float, most: int) -> None:
        """Cuts a unit whose rows are all known, and begins its single writes; or reads what is not known first."""
        unit = self._cut_before or self._cut(checkpoint, unix_now, most=most)
        self.row_writes.look_at_windows(unit)
        if not self.keyed:
            self.row_writes.look_ahead(self.buffer)
        if self.row_writes.read() or (unit.not_looked_up and self.row_writes.look_up(unit.not_looked_up)):
            self._awaited = unit.records  # a page that comes now has rows of its own to wait for
            by_rows = self.keyed or bool(unit.not_looked_up)
            self._cut_before = None if by_rows else unit  # without marks it does not depend on its rows
            return
        self._cut_before = None
        self.first_sent_at = self.first_sent_at or now
        if not self.keyed:
            self._use(unit)
            return
        together = unit.records == 1 and not self._apart.keys().isdisjoint(unit.deltas)
        self.unit = unit
        self._rows = self.row_writes.write(unit, together=together, unmarked=self._unmarked)

    def _cut(self, checkpoint: str, unix_now: float, held: Collection[str] = (), most: int | None = None) -> Unit:
        most = most if self._most_records is None else min(most or self._most_records, self._most_records)
        limits = Limits(records=most, apart=self._apart, held=held, breaker=self._breaker)
        place_of = self.row_writes.place_of if self.keyed else None
        corrects = self._corrects if self._known.corrects else NOTHING_CORRECTED
        return cut(self.buffer, checkpoint, limits, unix_now, self.circuit, place_of, corrects)

    def _use(self, unit: Unit) -> None:
        """The unit is the next one; its rows are all in the transaction."""
        self.unit = unit
        self._rows = self.row_writes.plain(unit)

    def _drop_unit(self) -> None:
        self.unit = None
        self.first_sent_at = 0.0
        self._rows = ()
        self._suspect = self._condemned = None
        self._found_no_reason = self._unmarked = False
        self._awaited = MOST_MARKED_RECORDS
        self._cut_before = None

    def _cut_at_most(self, records: int) -> None:
        self._most_records = records
        self.unit = None

    def _keep_apart(self, player: str) -> None:
        self._apart[player] = None
        self._apart.move_to_end(player)
        if len(self._apart) > APART_PLAYERS:
            self._apart.popitem(last=False)


def _symptom(poison: Poison) -> Symptom:
    return Symptom(poison.reason, poison.detail, poison.sequence_number)
