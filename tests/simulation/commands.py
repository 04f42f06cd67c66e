"""What operators do: the commands of `consumer.operations` over the fakes, and how they are chosen."""

from __future__ import annotations

from contextlib import suppress
from functools import partial
from itertools import count
from typing import TYPE_CHECKING, Final

from consumer.domain.errors import ConsumerError
from consumer.domain.leases import TRIM_HORIZON, Ledger, Shard, rank
from consumer.domain.quarantine import EntryState, QuarantineEntry, QuarantineFilter
from consumer.domain.records import Reason, Rules
from consumer.domain.replay import LATEST, Mode
from consumer.operations import accept_rules, adopt, checkpoint, gaps, resume
from consumer.operations.quarantine import NO_REPAIR, Repair
from consumer.operations.replay import PendingReplay, Recount, ReplayService
from consumer.operations.replay_plan import ReplayRequest
from consumer.operations.steps import Command, OperatorCall, ask
from consumer.operations.waiting import Waiting
from consumer.retries import JitteredBackoff
from tests.simulation.scale import TTL_SECONDS
from tests.support.fakes import FakeReplays, FakeTables
from tests.support.fakes.operators import FakeTableReader

if TYPE_CHECKING:
    from tests.simulation.operators import Operators
    from tests.simulation.simulation import Simulation

MOST_ENTRIES: Final = 6
HALT_POLL_SECONDS: Final = 1.0
MOST_HALT_POLLS: Final = 6
"""How often `resume` reads the ledger again until a shard is halted."""
FULL_REPAIR: Final = Repair({"score": "12.5", "player": "p0", "timestamp": "2026-05-05"}, only_wrong=True)
"""It makes a game of every record that a flood writes."""
MAY_COUNT_NOW: Final = frozenset((Reason.TIMESTAMP_IN_FUTURE, Reason.TOTAL_TYPE, Reason.REFUSED))
"""Reasons that a newer release, or a mended row, may have done away with."""
OTHER_TABLE: Final = "Elsewhere"

Script = Command[None]
"""What an operator does: commands of the product, and what they are chosen by."""


class Commands:
    """The scripts of commands. Each draws from the random source that has the command's name."""

    def __init__(self, simulation: Simulation, operators: Operators) -> None:
        self._simulation = simulation
        self._operators = operators

    def redrive(self, name: str) -> Script:
        """Re-drives some pending records one after the other: as they are, or with repairs."""
        random = self._simulation.dice.source(name)
        repair = random.choice((NO_REPAIR, FULL_REPAIR, FULL_REPAIR))
        if self._simulation.correcting is not None:
            repair = NO_REPAIR
        for entry in (yield from self._some_pending(name)):
            token = f"{name} {entry.sequence_number}"
            result = yield from self._operators.service(name, partial(str, token)).redrive(entry, repair)
            self._operators.invariants.resolved(entry, result, token)

    def discard(self, name: str) -> Script:
        """Discards some pending records."""
        for entry in (yield from self._some_pending(name)):
            token = f"{name} {entry.sequence_number}"
            (result,) = yield from self._operators.service(name, partial(str, token)).discard([entry], "of no use")
            self._operators.invariants.resolved(entry, result, token)

    def restore(self, name: str) -> Script:
        """Takes some discards back."""
        for entry in (yield from self._some_pending(name, EntryState.DISCARDED)):
            token = f"{name} {entry.sequence_number}"
            yield from self._operators.service(name, partial(str, token)).restore([entry])

    def resume(self, name: str) -> Script:
        """Resumes a halted shard, in most runs with everything it holds now; or accepts the mark for which it halts."""
        random = self._simulation.dice.source(name)
        for _ in range(MOST_HALT_POLLS):
            ledger = yield from self._load(HALT_POLL_SECONDS)
            halted = sorted(str(row.shard) for row in ledger.rows if row.circuit.halted_at is not None)
            if halted:
                break
        else:
            return
        row = resume.find_halted(ledger, random.choice(halted))
        everything = random.random() < 0.7
        circuits, streams = self._operators.quarantine, self._simulation.streams
        now, accepted = self._operators.now(), None
        if (symptom := row.circuit.unknown_mark) is not None and (player := symptom.player) is not None:
            everything = False
            stored = yield from ask(OperatorCall.READ_ROW, partial(circuits.read_row, player))
            with suppress(ConsumerError):  # the cause is gone: a plain resume
                accepted = resume.mark_to_accept(row, player, stored, ledger, "")
        waiting = Waiting(row, self._operators.rules()[-1])
        if everything:
            yield from waiting.read_on(streams)
        done = yield from resume.resume(row, circuits, name, now, name, free_to=waiting.newest, accepted=accepted)
        self._operators.invariants.resumed(row.shard, done, name)

    def set_checkpoint(self, name: str) -> Script:
        """Moves a shard that has a row: back, forward, or to where it is."""
        random = self._simulation.dice.source(name)
        ledger = yield from self._load()
        rows = sorted((row for row in ledger.rows if not row.finished), key=lambda row: row.shard)
        if not rows:
            return
        row = random.choice(rows)
        if row.owner is not None and random.random() < 0.7:
            self._stop(row.owner)
            yield from self._load(random.uniform(0.1, 1.0))
            ledger = yield from self._load()
        numbers = self._simulation.ledger_invariants.records.numbers(row.shard)
        after_gaps = sorted(at for shard, at in self._simulation.tables.gaps if shard == row.shard)
        positions = [TRIM_HORIZON, row.checkpoint, *map(str, numbers), *after_gaps * 4]
        yield from self._set(ledger, row.shard, random.choice(positions), name)

    def recreate_row(self, name: str) -> Script:
        """Makes a deleted row again: at the last position that a worker logged, or elsewhere."""
        random = self._simulation.dice.source(name)
        ledger = yield from self._load()
        invariants = self._simulation.ledger_invariants
        deleted = sorted(invariants.deleted - {row.shard for row in ledger.rows})
        if not deleted or self._simulation.interventions.ledger_lost:
            return
        shard = random.choice(deleted)
        if self._operators.invariants.epoch_ahead_of_clock(shard, self._operators.now()):
            return
        positions = [TRIM_HORIZON, *map(str, invariants.records.numbers(shard))]
        known = invariants.checkpoint(shard)
        yield from self._set(ledger, shard, random.choice((known, random.choice(positions))), name)

    def acknowledge(self, name: str) -> Script:
        """Acknowledges a gap, also one that another operator is acknowledging."""
        tables, operators = self._simulation.tables, self._operators
        found = yield from ask(OperatorCall.READ_GAPS, FakeTableReader(tables).gaps)
        left = sorted((gap for gap in found if gap.acknowledged is None), key=lambda gap: gap.name)
        if left:
            gap = self._simulation.dice.source(name).choice(left)
            yield from gaps.acknowledge(gap, operators.gaps, "looked into", name, operators.now(), name)
            self._simulation.happened["a gap is acknowledged"] += 1

    def accept(self, name: str, rules: Rules) -> Script:
        """Accepts rules, which may be older ones, or those that another operator is accepting."""
        random = self._simulation.dice.source(name)
        ledger = yield from self._load()
        acceptance = accept_rules.plan(ledger, rules, None)
        if isinstance(acceptance, str):
            return
        yield from self._load(random.choice((0.0, random.uniform(0, 2))))  # the operator is asked
        yield from accept_rules.carry_out(acceptance, self._operators.rule_list, name, self._operators.now())
        self._simulation.happened["rules accepted"] += 1

    def adopt(self, name: str) -> Script:
        """Stops all workers first, as the command's help says, adopts, and starts them again."""
        tables, bindings = self._simulation.tables, self._operators.bindings
        for worker in list(self._simulation.workers):
            self._stop(worker.owner)
        ledger = yield from self._load(self._simulation.dice.source(name).uniform(0.1, 1))
        found = yield from ask(OperatorCall.READ_BINDINGS, lambda: tuple(tables.bindings.values()))
        changes = adopt.binding_changes(found, ledger.stream_starts, tables.names)
        yield from adopt.carry_out(bindings, changes, name, self._operators.now())
        self._simulation.happened["a stream is adopted"] += len(changes)
        self._simulation.start_refused()

    def may_adopt(self) -> bool:
        """Whether there is something to adopt."""
        tables = self._simulation.tables
        return bool(adopt.binding_changes(tuple(tables.bindings.values()), tables.load().stream_starts, tables.names))

    def _set(self, ledger: Ledger, shard: Shard, position: str, name: str) -> Script:
        lease_admin = self._operators.lease_admin
        change = checkpoint.plan(ledger, str(shard), position, self._operators.now())
        yield from checkpoint.carry_out(
            change, lease_admin, TTL_SECONDS, lambda _: None, lambda: name, self._operators.now
        )
        self._simulation.happened["a shard is placed"] += 1

    def _load(self, pause_seconds: float = 0.0) -> Command[Ledger]:
        return ask(OperatorCall.LOAD_LEDGER, self._simulation.tables.load, pause_seconds)

    def _some_pending(self, name: str, state: EntryState = EntryState.PENDING) -> Command[list[QuarantineEntry]]:
        service = self._operators.service(name, str)
        entries = yield from service.select(QuarantineFilter(state=state), lambda entries, _: entries)
        random = self._simulation.dice.source(name)
        if self._simulation.correcting is not None:
            random.shuffle(entries)
            entries.sort(key=lambda entry: entry.reason not in MAY_COUNT_NOW and random.random() < 0.8)
        return entries[: random.randrange(1, MOST_ENTRIES)]

    def _stop(self, owner: str) -> None:
        for worker in self._simulation.workers:
            if worker.owner == owner and worker.alive:
                worker.worker.drain()
                worker.run_due()


class ReplayCommand:
    """`consumer replay` in all modes, and the tables it writes. A repeated or parallel run has the same request."""

    def __init__(self, simulation: Simulation, operators: Operators) -> None:
        tables = simulation.tables
        self.board = FakeTables(off=tables.off)
        self.rows = FakeReplays(tables, {OTHER_TABLE: self.board})
        self._simulation = simulation
        self._operators = operators
        self._requests: dict[str, ReplayRequest] = {}

    def replay(self, name: str) -> Script:
        """Replays one shard: its pending records, or a range of it once more."""
        ledger = yield from ask(OperatorCall.LOAD_LEDGER, self._simulation.tables.load)
        started = {start.stream_arn for start in ledger.stream_starts}
        counted = [row for row in ledger.rows if row.checkpoint != TRIM_HORIZON and row.shard.stream_arn in started]
        if not counted:
            return
        request = self._request(name, sorted(row.shard for row in counted))
        service = self._service(name, request.target, ledger)
        (planned,) = (yield from service.plan(request)).planned
        self._operators.invariants.replays.begins(planned.progress.replay_id, again=request.again)
        if request.mode is Mode.PENDING:
            entries = yield from service.pending(planned)
            yield from PendingReplay(service, planned, entries).run()
            return
        recount = Recount(service, planned, (yield from service.open_reader(planned)))
        yield from recount.run()
        self._simulation.happened["a replay is finished"] += recount.finished

    def _service(self, name: str, target: str, ledger: Ledger) -> ReplayService:
        tokens = (f"{name} {number}" for number in count())
        backoff = JitteredBackoff(self._simulation.dice.source(name), first_seconds=0.05, most_seconds=1.0)
        return ReplayService(
            self._operators.service(name, partial(next, tokens)),
            lambda _: self._simulation.streams,
            self.rows,
            self.board if target == OTHER_TABLE else self._simulation.tables,
            lambda: ledger,
            lambda _: None,
            backoff,
        )

    def _request(self, name: str, shards: list[Shard]) -> ReplayRequest:
        shared_name = name.rstrip("'").partition(" ")[2]
        if shared_name in self._requests:
            return self._requests[shared_name]
        random = self._simulation.dice.source(shared_name)
        shard = random.choice(shards)
        numbers = list(map(str, self._simulation.ledger_invariants.records.numbers(shard)))
        first = random.choice((TRIM_HORIZON, *numbers[: len(numbers) // 2]))
        last = random.choice((LATEST, LATEST, *(number for number in numbers if rank(number) >= rank(first))))
        mode = random.choice((Mode.RECOUNT, Mode.RECOUNT, Mode.PENDING))
        elsewhere = mode is Mode.RECOUNT and random.random() < 0.4
        target = OTHER_TABLE if elsewhere else self._simulation.tables.names.leaderboard
        request = self._requests[shared_name] = ReplayRequest(
            str(shard), first, last, mode, target, again=random.random() < 0.2, into_other_table=elsewhere
        )
        return request
