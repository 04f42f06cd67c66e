"""The replay service: what `consumer replay` uses to plan, check, start and run replays."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final, NamedTuple, TypeVar

from consumer.domain.errors import NotFound, UnsafeRefused, UsageFault
from consumer.domain.fold import Delta
from consumer.domain.leases import Shard, TableBinding
from consumer.domain.ports import Backoff
from consumer.domain.quarantine import QuarantineEntry
from consumer.domain.replay import Progress
from consumer.domain.replies import Ledger
from consumer.operations.quarantine import QuarantineService
from consumer.operations.replay import plan
from consumer.operations.replay.calls import (
    Ask,
    Due,
    EntriesFound,
    Machine,
    ProgressFound,
    ReadEntries,
    ReadProgress,
    Reply,
    drive,
)
from consumer.operations.replay.pending import PendingReplay, pending_of
from consumer.operations.replay.plan import CountedAlready, ReplayPlan, ReplayRequest
from consumer.operations.replay.reader import Reader
from consumer.operations.replay.recount import DryRun, Recount

READS: Final = 3
"""Reads of the progress row after the first one."""
PAUSE_SECONDS: Final = 1.0
"""A running replay moves its row several times per second. One wrongly taken for dead is fenced: it counts no more."""

T = TypeVar("T")


class ActiveReplayCheck:
    """The machine that checks whether another command runs a replay: then its progress row moves.

    `found` is the progress row now, `busy` whether it moves. Not `patient`: it reads the row only once.
    """

    def __init__(self, shard: Shard, target: str, *, patient: bool = True) -> None:
        self.found: Progress | None = None
        self.busy = False
        self._read_progress = ReadProgress(shard, target)
        self._left = 1 + (READS if patient else 0)
        self._first = True

    def due(self) -> Due | None:
        """Read the row, and again while it says that a replay runs and does not move."""
        if self.busy or self._left == 0:
            return None
        return Due(self._read_progress, 0.0 if self._first else PAUSE_SECONDS)

    def take(self, reply: Reply) -> None:
        """Takes the row."""
        assert isinstance(reply, ProgressFound)
        before, self.found = self.found, reply.progress
        running = self.found is not None and self.found.running
        self.busy = running and not self._first and self.found != before
        self._first = False
        self._left = self._left - 1 if running else 0

    def refuse_busy(self) -> None:
        """Raises UnsafeRefused when another command runs the replay."""
        if self.busy and self.found is not None:
            found = self.found
            raise UnsafeRefused(
                f"a replay of shard {found.shard} into {found.target} is running: {found.who} started it, and it has "
                f"counted up to {found.position} of {found.range.first} to {found.range.last}. Nothing was changed. "
                "Next: wait until it ends, see `consumer status`"
            )


@dataclass(frozen=True, slots=True)
class PlannedReplay:
    """A replay that can start: its plan, and the progress row as it was found and as it is to be."""

    plan: ReplayPlan
    before: Progress | None
    progress: Progress

    @property
    def resumes(self) -> bool:
        """Whether it goes on with a replay that was interrupted."""
        return self.before is not None and self.before.replay_id == self.progress.replay_id


class Plans(NamedTuple):
    """The replays to run, and the plans that are left out because their range was counted already."""

    planned: list[PlannedReplay]
    already_counted: list[ReplayPlan]


@dataclass(frozen=True)
class ReplayService:
    """What a replay needs. `binding` gives a stream's table binding by its ARN.

    `wait` takes seconds, and ends early when the operator interrupts. Every method may raise CallFailed.
    """

    quarantine_service: QuarantineService
    ask: Ask
    wait: Callable[[float], object]
    ledger: Callable[[], Ledger]
    binding: Callable[[str], TableBinding | None]
    backoff: Backoff

    def plan(self, request: ReplayRequest, *, children: bool = False, acting: bool = True) -> Plans:
        """What to do, shard by shard. Raises ConsumerError for what cannot be done.

        `acting`: it also waits to see whether another command runs the same replay, and then refuses.
        """
        request.check()
        ledger, service = self.ledger(), self.quarantine_service
        requests = [request, *(plan.descendants(ledger, request) if children else ())]
        plans = [plan.plan_replay(ledger, request) for request in requests]
        plan.check_target(plans[0], self.binding(plans[0].shard.stream_arn))
        found = [(each, self._progress(each, acting=acting)) for each in plans]
        same = (row.replay_id for each, row in found if row is not None and each.same(row))
        replay_id = next(same, None) or service.token()
        planned, already_counted, refusal = [], [], None
        for each, row in found:
            if row is not None and row.replay_id == replay_id and not row.running:
                already_counted.append(each)
                continue
            try:
                progress = plan.progress_of(each, row, replay_id, service.token(), service.who(), service.now())
            except CountedAlready as error:
                refusal = refusal or error
                already_counted.append(each)
                continue
            planned.append(PlannedReplay(each, row, progress))
        if refusal is not None and not planned:
            raise refusal
        return Plans(planned, already_counted)

    def _progress(self, plan: ReplayPlan, *, acting: bool) -> Progress | None:
        check = ActiveReplayCheck(plan.shard, plan.request.target, patient=acting)
        for _ in self.steps(check):
            pass
        check.refuse_busy()
        return check.found

    def open_reader(self, planned: PlannedReplay) -> Reader:
        """A reader that has found the first records of the range.

        Raises UsageFault for a sequence number that is not the shard's, NotFound when the stream has nothing of the
        range any more.
        """
        progress = planned.progress
        reader = Reader(progress.shard, progress.range, progress.position, self.backoff)
        for _ in self.steps(reader):
            pass
        if reader.refusal is not None:
            raise UsageFault(
                f"--from {progress.range.first} is not a sequence number of shard {progress.shard}: the stream says "
                f"{reader.refusal}"
            )
        if reader.trimmed and not reader.wires:
            raise NotFound(
                f"nothing of shard {progress.shard} from {progress.range.first} to {progress.range.last} is in the "
                "stream any more: a record stays for 24 hours"
            )
        return reader

    def recount(self, planned: PlannedReplay, reader: Reader) -> Recount:
        """The machine that counts all of the range again."""
        service = self.quarantine_service
        return Recount(
            planned.before,
            planned.progress,
            reader,
            service.rules,
            planned.plan.start_time,
            self.backoff,
            service.who(),
            service.now,
        )

    def dry_run(self, planned: PlannedReplay, reader: Reader, deltas: dict[str, Delta]) -> DryRun:
        """The machine that only reads, and adds to `deltas` what a recount would count."""
        return DryRun(planned.plan.shard, reader, self.quarantine_service.rules, planned.plan.start_time, deltas)

    def pending(self, planned: PlannedReplay) -> list[QuarantineEntry]:
        """The pending quarantine entries of the range."""
        found = self.ask(ReadEntries(planned.plan.shard))
        assert isinstance(found, EntriesFound)
        return pending_of(found.entries.values(), planned.progress.range)

    def pending_replay(self, planned: PlannedReplay, entries: list[QuarantineEntry]) -> PendingReplay:
        """The machine that counts them."""
        service = self.quarantine_service
        return PendingReplay(
            planned.before, planned.progress, entries, service.rules, service.who(), service.now, service.token
        )

    def begin(self, machine: Recount | PendingReplay) -> None:
        """Writes the progress row, and nothing else."""
        while not machine.begun and (due := machine.due()) is not None:
            machine.take(self.ask(due.call))

    def steps(self, machine: Machine[T]) -> Iterator[T]:
        """Runs the machine, and yields what it returns."""
        return drive(machine, self.ask, self.wait)
