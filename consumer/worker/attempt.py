"""The unit under way: cut once and sent unchanged until it is settled, or cut smaller when the database refuses it."""

from collections import OrderedDict
from collections.abc import Collection
from dataclasses import replace
from typing import Final

from consumer.domain.breaker import Breaker, Circuit
from consumer.domain.errors import TroubleKind
from consumer.domain.leaderboard import Limits, Unit, cut
from consumer.domain.leases import Lease
from consumer.domain.outcomes import Refused
from consumer.domain.records import Game, Poison
from consumer.worker.buffer import Buffer
from consumer.worker.calls import Commit, Examine, Halt
from consumer.worker.common import Dates

PATIENT_CONFLICTS: Final = 2
"""Conflicts in a row after which the unit is halved: fewer rows, fewer fights."""
UNLIMITED_RECORDS: Final = 10_000
"""A unit that has grown back to this many records is not limited any more."""
APART_PLAYERS: Final = 1_000
"""Refused players that are remembered; a forgotten one costs some more refusals, nothing else."""


class Attempt:
    """`open_ended`: an attempt got no clear answer, so it may yet take effect."""

    def __init__(self, dates: Dates, breaker: Breaker, circuit: Circuit) -> None:
        self.circuit = circuit
        self._dates = dates
        self._breaker = breaker
        self.unit: Unit | None = None
        self.sent_at = 0.0
        self.open_ended = False
        self._later: frozenset[str] = frozenset()
        self._conflicts = 0
        self._most_records: int | None = None
        self._apart: OrderedDict[str, None] = OrderedDict()
        self._suspect: tuple[Game, str] | None = None
        self._acquitted = False

    def next_call(
        self, lease: Lease, buffer: Buffer, checkpoint: str, gap: str | None, now: float, unix_now: float
    ) -> Commit | Halt | Examine:
        """The unit to send, cut now if there is none; or the question about a record that was refused alone; or the end
        of it all, for a flood of poison.
        """
        if self._suspect is not None:
            game, detail = self._suspect
            return Examine(lease, game, detail, final=self._acquitted)
        if self.unit is None:
            if self._breaker.stops(buffer.head(), self.circuit):
                return Halt(lease, checkpoint, self.circuit.resumes, unix_now)
            self._cut(buffer, checkpoint, unix_now)
            self.sent_at = now
        assert self.unit is not None
        return Commit(lease, self.unit, self._later, fills_gap=gap == self.unit.previous)

    def grow(self, buffer: Buffer, busy: Collection[str], unix_now: float) -> None:
        """While it waited for its turn more has come: takes that in, up to a player who is `busy` elsewhere."""
        if self.unit is not None and not self.open_ended and len(buffer) > self.unit.records:
            self._cut(buffer, self.unit.previous, unix_now, busy)

    def settle(self, unit: Unit) -> None:
        """The unit is in: the next one may be larger again."""
        self._dates.learn({player: delta.date for player, delta in unit.deltas.items() if player not in self._later})
        for player in self._apart.keys() & unit.deltas.keys():
            del self._apart[player]
        self.circuit = replace(unit.circuit, resumes=max(unit.circuit.resumes, self.circuit.resumes))
        self._conflicts = 0
        if self._most_records is not None:
            self._most_records = None if self._most_records >= UNLIMITED_RECORDS else self._most_records * 2
        self.forget()

    def forget(self) -> None:
        """There is no unit under way."""
        self.unit = None
        self._suspect = None
        self.open_ended = self._acquitted = False

    def refuse(self, unit: Unit, reply: Refused, buffer: Buffer) -> TroubleKind | None:
        """Draws the conclusion from a cancellation; None: what comes next may be sent at once."""
        self._dates.learn(reply.later)
        self._later |= reply.later.keys()
        if reply.invalid is not None:
            return self._suspect_of(unit, reply, reply.invalid, buffer)
        if not reply.conflict:
            return None
        self._conflicts += 1
        if self._conflicts > PATIENT_CONFLICTS and unit.records > 1:
            self._conflicts = 0
            self._cut_at_most(unit.records // 2)
        return TroubleKind.CONFLICT

    def judge(self, verdict: Poison | None, buffer: Buffer) -> None:
        """Learns what was found about the suspect: poison, or nothing, and then it is tried once more."""
        assert self._suspect is not None
        game, _ = self._suspect
        self._suspect = None
        self._acquitted = verdict is None
        if verdict is not None:
            buffer.condemn(verdict)
            self._keep_apart(game.player)
            self.unit = None

    def doubt(self) -> None:
        """The suspect could not be asked about: what is wrong there may be why it was refused, so nothing is final."""
        self._acquitted = False

    def _cut(self, buffer: Buffer, checkpoint: str, unix_now: float, busy: Collection[str] = ()) -> None:
        limits = Limits(records=self._most_records, apart=self._apart, busy=busy, breaker=self._breaker)
        self.unit = cut(buffer, checkpoint, limits, unix_now, self.circuit)
        self._later = self._dates.later(self.unit.deltas)

    def _suspect_of(self, unit: Unit, reply: Refused, detail: str, buffer: Buffer) -> TroubleKind | None:
        """Narrows a refusal down to one record, in order; alone, it is asked about. Anything else is trouble."""
        if unit.records > 1:
            for player in sorted(reply.suspects):
                self._keep_apart(player)
            self._cut_at_most(unit.records if reply.suspects else unit.records // 2)
            return None
        head = buffer.head()
        if not isinstance(head, Game):
            return TroubleKind.REJECTED
        self._suspect = (head, detail)
        return None

    def _cut_at_most(self, records: int) -> None:
        self._most_records = records
        self.unit = None

    def _keep_apart(self, player: str) -> None:
        self._apart[player] = None
        self._apart.move_to_end(player)
        if len(self._apart) > APART_PLAYERS:
            self._apart.popitem(last=False)
