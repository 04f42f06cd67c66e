"""What this worker should hold: the ledger as last read, and the plan drawn from it."""

from collections.abc import Callable, Iterable, Mapping
from typing import Protocol

from consumer.domain import lineage
from consumer.domain.assignment import plan
from consumer.domain.breaker import Circuit
from consumer.domain.leases import Lease, LeaseRow, Shard, Vouch
from consumer.domain.outcomes import Ledger
from consumer.worker import events
from consumer.worker.calls import Bury, Claim
from consumer.worker.claims import Claims


class Work(Protocol):
    """A shard under a lease. `leaving`: it is being given back."""

    lease: Lease

    @property
    def circuit(self) -> Circuit:
        """The breaker's, as this worker knows it."""
        ...

    @property
    def leaving(self) -> bool:
        """Whether the lease is being given back."""
        ...


class Holdings:
    """`working` is the worker's own map of the shards it works now; `is_earlier_life` knows this worker's ghosts."""

    def __init__(
        self, me: str, is_earlier_life: Callable[[str], bool], working: Mapping[Shard, Work], claims: Claims
    ) -> None:
        self.ledger = Ledger((), ())
        self.halted: frozenset[Shard] = frozenset()
        self.planned = False
        self._owed: frozenset[Shard] = frozenset()
        self._me = me
        self._is_earlier_life = is_earlier_life
        self._working = working
        self._claims = claims
        self._burials: set[str] = set()
        self._ghosts: dict[str, int] = {}
        self._missing: frozenset[Shard] = frozenset()
        self._last_known: dict[Shard, str | None] = {}

    def read(self, ledger: Ledger) -> tuple[list[events.Event], bool]:
        """Takes the ledger's rows; True when it must be read again soon to be sure of what is missing."""
        missing = lineage.missing(ledger)
        last = {row.shard: row.checkpoint for row in self.ledger.rows}
        self._last_known = {shard: self._last_known.get(shard) or last.get(shard) for shard in missing}
        self.ledger = ledger
        told = self._taken(ledger) + self._resumed(ledger) + self._halt(missing & self._missing)
        surprising = bool(missing - self._missing)
        self._missing = missing
        return told, surprising

    def decide(self, members: Mapping[str, Vouch], dead: frozenset[str]) -> tuple[list[events.Event], list[Bury]]:
        """Claims and hand-overs as the planner says; burials of the dead who own nothing any more."""
        if not self.planned:
            self._ghosts = {owner: vouch.beat for owner, vouch in members.items() if self._is_earlier_life(owner)}
        self.planned = True
        ghosts = {owner for owner, beat in self._ghosts.items() if owner in members and members[owner].beat == beat}
        gone = dead | ghosts
        rows = [row for row in self.ledger.rows if row.shard not in self.halted]
        busy = self._working.keys() | self._claims.shards
        decided = plan(rows, members.keys() - gone | {self._me}, self._me, busy)
        self._claim(decided.claim)
        calls: list[Bury] = []
        owners = {row.owner for row in rows if not row.finished}
        for owner in sorted(gone - owners - self._burials):
            self._burials.add(owner)
            calls.append(Bury(owner, members[owner].beat))
        working = self._working
        given = [shard for shard in decided.release if shard in working and not working[shard].leaving]
        self._owed = frozenset(decided.release) - working.keys()
        return [events.HandOverDecided(shard) for shard in given], calls

    def left_over(self, dead: frozenset[str]) -> bool:
        """Whether somebody else should have a shard that nobody living holds, or that we are still claiming.

        If not soon, the plan is made anew.
        """
        return bool(self._owed) or any(
            (row.owner is None or row.owner in dead) and not row.finished and row.shard not in self._claims.shards
            for row in self.ledger.rows
            if row.shard not in self.halted
        )

    def account(self) -> None:
        """Of a worker on its way out: what is in its name and not worked is claimed once more, to be given back."""
        self._claim(row for row in self.ledger.rows if row.owner == self._me and not row.finished)

    def buried(self, call: Bury) -> None:
        """The burial was answered."""
        self._burials.discard(call.owner)

    def _claim(self, rows: Iterable[LeaseRow]) -> None:
        for row in rows:
            if row.shard not in self._working and row.shard not in self._claims.shards:
                self._claims.add(Claim(row, Lease(row.shard, self._me, row.epoch + 1)))

    def _taken(self, ledger: Ledger) -> list[events.Event]:
        """Leases that somebody claimed since: a shard without records would never find out by a commit."""
        rows = {row.shard: row for row in ledger.rows}
        return [
            events.LeaseLost(work.lease, rows[shard].owner)
            for shard, work in self._working.items()
            if shard in rows and rows[shard].epoch > work.lease.epoch
        ]

    def _resumed(self, ledger: Ledger) -> list[events.Event]:
        """Circuits that a person has closed. The ledger may be older than our halt, so it is the count that tells."""
        return [
            events.ResumeFound(row)
            for row in ledger.rows
            if row.circuit.resumes
            and (work := self._working.get(row.shard)) is not None
            and row.epoch == work.lease.epoch
            and row.circuit.resumes > work.circuit.resumes
        ]

    def _halt(self, missing: frozenset[Shard]) -> list[events.Event]:
        """The ledger is not read at one moment: a row is missing when two loads running do not show it."""
        new = missing - self.halted
        self.halted = missing
        return [events.ShardHalted(shard, self._last_known[shard]) for shard in sorted(new)]
