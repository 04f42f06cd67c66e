"""Operators' commands, over the real tables and streams."""

import random
import secrets
import threading
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from functools import cache, partial
from itertools import islice
from typing import Final, TypeVar

from consumer.aws.clients import caller, connect
from consumer.aws.commits import DynamoCommits
from consumer.aws.leases import DynamoLeases
from consumer.aws.operator_writes import (
    DynamoCircuits,
    DynamoGaps,
    DynamoLeaseAdmin,
    DynamoReplays,
    DynamoTableBindings,
)
from consumer.aws.quarantine import DynamoQuarantine
from consumer.aws.streams import DESCRIBES_AT_ONCE, DESCRIBES_PER_SECOND, DynamoStreams, RateLimiter
from consumer.aws.tables import (
    LEADERBOARD_KEYS,
    LEASE_KEYS,
    QUARANTINE_KEYS,
    DynamoBoard,
    DynamoTableReader,
    DynamoTables,
    Keys,
    TableReport,
)
from consumer.aws.wire import RETRY_SECONDS, may_pass, refusal_of
from consumer.domain.errors import CallFailed
from consumer.domain.leases import LeaseRow, Ledger, TableBinding, TableNames
from consumer.domain.operator_ports import BoardRow, Gap
from consumer.domain.records import Rules
from consumer.domain.replies import Lost, RowRefused
from consumer.domain.text import many
from consumer.operations import adopt as adoption
from consumer.operations import checkpoint, gaps, resume, steps
from consumer.operations import top as board
from consumer.operations.quarantine import QuarantineService
from consumer.operations.replay import ReplayService
from consumer.operations.status import Status, collect
from consumer.operations.steps import Command, OperatorCall, Step, ask, run
from consumer.retries import JitteredBackoff, persist
from consumer.settings import Settings, variable

STATUS_DESCRIBES_AT_ONCE: Final = 5
"""An operator waits for one listing: of the 10 calls per second that AWS allows, some are left to the workers."""
REPLAY_ANSWER_SECONDS: Final = 60.0
"""A replay is long: a throttled table, or a network that is away for a while, must not end it."""

KEYS: Final = {"leaderboard_table": LEADERBOARD_KEYS, "lease_table": LEASE_KEYS, "quarantine_table": QUARANTINE_KEYS}
"""The settings that name this program's own tables, each with its table's key."""

R = TypeVar("R")


def own_tables(settings: Settings, *names: str) -> list[tuple[str, Keys, str]]:
    """Table, key and environment variable of the settings `names`; without names: of all tables that `init` makes."""
    return [(getattr(settings, name), KEYS[name], variable(name)) for name in names or KEYS]


def table_names(settings: Settings) -> TableNames:
    """The tables that these settings name."""
    return TableNames(settings.lease_table, settings.leaderboard_table, settings.quarantine_table)


def rules_of(settings: Settings) -> Rules:
    """What makes a record a game."""
    return Rules(
        settings.player_attribute, settings.score_attribute, settings.timestamp_attribute, settings.max_future_seconds
    )


class Session:
    """What every command needs: clients, the tables' names, and the event that its retries wait on."""

    def __init__(self, settings: Settings, *checked: str, stream_arn: str | None = None) -> None:
        """Checks the tables of the settings `checked` first. Raises StartRefused when one is missing or another one."""
        self.stop = threading.Event()
        self.retry_seconds = RETRY_SECONDS
        clients = self._clients = connect(settings.pool_size, stream_arn, stop=self.stop)
        self.dynamodb, self.streams_client = clients.dynamodb, clients.streams
        self.names = table_names(settings)
        self.tables = DynamoTables(clients.dynamodb, clients.streams, self.stop)
        self._threads = settings.pool_size
        if checked:
            for table in own_tables(settings, *checked):
                self.tables.check(*table)

    def reader(self) -> DynamoTableReader:
        """Reads whole tables."""
        return DynamoTableReader(self.dynamodb, self.names, self.stop)

    def streams(self) -> Callable[[str], DynamoStreams]:
        """Streams by ARN, each in its own region; all share one rate limit."""
        rate_limiter = RateLimiter(DESCRIBES_PER_SECOND, DESCRIBES_AT_ONCE, self.stop)

        @cache
        def stream(arn: str) -> DynamoStreams:
            return DynamoStreams(connect(self._threads, arn).streams, stream_arn=arn, rate_limiter=rate_limiter)

        return stream

    def ledger(self) -> Ledger:
        """The lease table's rows."""
        return self.run(ask(OperatorCall.LOAD_LEDGER, DynamoLeases(self.dynamodb, self.names).load))

    def binding(self, stream_arn: str) -> TableBinding | None:
        """A stream's table binding."""
        leases = DynamoLeases(self.dynamodb, self.names)
        return self.run(ask(OperatorCall.READ_BINDINGS, partial(leases.read_origin, stream_arn))).binding

    def caller(self) -> str:
        """The identity that the audit trail records."""
        return caller(self._clients)

    def run(self, command: Command[R]) -> R:
        """Runs a command. A call that fails is made again for some seconds, where that may help."""

        def make(step: Step) -> object:
            def retry_on(error: BaseException) -> bool:
                return may_pass(error) and not (isinstance(error, CallFailed) and error.kind in step.answers)

            return persist(step.effect, seconds=self.retry_seconds, stop=self.stop, retry_on=retry_on)

        return run(command, make, self.stop.wait)


@contextmanager
def refusing() -> Iterator[None]:
    """A failed call ends the command with a sentence: CallFailed becomes StartRefused."""
    try:
        yield
    except CallFailed as failure:
        raise refusal_of(failure) from failure


def init(settings: Settings) -> list[TableReport]:
    """Creates the leaderboard, lease and quarantine tables, or finds them as they should be.

    A quarantine table of an older version gets its index. Its rows come first: an index that is served is complete.
    """
    session = Session(settings)
    reports = {table[0]: session.tables.ensure(*table) for table in own_tables(settings)}
    for name in (settings.lease_table, settings.quarantine_table):
        session.tables.ensure_expiry(name)
    quarantine = reports[settings.quarantine_table]
    with refusing():
        updated = _quarantine(session, settings).update_old_rows()
    notes = [quarantine.note] if quarantine.note else []
    if updated:
        notes.append(f"{many(updated, 'row')} of an older version updated")
    if session.tables.ensure_index(quarantine.name):
        notes.append("index added")
    reports[quarantine.name] = replace(quarantine, note=", ".join(notes) or None)
    return list(reports.values())


@refusing()
def adopt(settings: Settings, agree: Callable[[tuple[str, ...]], None]) -> list[str]:
    """Makes table bindings match the lease table, once `agree` has not raised; the ARNs of their streams."""
    session = Session(settings, *KEYS)
    bindings = DynamoTableBindings(session.dynamodb, session.names)
    reader = session.reader()
    stream_starts = reader.lease_table().ledger.stream_starts
    changes = adoption.binding_changes(reader.bindings(), stream_starts, session.names)
    if changes:
        agree(tuple(adoption.sentence(change, session.names) for change in changes))
        session.run(adoption.carry_out(bindings, changes, session.caller(), time.time()))
    return [change.stream_arn for change in changes]


def status(settings: Settings) -> Callable[[], Status]:
    """A function that reads the status, as often as it is called. Both raise StartRefused."""
    session = Session(settings, "lease_table", "quarantine_table", stream_arn=settings.stream_arn)
    session.retry_seconds = 0.0  # a listing that fails is shown at once; the tables' reads are retried all the same
    rate_limiter = RateLimiter(DESCRIBES_PER_SECOND, STATUS_DESCRIBES_AT_ONCE, session.stop)
    streams = DynamoStreams(
        session.streams_client, session.dynamodb, settings.source_table, settings.stream_arn, rate_limiter
    )

    def newest() -> str:
        return settings.stream_arn or session.tables.require_stream(str(settings.source_table))

    @refusing()
    def read() -> Status:
        return session.run(collect(session.reader(), streams, newest, settings.lease_ttl_seconds))

    return read


@refusing()
def show_checkpoint(settings: Settings, name: str) -> LeaseRow:
    """A shard's row. Raises NotFound, StartRefused."""
    session = Session(settings, "lease_table")
    return steps.find_row(session.reader().lease_table().ledger, name)


@refusing()
def set_checkpoint(
    settings: Settings, name: str, position: str, agree: Callable[[tuple[str, ...]], None]
) -> checkpoint.CheckpointChange:
    """Changes a shard's row, once `agree` has not raised. Raises ConsumerError."""
    session = Session(settings, "lease_table", "quarantine_table")
    lease_admin = DynamoLeaseAdmin(session.dynamodb, session.names)
    _, now = session.run(ask(OperatorCall.READ_MEMBERS, lease_admin.read_members))
    change = checkpoint.plan(session.reader().lease_table().ledger, name, position, now)
    ttl_seconds = settings.lease_ttl_seconds
    session.run(checkpoint.carry_out(change, lease_admin, ttl_seconds, agree, session.caller, time.time))
    return change


@refusing()
def resume_shard(
    settings: Settings,
    name: str,
    agree: Callable[[LeaseRow, tuple[str, ...]], object],
    progress: Callable[[], AbstractContextManager[Callable[[int], object]]],
    *,
    quarantine_all: bool,
    player: str | None = None,
) -> resume.Resumed:
    """Closes the circuit of a halted shard, once `agree` has not raised. Raises ConsumerError.

    `progress` yields what counts the records that are read. `player`: the mark of this player's row is accepted.
    """
    session = Session(settings, *(KEYS if player is not None else ("lease_table", "quarantine_table")))
    circuits, board = DynamoCircuits(session.dynamodb, session.names), session.names.leaderboard
    ledger = session.ledger()
    row = resume.find_halted(ledger, name)
    accepted, sentences = None, tuple[str, ...]()
    if player is not None:
        resume.require_unknown_mark(row, player)
        resume.refuse_other_board(row, board, session.binding(row.shard.stream_arn))
        stored = session.run(ask(OperatorCall.READ_ROW, partial(circuits.read_row, player)))
        accepted = resume.mark_to_accept(row, player, stored, ledger, board)
        sentences = resume.sentences_on(accepted, row, board)
    agree(row, sentences)
    streams = session.streams()(row.shard.stream_arn)
    who, now, token = session.caller(), time.time(), secrets.token_hex(16)
    with progress() as report:
        done = session.run(
            resume.resume(
                row,
                circuits,
                streams,
                who,
                now,
                token,
                report,
                quarantine_all=quarantine_all,
                accepted=accepted,
                board=board,
            )
        )
    if isinstance(done, Lost):
        raise resume.changed_concurrently(row.shard, done)
    if isinstance(done, RowRefused):
        assert accepted is not None
        raise resume.row_changed(accepted, done)
    return done


@refusing()
def list_gaps(settings: Settings) -> tuple[Gap, ...]:
    """Every gap, in the order of the table. Raises StartRefused."""
    return Session(settings, "quarantine_table").reader().gaps()


@refusing()
def acknowledge_gaps(
    settings: Settings, names: Collection[str], why: str, agree: Callable[[tuple[str, ...]], object]
) -> None:
    """Marks gaps as acknowledged, one transaction each, once `agree` has not raised. Raises ConsumerError."""
    session = Session(settings, "quarantine_table")
    known = session.reader().gaps()
    chosen = [gaps.find(known, name) for name in dict.fromkeys(names)]
    agree(tuple(f"Gap {gap.name}: from now on it counts as acknowledged. Its row stays." for gap in chosen))
    port, who, token = DynamoGaps(session.dynamodb, session.names), session.caller(), secrets.token_hex(16)
    for gap in chosen:
        session.run(gaps.acknowledge(gap, port, why, who, time.time(), token))


@contextmanager
def quarantine_service(settings: Settings, *, acting: bool) -> Iterator[tuple[QuarantineService, Session]]:
    """The quarantine, and what runs its commands; `acting`: with all tables that a redrive writes.

    Failed calls leave as StartRefused.
    """
    session = Session(settings, *(KEYS if acting else ("quarantine_table",)))
    with refusing():
        yield _quarantine_service(session, settings), session


def _quarantine(session: Session, settings: Settings) -> DynamoQuarantine:
    return DynamoQuarantine(session.dynamodb, session.names, session.stop, settings.quarantine_retention_days)


def _quarantine_service(session: Session, settings: Settings) -> QuarantineService:
    return QuarantineService(
        _quarantine(session, settings),
        DynamoCommits(session.dynamodb, session.names),
        shards=lambda: [row.shard for row in DynamoLeases(session.dynamodb, session.names).load().rows],
        who=cache(session.caller),
        now=time.time,
        token=partial(secrets.token_hex, 16),
        rules=rules_of(settings),
    )


@contextmanager
def replay_service(settings: Settings, into: str | None) -> Iterator[tuple[ReplayService, Session]]:
    """Replays into the configured leaderboard or table `into`, and what runs their commands.

    Failed calls leave as StartRefused.
    """
    session = Session(settings, *KEYS)
    session.retry_seconds = REPLAY_ANSWER_SECONDS
    names = session.names
    if into is not None:
        session.tables.check(into, LEADERBOARD_KEYS, "--into", f"consumer init --leaderboard-table {into}")
        names = names._replace(leaderboard=into)
    with refusing():
        yield (
            ReplayService(
                _quarantine_service(session, settings),
                session.streams(),
                DynamoReplays(session.dynamodb, names, session.stop),
                DynamoCommits(session.dynamodb, names),
                session.ledger,
                session.binding,
                JitteredBackoff(random.Random()),
            ),
            session,
        )


@refusing()
def audit_log(settings: Settings, limit: int | None) -> list[dict[str, str]]:
    """The newest `limit` operator actions, newest first. Raises StartRefused."""
    session = Session(settings, "quarantine_table")
    return list(islice(session.reader().audit_rows(), limit))


@refusing()
def top(settings: Settings, by: board.By, limit: int, watch: board.Watch) -> list[BoardRow]:
    """The best of the leaderboard. Raises StartRefused."""
    session = Session(settings, "leaderboard_table")
    return board.top(DynamoBoard(session.dynamodb, session.names, session.stop), by, limit, watch)
