"""The unit in flight: cut once and sent unchanged until it is committed, or cut smaller when DynamoDB refuses it."""

from collections import OrderedDict, deque
from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import Final

from consumer.domain.breaker import Breaker, Circuit, Symptom, symptom_of
from consumer.domain.errors import FailureKind
from consumer.domain.fold import Delta, Limits, Unit, cut
from consumer.domain.leases import Lease
from consumer.domain.records import Game, Poison, Reason
from consumer.domain.replies import Refused
from consumer.worker.calls import Commit, Examine, Halt
from consumer.worker.reader import Buffer

PATIENT_CONFLICTS: Final = 2
"""Consecutive conflicts after which the unit is halved: fewer rows meet fewer conflicts."""
UNLIMITED_RECORDS: Final = 10_000
"""A unit that has grown back to this many records is not limited any more."""
APART_PLAYERS: Final = 1_000
"""Refused players that are remembered. A forgotten one costs some more refusals, nothing else."""
KNOWN_DATES: Final = 20_000
"""Players whose stored date is remembered. For a forgotten one a late game costs a second transaction."""


class KnownDates:
    """The latest `lastPlayedDate` known to be stored, by player, for all shards of a worker.

    A stored date can only grow, so an older one need not be sent.
    """

    def __init__(self) -> None:
        self._stored: OrderedDict[str, str] = OrderedDict()

    def learn(self, dates: Mapping[str, str]) -> None:
        """These dates are stored."""
        stored = self._stored
        for player, date in dates.items():
            if date > stored.get(player, ""):
                stored[player] = date
                stored.move_to_end(player)
        while len(stored) > KNOWN_DATES:
            stored.popitem(last=False)

    def later(self, deltas: Mapping[str, Delta]) -> frozenset[str]:
        """The players whose stored date is later than what these deltas would write."""
        stored = self._stored
        return frozenset(player for player, delta in deltas.items() if stored.get(player, "") > delta.date)


class CommitAttempt:
    """Cuts units off the buffer, and decides what a refusal means. `unit` is in flight or to be sent again."""

    def __init__(self, buffer: Buffer, dates: KnownDates, breaker: Breaker, circuit: Circuit) -> None:
        self.buffer = buffer
        self.circuit = circuit
        self.unit: Unit | None = None
        self.first_sent_at = 0.0
        self._dates = dates
        self._breaker = breaker
        self._later: frozenset[str] = frozenset()
        self._conflicts = 0
        self._quarantined: deque[Symptom] = deque(maxlen=breaker.window)
        self._most_records: int | None = None
        self._apart: OrderedDict[str, None] = OrderedDict()
        self._suspect: tuple[Game, str] | None = None
        self._found_no_reason = False
        self._condemned: Game | None = None

    def next_call(
        self, lease: Lease, checkpoint: str, gap: str | None, now: float, unix_now: float
    ) -> Commit | Halt | Examine:
        """The unit to send, cut now if there is none; or the examination of a record that was refused alone; or the
        halt before a flood of poison.
        """
        if self._suspect is not None:
            game, detail = self._suspect
            return Examine(lease, game, (Reason.REFUSED, detail) if self._found_no_reason else None)
        if self.unit is None:
            oldest = self.buffer.oldest()
            if isinstance(oldest, Poison) and self._breaker.stops(oldest, self.circuit):
                symptom = symptom_of([*self._quarantined, _symptom(oldest)])
                return Halt(lease, checkpoint, self.circuit.resumes, unix_now, symptom)
            self.unit = self._cut(checkpoint, unix_now)
            self.first_sent_at = now
        return Commit(lease, self.unit, self._later, fills_gap=gap == self.unit.previous)

    def grow(self, held: Collection[str], unix_now: float) -> None:
        """Takes in what has come while the unit waited, up to a record of a player whose lock another unit holds."""
        if self.unit is not None and len(self.buffer) > self.unit.records:
            self.unit = self._cut(self.unit.previous, unix_now, held)

    def settle(self, unit: Unit) -> None:
        """The unit is committed: the next one may be larger again."""
        self._dates.learn({player: delta.date for player, delta in unit.deltas.items() if player not in self._later})
        for player in self._apart.keys() & unit.deltas.keys():
            del self._apart[player]
        self.circuit = replace(unit.circuit, resumes=max(unit.circuit.resumes, self.circuit.resumes))
        self._quarantined.extend(map(_symptom, unit.poison))
        self._conflicts = 0
        if self._most_records is not None:
            self._most_records = None if self._most_records >= UNLIMITED_RECORDS else self._most_records * 2
        self.forget()

    def rewind(self, circuit: Circuit) -> None:
        """The row stands elsewhere, with this circuit."""
        self.circuit = circuit
        self.forget()

    def forget(self) -> None:
        """No unit is in flight any more."""
        self.unit = None
        self._suspect = self._condemned = None
        self._found_no_reason = False

    def refuse(self, unit: Unit, reply: Refused) -> FailureKind | None:
        """Decides what to do after a refusal; None: the next call may be made at once."""
        self._dates.learn(reply.later)
        self._later |= reply.later.keys()
        if reply.invalid is not None:
            return self.narrow_down(unit, reply, reply.invalid)
        if not reply.conflict:
            return None
        self._conflicts += 1
        if self._conflicts > PATIENT_CONFLICTS and unit.records > 1:
            self._conflicts = 0
            self._cut_at_most(unit.records // 2)
        return FailureKind.CONFLICT

    def narrow_down(self, unit: Unit, reply: Refused, detail: str) -> FailureKind | None:
        """Narrows a refusal down to one record, in order. Only a game that is refused alone is examined.

        Where its quarantine is refused too, a table is to blame: the record is a game again.
        """
        if unit.records > 1:
            for player in sorted(reply.suspects):
                self._keep_apart(player)
            self._cut_at_most(unit.records if reply.suspects else unit.records // 2)
            return None
        oldest = self.buffer.oldest()
        if isinstance(oldest, Game):
            self.examine_next(oldest, detail)
            return None
        if self._condemned is not None:
            self.buffer.replace_oldest(self._condemned)
            self.forget()
        return FailureKind.REJECTED

    def examine_next(self, game: Game, detail: str) -> None:
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
            self._keep_apart(game.player)
            self.unit = None

    def examination_failed(self) -> None:
        """What failed here may be why the suspect was refused: it is sent again, and the next refusal is not final."""
        self._suspect = None
        self._found_no_reason = False

    def _cut(self, checkpoint: str, unix_now: float, held: Collection[str] = ()) -> Unit:
        limits = Limits(records=self._most_records, apart=self._apart, held=held, breaker=self._breaker)
        unit = cut(self.buffer, checkpoint, limits, unix_now, self.circuit)
        self._later = self._dates.later(unit.deltas)
        return unit

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
