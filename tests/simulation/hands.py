"""What people do in a simulation: stop workers, set clocks, delete rows that nobody should."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

from consumer.domain.leases import Birth, Pin
from tests.simulation.eventful import Eventful
from tests.simulation.scale import TROUBLED_SECONDS
from tests.simulation.worker import UNIX

if TYPE_CHECKING:
    from tests.simulation.world import Simulation


class Hands(Eventful):
    """Not the commands (see Operators): what befalls an installation by hands that ought to know better.

    `ruined`: the ledger is lost, so nothing can be finished; nothing may be counted twice all the same.
    """

    def __init__(self, simulation: Simulation) -> None:
        super().__init__(simulation, simulation.dice.source("hands"))
        self.ruined = False
        self._plans = self.random

    def plan(self) -> None:
        """Over the troubled time."""
        random = self._plans
        if random.random() < 0.4:
            for _ in range(random.choice((1, 2, 4))):
                self._at("SIGTERM", self._stop)
        if random.random() < 0.35:
            first = random.uniform(3, 8)
            for turn in range(8):
                self.befall("hand flap", first + turn * random.uniform(1.5, 4), self._flap)
        if random.random() < 0.4:
            for _ in range(4):
                self._at("passer-by", self._pass_by)
        if random.random() < 0.3:
            for _ in range(2):
                self._at("clock", self._set_clock)
        if random.random() < 0.1:
            self._at("delete row", self._delete_row)
        if random.random() < 0.03:
            self._at("delete pin", self._delete_pin)
        if random.random() < 0.03:
            self._at("empty table", self._empty_table)
        if random.random() < 0.03:
            self._at("birth row", self._swap_birth)

    def _at(self, what: str, action: Callable[[], None]) -> None:
        self.befall(f"hand {what}", self._plans.uniform(3, TROUBLED_SECONDS), action)

    def _ruined(self, what: str, sentence: str) -> None:
        self._note(what, sentence)
        self._simulation.operators.be_called()

    def _note(self, what: str, sentence: str) -> None:
        self._simulation.happened[what] += 1
        self._simulation.note("hand", sentence)

    def _stop(self) -> None:
        """SIGTERM; it starts again after it has left."""
        self._term(lambda _: True)

    def _flap(self) -> None:
        """Always the same one, so that the others lose shards and get them back."""
        self._term(lambda name: name == "w1")

    def _term(self, wanted: Callable[[str], bool]) -> None:
        living = [worker for worker in self._simulation.workers if worker.alive and wanted(worker.name)]
        if living:
            worker = self.random.choice(living)
            self._note("SIGTERM", f"stops {worker.owner}")
            worker.worker.drain()
            worker.turn()

    def _pass_by(self) -> None:
        """A worker that nobody else has seen claims a shard, reads nothing, and gives it back."""
        tables = self._simulation.tables
        held = sorted(shard for shard, row in tables.rows.items() if not row.finished and row.owner is not None)
        if held:
            row = tables.rows[self.random.choice(held)]
            tables.rows[row.shard] = replace(row, owner=None, epoch=row.epoch + 1)
            tables.changes += 1
            self._note("passer-by", f"claims {row.shard} from {row.owner} and gives it back")

    def _set_clock(self) -> None:
        if not self._simulation.workers:
            return
        worker = self.random.choice(self._simulation.workers)
        self._note("clock set", f"sets the clock of {worker.owner}")
        worker.set_clock()

    def _delete_row(self) -> None:
        """Nobody knows how far the shard is, so it and what comes after it must stand still.

        Seconds pass between a command and a hand: a row made again then has an epoch above all before.
        """
        tables = self._simulation.tables
        complete = {pin.stream_arn for pin in tables.pins.values() if pin.complete}
        unfinished = sorted(
            shard for shard, row in tables.rows.items() if not row.finished and shard.stream_arn in complete
        )
        if unfinished:
            shard = self.random.choice(unfinished)
            if tables.rows[shard].epoch >= int(UNIX + self._simulation.now):
                return
            del tables.rows[shard]
            self._simulation.oracle.deleted.add(shard)
            self._note("row deleted", f"deletes the row of {shard}")

    def _delete_pin(self) -> None:
        if self._pin is not None and not self.ruined:
            self._ruin()
            del self._simulation.tables.pins[self._pin.stream_arn]
            self._ruined("pin deleted", "deletes the newest stream's row")

    def _empty_table(self) -> None:
        """The whole lease table: deleted, and made again."""
        if self._pin is not None and not self.ruined:
            tables = self._simulation.tables
            self._ruin()
            self._simulation.oracle.deleted.update(tables.rows)
            tables.pins.clear()
            tables.rows.clear()
            tables.workers.clear()
            self._simulation.operators.replaying.rows.rows.clear()
            self._ruined("table emptied", "empties the lease table")

    def _swap_birth(self) -> None:
        """Another quarantine table, or one that another installation has used."""
        if self._pin is not None and not self.ruined:
            births, arn = self._simulation.tables.births, self._pin.stream_arn
            self._ruin()
            del births[arn]
            if self.random.random() < 0.5:
                births[arn] = Birth(arn, self._simulation.tables.names.leases, "Elsewhere")
            self._ruined("birth row swapped", "swaps the birth row of the newest stream")

    @property
    def _pin(self) -> Pin | None:
        return self._simulation.tables.pins.get(self._simulation.streams.arn)

    def _ruin(self) -> None:
        self.ruined = True
        self._simulation.oracle.truth.remember_floor()
