"""What must hold of what people do: each act once, of what was seen, with its trace; the flood stays outside."""

from collections import Counter
from collections.abc import Sized

from consumer.domain import lineage
from consumer.domain.breaker import Breaker
from consumer.domain.leaderboard import Delta, Unit
from consumer.domain.leases import Amendment, Birth, Lease, LeaseRow, Shard
from consumer.domain.outcomes import Lost
from consumer.domain.position import rank
from consumer.domain.quarantine import Act, Application, Head, State
from consumer.domain.records import Game, Poison, Rules, decode
from consumer.domain.repairs import repaired
from consumer.operations.redrive import Faster
from tests.fakes import FakeOperators, FakeReplays, FakeTables
from tests.fakes.overseers import FakeBirths, FakePlacements
from tests.simulation.oracle import Oracle
from tests.simulation.recounted import Recounted
from tests.simulation.violation import Violation
from tests.simulation.watch import Watch


class Oversight:
    """Follows people's effects on the tables, and tells the oracle what was asked for."""

    def __init__(
        self,
        oracle: Oracle,
        watch: Watch,
        tables: FakeTables,
        operators: FakeOperators,
        placements: FakePlacements,
        births: FakeBirths,
        replays: FakeReplays,
        breaker: Breaker | None,
    ) -> None:
        self._oracle = oracle
        self._watch = watch
        self._tables = tables
        self._operators = operators
        self._placements = placements
        self._births = births
        self.replays = Recounted(oracle, operators, replays)
        self._breaker = breaker
        self._acts: Counter[str] = Counter()
        self._recent: dict[Shard, list[bool]] = {}
        self._free_to: dict[Shard, str | None] = {}
        self._highest: dict[Shard, int] = {}
        self._committed, self._claimed = tables.on_commit, tables.on_claim
        tables.on_commit = self._on_commit
        tables.on_claim = self._on_claim
        tables.on_halt = self._on_halt
        operators.on_settle = self._on_settle
        operators.on_resume = self._on_resume
        placements.on_place = self._on_place
        births.on_amend = self._on_amend

    def told(self, head: Head, result: object, token: str) -> None:
        """A person is told what became of a record."""
        done = self._operators.acts.get((head.shard_id, head.sequence_number), ("", None))[0]
        if isinstance(result, Faster) and done == token:
            raise Violation("an act knows itself again", f"{head} was dealt with by this very act")

    def resumed(self, shard: Shard, lost: Lost | None, token: str) -> None:
        """A person is told what became of a circuit."""
        if lost is not None and lost.row is not None and self._operators.resumed.get(shard) == token:
            raise Violation("an act knows itself again", f"{shard} was resumed by this very act")

    def outran(self, shard: Shard, now: float) -> bool:
        """Whether claims have come faster than seconds, for which a simulated life is short enough, no real one."""
        return self._highest.get(shard, 0) >= int(now)

    def ledger_lost(self) -> None:
        """What was made before it tells nothing of what comes."""
        self._highest.clear()
        self._oracle.ledger_lost()
        self.replays.ledger_lost()

    def _on_settle(self, act: Act, application: Application | None) -> None:
        """A record is counted as its repairs make it, or never."""
        number = act.head.sequence_number
        state = self._oracle.states[number]
        if state != State.PENDING:
            raise Violation("a quarantined record is dealt with once", f"{number} was {state}")
        self._traced("quarantine", self._operators.audit)
        self._oracle.states[number] = State.DISCARDED if application is None else State.APPLIED
        if application is None:
            return
        wire = self._oracle.truth.wire(act.head.shard, number)
        entry = decode(repaired(wire, application.repairs, _RULES), _RULES, None)
        wanted = (entry.player, Delta(1, entry.score, entry.date)) if isinstance(entry, Game) else None
        if wanted != (application.player, application.delta):
            raise Violation("a redriven record counts as it is", f"{number}: {wanted}, not {application.delta}")
        assert isinstance(entry, Game)
        self._oracle.redrive(entry)

    def _on_resume(self, seen: LeaseRow, stored: LeaseRow, free_to: str | None) -> None:
        """Who closes a circuit has seen it open, not another halt since."""
        shard = seen.shard
        if stored.circuit.halted_at is None or stored.circuit.resumes != seen.circuit.resumes:
            facts = f"{shard}: {stored.circuit} was seen as {seen.circuit}"
            raise Violation("a circuit is closed by who saw it open", facts)
        self._recent.pop(shard, None)
        if free_to is not None:
            self._free_to[shard] = free_to
        self._traced("quarantine", self._operators.audit)

    def _on_halt(self, stored: LeaseRow, resumes: int) -> None:
        """A halt of before a person's resume does not undo it."""
        if stored.circuit.resumes != resumes:
            facts = f"{stored.shard} was resumed {stored.circuit.resumes} times; the halt knows of {resumes}"
            raise Violation("a circuit that was closed stays closed", facts)

    def _on_place(self, seen: LeaseRow | None, before: LeaseRow | None, after: LeaseRow) -> None:
        """What happens is what the person was told; nobody living is robbed, and no epoch comes back."""
        shard = after.shard
        if _position(seen) != _position(before):
            raise Violation("a shard is placed as it was seen", f"{shard}: {_position(before)}, not {_position(seen)}")
        if before is not None:
            self._watch.nobody_robbed(before, "a person")
        highest = max(self._highest.get(shard, 0), before.epoch if before is not None else 0)
        if after.epoch <= highest:
            raise Violation("an epoch is never used again", f"{shard} is placed with {after.epoch} after {highest}")
        self._highest[shard] = after.epoch
        self._recent.pop(shard, None)
        self._free_to.pop(shard, None)
        self._traced("ledger", self._placements.trail)
        self._oracle.move(shard, after.checkpoint)

    def _on_amend(self, amendment: Amendment, stored: Birth | None, pinned: bool) -> None:
        """What happens is what the person was told."""
        if (stored, pinned) != (amendment.before, amendment.pinned):
            facts = f"{amendment} of {stored}, {'with' if pinned else 'without'} a pin"
            raise Violation("what is adopted is what was seen", facts)
        self._traced("births", self._births.trail)
        if amendment.after is None:
            for shard in {*self._recent, *self._free_to} - self._tables.rows.keys():
                self._recent.pop(shard, None)
                self._free_to.pop(shard, None)
            self._oracle.begin_anew(amendment.stream_arn, lineage.missing(self._tables.load()))

    def _traced(self, where: str, trail: Sized) -> None:
        self._acts[where] += 1
        if len(trail) != self._acts[where]:
            raise Violation("every act leaves a trace", f"{self._acts[where]} acts and {len(trail)} traces")

    def _on_claim(self, before: LeaseRow, claimed: LeaseRow) -> None:
        self._highest[claimed.shard] = max(self._highest.get(claimed.shard, 0), claimed.epoch)
        self._claimed(before, claimed)

    def _on_commit(self, lease: Lease, unit: Unit, fills_gap: bool) -> None:
        self._committed(lease, unit, fills_gap)
        if self._breaker is not None and (unit.poison or self._recent.get(lease.shard)):
            self._watch_flood(lease.shard, unit, self._breaker)

    def _watch_flood(self, shard: Shard, unit: Unit, breaker: Breaker) -> None:
        """Of the last records fewer are quarantined than trip the breaker, unless a person let them through."""
        recent = self._recent.setdefault(shard, [])
        poison = {each.sequence_number for each in unit.poison}
        free_to = self._free_to.get(shard)
        numbers = [
            each for each in self._oracle.truth.between(shard, unit.previous, unit.last) if each >= int(unit.first)
        ]
        for entry in self._oracle.truth.entries(shard, numbers):
            bad = isinstance(entry, Poison) or entry.sequence_number in poison
            if bad and free_to is not None and rank(entry.sequence_number) <= rank(free_to):
                continue
            if bad or isinstance(entry, Game):
                recent.append(bad)
                del recent[: -breaker.window]
            if sum(recent) >= breaker.poison:
                raise Violation("a flood is not quarantined", f"{entry.sequence_number} of {shard}: {recent}")
        if free_to is not None and rank(unit.last) >= rank(free_to):
            del self._free_to[shard]


def _position(row: LeaseRow | None) -> tuple[str | None, int, str] | None:
    return None if row is None else (row.owner, row.epoch, row.checkpoint)


_RULES = Rules()
