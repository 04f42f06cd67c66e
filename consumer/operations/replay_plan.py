"""What a replay has to do, from the operator's request and the tables. Refusals are sentences."""

from dataclasses import dataclass, replace
from functools import partial
from typing import Final, NamedTuple

from consumer.domain.audit import AuditEntry
from consumer.domain.errors import UnsafeRefused, UsageFault
from consumer.domain.leases import LeaseRow, Shard, TableBinding
from consumer.domain.operator_ports import Replays
from consumer.domain.position import TRIM_HORIZON, is_sequence_number, rank
from consumer.domain.replay import LATEST, Mode, Overtaken, Progress, Range, merged
from consumer.domain.replies import Ledger
from consumer.operations.shards import find_row
from consumer.operations.steps import Command, OperatorCall, ask

ACTION: Final = "replay"
FEWEST_DIGITS: Final = 21
"""Of a sequence number. Source: API reference of DynamoDB Streams, StreamRecord."""
READS: Final = 3
"""Reads of the progress row after the first one."""
PAUSE_SECONDS: Final = 1.0
"""A running replay moves its row several times per second. One wrongly taken for dead is fenced: it counts no more."""


class CountedAlready(UnsafeRefused):
    """The range, or a part of it, was counted again before."""


@dataclass(frozen=True, slots=True)
class ReplayRequest:
    """What an operator requests. `target` is a leaderboard table.

    `again`: also count what was counted again before. `into_other_table`: the target is not the workers' leaderboard.
    """

    shard: str
    first: str
    last: str
    mode: Mode
    target: str
    again: bool = False
    into_other_table: bool = False

    def check(self) -> None:
        """Raises UsageFault, with every fault, for a range that no shard can have."""
        faults = []
        for flag, text, word in (("--from", self.first, TRIM_HORIZON), ("--to", self.last, LATEST)):
            if text != word and not (is_sequence_number(text) and len(text) >= FEWEST_DIGITS):
                faults.append(
                    f"{flag} is {text[:80]!r}: it must be {word} or a sequence number, which has {FEWEST_DIGITS} to 40 "
                    "decimal digits"
                )
        if not faults and self.last != LATEST and rank(self.first) > rank(self.last):
            faults.append(f"--from {self.first} is after --to {self.last}: there is nothing between them")
        if faults:
            raise UsageFault("\n".join(faults))


@dataclass(frozen=True, slots=True)
class ReplayPlan:
    """A request as the lease table allows it. `row` is the shard's row.

    Games from before `start_time` (unix seconds) never count. `capped`: --to is past the checkpoint, which is the end
    instead.
    """

    request: ReplayRequest
    row: LeaseRow
    range: Range
    start_time: float | None
    capped: bool

    @property
    def shard(self) -> Shard:
        """The shard whose records are replayed."""
        return self.row.shard

    def same(self, found: Progress) -> bool:
        """Whether `found` is an interrupted replay of the same request."""
        same_range = found.range.first == self.range.first and self.request.last in (
            found.requested_last,
            found.range.last,
        )
        return found.running and found.mode is self.request.mode and same_range


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


def plan_replay(ledger: Ledger, request: ReplayRequest) -> ReplayPlan:
    """The plan of a request.

    Raises UsageFault, NotFound, and UnsafeRefused for records that the workers have not counted yet.
    """
    request.check()
    row = find_row(ledger, request.shard)
    if row.checkpoint == TRIM_HORIZON:
        raise UnsafeRefused(f"nothing of shard {row.shard} is counted yet: there is nothing to replay")
    if rank(request.first) > rank(row.checkpoint):
        raise UnsafeRefused(
            f"shard {row.shard} is counted up to {row.checkpoint}, and --from {request.first} is past that checkpoint: "
            "its worker will come to it"
        )
    capped = request.last != LATEST and rank(request.last) > rank(row.checkpoint)
    last = row.checkpoint if request.last == LATEST or capped else request.last
    start = ledger.stream_start(row.shard.stream_arn)
    if start is None and request.mode is Mode.RECOUNT:
        raise UnsafeRefused(
            f"the row of shard {row.shard}'s stream is gone from the lease table, and with it the start time before "
            "which no game counts. Next: `consumer init --adopt`"
        )
    start_time = start.start_time if start is not None else None
    return ReplayPlan(request, row, Range(request.first, last), start_time, capped)


def check_target(plan: ReplayPlan, binding: TableBinding | None) -> None:
    """Raises UnsafeRefused when the target is not what the request says: the stream's own leaderboard, or another."""
    if binding is None:
        return
    own, target = binding.leaderboard_table, plan.request.target
    if plan.request.into_other_table and target == own:
        raise UnsafeRefused(
            f"--into {target} is the leaderboard that shard {plan.shard} is counted into, though another one is "
            "configured. Next: correct CONSUMER_LEADERBOARD_TABLE"
        )
    if not plan.request.into_other_table and target != own:
        raise UnsafeRefused(
            f"shard {plan.shard} is counted into {own}, and the configured leaderboard is {target}. Next: correct "
            "CONSUMER_LEADERBOARD_TABLE, or add --into"
        )


def descendants(ledger: Ledger, request: ReplayRequest) -> list[ReplayRequest]:
    """The same request for the shard's children, and theirs, from their start: for those that are counted in part."""
    rows = {row.shard: row for row in ledger.rows}
    generation, found = [find_row(ledger, request.shard)], list[ReplayRequest]()
    while generation:
        children = [Shard(row.shard.stream_arn, child) for row in generation for child in row.children]
        generation = [rows[child] for child in children if child in rows]
        counted = (row for row in generation if row.checkpoint != TRIM_HORIZON)
        found += [replace(request, shard=str(row.shard), first=TRIM_HORIZON, last=LATEST) for row in counted]
    return found


def read_progress(replays: Replays, shard: Shard, target: str, *, acting: bool) -> Command[Progress | None]:
    """The progress row. `acting`: raises UnsafeRefused when another command runs the replay; then its row moves."""
    read = partial(replays.progress, shard, target)
    found = yield from ask(OperatorCall.READ_PROGRESS, read)
    for _ in range(READS if acting else 0):
        if found is None or not found.running:
            break
        before, found = found, (yield from ask(OperatorCall.READ_PROGRESS, read, PAUSE_SECONDS))
        if found is not None and found.running and found != before:
            raise UnsafeRefused(
                f"a replay of shard {found.shard} into {found.target} is running: {found.who} started it, and it has "
                f"counted up to {found.position} of {found.range.first} to {found.range.last}. Nothing was changed. "
                "Next: wait until it ends, see `consumer status`"
            )
    return found


def progress_of(plan: ReplayPlan, found: Progress | None, replay_id: str, runner: str, who: str, at: float) -> Progress:
    """The progress row to start with, or to go on from `found`. Raises UnsafeRefused if games could count twice."""
    request, history = plan.request, found.history if found is not None else ()
    if found is not None and plan.same(found):
        return replace(found, runner=runner)
    if found is not None and found.running and found.mode is Mode.RECOUNT and not request.again:
        raise UnsafeRefused(
            f"a replay of shard {plan.shard} into {request.target}, from {found.range.first} to {found.range.last}, "
            f"was interrupted behind {found.position}. Next: go on from there with the same command, --from "
            f"{found.range.first} --to {found.requested_last}. Or give that replay up with --again: what it has "
            "counted stays counted"
        )
    overlapping = next((range_ for range_ in history if range_.overlaps(plan.range)), None)
    if request.mode is Mode.RECOUNT and overlapping is not None and not request.again:
        raise CountedAlready(
            f"shard {plan.shard} was counted again into {request.target} from {overlapping.first} to "
            f"{overlapping.last} already. That overlaps, and would count it once more. If {request.target} was reset "
            "since, next: add --again"
        )
    return Progress(
        shard=plan.shard,
        target=request.target,
        mode=request.mode,
        range=plan.range,
        requested_last=request.last,
        position=TRIM_HORIZON,
        replay_id=replay_id,
        runner=runner,
        who=who,
        started_at=at,
        done=merged(history),
    )


def audit_entry_of(progress: Progress, outcome: str, who: str, at: float) -> AuditEntry:
    """The start or the end of a replay in the audit trail."""
    detail = {
        "outcome": outcome,
        "mode": progress.mode.value,
        "from": progress.range.first,
        "to": progress.range.last,
        "leaderboardTable": progress.target,
        "position": progress.position,
        "games": str(progress.games),
        "skipped": str(progress.skipped),
    }
    return AuditEntry(who, at, ACTION, str(progress.shard), detail)


def refuse_overtaken(overtaken: Overtaken) -> None:
    """Raises UnsafeRefused: another run has the progress row."""
    row = overtaken.row
    now = "its progress row is gone" if row is None else f"{row.who} runs it now, and has counted up to {row.position}"
    raise UnsafeRefused(f"changed concurrently: another command took this replay over; {now}. Next: `consumer status`")
