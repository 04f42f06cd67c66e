"""Operators in a simulation: which commands run when, and how a command survives what the nemesis does to its calls."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Final

from consumer.domain.breaker import Breaker
from consumer.domain.errors import CallFailed, ConsumerError, DataTrimmed, FailureKind, IteratorExpired
from consumer.domain.records import Rules
from consumer.operations.quarantine import QuarantineService
from consumer.operations.steps import OperatorCall, Step
from tests.simulation.commands import Commands, ReplayCommand, Script
from tests.simulation.correction_invariants import CorrectionOperators
from tests.simulation.nemesis import Fault
from tests.simulation.operator_invariants import OperatorInvariants
from tests.simulation.scale import (
    FAULT_SECONDS,
    HEALING_SECONDS,
    LATEST_AGAIN_SECONDS,
    LATEST_NEW_ROW_SECONDS,
    LATEST_SECONDS,
)
from tests.support.fakes import FakeQuarantine
from tests.support.fakes.operators import FakeGaps, FakeLeaseAdmin, FakeRuleList, FakeTableBindings

if TYPE_CHECKING:
    from tests.simulation.simulation import Simulation

FLOOD_RECORDS: Final = 9
CLEAN_UP_SECONDS: Final = 3.0
MOST_RUNS: Final = 3
"""How often a command that crashes is run again."""
ATTEMPTS: Final = 8
"""A command gives up after so many failed attempts of a call; whether the last ones took effect is unknown."""
NEVER_TRIPPED: Final = Breaker()
EASILY_TRIPPED: Final = Breaker(poison=4, window=8, first=2)
_SPOILED: Final = (
    {"score": {"S": "many"}},
    {"playerId": {"N": "7"}},
    {"timestamp": {"S": "yesterday"}},
)
_FAILURES: Final = {Fault.THROTTLED: FailureKind.THROTTLED, Fault.CONFLICT: FailureKind.CONFLICT}


class Operators:
    """Plans the commands. In some runs quarantined records are resolved, floods trip breakers, shards are placed.

    Everything draws from sources of its own, so that a run without operators stays the same.
    """

    def __init__(self, simulation: Simulation) -> None:
        self._simulation = simulation
        self._plans = random = simulation.dice.source("operators")
        self._busy = random.random() < (0.45 if simulation.correcting is None else 0.8)
        self._floods = self._busy and random.random() < 0.5
        self._chance = random.choice((0.1, 0.4, 0.5, 0.7))
        self.breaker = EASILY_TRIPPED if self._floods else NEVER_TRIPPED
        self.quarantine = FakeQuarantine(simulation.tables)
        self.lease_admin = FakeLeaseAdmin(simulation.tables, self.now)
        self.bindings = FakeTableBindings(simulation.tables)
        self.gaps = FakeGaps(simulation.tables)
        self.rule_list = FakeRuleList(simulation.tables)
        self.adopts = False
        """Whether `init --adopt` will mend the lost ledger; else workers refuse to start for ever."""
        self.replays = ReplayCommand(simulation, self)
        correcting = simulation.correcting
        self.invariants = (OperatorInvariants if correcting is None else CorrectionOperators)(
            simulation.ledger_invariants,
            simulation.worker_invariants,
            simulation.tables,
            self.quarantine,
            self.lease_admin,
            self.bindings,
            self.gaps,
            self.replays.rows,
            self.breaker if self._floods and correcting is None else None,
            self.rules,
        )
        if isinstance(self.invariants, CorrectionOperators):
            self.quarantine.on_restore = self.invariants.on_restore
        self._commands = Commands(simulation, self)
        self._healed = False

    def service(self, name: str, token: Callable[[], str]) -> QuarantineService:
        """The quarantine, as the operator who runs this command sees it."""
        tables = self._simulation.tables
        rules, changing = self.rules()[-1], self._simulation.changing
        now = self.now if changing is None else partial(changing.operators_clock, name)
        return QuarantineService(self.quarantine, tables, tables.rows.keys, lambda: name, now, token, rules=rules)

    def rules(self) -> Sequence[Rules]:
        """Those by which commands have read records; the last ones are the current ones."""
        changing = self._simulation.changing
        correcting = self._simulation.correcting
        if correcting is not None:
            return (correcting.operators_rules(),)
        return (Rules(),) if changing is None else changing.operators_rules()

    def now(self) -> float:
        """Unix seconds."""
        return self._simulation.unix_now()

    def plan(self) -> None:
        """Plans the commands of the time in which faults happen."""
        random = self._plans
        if not self._busy:
            return
        commands = self._commands
        for _ in range(random.choice((1, 2, 3))):
            self._at("redrive", 6, commands.redrive)
        for _ in range(random.choice((0, 1, 1))):
            self._at("discard", 6, commands.discard)
        if self._floods:
            for _ in range(random.choice((1, 2))):
                flood = random.uniform(2, 18)
                self._flood(flood)
                for _ in range(3):
                    self._at("resume", flood + 2, commands.resume, flood + 12)
        if self._simulation.correcting is not None:
            for what, script in (("redrive", commands.redrive), ("discard", commands.discard)):
                for _ in range(random.choice((1, 4, 8))):
                    self._at(what, 4, script)
            for _ in range(random.choice((1, 3, 6))):
                self._at("restore", 6, commands.restore)
            return  # what is read again would be corrected again: a new board is the cure
        if random.random() < 0.7:
            for _ in range(random.choice((1, 2))):
                self._at("set", 6, commands.set_checkpoint)
        for _ in range(2):
            self._at("recreate", 8, commands.recreate_row)
        for _ in range(random.choice((0, 1, 2))):
            self._at("replay", 6, self.replays.replay)
        for _ in range(2):
            self._at("acknowledge", 8, commands.acknowledge)

    def plan_accept(self, name: str, rules: Rules, at: float) -> None:
        """Plans `init --accept-rules`."""
        script = partial(self._commands.accept, rules=rules)
        self._simulation.at(at, partial(self._decide, f"{name} {at:.3f}", "accept", script))

    def plan_adoption(self) -> None:
        """The ledger, or a table binding, was lost: plans `init --adopt`, in some runs.

        Only where one stream is read from its horizon is it known what an adopted stream counts.
        """
        simulation = self._simulation
        self.invariants.ledger_lost()
        random = simulation.dice.source("adopting")
        lost = len(simulation.tables.stream_starts) < len(simulation.streams.streams)
        known = not lost or (simulation.start == "TRIM_HORIZON" and len(simulation.streams.streams) == 1)
        self.adopts = self._busy and known and random.random() < 0.8
        for number in range(random.choice((1, 2, 2)) if self.adopts else 0):
            name = f"op{number} adopt {simulation.now:.3f}"
            at = simulation.now + LATEST_SECONDS + random.uniform(0.5, 6)
            simulation.at(at, partial(self._decide, name, "adopt", self._commands.adopt))

    def recreate_soon(self) -> None:
        """An operator makes a deleted row again."""
        self._at("recreate", self._simulation.now + 1, self._commands.recreate_row, self._simulation.now + 6)

    def heal(self) -> None:
        """Calls do not fail any more, and halted shards are resumed until none is left."""
        self._healed = True
        if self._floods or self.adopts or self._simulation.keyed is not None:
            self._simulation.at(self._simulation.now + CLEAN_UP_SECONDS, self._clean_up)

    def _clean_up(self) -> None:
        simulation = self._simulation
        if simulation.keyed is not None:
            simulation.keyed.accept_marks()
        if any(row.circuit.halted_at is not None for row in simulation.tables.rows.values()):
            self._run("clean up", self._commands.resume)
        if self.adopts:
            simulation.start_refused()
            if simulation.now > FAULT_SECONDS + LATEST_SECONDS and self._commands.may_adopt():
                self._run("adopt", self._commands.adopt)
        if simulation.now < FAULT_SECONDS + HEALING_SECONDS:
            simulation.at(simulation.now + CLEAN_UP_SECONDS, self._clean_up)

    def _at(self, what: str, first: float, script: Callable[[str], Script], last: float = FAULT_SECONDS) -> None:
        """Often two operators run the same command at about the same time."""
        at = self._plans.uniform(first, last)
        twice = self._plans.random() < 0.4
        for number in range(1 + twice):
            name = f"op{number} {what} {at:.3f}"
            self._simulation.at(at + 0.01 * number, partial(self._decide, name, what, script))

    def _decide(self, name: str, what: str, script: Callable[[str], Script]) -> None:
        if self._simulation.dice.takes_place(name):
            self._run(what, script, name)

    def _run(self, what: str, script: Callable[[str], Script], name: str = "") -> None:
        name = name or f"op {what} {self._simulation.now:.3f}"
        self._simulation.happened[f"operator: {what}"] += 1
        self._simulation.note(name, "begins")

        def run_again() -> None:
            if self._simulation.dice.takes_place(f"{name} again") and not name.endswith(MOST_RUNS * "'"):
                after = self._simulation.dice.source(name).uniform(0.1, 3)
                self._simulation.at(self._simulation.now + after, lambda: self._run(what, script, f"{name}'"))

        chance = 0.0 if self._healed else self._chance
        SimulatedCommand(self._simulation, name, script(name), chance, run_again).begin()

    def _flood(self, at: float) -> None:
        """A producer's mistake: for a while hardly a record is good."""
        name = f"stream flood {at:.3f}"

        def write(number: int) -> None:
            simulation = self._simulation
            random = simulation.dice.source(f"{name} {number}")
            if simulation.correcting is not None:
                simulation.correcting.write(bad=random.random() < 0.9)
                return
            open_shards = sorted(shard.shard_id for shard in simulation.streams.shards.values() if not shard.closed)
            image: dict[str, object] = {
                "playerId": {"S": f"p{random.randrange(4)}"},
                "score": {"N": "1.5"},
                "timestamp": {"S": "2026-03-03"},
            }
            if random.random() < 0.9:
                image |= random.choice(_SPOILED)
            simulation.stream_events.write(open_shards[0], image)

        def begin() -> None:
            if self._simulation.dice.takes_place(name):
                self._simulation.happened["flood"] += 1
                for number in range(FLOOD_RECORDS):
                    self._simulation.at(at + 0.3 * number, partial(write, number))

        self._simulation.at(at, begin)


class SimulatedCommand:
    """One run of a command: its calls go out one at a time, each again until it is answered, and some fail.

    `chance`: the fault rate of its calls. `run_again`: what follows a crash.
    """

    def __init__(
        self, simulation: Simulation, name: str, script: Script, chance: float, run_again: Callable[[], object]
    ) -> None:
        self._simulation = simulation
        self._name = name
        self._script = script
        self._chance = chance
        self._run_again = run_again
        self._ended = False

    def begin(self) -> None:
        """Runs up to the first call."""
        self._proceed(lambda: next(self._script))

    def _proceed(self, go_on: Callable[[], Step]) -> None:
        if self._ended:
            return
        try:
            step = go_on()
        except StopIteration:
            self._end("is done")
        except ConsumerError as refusal:
            self._end(f"is refused: {refusal}")
        else:
            self._simulation.at(self._simulation.now + step.after_seconds, lambda: self._send(step, 1))

    def _end(self, why: str) -> None:
        self._ended = True
        self._script.close()
        self._simulation.note(self._name, why)

    def _crash(self) -> None:
        self._end("!! crashed")
        self._run_again()

    def _send(self, step: Step, attempt: int) -> None:
        if self._ended:
            return
        simulation = self._simulation
        fault, there, back, late = simulation.nemesis.deliver_to_operator(self._name, step.call, self._chance)
        simulation.steps[step.call, fault] += 1
        simulation.note(self._name, step.call, "" if fault is Fault.NONE else fault.value)
        arrives = simulation.now + there
        latest = LATEST_SECONDS
        if step.call is OperatorCall.SET_CHECKPOINT:
            latest = LATEST_NEW_ROW_SECONDS if simulation.keyed is None else LATEST_AGAIN_SECONDS
            if simulation.changing is not None:
                simulation.changing.hold(arrives + 0.1 + latest)

        def fail(at: float, kind: FailureKind = FailureKind.NETWORK) -> None:
            simulation.at(at, lambda: self._take(step, attempt, CallFailed(kind, "simulated")))

        match fault:
            case Fault.CRASH_BEFORE:
                simulation.at(arrives, self._crash)
            case Fault.LOST_REQUEST | Fault.THROTTLED | Fault.CONFLICT:
                fail(arrives + back, _FAILURES.get(fault, FailureKind.NETWORK))
            case Fault.LOST_REPLY:
                simulation.at(arrives, lambda: self._take_effect(step))
                fail(arrives + back + late)
            case Fault.LATE:
                simulation.at(arrives + latest * late, lambda: self._take_effect(step))
                fail(arrives + back + 0.5)
            case _:
                if fault is Fault.DUPLICATE:
                    simulation.at(arrives + 0.1 + latest * late, lambda: self._take_effect(step))
                slow = 3 * late if fault is Fault.SLOW else 0.0
                simulation.at(arrives, lambda: self._arrive(step, attempt, back + slow, fault))

    def _arrive(self, step: Step, attempt: int, back: float, fault: Fault) -> None:
        reply = self._take_effect(step)
        if fault is Fault.CRASH_AFTER:
            self._crash()
        self._simulation.at(self._simulation.now + back, lambda: self._take(step, attempt, reply))

    def _take_effect(self, step: Step) -> object:
        try:
            reply = step.effect()
        except (CallFailed, IteratorExpired, DataTrimmed, ValueError) as error:
            reply = error
        self._simulation.note("  =>", reply, step.call)
        return reply

    def _take(self, step: Step, attempt: int, reply: object) -> None:
        if isinstance(reply, CallFailed) and reply.kind not in step.answers:
            self._retry(step, attempt)
        elif isinstance(reply, Exception):
            self._proceed(lambda: self._script.throw(reply))
        else:
            self._proceed(lambda: self._script.send(reply))

    def _retry(self, step: Step, attempt: int) -> None:
        if attempt == ATTEMPTS:
            self._end("gives up")
        else:
            self._simulation.at(self._simulation.now + 0.1 * attempt, lambda: self._send(step, attempt + 1))
