"""`consumer replay`, step by step: a claim, a scout, and the machine that counts; interrupted ones are run again."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from itertools import count
from typing import TYPE_CHECKING, Any, Final

from consumer.domain.leases import Shard
from consumer.domain.outcomes import Ledger
from consumer.domain.position import TRIM_HORIZON
from consumer.domain.records import Rules
from consumer.domain.replay import LATEST, Mode
from consumer.operations.replay import plan
from consumer.operations.replay.calls import FindRows, Rows, World, perform
from consumer.operations.replay.claim import Claim
from consumer.operations.replay.leftovers import Leftovers, pending_of
from consumer.operations.replay.plan import Wish
from consumer.operations.replay.reader import Reader
from consumer.operations.replay.recount import Recount
from consumer.retries import JitteredBackoff
from tests.fakes import FakeReplays, FakeTables
from tests.simulation.person import Script, Step
from tests.simulation.worker import UNIX

if TYPE_CHECKING:
    from tests.simulation.operators import Operators
    from tests.simulation.world import Simulation

ELSEWHERE: Final = "Elsewhere"


class Replaying:
    """Scripts of replays in all modes, and the tables they write. Who runs one again, or beside it, wants the same."""

    def __init__(self, simulation: Simulation, operators: Operators) -> None:
        tables = simulation.tables
        self.board = FakeTables(off=tables.off)
        self.rows = FakeReplays(tables, {ELSEWHERE: self.board})
        self._simulation = simulation
        self._operators = operators
        self._wishes: dict[str, Wish] = {}
        commits = {ELSEWHERE: self.board, tables.names.leaderboard: tables}
        self._worlds = {
            target: World(lambda _: simulation.streams, self.rows, operators.quarantine, board)
            for target, board in commits.items()
        }

    def replay(self, name: str) -> Script:
        """As `consumer replay` does it for one shard."""
        tables = self._simulation.tables
        ledger: Ledger = yield Step("Load", tables.load)
        pinned = {pin.stream_arn for pin in ledger.pins}
        counted = [row for row in ledger.rows if row.checkpoint != TRIM_HORIZON and row.shard.stream_arn in pinned]
        if not counted:
            return
        wish = self._wish(name, sorted(row.shard for row in counted))
        order = plan.order(ledger, wish)
        ask = partial(self._steps, self._worlds[wish.target])
        claim = Claim(order.shard, wish.target)
        yield from ask(claim)
        claim.refuse_busy()
        progress = plan.progress_of(order, claim.found, f"{name} act", f"{name} runner", name, self._now())
        self._operators.oversight.replays.begins(progress.act, again=wish.again)
        backoff = JitteredBackoff(self._simulation.dice.source(name), first_seconds=0.05, most_seconds=1.0)
        if wish.mode is Mode.PENDING:
            rows: Rows = yield self._step(FindRows(order.shard), self._worlds[wish.target])
            heads = pending_of(rows.heads.values(), progress.range)
            tokens = (f"{name} {number}" for number in count())
            yield from ask(Leftovers(claim.found, progress, heads, Rules(), name, self._now, partial(next, tokens)))
            return
        reader = Reader(progress.shard, progress.range, progress.position, backoff)
        yield from ask(reader)
        if reader.strange is None and (reader.wires or not reader.trimmed):
            machine = Recount(claim.found, progress, reader, Rules(), order.floor, backoff, name, self._now)
            yield from ask(machine)
            self._simulation.happened["a replay is finished"] += machine.finished

    def _wish(self, name: str, shards: list[Shard]) -> Wish:
        order = name.rstrip("'").partition(" ")[2]
        if order in self._wishes:
            return self._wishes[order]
        random = self._simulation.dice.source(order)
        shard = random.choice(shards)
        numbers = list(map(str, self._simulation.oracle.truth.numbers(shard)))
        first = random.choice((TRIM_HORIZON, *numbers[: len(numbers) // 2]))
        behind = [each for each in numbers if first == TRIM_HORIZON or int(each) >= int(first)]
        last = random.choice((LATEST, LATEST, *behind))
        mode = random.choice((Mode.RECOUNT, Mode.RECOUNT, Mode.PENDING))
        elsewhere = mode is Mode.RECOUNT and random.random() < 0.4
        target = ELSEWHERE if elsewhere else self._simulation.tables.names.leaderboard
        wish = Wish(str(shard), first, last, mode, target, again=random.random() < 0.2, elsewhere=elsewhere)
        self._wishes[order] = wish
        return wish

    def _steps(self, world: World, machine: Any) -> Script:
        while (due := machine.due()) is not None:
            machine.take((yield self._step(due.call, world, due.after_seconds)))

    def _step(self, call: Any, world: World, pause_seconds: float = 0.0) -> Step:
        effect: Callable[[], object] = partial(perform, call, world)
        return Step(type(call).__name__, effect, pause_seconds)

    def _now(self) -> float:
        return UNIX + self._simulation.now
