"""The worker, from its settings."""

import gc
import os
import random
import secrets
import socket
import time
from functools import partial
from math import ceil

import structlog

from consumer import __version__
from consumer.aws.clients import Clients, connect, resolution_seconds
from consumer.aws.commit import DynamoCommits
from consumer.aws.leases import DynamoLeases
from consumer.aws.listings import DESCRIBES_AT_ONCE, DESCRIBES_PER_SECOND
from consumer.aws.membership import DynamoMembership
from consumer.aws.pace import Pace
from consumer.aws.stream import DynamoStreams
from consumer.aws.tables import (
    DynamoTables,
)
from consumer.bootstrap.common import own_tables, rules_of
from consumer.domain.breaker import Breaker
from consumer.domain.errors import StartRefused
from consumer.retries import JitteredBackoff
from consumer.settings import Settings
from consumer.telemetry.health import HealthServer
from consumer.telemetry.metrics import PrometheusMeters
from consumer.worker.daemon import Daemon
from consumer.worker.identity import Identity
from consumer.worker.narrator import Narrator
from consumer.worker.perform import World, perform
from consumer.worker.pinning import Pinning
from consumer.worker.standing import UNOWNED
from consumer.worker.state import State
from consumer.worker.stop import Stop
from consumer.worker.tuning import Tuning
from consumer.worker.worker import Worker

RETRIED_OPERATIONS = ("Read", "Commit", "Beat", "Look", "Claim", "Load")
"""Operations whose retry series exist from the start, so that a rate over them has no hole."""

LOOKAHEAD_RECORDS = 2_000
"""Two full pages: several units. More would lie about cold, and empty polls of a backlog cost as much as full ones."""


def run(settings: Settings) -> int:
    """Consumes the stream until SIGTERM. Returns the exit code; raises ConsumerError for what a person must mend."""
    stop = Stop()
    stop.catch_signals()
    identity = _identity(settings)
    log = structlog.get_logger().bind(worker_id=identity.owner)
    meters = PrometheusMeters(
        version=__version__, worker_id=identity.worker_id, states=[*State, UNOWNED], operations=RETRIED_OPERATIONS
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
    _spare_collector()
    try:
        daemon.run()
    finally:
        health.stop()
    stop.ignore_signals()
    log.info("worker.stopped")
    return 0


def _spare_collector() -> None:
    """What start has made stays, and records make no cycles: looking at all of it again and again is a quarter of a
    busy worker's time.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 10, 10)


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
    for table in own_tables(settings):
        tables.check(*table)
    return stream_arn


def _world(settings: Settings, clients: Clients, stop: Stop) -> World:
    names = (settings.lease_table, settings.leaderboard_table, settings.quarantine_table)
    pace = Pace(DESCRIBES_PER_SECOND, DESCRIBES_AT_ONCE, stop.event)
    return World(
        streams=DynamoStreams(clients.streams, clients.dynamodb, settings.source_table, settings.stream_arn, pace),
        ledgers=DynamoLeases(clients.dynamodb, *names),
        membership=DynamoMembership(clients.dynamodb, settings.lease_table),
        commits=DynamoCommits(clients.dynamodb, *names),
        rules=rules_of(settings),
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
        lookahead_records=LOOKAHEAD_RECORDS,
        wall_offset_seconds=time.time() - time.monotonic(),
        breaker=Breaker(ceil(settings.breaker_share * settings.breaker_window), settings.breaker_window),
    )
    backoff = JitteredBackoff(random.Random())
    return Worker(identity, stream_arn, begin, settings.lease_ttl_seconds, tuning, backoff)
