"""`consumer replay`: counts again all of a range, in batches of one transaction each, or what of it is not counted yet.

In a recount a quarantined record counts as its entry says: applied as it was repaired, pending or discarded as nothing.
"""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Final, NamedTuple

from consumer.domain.cut import cut
from consumer.domain.errors import CallFailed, FailureKind, NotFound, UsageFault
from consumer.domain.fold import MAX_ACTIONS, Delta, Limits, Unit
from consumer.domain.leases import TRIM_HORIZON, Ledger, Shard, TableBinding, rank
from consumer.domain.operator_ports import Replays
from consumer.domain.ports import Backoff, Commits, Streams
from consumer.domain.quarantine import EntryState, QuarantineEntry, decode_again
from consumer.domain.records import Entry, Game, Ignored, Outcome, Poison, Rules, Verdict, decode, without_expired
from consumer.domain.replay import Batch, Changed, Overtaken, Progress
from consumer.domain.replies import Committed, Done, Refused
from consumer.operations.quarantine import NO_REPAIR, Applied, QuarantineService, Result, add_game
from consumer.operations.replay_plan import (
    ACTION,
    CountedAlready,
    PlannedReplay,
    Plans,
    Reader,
    ReplayPlan,
    ReplayRequest,
    audit_entry_of,
    check_target,
    descendants,
    number_of,
    plan_replay,
    progress_of,
    read_progress,
    refuse_recount,
)
from consumer.operations.steps import Command, OperatorCall, ask

MOST_STATES: Final = 49
"""Quarantine entries on which one batch may rely: half of the actions beside the progress row's."""


class ReplayEntry(NamedTuple):
    """What a record counts as.

    `state` is that of its quarantine entry; None: it has none. `why` says why a record that should count cannot.
    """

    entry: Entry
    state: str | None
    why: str | None


def replay_entry_of(
    wire: Mapping[str, Any], quarantined: QuarantineEntry | None, rules: Rules, start_time: float | None
) -> ReplayEntry:
    """What a record counts as by these rules and its quarantine entry, if it has one."""
    if quarantined is None:
        entry: Entry = decode(wire, rules, start_time)
    elif quarantined.state == EntryState.APPLIED:
        repairs = quarantined.resolution.repairs if quarantined.resolution is not None else {}
        entry, _ = decode_again(wire, repairs, rules, only_wrong=False)
    else:
        entry = Ignored(number_of(wire), 0.0, Outcome.MODIFIED)
    state = quarantined.state if quarantined is not None else None
    if isinstance(entry, Poison):
        return ReplayEntry(_nothing(entry), state, f"{entry.reason}: {entry.detail}")
    return ReplayEntry(entry, state, None)


def without(replay_entry: ReplayEntry, why: str) -> ReplayEntry:
    """The same record, which counts as nothing: DynamoDB refuses it."""
    return ReplayEntry(_nothing(replay_entry.entry), replay_entry.state, why)


def cut_batch(entries: Sequence[ReplayEntry], previous: str, most: int | None, apart: Collection[str]) -> Batch:
    """The longest batch that starts with the first of `entries` and fits a transaction, of at most `most` records."""
    fitting = _with_few_states(entries)
    states = sum(state is not None for _, state, _ in fitting)
    limits = Limits(actions=MAX_ACTIONS - 1 - states, records=most, apart=apart)
    unit = cut((entry for entry, _, _ in fitting), previous, limits, 0.0)
    in_unit = fitting[: unit.records]
    return Batch(
        unit,
        {entry.sequence_number: state for entry, state, _ in in_unit if state is not None},
        {entry.sequence_number: why for entry, _, why in in_unit if why is not None},
    )


def _with_few_states(entries: Iterable[ReplayEntry]) -> list[ReplayEntry]:
    taken: list[ReplayEntry] = []
    states = 0
    for replay_entry in entries:
        states += replay_entry.state is not None
        if states > MOST_STATES:
            break
        taken.append(replay_entry)
    return taken


def _nothing(entry: Entry) -> Ignored:
    return Ignored(entry.sequence_number, entry.created, Outcome.MODIFIED)


MOST_DATES: Final = 50_000
"""Players whose stored date is remembered."""
MOST_RECORDS: Final = 1_000
"""A batch that was shortened to fewer grows again with each success, until it is left to the transaction's limits."""


class Batches:
    """Cuts records into batches, and cuts smaller ones when a batch is refused.

    `quarantined` are the shard's quarantine entries; None: they must be read. `batch` is in flight. Players in `later`
    keep their stored date. `now`: by the operator's clock, in unix seconds. `refusal`: why DynamoDB refuses a batch of
    only one record.
    """

    def __init__(self, rules: Rules, start_time: float | None, now: float) -> None:
        self.quarantined: Mapping[str, QuarantineEntry] | None = None
        self.batch: Batch | None = None
        self.later: frozenset[str] = frozenset()
        self.refusal: str | None = None
        self._rules, self._start_time, self._now = rules, start_time, now
        self._replay_entries: list[ReplayEntry] = []
        self._refused: dict[str, str] = {}
        self._dates: dict[str, str] = {}
        self._apart: set[str] = set()
        self._most: int | None = None

    def cut(self, wires: Iterable[Mapping[str, Any]], previous: str) -> Batch:
        """The batch in flight, or the next one of the records behind `previous`."""
        if self.batch is None:
            self._replay_entries = self._replay_entries or [self._decode(wire) for wire in wires]
            self.batch = cut_batch(self._replay_entries, previous, self._most, self._apart)
            deltas = self.batch.unit.deltas
            self.later = frozenset(player for player in deltas if self._dates.get(player, "") > deltas[player].date)
        return self.batch

    def take_counted(self) -> None:
        """The batch is counted."""
        assert self.batch is not None
        del self._replay_entries[: self.batch.unit.records]
        self.batch = None
        self._most = 2 * self._most if self._most is not None and self._most < MOST_RECORDS else None

    def forget(self) -> None:
        """Everything is decoded and cut again."""
        self._replay_entries = []
        self.batch = None

    def take_refused(self, refused: Refused, *, often: bool) -> None:
        """The batch is refused. `often`: for a conflict, and not for the first time."""
        assert self.batch is not None
        records = self.batch.unit.records
        if refused.later:
            self.later |= refused.later.keys()
            self._remember(refused.later)
        elif refused.invalid is not None and records == 1:
            self.refusal = refused.invalid
        elif refused.invalid is not None or often:
            self._apart |= refused.suspects
            self._most = max(1, records // 2)
            self.batch = None

    @property
    def only_game(self) -> Game:
        """The record that was refused alone. Raises CallFailed when it is no game: then no record is to blame."""
        entry = self._replay_entries[0].entry
        if not isinstance(entry, Game):
            raise CallFailed(FailureKind.REJECTED, f"a table refuses the replay's own row: {self.refusal}")
        return entry

    def skip(self, verdict: Verdict | None) -> None:
        """The record that was refused alone counts as nothing, for this reason."""
        reason, detail = verdict or ("refused", f"DynamoDB refuses it: {self.refusal}")
        why = f"{reason}: {detail}"
        skipped = without(self._replay_entries[0], why)
        self._replay_entries[0] = skipped
        self._refused[skipped.entry.sequence_number] = why
        self.batch = self.refusal = None

    def _decode(self, wire: Mapping[str, Any]) -> ReplayEntry:
        assert self.quarantined is not None
        number = number_of(wire)
        replay_entry = replay_entry_of(wire, self.quarantined.get(number), self._rules, self._start_time)
        replay_entry = replay_entry._replace(entry=without_expired(replay_entry.entry, self._rules, self._now))
        return without(replay_entry, self._refused[number]) if number in self._refused else replay_entry

    def _remember(self, stored: Mapping[str, str]) -> None:
        """Stored dates only grow: the next batch of such a player leaves an earlier date out at once."""
        if len(self._dates) > MOST_DATES:
            self._dates.clear()
        self._dates |= stored


class DryRun(NamedTuple):
    """How many games a recount would count, and why it would skip records, by sequence number."""

    games: int
    skipped: Mapping[str, str]


class ReplayRun:
    """What all replays have in common: the progress row, which fences off the run before. `progress` is the row now.

    It ends `finished`, or `overtaken`: another run has the row.
    """

    def __init__(self, service: "ReplayService", planned: PlannedReplay, progress: Progress, outcome: str) -> None:
        """`outcome` is what the audit trail says of the start."""
        self.progress = progress
        self.overtaken: Overtaken | None = None
        self.finished = False
        self._replays = service.replays
        self._operator = service.quarantine_service
        self._before = planned.before
        self._outcome = outcome
        self._begun = False

    @property
    def ended(self) -> bool:
        """Whether there is nothing more to do."""
        return self.finished or self.overtaken is not None

    def begin(self) -> Command[None]:
        """Writes the progress row, once."""
        if not self._begun:
            self._begun = True
            yield from self._put(self._before, self.progress, self._outcome)

    def end(self, after: Progress, outcome: str) -> Command[None]:
        """Writes the progress row for the last time."""
        if (yield from self._put(self.progress, after, outcome)):
            self.progress, self.finished = after, True

    def move(self, progress: Progress) -> None:
        """The row is this one now."""
        self.progress = progress

    def take_overtaken(self, overtaken: Overtaken) -> None:
        """The row is not as this run knows it: an earlier attempt of its own took effect, or another run has it."""
        row = overtaken.row
        if row is not None and row.runner == self.progress.runner and row.running:
            self.move(row)
        else:
            self.overtaken = overtaken

    def _put(self, before: Progress | None, after: Progress, outcome: str) -> Command[bool]:
        audit_entry = audit_entry_of(after, outcome, self._operator.who(), self._operator.now())
        reply = yield from ask(OperatorCall.PUT_PROGRESS, partial(self._replays.put, before, after, audit_entry))
        if isinstance(reply, Overtaken):
            self.take_overtaken(reply)
        return isinstance(reply, Done)


class Recount(ReplayRun):
    """Counts all of a range again."""

    def __init__(self, service: "ReplayService", planned: PlannedReplay, reader: Reader) -> None:
        super().__init__(service, planned, planned.progress, _began(planned))
        self.reader = reader
        self._service = service
        operator = service.quarantine_service
        self._batches = Batches(operator.rules, planned.plan.start_time, operator.now())
        self._conflicts = 0

    def run(self, report: Callable[[Batch], object] = lambda _: None) -> Command[None]:
        """Reads and counts in turns. `report` gets each batch that is counted."""
        yield from self.begin()
        batches = self._batches
        while not self.ended:
            if batches.quarantined is None:
                batches.quarantined = yield from self._service.quarantined(self.progress.shard)
            yield from self.reader.fill()
            if not self.reader.wires:
                outcome = "finished, a part was trimmed" if self.reader.trimmed else "finished"
                yield from self.end(replace(self.progress, running=False), outcome)
            elif batches.refusal is not None:
                examine = partial(self._service.commits.examine, batches.only_game)
                batches.skip((yield from ask(OperatorCall.EXAMINE, examine)))
            else:
                yield from self._count(report)

    def move(self, progress: Progress) -> None:
        """The row is this one now; the records up to its position are done."""
        super().move(progress)
        self.reader.drop(progress.position)

    def _count(self, report: Callable[[Batch], object]) -> Command[None]:
        batches = self._batches
        batch = batches.cut(self.reader.wires, self.progress.position)
        pause = self._service.backoff.delay(self._conflicts) if self._conflicts else 0.0
        count = partial(self._replays.count, self.progress, batch, batches.later)
        match (yield from ask(OperatorCall.COUNT_BATCH, count, pause)):
            case Committed():
                batches.take_counted()
                self.move(self.progress.after(batch))
                self._conflicts = 0
                report(batch)
            case Overtaken() as overtaken:
                self.take_overtaken(overtaken)
                batches.forget()
            case Changed():
                batches.quarantined = None
                batches.forget()
            case Refused(conflict=conflict) as refused:
                self._conflicts += conflict
                batches.take_refused(refused, often=self._conflicts > 1)


def _began(planned: PlannedReplay) -> str:
    before = planned.before
    if planned.resumes:
        return "resumed"
    gives_up = before is not None and before.running and rank(before.position) > rank(TRIM_HORIZON)
    return "started, another one given up" if gives_up else "started"


STEP_RECORDS: Final = 20
"""Records after which the progress row moves on. It guards nothing here: that an entry is pending does."""


class PendingReplay(ReplayRun):
    """Counts what of a range is not counted yet: its pending `entries`. Each is a redrive."""

    def __init__(self, service: "ReplayService", planned: PlannedReplay, entries: Sequence[QuarantineEntry]) -> None:
        progress = replace(planned.progress, position=TRIM_HORIZON, games=0, skipped=0)
        super().__init__(service, planned, progress, "resumed" if planned.resumes else "started")
        self.entries = entries

    def run(self, report: Callable[[Result], object] = lambda _: None) -> Command[None]:
        """Re-drives the entries one after the other. `report` gets the result for each."""
        yield from self.begin()
        games = skipped = since = 0
        for entry in self.entries:
            if self.ended:
                return
            result = yield from self._operator.redrive(entry, NO_REPAIR, ACTION)
            report(result)
            games += isinstance(result, Applied)
            skipped += not isinstance(result, Applied)
            since += 1
            if since >= STEP_RECORDS and (yield from self._step(entry)):
                since = 0
        while not self.ended:
            yield from self.end(replace(self.progress, running=False, games=games, skipped=skipped), "finished")

    def _step(self, entry: QuarantineEntry) -> Command[bool]:
        """Moves the progress row on to this record."""
        number = entry.sequence_number
        step = Batch(Unit(self.progress.position, number, number, 0, {}, (), {}, 0.0, 0.0), {}, {})
        count = partial(self._replays.count, self.progress, step, frozenset[str]())
        match (yield from ask(OperatorCall.COUNT_BATCH, count)):
            case Committed():
                self.move(self.progress.after(step))
            case Overtaken() as overtaken:
                self.take_overtaken(overtaken)
            case _:
                return False  # the next record moves it
        return True


@dataclass(frozen=True)
class ReplayService:
    """What a replay needs.

    `streams` gives a stream's port by its ARN, `binding` its table binding; `commits` examines what the target refuses.
    `ledger` and `binding` read at once, and may raise CallFailed.
    """

    quarantine_service: QuarantineService
    streams: Callable[[str], Streams]
    replays: Replays
    commits: Commits
    ledger: Callable[[], Ledger]
    binding: Callable[[str], TableBinding | None]
    backoff: Backoff

    def plan(self, request: ReplayRequest, *, children: bool = False, acting: bool = True) -> Command[Plans]:
        """What to do, shard by shard. Raises ConsumerError for what cannot be done.

        `acting`: it also waits to see whether another command runs the same replay, and then refuses.
        """
        request.check()
        refuse_recount(request, self.quarantine_service.rules)
        ledger, service = self.ledger(), self.quarantine_service
        requests = [request, *(descendants(ledger, request) if children else ())]
        plans = [plan_replay(ledger, request) for request in requests]
        check_target(plans[0], self.binding(plans[0].shard.stream_arn))
        found: list[tuple[ReplayPlan, Progress | None]] = []
        for plan in plans:
            progress = yield from read_progress(self.replays, plan.shard, plan.request.target, acting=acting)
            found.append((plan, progress))
        same = (row.replay_id for plan, row in found if row is not None and plan.same(row))
        replay_id = next(same, None) or service.token()
        planned, already_counted, refusal = [], [], None
        for plan, row in found:
            if row is not None and row.replay_id == replay_id and not row.running:
                already_counted.append(plan)
                continue
            try:
                progress = progress_of(plan, row, replay_id, service.token(), service.who(), service.now())
            except CountedAlready as error:
                refusal = refusal or error
                already_counted.append(plan)
                continue
            planned.append(PlannedReplay(plan, row, progress))
        if refusal is not None and not planned:
            raise refusal
        return Plans(planned, already_counted)

    def open_reader(self, planned: PlannedReplay) -> Command[Reader]:
        """A reader that has found the first records of the range.

        Raises UsageFault for a sequence number that is not the shard's, NotFound when the stream has nothing of the
        range any more.
        """
        progress = planned.progress
        shard, streams = progress.shard, self.streams(progress.shard.stream_arn)
        reader = Reader(streams, shard, progress.range, progress.position, self.backoff)
        yield from reader.fill()
        if reader.refusal is not None:
            raise UsageFault(
                f"--from {progress.range.first} is not a sequence number of shard {shard}: the stream says "
                f"{reader.refusal}"
            )
        if reader.trimmed and not reader.wires:
            raise NotFound(
                f"nothing of shard {shard} from {progress.range.first} to {progress.range.last} is in the stream any "
                "more: a record stays for 24 hours"
            )
        return reader

    def quarantined(self, shard: Shard) -> Command[Mapping[str, QuarantineEntry]]:
        """The quarantine entries of a shard, by sequence number."""

        def read() -> Mapping[str, QuarantineEntry]:
            entries = self.quarantine_service.quarantine.entries(shard.shard_id)
            return {entry.sequence_number: entry for entry in entries if entry.shard == shard}

        return ask(OperatorCall.READ_ENTRIES, read)

    def pending(self, planned: PlannedReplay) -> Command[list[QuarantineEntry]]:
        """The pending quarantine entries of the range, in the order of the stream."""
        entries = (yield from self.quarantined(planned.plan.shard)).values()
        wanted = planned.progress.range
        pending = (entry for entry in entries if entry.state == EntryState.PENDING)
        return sorted(
            (entry for entry in pending if wanted.contains(entry.sequence_number)), key=lambda entry: entry.order
        )

    def dry_run(
        self,
        planned: PlannedReplay,
        reader: Reader,
        deltas: dict[str, Delta],
        report: Callable[[int], object] = lambda _: None,
    ) -> Command[DryRun]:
        """Only reads, and adds to `deltas` what a recount would count. `report` gets 1 for each record."""
        quarantined = yield from self.quarantined(planned.plan.shard)
        games, skipped = 0, dict[str, str]()
        while reader.wires:
            wire = reader.wires.popleft()
            number = number_of(wire)
            rules, start_time = self.quarantine_service.rules, planned.plan.start_time
            entry, _, why = replay_entry_of(wire, quarantined.get(number), rules, start_time)
            report(1)
            if why is not None:
                skipped[number] = why
            if isinstance(entry, Game):
                games += 1
                add_game(deltas, entry)
            if not reader.wires:
                yield from reader.fill()
        return DryRun(games, skipped)
