"""Interventions from outside: workers are stopped, clocks are set, rows are deleted that must never be deleted."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

from consumer.domain.accepted_rules import AcceptedRules
from consumer.domain.leases import Shard, TableBinding
from tests.simulation.dice import PlannedEvents
from tests.simulation.scale import FAULT_SECONDS

if TYPE_CHECKING:
    from tests.simulation.simulation import Simulation


class Interventions(PlannedEvents):
    """Everything from outside but the operators' commands (see Operators).

    `ledger_lost`: the runs cannot finish any more, but no record may be counted twice.
    """

    def __init__(self, simulation: Simulation) -> None:
        super().__init__(simulation, simulation.dice.source("interventions"))
        self.ledger_lost = False
        self._plans = self.random

    def plan(self) -> None:
        """Plans the interventions of the time in which faults happen."""
        random = self._plans
        if random.random() < 0.4:
            for _ in range(random.choice((1, 2, 4))):
                self._at("SIGTERM", self._stop)
        if random.random() < 0.35:
            first = random.uniform(3, 8)
            for number in range(8):
                self.plan_event("restart w1", first + number * random.uniform(1.5, 4), self._restart_w1)
        if random.random() < 0.4:
            for _ in range(4):
                self._at("brief claim", self._claim_briefly)
        if random.random() < 0.3:
            for _ in range(2):
                self._at("clock", self._set_clock)
        if random.random() < 0.1:
            self._at("delete row", self._delete_row)
        if random.random() < 0.03:
            self._at("delete stream row", self._delete_stream_start)
        if random.random() < 0.03:
            self._at("empty table", self._empty_table)
        if random.random() < 0.03:
            self._at("swap binding", self._swap_binding)
        refusals = self._simulation.dice.source("mistyped index")
        if refusals.random() < 0.1:
            self.plan_event("intervention refusals", refusals.uniform(3, FAULT_SECONDS - 4), self._refuse_games)

    def plan_thefts(self, number: int) -> None:
        """Leases are taken from living workers, whose writes are on the way."""
        for _ in range(number):
            self._at("brief claim", self._claim_briefly)

    def plan_deletion(self, at: float) -> None:
        """A row is deleted, and an operator makes it again."""

        def delete() -> None:
            self._delete_row()
            self._simulation.operators.recreate_soon()

        self.plan_event("intervention delete row", at, delete)

    def plan_theft(self, shard: Shard, at: float) -> None:
        """The lease of this shard is taken, if a worker has it then."""
        self.plan_event(f"intervention theft of {shard}", at, lambda: self._claim_shard_briefly(shard))

    def heal(self) -> None:
        """The leaderboard takes games again."""
        self._simulation.tables.refuses_games = False

    def _at(self, what: str, action: Callable[[], None]) -> None:
        self.plan_event(f"intervention {what}", self._plans.uniform(3, FAULT_SECONDS), action)

    def _note(self, what: str, sentence: str) -> None:
        self._simulation.happened[what] += 1
        self._simulation.note("outside", sentence)

    def _stop(self) -> None:
        """SIGTERM to any worker; it starts again after it has left."""
        self._terminate(lambda _: True)

    def _restart_w1(self) -> None:
        """SIGTERM always to the same worker, so that the others lose shards and get them back."""
        self._terminate(lambda name: name == "w1")

    def _terminate(self, wanted: Callable[[str], bool]) -> None:
        living = [worker for worker in self._simulation.workers if worker.alive and wanted(worker.name)]
        if living:
            worker = self.random.choice(living)
            self._note("SIGTERM", f"stops {worker.owner}")
            worker.worker.drain()
            worker.run_due()

    def _claim_briefly(self) -> None:
        """A worker that no other has seen claims a shard, reads nothing, and releases it."""
        rows = self._simulation.tables.rows
        held = sorted(shard for shard, row in rows.items() if not row.finished and row.owner is not None)
        if held:
            self._claim_shard_briefly(self.random.choice(held))

    def _claim_shard_briefly(self, shard: Shard) -> None:
        tables = self._simulation.tables
        row = tables.rows.get(shard)
        if row is not None and not row.finished and row.owner is not None:
            tables.rows[shard] = replace(row, owner=None, epoch=row.epoch + 1)
            tables.changes += 1
            self._note("brief claim", f"claims {shard} from {row.owner} and releases it")

    def _refuse_games(self) -> None:
        """An index is added whose key has another type: the leaderboard refuses every game until faults stop."""
        self._note("games refused", "the leaderboard refuses the games of all players")
        self._simulation.tables.refuses_games = True

    def _set_clock(self) -> None:
        if not self._simulation.workers:
            return
        worker = self.random.choice(self._simulation.workers)
        self._note("clock set", f"sets the clock of {worker.owner}")
        worker.set_clock()

    def _delete_row(self) -> None:
        """The shard's position is unknown then, so the shard and its descendants must halt.

        Not in the second of its last claim: a row made again must have a higher epoch, and epochs are seconds.
        """
        tables = self._simulation.tables
        if self._simulation.correcting is not None:
            return  # what is read again would be corrected again
        complete = {start.stream_arn for start in tables.stream_starts.values() if start.complete}
        unfinished = sorted(
            shard for shard, row in tables.rows.items() if not row.finished and shard.stream_arn in complete
        )
        if unfinished:
            shard = self.random.choice(unfinished)
            if tables.rows[shard].epoch >= int(self._simulation.unix_now()):
                return
            if self._simulation.ledger_invariants.finished_once:
                return  # a shard whose row is lost besides its parent's cannot be found again
            del tables.rows[shard]
            self._simulation.ledger_invariants.deleted.add(shard)
            self._note("row deleted", f"deletes the row of {shard}")

    def _delete_stream_start(self) -> None:
        if self._may_lose_ledger():
            del self._simulation.tables.stream_starts[self._simulation.streams.arn]
            self._lose_ledger("stream row deleted", "deletes the newest stream's row")

    def _empty_table(self) -> None:
        """The whole lease table is deleted and created again."""
        if self._may_lose_ledger():
            tables = self._simulation.tables
            self._simulation.ledger_invariants.deleted.update(tables.rows)
            tables.stream_starts.clear()
            tables.rows.clear()
            tables.workers.clear()
            tables.source, tables.accepted = None, AcceptedRules()
            self._simulation.operators.replays.rows.rows.clear()
            self._lose_ledger("table emptied", "empties the lease table")

    def _swap_binding(self) -> None:
        """Another quarantine table, or one that belongs to another lease table."""
        if self._may_lose_ledger():
            bindings, arn = self._simulation.tables.bindings, self._simulation.streams.arn
            del bindings[arn]
            if self.random.random() < 0.5:
                bindings[arn] = TableBinding(arn, self._simulation.tables.names.leases, "Elsewhere")
            self._lose_ledger("binding swapped", "swaps the table binding of the newest stream")

    def _may_lose_ledger(self) -> bool:
        """Once, after the newest stream has its row. What depends on the lost rows is read, and made consistent."""
        if self.ledger_lost or self._simulation.streams.arn not in self._simulation.tables.stream_starts:
            return False
        if self._simulation.correcting is not None:
            return False  # an adopted stream is read again
        if self._simulation.changing is not None:
            return False  # with the ledger its accepted rules would be lost, and numbers would begin again
        self._simulation.ledger_invariants.records.remember_start_time()
        self._simulation.stream_events.remove_ancestors()
        return True

    def _lose_ledger(self, what: str, sentence: str) -> None:
        self.ledger_lost = True
        self._note(what, sentence)
        self._simulation.operators.plan_adoption()
