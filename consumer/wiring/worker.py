"""The worker, from its settings."""

import gc
import os
import random
import secrets
import socket
import time
from dataclasses import asdict
from functools import partial
from math import ceil
from typing import Any, Final

import structlog

from consumer import __version__
from consumer.aws.clients import Clients, connect, resolution_seconds
from consumer.aws.commits import DynamoCommits
from consumer.aws.leases import DynamoLeases, DynamoMembership
from consumer.aws.statements import WRITES_PER_CALL
from consumer.aws.streams import DESCRIBES_AT_ONCE, DESCRIBES_PER_SECOND, DynamoStreams, RateLimiter
from consumer.aws.tables import DynamoPending, DynamoTables
from consumer.aws.units import UnitCounter
from consumer.aws.wire import call_with_retries, refusal_of
from consumer.domain.breaker import Breaker
from consumer.domain.errors import CallFailed, ConsumerError
from consumer.domain.leases import label_of, table_of
from consumer.domain.membership import Identity
from consumer.domain.records import Corrections
from consumer.domain.stream_halt import StreamHaltReason, StreamUnusable
from consumer.domain.windows import calendar_of, kept_text
from consumer.retries import JitteredBackoff
from consumer.settings import OPTIONS, Settings
from consumer.telemetry.health import HealthServer
from consumer.telemetry.logs import Sink, report_refusal, unblock
from consumer.telemetry.metrics import PrometheusMeters
from consumer.wiring.operators import own_tables, table_names
from consumer.wiring.rules import rules_of
from consumer.worker.calls import Operation, Ports, execute
from consumer.worker.daemon import Daemon, Stop
from consumer.worker.event_log import EventLog
from consumer.worker.shard import ShardState
from consumer.worker.status import AWAITING_RULES, AWAITING_STREAM, UNOWNED
from consumer.worker.stream_start import StreamStarter, position_text
from consumer.worker.tuning import Tuning
from consumer.worker.worker import Worker

RETRIED_OPERATIONS: Final = (
    Operation.GET_RECORDS,
    Operation.WRITE_ROWS,
    Operation.COMMIT,
    Operation.MOVE_CHECKPOINT,
    Operation.HEARTBEAT,
    Operation.READ_MEMBERS,
    Operation.CLAIM,
    Operation.LOAD_LEDGER,
)
"""Operations whose retry series exist from the start, so that a rate over them has no hole."""

LOOKAHEAD_RECORDS: Final = 8_000
"""Eight full pages: what a unit takes in while a backlog exists. More would only wait in memory."""


def run(settings: Settings) -> int:
    """Consumes the stream until SIGTERM. Returns the exit code, after a line on what the operator must fix."""
    sink = unblock()
    try:
        _run(settings, sink)
    except ConsumerError as error:
        report_refusal(str(error), error.exit_code)
        return error.exit_code
    return 0


def _run(settings: Settings, sink: Sink) -> None:
    identity = _identity(settings)
    log = structlog.get_logger().bind(worker_id=identity.owner)
    meters = PrometheusMeters(
        version=__version__,
        worker_id=identity.worker_id,
        states=[*ShardState, UNOWNED, AWAITING_RULES, AWAITING_STREAM],
        operations=RETRIED_OPERATIONS,
        dropped_log_lines=lambda: sink.dropped,
    )
    stop = Stop()
    _log_settings(settings, log)
    start_position = settings.start_position if "start_position" in settings.given else None
    event_log = EventLog(log, meters, settings.player_attribute, start_position)
    clients = connect(settings.pool_size, settings.stream_arn, stop=stop.event, observer=event_log)
    UnitCounter(table_names(settings), meters).watch(clients.dynamodb)
    stream_arn = _find_stream(settings, clients, stop)
    stop.catch_signals()  # so far nothing was held, and a signal ended the process at once
    log.info("worker.starting", stream_arn=stream_arn, leaderboard=settings.leaderboard_table)

    ports = _make_ports(settings, clients, stop)
    daemon = Daemon(
        _make_worker(settings, identity, stream_arn, _writes_per_call(ports, stop, log)),
        partial(execute, ports=ports),
        event_log,
        DynamoPending(clients.dynamodb, table_names(settings)),
        log,
        stop,
        lease_ttl_seconds=settings.lease_ttl_seconds,
        threads=settings.pool_size,
    )
    health = HealthServer(
        settings.http_host,
        settings.http_port,
        meters.render,
        daemon.why_not_alive,
        daemon.why_not_ready,
        lambda: list(daemon.notes),
    )
    health.start()
    log.info("http.listening", host=settings.http_host, port=health.port)
    _tune_garbage_collector()
    try:
        daemon.run()
    finally:
        health.stop()
    stop.ignore_signals()
    log.info("worker.stopped")


def _log_settings(settings: Settings, log: Any) -> None:
    """One line: by what rules records are read, and all other settings. None of them is secret."""
    rules = {"source_table": settings.source_table, "stream_arn": settings.stream_arn, **asdict(rules_of(settings))}
    rules["windows"] = kept_text(settings.windows)
    others = {name: getattr(settings, name) for name in OPTIONS if name not in rules}
    others["start_position"] = position_text(settings.start_position)
    log.info("worker.settings", version=__version__, rules=rules, settings=others)


def _tune_garbage_collector() -> None:
    """Exempts what the start has made, and collects rarely: records make no cycles, and collecting at the default rate
    takes a quarter of a busy worker's time.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 10, 10)


def _identity(settings: Settings) -> Identity:
    """A worker id from the settings survives restarts; a generated one does not."""
    name = settings.worker_id or f"{socket.gethostname()}-{os.getpid()}"
    return Identity(f"{name}/{secrets.token_hex(4)}", stable=settings.worker_id is not None)


def _find_stream(settings: Settings, clients: Clients, stop: Stop) -> str:
    """The stream's ARN, after a check of everything that a run needs. Raises StartRefused."""
    tables = DynamoTables(clients.dynamodb, clients.streams, stop.event)
    corrections = rules_of(settings).corrections
    found: str | StreamUnusable
    try:
        if settings.stream_arn is not None:
            found = settings.stream_arn
            tables.check_stream(found, corrections)
        else:
            found = tables.require_stream(str(settings.source_table), corrections)
    except StreamUnusable as unusable:
        found = unusable
    for table in own_tables(settings):
        tables.check(*table)
    return found if isinstance(found, str) else _known_stream(settings, clients, stop, found)


def _known_stream(settings: Settings, clients: Clients, stop: Stop, unusable: StreamUnusable) -> str:
    """The newest stream that the ledger knows: it is read to its end, and the worker waits for the next one.

    Raises `unusable`, why there is no other stream to read, where the ledger knows none of this source.
    """
    ledger = DynamoLeases(clients.dynamodb, table_names(settings))
    try:
        known = [start.stream_arn for start in call_with_retries(ledger.load, stop.event).stream_starts]
    except CallFailed as failure:
        raise refusal_of(failure) from failure
    if settings.stream_arn is not None:
        arns = [arn for arn in known if arn == settings.stream_arn]
    else:
        arns = [arn for arn in known if table_of(arn) == settings.source_table]
    if unusable.halt.reason is StreamHaltReason.VIEW_TYPE and unusable.stream_arn in arns:
        raise unusable  # it was started by an older version: its records would be quarantined one by one
    if not arns:
        raise unusable
    return max(arns, key=label_of)


def _make_ports(settings: Settings, clients: Clients, stop: Stop) -> Ports:
    tables = table_names(settings)
    rate_limiter = RateLimiter(DESCRIBES_PER_SECOND, DESCRIBES_AT_ONCE, stop.event)
    return Ports(
        streams=DynamoStreams(
            clients.streams, clients.dynamodb, settings.source_table, settings.stream_arn, rate_limiter
        ),
        ledgers=DynamoLeases(clients.dynamodb, tables),
        membership=DynamoMembership(clients.dynamodb, tables),
        commits=DynamoCommits(clients.dynamodb, tables, settings.quarantine_retention_days),
        rules=rules_of(settings),
    )


def _writes_per_call(ports: Ports, stop: Stop, log: Any) -> int:
    """How many rows one call writes: many, if the leaderboard takes statements. Raises StartRefused."""
    try:
        probe = partial(ports.commits.probe_statements, windows=bool(ports.rules.windows))
        unusable = call_with_retries(probe, stop.event)
    except CallFailed as failure:
        raise refusal_of(failure) from failure
    if unusable is None:
        return WRITES_PER_CALL
    log.warning("board.statements_unusable", detail=unusable)
    return 1


def _make_worker(settings: Settings, identity: Identity, stream_arn: str, writes_per_call: int) -> Worker:
    def stream_starter(stream_arn: str) -> StreamStarter:
        return StreamStarter(
            stream_arn,
            settings.start_position,
            resolution_seconds(stream_arn),
            table_names(settings),
            rules_of(settings),
        )

    tuning = Tuning(
        poll_interval_seconds=settings.poll_interval_seconds,
        idle_poll_interval_seconds=settings.idle_poll_interval_seconds,
        idle_after_seconds=settings.idle_after_seconds,
        batch_window_seconds=settings.batch_window_seconds,
        checkpoint_interval_seconds=settings.checkpoint_interval_seconds,
        lookahead_records=LOOKAHEAD_RECORDS,
        remembered_rows=settings.remembered_rows,
        writes_per_call=writes_per_call,
        wall_offset_seconds=time.time() - time.monotonic(),
        breaker=Breaker(ceil(settings.breaker_share * settings.breaker_window), settings.breaker_window),
    )
    backoff = JitteredBackoff(random.Random())
    calendar = calendar_of(settings.windows, settings.time_zone)
    corrects = rules_of(settings).corrections is Corrections.APPLY
    return Worker(
        identity, stream_arn, stream_starter, settings.lease_ttl_seconds, tuning, backoff, calendar, corrects=corrects
    )
