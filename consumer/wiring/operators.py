"""Operators' commands, over the real tables and streams."""

import random
import secrets
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache, partial
from itertools import islice
from typing import Final, ParamSpec, TypeVar

from consumer.aws.clients import caller, connect
from consumer.aws.commits import DynamoCommits
from consumer.aws.errors import RETRY_SECONDS, may_pass, refusal_of
from consumer.aws.leases import DynamoLeases
from consumer.aws.operator_reads import DynamoBoard, DynamoTableReader
from consumer.aws.operator_writes import DynamoCircuits, DynamoLeaseAdmin, DynamoTableBindings
from consumer.aws.quarantine import DynamoQuarantine
from consumer.aws.replay import DynamoReplays
from consumer.aws.streams import DESCRIBES_AT_ONCE, DESCRIBES_PER_SECOND, DynamoStreams, RateLimiter
from consumer.aws.tables import LEADERBOARD_KEYS, LEASE_KEYS, QUARANTINE_KEYS, DynamoTables, Keys, TableReport
from consumer.domain.errors import CallFailed
from consumer.domain.leases import LeaseRow, TableNames
from consumer.domain.operator_ports import BoardRow
from consumer.domain.records import Rules
from consumer.operations import adopt as adoption
from consumer.operations import checkpoint, resume, shards
from consumer.operations import quarantine as redrives
from consumer.operations import top as board
from consumer.operations.quarantine import QuarantineService
from consumer.operations.replay.calls import ReplayPorts, execute
from consumer.operations.replay.service import ReplayService
from consumer.operations.status import Status, StatusCollector
from consumer.retries import JitteredBackoff, persist
from consumer.settings import Settings, variable

STATUS_DESCRIBES_AT_ONCE: Final = 5
"""An operator waits for one listing: of the 10 calls per second that AWS allows, some are left to the workers."""
REPLAY_ANSWER_SECONDS: Final = 60.0
"""A replay is long: a throttled table, or a network that is away for a while, must not end it."""

KEYS: Final = {"leaderboard_table": LEADERBOARD_KEYS, "lease_table": LEASE_KEYS, "quarantine_table": QUARANTINE_KEYS}
"""The settings that name this program's own tables, each with its table's key."""

P = ParamSpec("P")
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
        clients = connect(settings.pool_size, stream_arn)
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

    def caller(self) -> str:
        """The identity that the audit trail records."""
        return caller(self.dynamodb)

    def retrying(self, call: Callable[P, R], seconds: float = RETRY_SECONDS) -> Callable[P, R]:
        """The same call, retried for some seconds after failures that may pass."""

        def call_until_answered(*args: P.args, **kwargs: P.kwargs) -> R:
            return persist(partial(call, *args, **kwargs), seconds=seconds, stop=self.stop, retry_on=may_pass)

        return call_until_answered


@contextmanager
def refusing() -> Iterator[None]:
    """A failed call ends the command with a sentence: CallFailed becomes StartRefused."""
    try:
        yield
    except CallFailed as failure:
        raise refusal_of(failure) from failure


def init(settings: Settings) -> list[TableReport]:
    """Creates the leaderboard, lease and quarantine tables, or finds them as they should be."""
    session = Session(settings)
    return [session.tables.ensure(*table) for table in own_tables(settings)]


@refusing()
def adopt(settings: Settings, agree: Callable[[tuple[str, ...]], None]) -> list[str]:
    """Makes table bindings match the lease table, once `agree` has not raised; the ARNs of their streams."""
    session = Session(settings, *KEYS)
    bindings = DynamoTableBindings(session.dynamodb, session.names, session.stop)
    reader = session.reader()
    stream_starts = reader.lease_table().ledger.stream_starts
    changes = adoption.binding_changes(reader.bindings(), stream_starts, session.names)
    if changes:
        agree(tuple(adoption.sentence(change, session.names) for change in changes))
        adoption.carry_out(bindings, changes, session.caller(), time.time())
    return [change.stream_arn for change in changes]


def status(settings: Settings) -> Callable[[], Status]:
    """A function that reads the status, as often as it is called. Both raise StartRefused."""
    session = Session(settings, "lease_table", "quarantine_table", stream_arn=settings.stream_arn)
    rate_limiter = RateLimiter(DESCRIBES_PER_SECOND, STATUS_DESCRIBES_AT_ONCE, session.stop)
    streams = DynamoStreams(
        session.streams_client, session.dynamodb, settings.source_table, settings.stream_arn, rate_limiter
    )

    def newest() -> str:
        return settings.stream_arn or session.tables.require_stream(str(settings.source_table))

    collector = StatusCollector(session.reader(), streams, newest, settings.lease_ttl_seconds)
    return refusing()(collector.collect)


@refusing()
def show_checkpoint(settings: Settings, name: str) -> LeaseRow:
    """A shard's row. Raises NotFound, StartRefused."""
    session = Session(settings, "lease_table")
    return shards.find_row(session.reader().lease_table().ledger, name)


@refusing()
def set_checkpoint(
    settings: Settings, name: str, position: str, agree: Callable[[tuple[str, ...]], None]
) -> checkpoint.CheckpointChange:
    """Changes a shard's row, once `agree` has not raised. Raises ConsumerError."""
    session = Session(settings, "lease_table", "quarantine_table")
    lease_admin = DynamoLeaseAdmin(session.dynamodb, session.names, session.stop)
    _, now = lease_admin.read_members()
    change = checkpoint.plan(session.reader().lease_table().ledger, name, position, now)
    checkpoint.refuse_alive(change, lease_admin, settings.lease_ttl_seconds, session.stop.wait)
    agree(change.sentences)
    checkpoint.carry_out(change, lease_admin, session.caller(), time.time())
    return change


@refusing()
def resume_shard(
    settings: Settings, name: str, agree: resume.Agree, watch: resume.Watch, *, quarantine_all: bool
) -> resume.Resume:
    """Closes the circuit of a halted shard, once `agree` has not raised. Raises ConsumerError."""
    session = Session(settings, "lease_table", "quarantine_table")
    circuits = DynamoCircuits(session.dynamodb, session.names)
    ask = session.retrying(partial(resume.execute, circuits=circuits, streams=session.streams()))
    row = resume.find_halted(session.retrying(DynamoLeases(session.dynamodb, session.names).load)(), name)
    agree(row)
    machine = resume.Resume(row, session.caller(), time.time(), secrets.token_hex(16), quarantine_all=quarantine_all)
    resume.drive(machine, ask, watch)
    return machine


@contextmanager
def quarantine_service(settings: Settings, *, acting: bool) -> Iterator[QuarantineService]:
    """The quarantine; `acting`: with all tables that a redrive writes. Failed calls leave as StartRefused."""
    session = Session(settings, *(KEYS if acting else ("quarantine_table",)))
    with refusing():
        yield _quarantine_service(session, settings)


def _quarantine_service(session: Session, settings: Settings) -> QuarantineService:
    quarantine = DynamoQuarantine(session.dynamodb, session.names, session.stop)
    commits = DynamoCommits(session.dynamodb, session.names)
    ledgers = DynamoLeases(session.dynamodb, session.names)
    return QuarantineService(
        quarantine,
        session.retrying(partial(redrives.execute, quarantine=quarantine, commits=commits)),
        shards=lambda: [row.shard for row in ledgers.load().rows],
        who=cache(session.caller),
        now=time.time,
        token=partial(secrets.token_hex, 16),
        rules=rules_of(settings),
    )


@contextmanager
def replay_service(settings: Settings, into: str | None) -> Iterator[ReplayService]:
    """What a replay needs, into the configured leaderboard or table `into`. Failed calls leave as StartRefused."""
    session = Session(settings, *KEYS)
    names = session.names
    if into is not None:
        session.tables.check(into, LEADERBOARD_KEYS, "--into", f"consumer init --leaderboard-table {into}")
        names = names._replace(leaderboard=into)
    ledgers = DynamoLeases(session.dynamodb, names)
    service = _quarantine_service(session, settings)
    ports = ReplayPorts(
        session.streams(),
        DynamoReplays(session.dynamodb, names, session.stop),
        service.quarantine,
        DynamoCommits(session.dynamodb, names),
    )
    with refusing():
        yield ReplayService(
            service,
            session.retrying(partial(execute, ports=ports), REPLAY_ANSWER_SECONDS),
            session.stop.wait,
            session.retrying(ledgers.load),
            session.retrying(lambda stream_arn: ledgers.read_origin(stream_arn).binding),
            JitteredBackoff(random.Random()),
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
