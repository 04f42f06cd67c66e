"""What the operators' commands do, call by call, over the fakes: they drive the machines of `consumer.operations`."""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping
from functools import partial
from itertools import count
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from consumer.domain.leases import Shard
from consumer.domain.position import TRIM_HORIZON, rank
from consumer.domain.quarantine import EntryState, QuarantineEntry
from consumer.domain.records import Rules
from consumer.domain.replay import LATEST, Mode
from consumer.domain.replies import Ledger
from consumer.operations import adopt, checkpoint, quarantine, resume
from consumer.operations.quarantine import NO_REPAIR, Discard, Redrive, Repair
from consumer.operations.replay import calls as replay_calls
from consumer.operations.replay import plan
from consumer.operations.replay.calls import EntriesFound, ReadEntries, ReplayPorts
from consumer.operations.replay.pending import PendingReplay, pending_of
from consumer.operations.replay.plan import ReplayRequest
from consumer.operations.replay.reader import Reader
from consumer.operations.replay.recount import Recount
from consumer.operations.replay.service import ActiveReplayCheck
from consumer.retries import JitteredBackoff
from tests.simulation.nemesis import OperatorCall
from tests.simulation.scale import EPOCH_SECONDS, TTL_SECONDS
from tests.support.fakes import FakeReplays, FakeTables

if TYPE_CHECKING:
    from tests.simulation.operators import Operators
    from tests.simulation.simulation import Simulation

MOST_ENTRIES: Final = 6
HALT_POLL_SECONDS: Final = 1.0
MOST_HALT_POLLS: Final = 6
"""How often `resume` reads the ledger again until a shard is halted."""
FULL_REPAIR: Final = Repair({"score": "12.5", "player": "p0", "timestamp": "2026-05-05"}, only_wrong=True)
"""It makes a game of every record that a flood writes."""
OTHER_TABLE: Final = "Elsewhere"
_CALLS: Final[Mapping[type, OperatorCall]] = {
    quarantine.Fetch: OperatorCall.READ_RECORD,
    quarantine.Examine: OperatorCall.EXAMINE,
    quarantine.Apply: OperatorCall.APPLY,
    quarantine.Drop: OperatorCall.DISCARD,
    resume.ReadClock: OperatorCall.READ_CLOCK,
    resume.Open: OperatorCall.GET_SHARD_ITERATOR,
    resume.Read: OperatorCall.GET_RECORDS,
    resume.Close: OperatorCall.RESUME,
    replay_calls.ReadProgress: OperatorCall.READ_PROGRESS,
    replay_calls.ReadEntries: OperatorCall.READ_ENTRIES,
    replay_calls.OpenAt: OperatorCall.GET_ITERATOR_AT,
    replay_calls.Put: OperatorCall.PUT_PROGRESS,
    replay_calls.Count: OperatorCall.COUNT_BATCH,
}


class Step(NamedTuple):
    """A call: its name, what it does when it takes effect, and how long the command waits before it."""

    call: OperatorCall
    effect: Callable[[], object]
    pause_seconds: float = 0.0


Script = Generator[Step, Any, None]
"""A command: it yields its calls and is sent their replies."""


class Commands:
    """The scripts of commands. Each draws from the random source that has the command's name."""

    def __init__(self, simulation: Simulation, operators: Operators) -> None:
        self._simulation = simulation
        self._operators = operators

    def redrive(self, name: str) -> Script:
        """Re-drives some pending records one after the other: as they are, or with repairs."""
        random = self._simulation.dice.source(name)
        repair = random.choice((NO_REPAIR, FULL_REPAIR, FULL_REPAIR))
        for entry in (yield from self._some_pending(name)):
            token = f"{name} {entry.sequence_number}"
            machine = Redrive(entry, repair, Rules(), name, self._now, token)
            yield from self._drive(machine, self._execute)
            self._operators.invariants.resolved(entry, machine.result, token)

    def discard(self, name: str) -> Script:
        """Discards some pending records."""
        for entry in (yield from self._some_pending(name)):
            token = f"{name} {entry.sequence_number}"
            machine = Discard(entry, "of no use", name, self._now, token)
            yield from self._drive(machine, self._execute)
            self._operators.invariants.resolved(entry, machine.result, token)

    def resume(self, name: str) -> Script:
        """Resumes a halted shard, in most runs with everything it holds now."""
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
        machine = resume.Resume(row, name, self._now, name, quarantine_all=everything)
        streams = self._simulation.streams
        yield from self._drive(
            machine, lambda call: resume.execute(call, self._operators.quarantine, lambda _: streams)
        )
        self._operators.invariants.resumed(row.shard, machine.lost, name)

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
        gaps = sorted(at for shard, at in self._simulation.tables.gaps if shard == row.shard)
        positions = [TRIM_HORIZON, row.checkpoint, *map(str, numbers), *gaps * 4]
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
        if self._operators.invariants.epoch_ahead_of_clock(shard, self._now):
            return
        positions = [TRIM_HORIZON, *map(str, invariants.records.numbers(shard))]
        known = invariants.checkpoint(shard)
        yield from self._set(ledger, shard, random.choice((known, random.choice(positions))), name)

    def adopt(self, name: str) -> Script:
        """Stops all workers first, as the command's help says, adopts, and starts them again."""
        tables, bindings = self._simulation.tables, self._operators.bindings
        for worker in list(self._simulation.workers):
            self._stop(worker.owner)
        ledger = yield from self._load(self._simulation.dice.source(name).uniform(0.1, 1))
        found = yield Step(OperatorCall.READ_BINDINGS, lambda: tuple(tables.bindings.values()))
        for change in adopt.binding_changes(found, ledger.stream_starts, tables.names):
            entry = adopt.audit_entry(change, name, self._now)
            effect: Callable[[], object] = partial(bindings.change_binding, change, entry)
            adopt.require_done(change, (yield Step(OperatorCall.CHANGE_BINDING, effect)))
            self._simulation.happened["a stream is adopted"] += 1
        self._simulation.start_refused()

    def may_adopt(self) -> bool:
        """Whether there is something to adopt."""
        tables = self._simulation.tables
        return bool(adopt.binding_changes(tuple(tables.bindings.values()), tables.load().stream_starts, tables.names))

    def _set(self, ledger: Ledger, shard: Shard, position: str, name: str) -> Script:
        lease_admin = self._operators.lease_admin
        change = checkpoint.plan(ledger, str(shard), position, EPOCH_SECONDS + self._simulation.now)
        if change.before is not None and change.before.owner is not None:
            heartbeat = checkpoint.watch_heartbeat(change.before.owner, TTL_SECONDS)
            pause = next(heartbeat)
            while True:
                members, _ = yield Step(OperatorCall.READ_MEMBERS, lease_admin.read_members, pause)
                try:
                    pause = heartbeat.send(members)
                except StopIteration as end:
                    if end.value:
                        raise checkpoint.still_owned(change) from None
                    break
        entry = checkpoint.audit_entry(change, name, self._now)
        effect: Callable[[], object] = partial(lease_admin.place, change.before, change.after, entry)
        checkpoint.require_done(change, (yield Step(OperatorCall.SET_CHECKPOINT, effect)))
        self._simulation.happened["a shard is placed"] += 1

    def _load(self, pause_seconds: float = 0.0) -> Generator[Step, Any, Ledger]:
        ledger: Ledger = yield Step(OperatorCall.LOAD_LEDGER, self._simulation.tables.load, pause_seconds)
        return ledger

    def _some_pending(self, name: str) -> Generator[Step, Any, list[QuarantineEntry]]:
        entries: list[QuarantineEntry] = yield Step(OperatorCall.LIST_ENTRIES, self._pending)
        return entries[: self._simulation.dice.source(name).randrange(1, MOST_ENTRIES)]

    def _pending(self) -> list[QuarantineEntry]:
        entries = (entry for entry in self._operators.quarantine.entries() if entry.state == EntryState.PENDING)
        return sorted(entries, key=lambda entry: entry.order)

    def _drive(self, machine: Any, execute: Callable[[Any], object]) -> Script:
        while (call := machine.due()) is not None:
            machine.take((yield Step(_CALLS[type(call)], partial(execute, call))))

    def _execute(self, call: quarantine.Call) -> quarantine.Reply:
        return quarantine.execute(call, self._operators.quarantine, self._simulation.tables)

    def _stop(self, owner: str) -> None:
        for worker in self._simulation.workers:
            if worker.owner == owner and worker.alive:
                worker.worker.drain()
                worker.run_due()

    @property
    def _now(self) -> float:
        return EPOCH_SECONDS + self._simulation.now


class ReplayCommand:
    """`consumer replay` in all modes, and the tables it writes. A repeated or parallel run has the same request."""

    def __init__(self, simulation: Simulation, operators: Operators) -> None:
        tables = simulation.tables
        self.board = FakeTables(off=tables.off)
        self.rows = FakeReplays(tables, {OTHER_TABLE: self.board})
        self._simulation = simulation
        self._operators = operators
        self._requests: dict[str, ReplayRequest] = {}
        self._ports = {
            target: ReplayPorts(lambda _: simulation.streams, self.rows, operators.quarantine, board)
            for target, board in ((OTHER_TABLE, self.board), (tables.names.leaderboard, tables))
        }

    def replay(self, name: str) -> Script:
        """Replays one shard: its pending records, or a range of it once more."""
        ledger: Ledger = yield Step(OperatorCall.LOAD_LEDGER, self._simulation.tables.load)
        started = {start.stream_arn for start in ledger.stream_starts}
        counted = [row for row in ledger.rows if row.checkpoint != TRIM_HORIZON and row.shard.stream_arn in started]
        if not counted:
            return
        request = self._request(name, sorted(row.shard for row in counted))
        planned = plan.plan_replay(ledger, request)
        ports = self._ports[request.target]
        active = ActiveReplayCheck(planned.shard, request.target)
        yield from self._drive(ports, active)
        active.refuse_busy()
        progress = plan.progress_of(planned, active.found, f"{name} act", f"{name} runner", name, self._now())
        self._operators.invariants.replays.begins(progress.replay_id, again=request.again)
        backoff = JitteredBackoff(self._simulation.dice.source(name), first_seconds=0.05, most_seconds=1.0)
        if request.mode is Mode.PENDING:
            found: EntriesFound = yield self._step(ReadEntries(planned.shard), ports)
            entries = pending_of(found.entries.values(), progress.range)
            tokens = (f"{name} {number}" for number in count())
            next_token = partial(next, tokens)
            pending = PendingReplay(active.found, progress, entries, Rules(), name, self._now, next_token)
            yield from self._drive(ports, pending)
            return
        reader = Reader(progress.shard, progress.range, progress.position, backoff)
        yield from self._drive(ports, reader)
        if reader.refusal is None and (reader.wires or not reader.trimmed):
            recount = Recount(active.found, progress, reader, Rules(), planned.start_time, backoff, name, self._now)
            yield from self._drive(ports, recount)
            self._simulation.happened["a replay is finished"] += recount.finished

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

    def _drive(self, ports: ReplayPorts, machine: Any) -> Script:
        while (due := machine.due()) is not None:
            machine.take((yield self._step(due.call, ports, due.after_seconds)))

    def _step(self, call: Any, ports: ReplayPorts, pause_seconds: float = 0.0) -> Step:
        effect: Callable[[], object] = partial(replay_calls.execute, call, ports)
        return Step(_CALLS[type(call)], effect, pause_seconds)

    def _now(self) -> float:
        return EPOCH_SECONDS + self._simulation.now
