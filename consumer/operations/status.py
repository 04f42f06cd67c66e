"""`consumer status`: the shards, the workers, the lag, and the verdict as an exit code, judged from the tables."""

import time
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from functools import partial
from typing import Final

from consumer.domain import stream_halt
from consumer.domain.accepted_rules import AcceptedRules
from consumer.domain.board_windows import BoardWindows, board_windows
from consumer.domain.breaker import CLOSED, Circuit
from consumer.domain.errors import CallFailed, FailureKind, StartRefused
from consumer.domain.leases import (
    LeaseRow,
    Ledger,
    Shard,
    TableBinding,
    TableNames,
    ancestors,
    refuse_foreign_source,
    table_arn_of,
    table_of,
)
from consumer.domain.lineage import RETENTION_SECONDS, counted_from, lag_bound, uncommitted_since
from consumer.domain.marks import Writes, writes_of
from consumer.domain.membership import HeartbeatReport, LateShard, Members
from consumer.domain.operator_ports import Gap, LeaseTable, TableReader
from consumer.domain.planner import waiting
from consumer.domain.ports import Streams
from consumer.domain.replies import StreamListing
from consumer.domain.stream_halt import StreamHalt, StreamHaltReason, StreamUnusable, missing_images
from consumer.operations.steps import Command, OperatorCall, ask


class ShardCondition(StrEnum):
    """The state of a shard, as operators see it."""

    RUNNING = "running"
    UNOWNED = "unowned"
    """No worker owns it, or its owner sends no heartbeats."""
    WAITING = "waiting"
    """Its parent or an older stream is not finished, or no worker has seen the shard."""
    HALTED = "halted"
    MISSING = "missing"
    """Its row was deleted: its position is not known, so it is halted."""
    FINISHED = "finished"


class Verdict(StrEnum):
    """What `status` concludes."""

    HEALTHY = "healthy"
    UNKNOWN = "unknown"
    """Nothing shows how far some shard is read, or the quarantine table is another stream's."""
    BEHIND = "behind"
    """Also: some shard may be read by no living worker, because its rules are newer."""
    NO_WORKER = "no_worker"
    """No worker sends heartbeats: nothing is read."""
    DATA_LOSS_NEAR = "data_loss_near"
    HALTED = "halted"

    @property
    def exit_code(self) -> int:
        """The exit code of `status`. What is not known is never 0."""
        return {Verdict.HEALTHY: 0, Verdict.DATA_LOSS_NEAR: 11, Verdict.HALTED: 12}.get(self, 10)


@dataclass(frozen=True, slots=True)
class Limits:
    """The lag from which on the verdict is "behind", and the headroom below which data loss is near."""

    behind_seconds: float = 60.0
    headroom_seconds: float = 4 * 3600.0


@dataclass(frozen=True, slots=True)
class Scope:
    """What the settings of this command name. `attributes` are those of a game: player, score, timestamp; they only say
    something where no rules are accepted yet.

    `endpoints` are those that are not AWS's own.
    """

    source_table: str | None = None
    lease_table: str = TableNames().leases
    quarantine_table: str = TableNames().quarantine
    attributes: tuple[str, ...] = ()
    endpoints: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ShardStatus:
    """One shard.

    `lag_seconds` None: the lag is not known. Then `at_most_seconds` is its upper bound; None: that is not known either.
    `waits_for_parent`: its parent is not finished, so it lags no more than the parent. `rules`: the number of those by
    which it is read; None: not known. `waits_for_rules`: no living worker has rules of that number or a higher one.
    `waits_for_stream`: see Ledger.held_back.
    """

    shard: Shard
    state: ShardCondition
    owner: str | None = None
    epoch: int | None = None
    checkpoint: str | None = None
    lag_seconds: float | None = None
    at_most_seconds: float | None = None
    parent: str | None = None
    children: tuple[str, ...] = ()
    circuit: Circuit = CLOSED
    waits_for_parent: bool = False
    waits_for_stream: bool = False
    rules: int | None = None
    waits_for_rules: bool = False

    @property
    def worst_seconds(self) -> float | None:
        """The lag to reckon with; None: nothing is known of it."""
        return self.lag_seconds if self.lag_seconds is not None else self.at_most_seconds


@dataclass(frozen=True, slots=True)
class MemberStatus:
    """One member.

    `owns` counts the unfinished shards whose rows name it. `silent_seconds` is the time since its last report; None: it
    has only just joined. `fresh`: its report is young enough to rely on.
    """

    owner: str
    report: HeartbeatReport
    owns: int
    silent_seconds: float | None
    fresh: bool


@dataclass(frozen=True, slots=True)
class Status:
    """The status of the whole deployment. `now` is the server's, in unix seconds.

    `unread` are the ARNs of streams that no worker has started. `unknown_streams` were started, but the lease table
    does not know them, or is not theirs: it was emptied, or it is the wrong table. `unbound` are the ARNs of started
    streams that the quarantine table does not know. `stream_halts` says why nothing of the stream to read is read;
    `stream_off` that it is off, while it has records to read. `pending` None: not known, see TableReader. `writes`:
    how the games of the streams are written, by ARN. `boards` are the leaderboards to which the streams are bound, and
    `sources` the ARNs of their tables. `accepted` are the rules that the lease table has; `windows` None: not known.
    `begun_at`: since when games count, in unix seconds; None: not known.
    """

    now: float
    shards: tuple[ShardStatus, ...]
    workers: tuple[MemberStatus, ...]
    gaps: tuple[Gap, ...]
    pending: int | None
    replays: tuple[Mapping[str, str], ...]
    unread: tuple[str, ...] = ()
    unknown_streams: tuple[TableBinding, ...] = ()
    stream_halts: tuple[StreamHalt, ...] = ()
    writes: Mapping[str, Writes] = field(default_factory=dict)
    unbound: tuple[str, ...] = ()
    stream_off: str | None = None
    boards: tuple[str, ...] = ()
    sources: tuple[str, ...] = ()
    scope: Scope = Scope()
    accepted: AcceptedRules = AcceptedRules()  # noqa: RUF009  it is frozen
    windows: BoardWindows | None = None
    begun_at: float | None = None

    @property
    def waiting_for_rules(self) -> tuple[ShardStatus, ...]:
        """Shards that go on only when a worker of newer rules starts."""
        return tuple(shard for shard in self.shards if shard.waits_for_rules)

    @property
    def halted(self) -> tuple[ShardStatus, ...]:
        """Shards that go on only when an operator acts."""
        return tuple(shard for shard in self.shards if shard.state in (ShardCondition.HALTED, ShardCondition.MISSING))

    @property
    def open_gaps(self) -> tuple[Gap, ...]:
        """The gaps that no operator has acknowledged."""
        return tuple(gap for gap in self.gaps if gap.acknowledged is None)

    @property
    def blind(self) -> tuple[ShardStatus, ...]:
        """The shards of which nothing is known of the lag."""
        return tuple(
            shard
            for shard in self.shards
            if shard.worst_seconds is None
            and (not shard.waits_for_parent or shard.shard.stream_arn in {*self.unread, *self._unknown})
        )

    @property
    def worst_seconds(self) -> float:
        """Upper bound of the lag of the other shards."""
        return max((shard.worst_seconds or 0.0 for shard in self.shards), default=0.0)

    @property
    def at_most_seconds(self) -> float | None:
        """Upper bound of the lag. None: not known; of a stream that no worker has begun nothing is known."""
        return None if self.blind or self.unread or self.unknown_streams else self.worst_seconds

    @property
    def lag_seconds(self) -> float | None:
        """The lag; None: not known. A shard that waits for its parent lags no more than the parent."""
        known = all(shard.lag_seconds is not None or shard.waits_for_parent for shard in self.shards)
        return self.at_most_seconds if known else None

    @property
    def headroom_seconds(self) -> float | None:
        """Time until data loss: how long a stream keeps a record, less the upper bound of the lag; None: not known."""
        return RETENTION_SECONDS - self.at_most_seconds if self.at_most_seconds is not None else None

    @property
    def _unknown(self) -> frozenset[str]:
        return frozenset(binding.stream_arn for binding in self.unknown_streams)

    def verdict(self, limits: Limits) -> Verdict:
        """The worst verdict that holds."""
        if self.halted or self.unknown_streams or self.stream_halts:
            return Verdict.HALTED
        if RETENTION_SECONDS - self.worst_seconds < limits.headroom_seconds:
            return Verdict.DATA_LOSS_NEAR
        if not any(worker.fresh for worker in self.workers):
            return Verdict.NO_WORKER
        if self.worst_seconds > limits.behind_seconds or self.waiting_for_rules:
            return Verdict.BEHIND
        return Verdict.UNKNOWN if self.at_most_seconds is None or self.unbound else Verdict.HEALTHY


FRESH_SECONDS: Final = 30.0
FRESH_TTLS: Final = 3
"""A report older than both (seconds, TTLs) says nothing. A worker's clock may differ from the server's by less."""

_GONE: Final = frozenset((FailureKind.MISSING,))


def status(
    table: LeaseTable,
    listings: Iterable[StreamListing],
    gaps: tuple[Gap, ...],
    pending: int | None,
    now: float,
    lease_ttl_seconds: float,
    bindings: tuple[TableBinding, ...] = (),
    scope: Scope = Scope(),
) -> Status:
    """The status at `now`, the server's unix seconds."""
    listings = tuple(listings)
    ledger = table.ledger
    workers = _workers(ledger, table.members, now, lease_ttl_seconds)
    by_owner = {worker.owner: worker for worker in workers}
    parents = _parents(ledger, listings)
    start_times = {start.stream_arn: start.start_time for start in ledger.stream_starts}
    shards = [
        _with_row(row, by_owner.get(row.owner or ""), start_times.get(row.shard.stream_arn), now) for row in ledger.rows
    ]
    held_back = ledger.held_back
    shards = [_held_back(each) if each.shard in held_back else each for each in shards]
    shards += [_with_lost_row(shard, ledger, workers, now) for shard in ledger.missing]
    shards += _waiting(parents, {shard.shard for shard in shards}, ledger, now)
    started = {start.stream_arn for start in ledger.stream_starts}
    bound = {binding.stream_arn for binding in bindings}
    unbound = tuple(sorted(started - bound))
    return Status(
        now,
        tuple(sorted(_with_rules(_with_relatives(shards, parents), ledger, workers), key=lambda shard: shard.shard)),
        workers,
        gaps,
        pending if not unbound else None,
        tuple(replay for replay in table.replays if replay.get("state") == "running"),
        tuple(listing.stream_arn for listing in listings if listing.stream_arn not in started | bound),
        tuple(
            binding
            for binding in bindings
            if binding.stream_arn not in started or binding.lease_table != scope.lease_table
        ),
        writes=_writes(ledger, listings),
        unbound=unbound,
        boards=tuple(sorted({binding.leaderboard_table for binding in bindings})),
        sources=tuple(sorted(set(map(table_arn_of, started | bound | {each.stream_arn for each in listings})))),
        scope=scope,
        accepted=ledger.accepted,
        windows=board_windows(ledger),
        begun_at=counted_from(ledger),
    )


def _parents(ledger: Ledger, listings: Iterable[StreamListing]) -> dict[Shard, Shard | None]:
    """The parent of every shard that is listed or has a row, as far as either knows it."""
    listed = {
        Shard(listing.stream_arn, shard_id): Shard(listing.stream_arn, parent) if parent is not None else None
        for listing in listings
        for shard_id, parent in listing.shards
    }
    return listed | {
        row.shard: Shard(row.shard.stream_arn, row.parent) for row in ledger.rows if row.parent is not None
    }


def _with_rules(shards: Iterable[ShardStatus], ledger: Ledger, workers: Collection[MemberStatus]) -> list[ShardStatus]:
    """The shards with the numbers of their rules, and which of them no living worker may read."""
    numbers = {row.shard: row.rules for row in ledger.rows}
    living = [worker.report.rules for worker in workers if worker.fresh]
    waits = {row.shard for row in waiting(ledger.in_order.rows, living)} if any(living) else set()
    return [
        replace(
            shard,
            rules=numbers.get(shard.shard) or None,
            waits_for_rules=shard.state is ShardCondition.UNOWNED and shard.shard in waits,
        )
        for shard in shards
    ]


def _writes(ledger: Ledger, listings: Iterable[StreamListing]) -> dict[str, Writes]:
    """Of the streams that are listed, or have an unfinished shard."""
    partition_keys = {listing.stream_arn: listing.partition_key for listing in listings}
    read = {row.shard.stream_arn for row in ledger.rows if not row.finished} | partition_keys.keys()
    return {
        start.stream_arn: writes_of(start, partition_keys.get(start.stream_arn))
        for start in sorted(ledger.stream_starts, key=lambda start: start.stream_arn)
        if start.stream_arn in read
    }


def _workers(ledger: Ledger, members: Members, now: float, ttl_seconds: float) -> tuple[MemberStatus, ...]:
    owners = [row.owner for row in ledger.rows if not row.finished]
    limit = max(FRESH_SECONDS, FRESH_TTLS * ttl_seconds)
    found = []
    for owner, report in sorted(members.workers.items()):
        silent = max(0.0, now - report.as_of) if report.as_of else None
        found.append(MemberStatus(owner, report, owners.count(owner), silent, silent is not None and silent <= limit))
    return tuple(found)


def _with_row(row: LeaseRow, worker: MemberStatus | None, start_time: float | None, now: float) -> ShardStatus:
    """The status of a shard with a row. A worker's report does not cover shards that it has claimed since."""
    shard = ShardStatus(
        row.shard, ShardCondition.FINISHED, None, row.epoch, row.checkpoint, lag_seconds=0.0, children=row.children
    )
    if row.finished:
        return shard
    since = uncommitted_since(row, start_time)
    bound = lag_bound(since, now)
    known_by_row = since is not None and (since == row.created or bound < RETENTION_SECONDS)
    late = _reported(worker, row.shard) if worker is not None else None
    if late is not None and worker is not None:
        reported = late.lag_seconds + max(0.0, now - worker.report.as_of)
        bound = min(bound, reported)
    fresh = worker is not None and worker.fresh
    state = ShardCondition.RUNNING if fresh else ShardCondition.UNOWNED
    if row.circuit.halted_at is not None:
        state = ShardCondition.HALTED
    lag: float | None = None
    if fresh and late is not None and late.known:
        lag = 0.0 if late.lag_seconds == 0 else bound
    return replace(
        shard,
        state=state,
        owner=row.owner,
        lag_seconds=lag,
        at_most_seconds=bound if lag is None and (known_by_row or late is not None) else None,
        circuit=row.circuit,
    )


def _held_back(shard: ShardStatus) -> ShardStatus:
    """The shard, which waits for an older stream: no worker is missing."""
    state = ShardCondition.WAITING if shard.state is ShardCondition.UNOWNED else shard.state
    return replace(shard, state=state, waits_for_stream=True)


def _reported(worker: MemberStatus, shard: Shard, *, named: bool = False) -> LateShard | None:
    """The lag of a shard by its owner's last report, `named`: if it names the shard. None: it does not say it."""
    late = worker.report.lag_of(shard)
    says = late in worker.report.late or (not named and worker.report.shards >= worker.owns)
    return late if worker.silent_seconds is not None and says else None


def _with_lost_row(shard: Shard, ledger: Ledger, workers: Iterable[MemberStatus], now: float) -> ShardStatus:
    """Its records are younger than its parent's last commit, and than what the worker that had it last reports."""
    parents = (row for row in ledger.rows if row.shard.stream_arn == shard.stream_arn)
    since = [row.created for row in parents if shard.shard_id in row.children and row.created is not None]
    reported = ((worker.report.as_of, _reported(worker, shard, named=True)) for worker in workers)
    since += [as_of - late.lag_seconds for as_of, late in reported if late is not None]
    return ShardStatus(shard, ShardCondition.MISSING, at_most_seconds=lag_bound(max(since), now) if since else None)


def _waiting(parents: Mapping[Shard, Shard | None], known: set[Shard], ledger: Ledger, now: float) -> list[ShardStatus]:
    """The listed shards that the lease table does not know yet."""
    finished = {row.shard: row.created for row in ledger.rows if row.finished}
    never_read = ancestors(known, parents)
    unfinished = known - finished.keys() | parents.keys() - known - never_read
    found = []
    for shard, parent in parents.items():
        if shard not in known and shard not in never_read:
            created = finished.get(parent) if parent is not None else None
            bound = lag_bound(created, now) if created is not None else None
            found.append(
                ShardStatus(shard, ShardCondition.WAITING, at_most_seconds=bound, waits_for_parent=parent in unfinished)
            )
    return found


def _with_relatives(shards: Collection[ShardStatus], parents: Mapping[Shard, Shard | None]) -> list[ShardStatus]:
    """The shards with the parents and children that rows and listings know together."""
    listed_by = {Shard(shard.shard.stream_arn, child): shard.shard for shard in shards for child in shard.children}
    parent_of = {shard.shard: parents.get(shard.shard) or listed_by.get(shard.shard) for shard in shards}
    children: dict[Shard, set[str]] = {}
    for child, parent in parent_of.items():
        if parent is not None:
            children.setdefault(parent, set()).add(child.shard_id)
    return [
        replace(
            shard,
            parent=parent.shard_id if (parent := parent_of[shard.shard]) is not None else None,
            children=tuple(sorted({*shard.children, *children.get(shard.shard, ())})),
        )
        for shard in shards
    ]


def collect(
    reader: TableReader,
    streams: Streams,
    newest: Callable[[], str],
    lease_ttl_seconds: float,
    scope: Scope = Scope(),
) -> Command[Status]:
    """The status now. `newest` finds the stream to read, and raises StreamUnusable when there is none.

    Raises StartRefused when there is no stream and the tables know none of this source, UnsafeRefused when they know
    another source. If the stream is off by now, the status shows what the tables know of it.
    """
    # In one piece: each way in which the source may be missing, and what it means.
    halt: StreamHalt | None = None
    chosen: str | None = None
    table = yield from ask(OperatorCall.LOAD_LEDGER, reader.lease_table)
    bindings = yield from ask(OperatorCall.READ_BINDINGS, reader.bindings)
    in_use = {row.shard.stream_arn for row in table.ledger.rows if not row.finished}
    corrections = table.ledger.accepted.corrections
    known = {start.stream_arn for start in table.ledger.stream_starts} | {each.stream_arn for each in bindings}
    gone = False
    try:
        chosen = yield from ask(OperatorCall.FIND_STREAM, newest)
        in_use.add(chosen)
    except StartRefused as refusal:
        if not known:
            raise
        if isinstance(refusal, StreamUnusable):
            gone = refusal.named_wrong
            if gone and scope.source_table not in set(map(table_of, known)):
                raise StartRefused(_named_wrong(str(refusal), known, scope)) from refusal
            if refusal.halt.reason is StreamHaltReason.VIEW_TYPE:
                halt = refusal.halt
            else:
                halt = stream_halt.gone(str(refusal)) if gone else stream_halt.off(str(refusal))
    if chosen is not None:
        refuse_foreign_source(set(map(table_arn_of, known)), chosen)
    listings = []
    for stream_arn in sorted(in_use):
        ask_listing = partial(streams.list_shards, stream_arn)
        try:
            listing = yield from ask(OperatorCall.LIST_SHARDS, ask_listing, answers=_GONE)
        except CallFailed as failure:
            if failure.kind is not FailureKind.MISSING:  # the stream is gone, or has no shards yet
                raise
            if stream_arn != chosen:
                continue
            if stream_arn not in known and scope.source_table is None:
                raise StartRefused(_named_wrong(failure.detail, known, scope)) from failure
            gone = stream_arn in known
            halt = stream_halt.gone(failure.detail) if gone else None
        else:
            listings.append(listing)
            if stream_arn == chosen and not listing.enabled:
                halt = stream_halt.off_for_good(chosen, listing.successor)
            elif stream_arn == chosen and (unusable := missing_images(listing.view, corrections, chosen)) is not None:
                halt = unusable.halt
    stream_off = None
    if halt is not None and halt.reason is StreamHaltReason.OFF and not gone and not table.ledger.read_to_the_end:
        halt, stream_off = None, "games that are written now are in no stream; what it had before is read to its end"
    now = max((listing.served_at for listing in listings), default=time.time())
    gaps = yield from ask(OperatorCall.READ_GAPS, reader.gaps)
    pending = yield from ask(OperatorCall.COUNT_PENDING, reader.pending)
    found = status(table, listings, gaps, pending, now, lease_ttl_seconds, bindings, scope)
    unread = found.unread if chosen is None or chosen in {*known, *found.unread} else (*found.unread, chosen)
    return replace(found, stream_halts=(halt,) if halt is not None else (), stream_off=stream_off, unread=tuple(unread))


def _named_wrong(detail: str, known: Iterable[str], scope: Scope) -> str:
    tables = ", ".join(sorted({f"{table_of(arn)} ({table_arn_of(arn)})" for arn in known})) or "no source table yet"
    names = "CONSUMER_STREAM_ARN" if scope.source_table is None else "CONSUMER_SOURCE_TABLE"
    return f"{detail}. Is {names} right, and the region? The lease table {scope.lease_table} counts {tables}."
