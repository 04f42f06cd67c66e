"""What a replay has to do, by the operator's request and the tables, and the reader of its range."""

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Final, NamedTuple

from consumer.domain.audit import AuditEntry
from consumer.domain.errors import CallFailed, DataTrimmed, FailureKind, IteratorExpired, UnsafeRefused, UsageFault
from consumer.domain.leases import (
    SHARD_END,
    TRIM_HORIZON,
    LeaseRow,
    Ledger,
    Shard,
    TableBinding,
    is_sequence_number,
    rank,
)
from consumer.domain.operator_ports import Replays
from consumer.domain.ports import Backoff, Streams
from consumer.domain.records import Corrections, Rules
from consumer.domain.replay import LATEST, Mode, Overtaken, Progress, Range, merged
from consumer.domain.replies import RawPage
from consumer.operations.steps import Command, OperatorCall, ask, find_row
from consumer.operations.waiting import PAGE_RECORDS

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
    instead: rows with marks may hold games beyond it, which its worker comes to. `keyed`: rows have marks.
    """

    request: ReplayRequest
    row: LeaseRow
    range: Range
    start_time: float | None
    capped: bool
    keyed: bool = False

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
            "which no game counts. Is CONSUMER_LEASE_TABLE right? If it is, restore the table from a backup; only if "
            "there is none: `consumer init --adopt`"
        )
    start_time = start.start_time if start is not None else None
    keyed = start is not None and start.keyed
    return ReplayPlan(request, row, Range(request.first, last), start_time, capped, keyed)


def refuse_recount(request: ReplayRequest, rules: Rules) -> None:
    """Raises UnsafeRefused for a recount where corrections count: a record counts by what its item was at that time."""
    if request.mode is Mode.RECOUNT and rules.corrections is Corrections.APPLY:
        raise UnsafeRefused(
            "with CONSUMER_CORRECTIONS=apply a range cannot be counted again: what a record adds depends on what was "
            "counted of its item at that time. Nothing was changed. Next: rebuild instead, into a second board with "
            "lease and quarantine tables of its own (docs/corrections.md). Is this board right? `consumer verify`"
        )


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


CHECKED_PAGES: Final = 3, 30, 300
"""Consecutive empty pages after which the reader checks whether the end of the range is trimmed."""
MOST_EMPTY_PAGES: Final = 1500
"""Consecutive empty pages after which the reader stops, five minutes at least: no record has the end's number, or the
records are gone. Hundreds of empty pages come before data too."""
EMPTY_PAUSE_SECONDS: Final = 0.2
LONGEST_PAUSE_SECONDS: Final = 5.0
FIRST_PAUSE_SECONDS: Final = 0.25
RECOVERY: Final = 0.8
"""Factor by which the pause shrinks with each page after a throttled one."""

_MAY_BE_GONE: Final = frozenset((FailureKind.THROTTLED, FailureKind.MISSING))
_MAY_REFUSE: Final = _MAY_BE_GONE | {FailureKind.REJECTED}


class Reader:
    """`wires` are the records that were read and not dropped yet. `ended`: none follow them.

    `trimmed`: a part of the range may be gone from the stream; `first_found` is the first record that it had.
    `refusal`: why the stream cannot read from there. `throttles` counts throttled reads.
    """

    def __init__(self, streams: Streams, shard: Shard, wanted: Range, position: str, backoff: Backoff) -> None:
        self.wires: deque[Mapping[str, Any]] = deque()
        self.ended = rank(position) >= rank(wanted.last)
        self.trimmed = False
        self.refusal: str | None = None
        self.first_found: str | None = None
        self.throttles = 0
        self._streams = streams
        self._shard = shard
        self._range = wanted
        self._backoff = backoff
        self._tail = position
        self._from_horizon = False
        self._iterator: str | None = None
        self._checking_end = False
        self._empty_pages = 0
        self._attempt = 0
        self._pause_seconds = 0.0

    def fill(self) -> Command[None]:
        """Reads until there are records to take, or the range has ended."""
        while not self.ended and not self.wires:
            pause = max(self._pause_seconds, EMPTY_PAUSE_SECONDS if self._empty_pages else 0.0)
            pause = self._backoff.delay(self._attempt) if self._attempt else pause
            attempt, self._attempt = self._attempt, 0
            try:
                yield from self._read(pause)
            except IteratorExpired:
                self._iterator = None
            except DataTrimmed:
                self._take_trimmed()
            except CallFailed as failure:
                match failure.kind:
                    case FailureKind.THROTTLED:
                        self._attempt = attempt + 1
                        self._slow_down()
                    case FailureKind.MISSING:
                        self.trimmed = self.ended = True
                    case FailureKind.REJECTED if self._checking_end:
                        self._checking_end = False
                    case FailureKind.REJECTED if self._iterator is None and self._after is None:
                        self.refusal, self.ended = failure.detail, True
                    case _:
                        raise

    def drop(self, position: str) -> None:
        """Drops the records up to `position`: they are done."""
        while self.wires and rank(number_of(self.wires[0])) <= rank(position):
            self.wires.popleft()

    @property
    def _after(self) -> str | None:
        """The position after which the next iterator stands. None: it stands at the first record of the range."""
        if self._from_horizon:
            return TRIM_HORIZON
        return self._tail if self._tail != TRIM_HORIZON or self._range.first == TRIM_HORIZON else None

    def _read(self, pause: float) -> Command[None]:
        """Makes one call, after a pause."""
        streams, shard = self._streams, self._shard
        if self._checking_end:
            at_end = partial(streams.open_at, shard, self._range.last)
            yield from ask(OperatorCall.GET_ITERATOR_AT, at_end, pause, _MAY_REFUSE)
            self._checking_end = False
        elif self._iterator is not None:
            read = partial(streams.read, self._iterator, PAGE_RECORDS)
            self._take_page((yield from ask(OperatorCall.GET_RECORDS, read, pause, _MAY_BE_GONE)))
        elif self._after is not None:
            after = partial(streams.open, shard, self._after)
            self._iterator = yield from ask(OperatorCall.GET_SHARD_ITERATOR, after, pause, _MAY_BE_GONE)
        else:
            first = partial(streams.open_at, shard, self._range.first)
            self._iterator = yield from ask(OperatorCall.GET_ITERATOR_AT, first, pause, _MAY_REFUSE)

    def _take_trimmed(self) -> None:
        self.trimmed = True
        if self._checking_end:
            self.ended = True
        else:
            self._from_horizon = self._iterator is None
            self._iterator = None

    def _slow_down(self) -> None:
        self.throttles += 1
        self._pause_seconds = min(max(2 * self._pause_seconds, FIRST_PAUSE_SECONDS), LONGEST_PAUSE_SECONDS)

    def _take_page(self, page: RawPage) -> None:
        self._pause_seconds = self._pause_seconds * RECOVERY if self._pause_seconds > FIRST_PAUSE_SECONDS / 2 else 0.0
        self._iterator = page.next_iterator
        self._from_horizon = False
        self.ended = page.next_iterator is None
        self._empty_pages = 0 if page.records else self._empty_pages + 1
        for wire in page.records:
            number = number_of(wire)
            if rank(number) > rank(self._range.last):
                self.ended = True
                break
            if self._range.contains(number) and rank(number) > rank(self._tail):
                self.first_found = self.first_found or number
                self.wires.append(wire)
                self._tail = number
        self.ended |= rank(self._tail) >= rank(self._range.last)
        if self._empty_pages >= MOST_EMPTY_PAGES:
            self.ended = self.trimmed = True
        self._checking_end = self._empty_pages in CHECKED_PAGES and self._range.last != SHARD_END


def number_of(wire: Mapping[str, Any]) -> str:
    """A record's sequence number."""
    return str(wire["dynamodb"]["SequenceNumber"])
