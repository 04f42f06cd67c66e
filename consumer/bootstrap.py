"""Joins the rooms: the only place that knows settings, AWS, the worker and telemetry at once."""

import os
import random
import secrets
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache, partial
from itertools import islice
from math import ceil
from typing import TypeVar

import structlog

from consumer import __version__
from consumer.aws.audit import DynamoAudit
from consumer.aws.board import DynamoBoard
from consumer.aws.circuits import DynamoCircuits
from consumer.aws.clients import Clients, connect, resolution_seconds
from consumer.aws.commit import DynamoCommits
from consumer.aws.errors import may_pass, refusal_of
from consumer.aws.identity import caller
from consumer.aws.leases import DynamoLeases
from consumer.aws.membership import DynamoMembership
from consumer.aws.pace import Pace
from consumer.aws.pages import ANSWER_SECONDS
from consumer.aws.redrive import DynamoRedrives
from consumer.aws.stream import DESCRIBES_AT_ONCE, DESCRIBES_PER_SECOND, DynamoStreams
from consumer.aws.tables import (
    LEADERBOARD_KEYS,
    LEASE_KEYS,
    QUARANTINE_KEYS,
    DynamoTables,
    Keys,
    TableReport,
)
from consumer.domain.board import BoardRow
from consumer.domain.breaker import Breaker
from consumer.domain.errors import StartRefused, Trouble
from consumer.domain.records import Rules
from consumer.operations import acts, resume
from consumer.operations import top as board
from consumer.operations.ward import Ward
from consumer.retries import JitteredBackoff, persist
from consumer.settings import Settings, variable
from consumer.telemetry.health import HealthServer
from consumer.telemetry.metrics import PrometheusMeters
from consumer.worker.calls import World, perform
from consumer.worker.coordinator import Identity
from consumer.worker.daemon import Daemon
from consumer.worker.narrator import Narrator
from consumer.worker.pinning import Pinning
from consumer.worker.shard import State
from consumer.worker.stop import Stop
from consumer.worker.tuning import Tuning
from consumer.worker.worker import Worker

C = TypeVar("C")
R = TypeVar("R")

RETRIED_OPERATIONS = ("Read", "Commit", "Beat", "Look", "Claim", "Load")
"""Operations whose retry series exist from the start, so that a rate over them has no hole."""


def init(settings: Settings) -> list[TableReport]:
    """Makes the leaderboard, lease and quarantine tables, or finds them as they should be."""
    clients = connect(settings.pool_size)
    tables = DynamoTables(clients.dynamodb, clients.streams, threading.Event())
    return [tables.ensure(*table) for table in _own_tables(settings)]


def top(settings: Settings, by: board.By, limit: int, watch: board.Watch) -> list[BoardRow]:
    """The best of the leaderboard. Raises StartRefused for what a person must mend."""
    stop = threading.Event()
    clients = connect(settings.pool_size)
    tables = DynamoTables(clients.dynamodb, clients.streams, stop)
    tables.check(settings.leaderboard_table, LEADERBOARD_KEYS, variable("leaderboard_table"))
    try:
        return board.top(DynamoBoard(clients.dynamodb, settings.leaderboard_table, stop), by, limit, watch)
    except Trouble as trouble:
        raise refusal_of(trouble) from trouble


@contextmanager
def ward(settings: Settings, *, acting: bool) -> Iterator[Ward]:
    """The quarantine, for a person; `acting`: with all tables of a redrive. Trouble leaves as StartRefused."""
    stop = threading.Event()
    clients = connect(settings.pool_size)
    tables = DynamoTables(clients.dynamodb, clients.streams, stop)
    for table in _own_tables(settings):
        if acting or table[0] == settings.quarantine_table:
            tables.check(*table)
    names = (settings.lease_table, settings.leaderboard_table, settings.quarantine_table)
    quarantine = DynamoRedrives(clients.dynamodb, settings.leaderboard_table, settings.quarantine_table, stop)
    commits = DynamoCommits(clients.dynamodb, *names)
    ledgers = DynamoLeases(clients.dynamodb, *names)
    try:
        yield Ward(
            quarantine,
            _asking(partial(acts.perform, quarantine=quarantine, commits=commits), stop),
            shards=lambda: [row.shard for row in ledgers.load().rows],
            who=cache(partial(caller, clients.dynamodb)),
            now=time.time,
            token=partial(secrets.token_hex, 16),
            rules=_rules(settings),
        )
    except Trouble as trouble:
        raise refusal_of(trouble) from trouble


def resume_shard(
    settings: Settings, name: str, agree: resume.Agree, watch: resume.Watch, *, quarantine_all: bool
) -> resume.Resume:
    """Closes the circuit of a halted shard, once `agree` has not raised. Raises ConsumerError."""
    stop = threading.Event()
    clients = connect(settings.pool_size)
    tables = DynamoTables(clients.dynamodb, clients.streams, stop)
    for table in _own_tables(settings)[1:]:
        tables.check(*table)
    names = (settings.lease_table, settings.leaderboard_table, settings.quarantine_table)
    pace = Pace(DESCRIBES_PER_SECOND, DESCRIBES_AT_ONCE, stop)
    circuits = DynamoCircuits(clients.dynamodb, settings.lease_table, settings.quarantine_table)
    streams = cache(lambda arn: DynamoStreams(connect(settings.pool_size, arn).streams, stream_arn=arn, pace=pace))
    load = _asking(lambda _: DynamoLeases(clients.dynamodb, *names).load(), stop)
    ask = _asking(partial(resume.perform, circuits=circuits, streams=streams), stop)
    try:
        row = resume.find_halted(name, load(None))
        agree(row)
        machine = resume.Resume(
            row, caller(clients.dynamodb), time.time(), secrets.token_hex(16), quarantine_all=quarantine_all
        )
        resume.drive(machine, ask, watch)
    except Trouble as trouble:
        raise refusal_of(trouble) from trouble
    return machine


def audit_log(settings: Settings, limit: int | None) -> list[dict[str, str]]:
    """The newest `limit` acts, newest first. Raises StartRefused."""
    stop = threading.Event()
    clients = connect(settings.pool_size)
    tables = DynamoTables(clients.dynamodb, clients.streams, stop)
    tables.check(settings.quarantine_table, QUARANTINE_KEYS, variable("quarantine_table"))
    try:
        return list(islice(DynamoAudit(clients.dynamodb, settings.quarantine_table, stop).rows(), limit))
    except Trouble as trouble:
        raise refusal_of(trouble) from trouble


def _asking(perform: Callable[[C], R], stop: threading.Event) -> Callable[[C], R]:
    """Asks until it is answered: the same call again after trouble that may pass, for some seconds."""
    return lambda call: persist(partial(perform, call), seconds=ANSWER_SECONDS, stop=stop, retry_on=may_pass)


def run(settings: Settings) -> int:
    """Consumes the stream until SIGTERM. Returns the exit code; raises ConsumerError for what a person must mend."""
    stop = Stop()
    stop.catch_signals()
    identity = _identity(settings)
    log = structlog.get_logger().bind(worker_id=identity.owner)
    meters = PrometheusMeters(
        version=__version__, worker_id=identity.worker_id, states=list(State), operations=RETRIED_OPERATIONS
    )
    clients = connect(settings.pool_size, settings.stream_arn)
    try:
        stream_arn = _check(settings, clients, stop)
    except StartRefused:
        if stop.event.is_set():
            return 0
        raise
    log.info("worker.starting", stream_arn=stream_arn, leaderboard=settings.leaderboard_table)

    world = _world(settings, clients, stop)
    daemon = Daemon(
        _worker(settings, identity, stream_arn),
        partial(perform, world=world),
        Narrator(log, meters),
        world.commits,
        log,
        stop,
        lease_ttl_seconds=settings.lease_ttl_seconds,
        threads=settings.pool_size,
    )
    health = HealthServer(
        settings.http_host, settings.http_port, meters.render, daemon.why_not_alive, lambda: list(daemon.not_ready)
    )
    health.start()
    log.info("http.listening", host=settings.http_host, port=health.port)
    try:
        daemon.run()
    finally:
        health.stop()
    stop.ignore_signals()
    log.info("worker.stopped")
    return 0


def _identity(settings: Settings) -> Identity:
    """A worker id that a person chose survives restarts; one made up does not."""
    name = settings.worker_id or f"{socket.gethostname()}-{os.getpid()}"
    return Identity(f"{name}/{secrets.token_hex(4)}", stable=settings.worker_id is not None)


def _check(settings: Settings, clients: Clients, stop: Stop) -> str:
    """The stream's ARN, once everything that a run needs has been seen to be there."""
    tables = DynamoTables(clients.dynamodb, clients.streams, stop.event)
    if settings.stream_arn is not None:
        stream_arn = settings.stream_arn
        tables.check_stream(stream_arn)
    else:
        assert settings.source_table is not None
        stream_arn = tables.find_stream(settings.source_table)
    for table in _own_tables(settings):
        tables.check(*table)
    return stream_arn


def _own_tables(settings: Settings) -> list[tuple[str, Keys, str]]:
    """Name, key and variable of the tables that `init` makes."""
    return [
        (settings.leaderboard_table, LEADERBOARD_KEYS, variable("leaderboard_table")),
        (settings.lease_table, LEASE_KEYS, variable("lease_table")),
        (settings.quarantine_table, QUARANTINE_KEYS, variable("quarantine_table")),
    ]


def _world(settings: Settings, clients: Clients, stop: Stop) -> World:
    names = (settings.lease_table, settings.leaderboard_table, settings.quarantine_table)
    pace = Pace(DESCRIBES_PER_SECOND, DESCRIBES_AT_ONCE, stop.event)
    return World(
        streams=DynamoStreams(clients.streams, clients.dynamodb, settings.source_table, settings.stream_arn, pace),
        ledgers=DynamoLeases(clients.dynamodb, *names),
        membership=DynamoMembership(clients.dynamodb, settings.lease_table),
        commits=DynamoCommits(clients.dynamodb, *names),
        rules=_rules(settings),
    )


def _rules(settings: Settings) -> Rules:
    return Rules(
        settings.player_attribute, settings.score_attribute, settings.timestamp_attribute, settings.max_future_seconds
    )


def _worker(settings: Settings, identity: Identity, stream_arn: str) -> Worker:
    def begin(stream_arn: str) -> Pinning:
        tables = (settings.lease_table, settings.leaderboard_table)
        return Pinning(stream_arn, settings.start_position, resolution_seconds(stream_arn), tables)

    tuning = Tuning(
        poll_interval_seconds=settings.poll_interval_seconds,
        idle_poll_interval_seconds=settings.idle_poll_interval_seconds,
        idle_after_seconds=settings.idle_after_seconds,
        batch_window_seconds=settings.batch_window_seconds,
        wall_offset_seconds=time.time() - time.monotonic(),
        breaker=Breaker(ceil(settings.breaker_share * settings.breaker_window), settings.breaker_window),
    )
    backoff = JitteredBackoff(random.Random())
    return Worker(identity, stream_arn, begin, settings.lease_ttl_seconds, tuning, backoff)
