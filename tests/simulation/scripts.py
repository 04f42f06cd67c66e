"""What operators' commands do, step by step, over the fakes: the machines of `consumer.operations` and their calls."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from consumer.domain.leases import Shard
from consumer.domain.outcomes import Ledger
from consumer.domain.position import TRIM_HORIZON
from consumer.domain.quarantine import Head, State
from consumer.domain.records import Rules
from consumer.operations import acts, adopt, checkpoint, liveness, resume
from consumer.operations.discard import Discard
from consumer.operations.redrive import NO_REPAIR, Redrive, Repair
from tests.simulation.person import Script, Step
from tests.simulation.scale import TTL_SECONDS
from tests.simulation.worker import UNIX

if TYPE_CHECKING:
    from tests.simulation.operators import Operators
    from tests.simulation.world import Simulation

MOST_HEADS: Final = 6
LOOK_SECONDS: Final = 1.0
MOST_LOOKS: Final = 6
"""Whoever resumes waits for a halt so often."""
WHOLE: Final = Repair({"score": "12.5", "player": "p0", "timestamp": "2026-05-05"}, only_wrong=True)
"""With it whatever floods write becomes a game."""


class Scripts:
    """Each makes a command's script for the person of a name, which is what he draws from, too."""

    def __init__(self, simulation: Simulation, operators: Operators) -> None:
        self._simulation = simulation
        self._operators = operators

    def redrive(self, name: str) -> Script:
        """What is pending, one after the other: as it is, or with repairs."""
        random = self._simulation.dice.source(name)
        repair = random.choice((NO_REPAIR, WHOLE, WHOLE))
        heads = yield Step("Heads", self._pending)
        for head in self._some(name, heads):
            token = f"{name} {head.sequence_number}"
            machine = Redrive(head, repair, Rules(), name, self._now, token)
            yield from self._drive(machine, self._perform)
            self._operators.oversight.told(head, machine.result, token)

    def discard(self, name: str) -> Script:
        """Some of what is pending."""
        heads = yield Step("Heads", self._pending)
        for head in self._some(name, heads):
            token = f"{name} {head.sequence_number}"
            machine = Discard(head, "of no use", name, self._now, token)
            yield from self._drive(machine, self._perform)
            self._operators.oversight.told(head, machine.result, token)

    def resume(self, name: str) -> Script:
        """A halted shard; with all that it holds at this moment, or not."""
        random = self._simulation.dice.source(name)
        for _ in range(MOST_LOOKS):
            ledger: Ledger = yield Step("Load", self._simulation.tables.load, LOOK_SECONDS)
            halted = sorted(str(row.shard) for row in ledger.rows if row.circuit.halted_at is not None)
            if halted:
                break
        else:
            return
        row = resume.find_halted(random.choice(halted), ledger)
        everything = random.random() < 0.7
        machine = resume.Resume(row, name, self._now, name, quarantine_all=everything)
        streams = self._simulation.streams
        yield from self._drive(
            machine, lambda call: resume.perform(call, self._operators.quarantine, lambda _: streams)
        )
        self._operators.oversight.resumed(row.shard, machine.lost, name)

    def place(self, name: str) -> Script:
        """A shard that has a row: back, forward, or where it is."""
        random = self._simulation.dice.source(name)
        ledger: Ledger = yield Step("Load", self._simulation.tables.load)
        rows = sorted((row for row in ledger.rows if not row.finished), key=lambda row: row.shard)
        if not rows:
            return
        row = random.choice(rows)
        if row.owner is not None and random.random() < 0.7:
            self._stop(row.owner)
            yield Step("Load", self._simulation.tables.load, random.uniform(0.1, 1.0))
            ledger = yield Step("Load", self._simulation.tables.load)
        truth = self._simulation.oracle.truth
        gaps = sorted(at for shard, at in self._simulation.tables.gaps if shard == row.shard)
        positions = [TRIM_HORIZON, row.checkpoint, *map(str, truth.numbers(row.shard)), *gaps * 4]
        yield from self._set(ledger, row.shard, random.choice(positions), name)

    def remake(self, name: str) -> Script:
        """A row that was deleted: where it was, as the worker's log tells, or elsewhere."""
        random = self._simulation.dice.source(name)
        ledger: Ledger = yield Step("Load", self._simulation.tables.load)
        deleted = sorted(self._simulation.oracle.deleted - {row.shard for row in ledger.rows})
        if not deleted or self._simulation.hands.ruined:
            return
        shard = random.choice(deleted)
        if self._operators.oversight.outran(shard, self._now):
            return
        positions = [TRIM_HORIZON, *map(str, self._simulation.oracle.truth.numbers(shard))]
        known = self._simulation.oracle.checkpoint(shard)
        yield from self._set(ledger, shard, random.choice((known, random.choice(positions))), name)

    def adopt(self, name: str) -> Script:
        """All workers are stopped first, as the command's help says; later they start again."""
        tables, births = self._simulation.tables, self._operators.births
        for owner in [worker.owner for worker in self._simulation.workers]:
            self._stop(owner)
        ledger: Ledger = yield Step("Load", tables.load, self._simulation.dice.source(name).uniform(0.1, 1))
        born = yield Step("Births", births.births)
        for amendment in adopt.amendments(born, ledger.pins, tables.names):
            effect: Callable[[], object] = partial(births.amend, amendment, adopt.trace(amendment, name, self._now))
            adopt.judge(amendment, (yield Step("Amend", effect)))
            self._simulation.happened["a stream is adopted"] += 1
        self._simulation.start_refused()

    def unadopted(self) -> bool:
        """Whether there is something to adopt."""
        tables = self._simulation.tables
        return bool(adopt.amendments(self._operators.births.births(), tables.load().pins, tables.names))

    def _set(self, ledger: Ledger, shard: Shard, position: str, name: str) -> Script:
        placements = self._operators.placements
        placement = checkpoint.plan(ledger, str(shard), position, UNIX + self._simulation.now)
        if placement.before is not None and placement.before.owner is not None:
            vigil = liveness.watching(placement.before.owner, TTL_SECONDS)
            pause = next(vigil)
            while True:
                members, _ = yield Step("Look", placements.look, pause)
                try:
                    pause = vigil.send(members)
                except StopIteration as end:
                    if end.value:
                        raise checkpoint.still_owned(placement) from None
                    break
        trace = checkpoint.trace(placement, name, self._now)
        effect: Callable[[], object] = partial(placements.place, placement.before, placement.after, trace)
        checkpoint.judge(placement, (yield Step("Place", effect)))
        self._simulation.happened["a shard is placed"] += 1

    def _drive(self, machine: Any, perform: Callable[[Any], object]) -> Script:
        while (call := machine.due()) is not None:
            machine.take((yield Step(type(call).__name__, partial(perform, call))))

    def _perform(self, call: acts.Call) -> acts.Reply:
        return acts.perform(call, self._operators.quarantine, self._simulation.tables)

    def _pending(self) -> list[Head]:
        heads = (head for head in self._operators.quarantine.heads() if head.state == State.PENDING)
        return sorted(heads, key=lambda head: head.order)

    def _some(self, name: str, heads: list[Head]) -> list[Head]:
        random = self._simulation.dice.source(name)
        return heads[: random.randrange(1, MOST_HEADS)]

    def _stop(self, owner: str) -> None:
        """As the command says: stop it first."""
        for worker in self._simulation.workers:
            if worker.owner == owner and worker.alive:
                worker.worker.drain()
                worker.turn()

    @property
    def _now(self) -> float:
        return UNIX + self._simulation.now
