"""What a verifying run has besides: `consumer verify` at any moment, and boards that are tampered with.

Its verdicts are never wrong: a row that was changed before it began is not called equal, and one that nothing changed
is not called different. After faults have stopped, it decides.
"""

from __future__ import annotations

from collections.abc import Generator
from decimal import Context, Decimal
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from consumer.domain.errors import ConsumerError
from consumer.domain.leases import Shard
from consumer.domain.quarantine import EntryState, decode_again
from consumer.domain.records import Game, Rules, decode, unpack
from consumer.domain.replies import RawPage, StreamListing
from consumer.domain.verification import Assumption, Verdict
from consumer.operations.game_fold import wire_of
from consumer.operations.steps import Command, Step
from consumer.operations.sums import Sums
from consumer.operations.verify import Findings, Request, Verification
from tests.simulation.dice import PlannedEvents
from tests.simulation.ledger_invariants import Violation
from tests.simulation.scale import FAULT_SECONDS
from tests.support.fakes.operators import FakeTableReader
from tests.support.fakes.scans import ITEM_ID, FakeScans

if TYPE_CHECKING:
    from tests.simulation.simulation import Simulation

_WIDE: Final = Context(prec=400)
PLAYERS: Final = ("p0", "p1", "p2", "p3")
MOST_HIDDEN: Final = 3
"""So many empty pages come before a record."""
TIMEOUT_SECONDS: Final = 60.0
LAST_TIMEOUT_SECONDS: Final = 200.0
ODD: Final = (
    "a shard is placed",
    "a replay is finished",
    "a stream is adopted",
    "mark accepted",
    "row stored",
    "finished row deleted",
)
"""After these the board rightly differs from the games, or may."""


class Verifying(PlannedEvents):
    """The verifying flavour of a run, keyed or not."""

    def __init__(self, simulation: Simulation) -> None:
        super().__init__(simulation, simulation.dice.source("verifying"))
        random = self._plans = self.random
        self.corrects = random.random() < 0.2
        """Whether items are changed."""
        self._skew = random.choice((0.0, 0.9))
        self._few = random.choice((1, 3, 1000))
        self._tampered: dict[str, float] = {}
        self._called_wrong: dict[str, str] = {}
        self.scans: FakeScans
        self.decided = 0

    def watch(self) -> None:
        """Streams and tables are there."""
        simulation = self._simulation
        self.scans = FakeScans(simulation.streams, simulation.tables, self._date, self._few)

    def plan(self) -> None:
        """Plans the verifications, and a board that is tampered with."""
        random = self._plans
        for number in range(random.choice((1, 2, 3))):
            at = random.uniform(1, FAULT_SECONDS)
            self.plan_event(f"verify {number}", at, partial(self._begin, number, TIMEOUT_SECONDS))
        if random.random() < 0.6:
            self.plan_event("verify tampers", random.uniform(1, FAULT_SECONDS), self._tamper)

    def end(self) -> None:
        """After faults, when all is drained: it decides."""
        simulation = self._simulation
        self.decided = 0
        over: list[Findings | None] = []
        self._begin(99, LAST_TIMEOUT_SECONDS, over)
        simulation.run_until(lambda: bool(over))
        found = over[0]
        if found is None:
            return
        blocked = any(caveat.blocks for caveat in found.caveats)
        simulation.happened["verify decides at the end" if not found.undecided else "verify ends undecided"] += 1
        self._check_claims()
        if found.undecided and not (blocked or simulation.tables.gaps or self._may_be_mended()):
            raise Violation("verify decides in the end", f"{found.undecided} of {found.players}: {found.why}")

    def _tamper(self) -> None:
        player = self.random.choice(PLAYERS)
        self.scans.tampered[player] = self.random.choice(((0, 1), (0, -1), (1, 5), (-1, -5)))
        self._tampered[player] = self._simulation.now
        self._simulation.happened["verify: a row is tampered with"] += 1
        self._simulation.note("outside", f"tampers with {player}")

    def _date(self) -> float:
        """The server's clock, in whole seconds, as one of many servers has it."""
        random = self._simulation.dice.source("verifying dates")
        return float(int(self._simulation.unix_now() + random.uniform(-self._skew, self._skew)))

    def _begin(self, number: int, timeout_seconds: float, over: list[Findings | None] | None = None) -> None:
        simulation = self._simulation
        name, random = f"verify {number}", simulation.dice.source(f"verify {number}")
        assumed = {Assumption.EMPTY_START} if simulation.start == "TRIM_HORIZON" else set()
        sums = Sums()
        verification = Verification(
            self.scans,
            FakeTableReader(simulation.tables),
            simulation.operators.quarantine,
            lambda _: HidingStreams(simulation, random),
            sums,
            Request(simulation.tables.names, Rules(), timeout_seconds, assumed=frozenset(assumed)),
        )
        began = simulation.now
        simulation.happened["operator: verify"] += 1

        def end(found: Findings | None) -> None:
            if found is not None:
                self._judge(found, sums, began)
            sums.close()
            if over is not None:
                over.append(found)

        self._proceed(name, _whole(verification), None, end, random)

    def _proceed(self, name: str, command: Command[Findings], reply: object, end: Any, random: Any) -> None:
        """Each call takes effect after a while, and is answered at once; nothing fails: that is for the commands."""
        simulation = self._simulation
        try:
            step: Step = command.throw(reply) if isinstance(reply, Exception) else command.send(reply)
        except StopIteration as ended:
            end(ended.value)
            return
        except ConsumerError as refusal:
            simulation.happened["verify: refused"] += 1
            simulation.note(name, f"is refused: {refusal}")
            end(None)
            return

        def take_effect() -> None:
            try:
                answer = step.effect()
            except Exception as error:  # noqa: BLE001  the command decides what it means
                answer = error
            simulation.note(name, step.call)
            self._proceed(name, command, answer, end, random)

        simulation.at(
            simulation.now + step.after_seconds + random.choice((0.01, 0.01, random.uniform(0, 1.5))), take_effect
        )

    def _judge(self, found: Findings, sums: Sums, began: float) -> None:
        simulation = self._simulation
        simulation.note("verify", f"{found}")
        if found.verdict is Verdict.UNDECIDED and any(caveat.blocks for caveat in found.caveats):
            simulation.happened["verify: cannot be proven"] += 1
            return
        different = dict(sums.differences())
        undecided = set(sums.waiting_players(1000))
        counted = found.players - found.undecided
        self.decided += counted
        simulation.happened["verify: players decided"] += counted
        simulation.happened["verify: players undecided"] += found.undecided
        for player, at in self._tampered.items():
            if at < began and player not in different and player not in undecided and counted:
                raise Violation("verify calls no wrong board right", f"{player}, tampered with at {at:.1f}")
        for player, fields in different.items():
            simulation.happened["verify: a tampered row is found"] += player in self._tampered
            if player not in self._tampered:
                self._called_wrong[player] = f"{fields}"

    def _check_claims(self) -> None:
        """When all is drained: a row that says what its games say has done so all the time, unless it was mended."""
        right = self._games()
        rows = {player: (score.games, score.total) for player, score in self._simulation.tables.board.items()}
        nothing = (0, Decimal(0))
        for player, fields in self._called_wrong.items():
            if rows.get(player, nothing) == right.get(player, nothing) and not self._may_be_mended():
                raise Violation("verify calls no right board wrong", f"{player}: {fields}")
            self._simulation.happened["verify: a wrong row is found"] += 1

    def _games(self) -> dict[str, tuple[int, Decimal]]:
        """What the items say, by the records of their insertions."""
        tables, found = self._simulation.tables, dict[str, tuple[int, Decimal]]()
        for item in self.scans.all_items(corrected=False):
            number = item[ITEM_ID]["S"]
            entry = decode(wire_of(item), Rules(), None)
            rows = [key for key in tables.quarantine if key[1] == number]
            if rows:
                row = tables.quarantine[rows[0]]
                _, resolution = self._simulation.operators.quarantine.actions.get(rows[0], ("", None))
                if row.state != EntryState.APPLIED or resolution is None:
                    continue
                entry, _ = decode_again(unpack(row.poison.parts), resolution.repairs, Rules(), only_wrong=False)
            if isinstance(entry, Game):
                games, total = found.get(entry.player, (0, Decimal(0)))
                found[entry.player] = games + 1, _WIDE.add(total, entry.score)
        return found

    def _may_be_mended(self) -> bool:
        return any(self._simulation.happened[what] for what in ODD)


def _whole(verification: Verification) -> Generator[Step, Any, Findings]:
    preview = yield from verification.prepare()
    return (yield from verification.run(preview))


class HidingStreams:
    """The run's streams as `verify` reads them: some empty pages come before a record."""

    def __init__(self, simulation: Simulation, random: Any) -> None:
        self._streams, self._random = simulation.streams, random
        self._hidden = 0

    def list_shards(self, stream_arn: str) -> StreamListing:
        """See ports.Streams."""
        return self._streams.list_shards(stream_arn)

    def open(self, shard: Shard, after: str) -> str:
        """See ports.Streams."""
        self._hidden = 0
        return self._streams.open(shard, after)

    def read(self, iterator: str, limit: int) -> RawPage:
        """See ports.Streams."""
        waiting, self._streams.empty_pages = self._streams.empty_pages, 0
        try:
            page = self._streams.read(iterator, limit)
        finally:
            self._streams.empty_pages = waiting
        if page.records and self._hidden < MOST_HIDDEN and self._random.random() < 0.6:
            self._hidden += 1
            return page._replace(records=[], next_iterator=iterator)
        self._hidden = 0
        return page
