"""Operators in a simulation: when which command is run, and the floods of poison that make some of them needed."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Final

from consumer.domain.breaker import Breaker
from tests.fakes import FakeOperators
from tests.fakes.overseers import FakeBirths, FakePlacements
from tests.simulation.oversight import Oversight
from tests.simulation.person import Person, Script
from tests.simulation.replaying import Replaying
from tests.simulation.scale import HEALING_SECONDS, LATEST_SECONDS, TROUBLED_SECONDS
from tests.simulation.scripts import Scripts
from tests.simulation.worker import UNIX

if TYPE_CHECKING:
    from tests.simulation.world import Simulation

FLOOD_RECORDS: Final = 9
TEND_SECONDS: Final = 3.0
MOST_RUNS: Final = 3
"""Of a command that crashes: then its person gives up."""
NEVER: Final = Breaker()
EASY: Final = Breaker(poison=4, window=8)
_SPOILED: Final = (
    {"score": {"S": "many"}},
    {"playerId": {"N": "7"}},
    {"timestamp": {"S": "yesterday"}},
)


class Operators:
    """In some worlds people deal with what is in quarantine, in some a flood trips breakers, in some rows are placed.

    Everything draws from sources of its own, so that a world without operators is as it was.
    """

    def __init__(self, simulation: Simulation) -> None:
        self._simulation = simulation
        self._plans = random = simulation.dice.source("operators")
        self._busy = random.random() < 0.45
        self._floods = self._busy and random.random() < 0.5
        self._chance = random.choice((0.1, 0.4, 0.5, 0.7))
        self.breaker = EASY if self._floods else NEVER
        self.quarantine = FakeOperators(simulation.tables)
        self.placements = FakePlacements(simulation.tables, lambda: UNIX + simulation.now)
        self.births = FakeBirths(simulation.tables)
        self.adopts = False
        """Somebody mends a lost ledger: else it is refused for ever."""
        self.replaying = Replaying(simulation, self)
        self.oversight = Oversight(
            simulation.oracle,
            simulation.watch,
            simulation.tables,
            self.quarantine,
            self.placements,
            self.births,
            self.replaying.rows,
            self.breaker if self._floods else None,
        )
        self._scripts = Scripts(simulation, self)
        self._persons = 0
        self._healed = False

    def plan(self) -> None:
        """Over the troubled time."""
        random = self._plans
        if not self._busy:
            return
        scripts = self._scripts
        for _ in range(random.choice((1, 2, 3))):
            self._at("redrive", 6, scripts.redrive)
        for _ in range(random.choice((0, 1, 1))):
            self._at("discard", 6, scripts.discard)
        if self._floods:
            for _ in range(random.choice((1, 2))):
                flood = random.uniform(2, 18)
                self._flood(flood)
                for _ in range(3):
                    self._at("resume", flood + 2, scripts.resume, flood + 12)
        if random.random() < 0.7:
            for _ in range(random.choice((1, 2))):
                self._at("set", 6, scripts.place)
        for _ in range(2):
            self._at("remake", 8, scripts.remake)
        for _ in range(random.choice((0, 1, 2))):
            self._at("replay", 6, self.replaying.replay)

    def be_called(self) -> None:
        """The ledger is lost, or its birth row. Only where one stream is read from its horizon it is known what it
        counts when it is begun anew.
        """
        simulation = self._simulation
        self.oversight.ledger_lost()
        random = simulation.dice.source("adopting")
        lost = len(simulation.tables.pins) < len(simulation.streams.streams)
        clear = not lost or (simulation.start == "TRIM_HORIZON" and len(simulation.streams.streams) == 1)
        self.adopts = self._busy and clear and random.random() < 0.8
        for number in range(random.choice((1, 2, 2)) if self.adopts else 0):
            name = f"op{number} adopt {simulation.now:.3f}"
            at = simulation.now + LATEST_SECONDS + random.uniform(0.5, 6)
            simulation.at(at, partial(self._decide, name, "adopt", self._scripts.adopt))

    def tend(self) -> None:
        """From now on calls reach their aim, and somebody resumes what is halted until nothing is."""
        self._healed = True
        if self._floods or self.adopts:
            self._simulation.at(self._simulation.now + TEND_SECONDS, self._tend)

    def _tend(self) -> None:
        simulation = self._simulation
        if any(row.circuit.halted_at is not None for row in simulation.tables.rows.values()):
            self._send("tend", self._scripts.resume)
        if self.adopts:
            simulation.start_refused()
            if simulation.now > TROUBLED_SECONDS + LATEST_SECONDS and self._scripts.unadopted():
                self._send("adopt", self._scripts.adopt)
        if simulation.now < TROUBLED_SECONDS + HEALING_SECONDS:
            simulation.at(simulation.now + TEND_SECONDS, self._tend)

    def _at(self, what: str, first: float, script: Callable[[str], Script], last: float = TROUBLED_SECONDS) -> None:
        """Often two people do the same at about the same time, or one command does not know of the other."""
        at = self._plans.uniform(first, last)
        twice = self._plans.random() < 0.4
        for number in range(1 + twice):
            name = f"op{number} {what} {at:.3f}"
            self._simulation.at(at + 0.01 * number, partial(self._decide, name, what, script))

    def _decide(self, name: str, what: str, script: Callable[[str], Script]) -> None:
        if self._simulation.dice.takes_place(name):
            self._send(what, script, name)

    def _send(self, what: str, script: Callable[[str], Script], name: str = "") -> None:
        self._persons += 1
        name = name or f"op {what} {self._simulation.now:.3f}"
        self._simulation.happened[f"operator: {what}"] += 1
        self._simulation.note(name, "begins")

        def again() -> None:
            if self._simulation.dice.takes_place(f"{name} again") and not name.endswith(MOST_RUNS * "'"):
                after = self._simulation.dice.source(name).uniform(0.1, 3)
                self._simulation.at(self._simulation.now + after, lambda: self._send(what, script, f"{name}'"))

        Person(self._simulation, name, script(name), 0.0 if self._healed else self._chance, again).begin()

    def _flood(self, at: float) -> None:
        """A producer's mistake: for a while hardly a record is good."""
        name = f"stream flood {at:.3f}"

        def write(number: int) -> None:
            simulation = self._simulation
            random = simulation.dice.source(f"{name} {number}")
            open_shards = sorted(shard.shard_id for shard in simulation.streams.shards.values() if not shard.closed)
            image: dict[str, object] = {
                "playerId": {"S": f"p{random.randrange(4)}"},
                "score": {"N": "1.5"},
                "timestamp": {"S": "2026-03-03"},
            }
            if random.random() < 0.9:
                image |= random.choice(_SPOILED)
            simulation.streams.write(open_shards[0], image)

        def begin() -> None:
            if self._simulation.dice.takes_place(name):
                self._simulation.happened["flood"] += 1
                for number in range(FLOOD_RECORDS):
                    self._simulation.at(at + 0.3 * number, partial(write, number))

        self._simulation.at(at, begin)
