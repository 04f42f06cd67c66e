"""Operators' commands, over the real tables and streams."""

import random
import secrets
import threading
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from functools import cache, partial
from itertools import islice
from queue import SimpleQueue
from typing import Final, TypeVar

from consumer.aws.clients import caller, connect, endpoints
from consumer.aws.commits import DynamoCommits
from consumer.aws.leases import DynamoLeases
from consumer.aws.operator_writes import (
    DynamoCircuits,
    DynamoGaps,
    DynamoLeaseAdmin,
    DynamoReplays,
    DynamoRuleList,
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
from consumer.domain.accepted_rules import AcceptedRules
from consumer.domain.board_windows import Asked, board_windows
from consumer.domain.errors import CallFailed, FailureKind, UnsafeRefused
from consumer.domain.leases import LeaseRow, Ledger, Shard, TableBinding, TableNames, table_of
from consumer.domain.operator_ports import AcceptedMark, BoardRow, Gap
from consumer.domain.quarantine import QuarantineEntry
from consumer.domain.records import Rules
from consumer.domain.replies import Lost, RowRefused
from consumer.domain.text import many
from consumer.operations import accept_rules as acceptances
from consumer.operations import adopt as adoption
from consumer.operations import checkpoint, gaps, resume, steps
from consumer.operations import top as board
from consumer.operations.quarantine import QuarantineService, refuse_other_board
from consumer.operations.replay import ReplayService
from consumer.operations.status import Scope, Status, collect
from consumer.operations.steps import Command, OperatorCall, Step, ask, run
from consumer.operations.waiting import Waiting
from consumer.retries import JitteredBackoff, persist
from consumer.settings import Settings, variable
from consumer.wiring.rules import accepted_or_given, rules_of

STATUS_DESCRIBES_AT_ONCE: Final = 5
"""An operator waits for one listing: of the 10 calls per second that AWS allows, some are left to the workers."""
LONG_ANSWER_SECONDS: Final = 60.0
"""Some commands are long: a throttled table, or a network that is away for a while, must not end them."""

KEYS: Final = {"leaderboard_table": LEADERBOARD_KEYS, "lease_table": LEASE_KEYS, "quarantine_table": QUARANTINE_KEYS}
"""The settings that name this program's own tables, each with its table's key."""

MOST_TOGETHER: Final = 8
"""Commands that run at once: an operator's bulk leaves the tables to the workers too."""

R = TypeVar("R")
AuditRow = dict[str, str]


def own_tables(settings: Settings, *names: str) -> list[tuple[str, Keys, str]]:
    """Table, key and environment variable of the settings `names`; without names: of all tables that `init` makes."""
    return [(getattr(settings, name), KEYS[name], variable(name)) for name in names or KEYS]


def table_names(settings: Settings) -> TableNames:
    """The tables that these settings name."""
    return TableNames(settings.lease_table, settings.leaderboard_table, settings.quarantine_table)


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

    def rules(self, settings: Settings) -> Rules:
        """By which records are read; see accepted_or_given. Without a lease table no rules are accepted."""
        try:
            accepted = self.ledger().accepted
        except CallFailed as failure:
            if failure.kind is not FailureKind.MISSING:
                raise
            accepted = AcceptedRules()
        return accepted_or_given(accepted, settings)

    def binding(self, stream_arn: str) -> TableBinding | None:
        """A stream's table binding."""
        leases = DynamoLeases(self.dynamodb, self.names)
        return self.run(ask(OperatorCall.READ_BINDINGS, partial(leases.read_origin, stream_arn))).binding

    def endpoints(self) -> tuple[str, ...]:
        """The endpoints that are not AWS's own."""
        return endpoints(self._clients)

    def caller(self) -> str:
        """The identity that the audit trail records."""
        return caller(self._clients)

    def run(self, command: Command[R], retry_seconds: float | None = None) -> R:
        """Runs a command. A call that fails is made again for some seconds, where that may help."""
        seconds = self.retry_seconds if retry_seconds is None else retry_seconds

        def make(step: Step) -> object:
            def retry_on(error: BaseException) -> bool:
                return may_pass(error) and not (isinstance(error, CallFailed) and error.kind in step.answers)

            return persist(step.effect, seconds=seconds, stop=self.stop, retry_on=retry_on)

        return run(command, make, self.stop.wait)

    def together(self, commands: Iterable[Command[R]]) -> Iterator[R]:
        """Runs commands on a few threads; see operations.settling.Together.

        An error ends it when the commands in flight have ended. Where the caller stops, they are left to their end.
        """
        waiting, results, stopped = iter(commands), SimpleQueue[tuple[R] | BaseException | None](), threading.Event()
        lock = threading.Lock()

        def work() -> None:
            try:
                while not stopped.is_set():
                    with lock:
                        command = next(waiting, None)
                    if command is None:
                        break
                    results.put((self.run(command, LONG_ANSWER_SECONDS),))
            except BaseException as error:  # noqa: BLE001  it is raised by the caller's thread
                stopped.set()
                results.put(error)
            results.put(None)

        running = min(MOST_TOGETHER, self._threads)
        for _ in range(running):
            threading.Thread(target=work, daemon=True).start()
        first: BaseException | None = None
        try:
            while running:
                match results.get():
                    case None:
                        running -= 1
                    case (result,):
                        yield result
                    case error:
                        first = first or error
        finally:
            stopped.set()
        if first is not None:
            raise first

    def refuse_other_board(self, entries: Iterable[QuarantineEntry]) -> None:
        """Raises UnsafeRefused unless these records belong on the configured leaderboard."""
        refuse_other_board(entries, self.names.leaderboard, self.reader().bindings())

    def refuse_other_ledger(self, shard: Shard) -> None:
        """Raises UnsafeRefused when the configured lease table is not the one that counts the shard."""
        binding = self.binding(shard.stream_arn)
        if binding is not None and binding.lease_table != self.names.leases:
            raise UnsafeRefused(
                f"shard {shard} is counted by lease table {binding.lease_table}, and the configured one is "
                f"{self.names.leases}. Nothing was changed. Next: correct CONSUMER_LEASE_TABLE"
            )


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


@refusing()
def accept_rules(settings: Settings, agree: Callable[[Sequence[str]], object]) -> str:
    """Appends the rules of these settings to the accepted ones, once `agree` has not raised; what came of it.

    Raises ConsumerError.
    """
    session = Session(settings, "lease_table", "quarantine_table")
    source = settings.source_table or (table_of(settings.stream_arn) if settings.stream_arn is not None else None)
    acceptance = acceptances.plan(session.ledger(), rules_of(settings), source)
    if isinstance(acceptance, str):
        return acceptance
    agree(acceptance.sentences)
    rule_list = DynamoRuleList(session.dynamodb, session.names)
    session.run(acceptances.carry_out(acceptance, rule_list, session.caller(), time.time()))
    return f"accepted  rules {acceptance.number}. Workers with these settings can start now."


def status(settings: Settings) -> Callable[[], Status]:
    """A function that reads the status, as often as it is called. Both raise StartRefused."""
    session = Session(settings, "lease_table", "quarantine_table", stream_arn=settings.stream_arn)
    session.retry_seconds = 0.0  # a listing that fails is shown at once; the tables' reads are retried all the same
    rate_limiter = RateLimiter(DESCRIBES_PER_SECOND, STATUS_DESCRIBES_AT_ONCE, session.stop)
    streams = DynamoStreams(
        session.streams_client, session.dynamodb, settings.source_table, settings.stream_arn, rate_limiter
    )

    scope = Scope(
        settings.source_table,
        settings.lease_table,
        settings.quarantine_table,
        (settings.player_attribute, settings.score_attribute, settings.timestamp_attribute),
        session.endpoints(),
    )

    def newest() -> str:
        return settings.stream_arn or session.tables.require_stream(str(settings.source_table))

    @refusing()
    def read() -> Status:
        return session.run(collect(session.reader(), streams, newest, settings.lease_ttl_seconds, scope))

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
    session.refuse_other_ledger(change.after.shard)
    ttl_seconds = settings.lease_ttl_seconds
    session.run(checkpoint.carry_out(change, lease_admin, ttl_seconds, agree, session.caller, time.time))
    return change


def resume_shards(
    settings: Settings,
    names: Collection[str],
    agree: Callable[[Sequence[Waiting], Sequence[str]], object],
    progress: Callable[[], AbstractContextManager[Callable[[int], object]]],
    *,
    quarantine_all: bool,
    player: str | None = None,
) -> Iterator[tuple[Waiting, resume.Resumed | UnsafeRefused]]:
    """Closes the circuits of these halted shards, without names of all, once `agree` has not raised.

    `agree` gets what waits in them, and sentences; `progress` yields what counts the records that are read. `player`:
    the mark of this player's row is accepted. Raises ConsumerError; a shard that was changed first is in the result.
    """
    with refusing():
        session = Session(settings, *(KEYS if player is not None else ("lease_table", "quarantine_table")))
        circuits, ledger = DynamoCircuits(session.dynamodb, session.names), session.ledger()
        rows, sentences = resume.choose_halted(ledger, names, quarantine_all=quarantine_all)
        for row in rows:
            session.refuse_other_ledger(row.shard)
        accepted = None
        if player is not None:
            accepted, sentences = _mark_to_accept(session, circuits, rows[0], player, ledger)
        streams, rules = session.streams(), accepted_or_given(ledger.accepted, settings)
        waiting = []
        with progress() as report:
            for row in rows:
                start = ledger.stream_start(row.shard.stream_arn)
                each = Waiting(row, rules, start.start_time if start is not None else None)
                stream = streams(row.shard.stream_arn)
                session.run(each.preview(stream, report, must_read=quarantine_all))
                waiting.append(each)
        agree(waiting, sentences)
        if quarantine_all:
            with progress() as report:
                for each in waiting:
                    session.run(each.read_on(streams(each.row.shard.stream_arn), report))
        who = cache(session.caller)
        for each in waiting:
            free_to = each.newest if quarantine_all else None
            token, board = secrets.token_hex(16), session.names.leaderboard
            done = session.run(
                resume.resume(
                    each.row, circuits, who(), time.time(), token, free_to=free_to, accepted=accepted, board=board
                )
            )
            yield each, _resumed(each.row, accepted, done)


def _mark_to_accept(
    session: Session, circuits: DynamoCircuits, row: LeaseRow, player: str, ledger: Ledger
) -> tuple[AcceptedMark, list[str]]:
    """The mark of the player's row, and what an operator must know before it is accepted."""
    board = session.names.leaderboard
    resume.require_unknown_mark(row, player)
    resume.refuse_other_board(row, board, session.binding(row.shard.stream_arn))
    stored = session.run(ask(OperatorCall.READ_ROW, partial(circuits.read_row, player)))
    accepted = resume.mark_to_accept(row, player, stored, ledger, board)
    return accepted, [*resume.sentences_on(accepted, row, board)]


def _resumed(
    row: LeaseRow, accepted: AcceptedMark | None, done: resume.Resumed | Lost | RowRefused
) -> resume.Resumed | UnsafeRefused:
    if isinstance(done, Lost):
        return resume.changed_concurrently(row.shard, done)
    if isinstance(done, RowRefused):
        assert accepted is not None
        return resume.row_changed(accepted, done)
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
        rules=session.rules(settings),
        board=session.names.leaderboard,
        actions_per_part=int(settings.quarantine_retention_days is not None),
    )


@contextmanager
def replay_service(settings: Settings, into: str | None) -> Iterator[tuple[ReplayService, Session]]:
    """Replays into the configured leaderboard or table `into`, and what runs their commands.

    Failed calls leave as StartRefused.
    """
    session = Session(settings, *KEYS)
    session.retry_seconds = LONG_ANSWER_SECONDS
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
def audit_log(
    settings: Settings, limit: int | None, fold: Callable[[Iterator[AuditRow]], Iterator[AuditRow]]
) -> list[AuditRow]:
    """The newest `limit` operator actions, newest first, as `fold` puts them together. Raises StartRefused."""
    session = Session(settings, "quarantine_table")
    return list(islice(fold(session.reader().audit_rows()), limit))


@refusing()
def top(
    settings: Settings, by: board.By, limit: int, watch: board.Watch, wanted: Asked | None = None
) -> tuple[list[BoardRow], list[str]]:
    """The best of the leaderboard, or of the wanted window; and sentences on that window. Raises ConsumerError."""
    session = Session(settings, "leaderboard_table", *(("lease_table",) if wanted is not None else ()))
    window: str | None = None
    sentences: list[str] = []
    if wanted is not None:
        window, sentences = board.window(board_windows(session.ledger()), wanted, time.time())
    boards = DynamoBoard(session.dynamodb, session.names, session.stop)
    return board.top(boards, by, limit, watch, window), sentences
