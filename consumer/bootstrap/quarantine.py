"""The quarantine in a person's hands, and the trail of what persons did."""

import secrets
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache, partial
from itertools import islice

from consumer.aws.audit import DynamoAudit
from consumer.aws.circuits import DynamoCircuits
from consumer.aws.clients import connect
from consumer.aws.commit import DynamoCommits
from consumer.aws.identity import caller
from consumer.aws.leases import DynamoLeases
from consumer.aws.listings import DESCRIBES_AT_ONCE, DESCRIBES_PER_SECOND
from consumer.aws.pace import Pace
from consumer.aws.redrive import DynamoRedrives
from consumer.aws.stream import DynamoStreams
from consumer.bootstrap.common import TABLES, asking, check_tables, refused, rules_of
from consumer.operations import acts, resume
from consumer.operations.ward import Ward
from consumer.settings import Settings


@contextmanager
def ward(settings: Settings, *, acting: bool) -> Iterator[Ward]:
    """The quarantine, for a person; `acting`: with all tables of a redrive. Trouble leaves as StartRefused."""
    stop = threading.Event()
    clients = connect(settings.pool_size)
    check_tables(clients, stop, settings, *(TABLES if acting else ("quarantine_table",)))
    names = (settings.lease_table, settings.leaderboard_table, settings.quarantine_table)
    quarantine = DynamoRedrives(clients.dynamodb, settings.leaderboard_table, settings.quarantine_table, stop)
    commits = DynamoCommits(clients.dynamodb, *names)
    ledgers = DynamoLeases(clients.dynamodb, *names)
    with refused():
        yield Ward(
            quarantine,
            asking(partial(acts.perform, quarantine=quarantine, commits=commits), stop),
            shards=lambda: [row.shard for row in ledgers.load().rows],
            who=cache(partial(caller, clients.dynamodb)),
            now=time.time,
            token=partial(secrets.token_hex, 16),
            rules=rules_of(settings),
        )


def resume_shard(
    settings: Settings, name: str, agree: resume.Agree, watch: resume.Watch, *, quarantine_all: bool
) -> resume.Resume:
    """Closes the circuit of a halted shard, once `agree` has not raised. Raises ConsumerError."""
    stop = threading.Event()
    clients = connect(settings.pool_size)
    check_tables(clients, stop, settings, "lease_table", "quarantine_table")
    names = (settings.lease_table, settings.leaderboard_table, settings.quarantine_table)
    pace = Pace(DESCRIBES_PER_SECOND, DESCRIBES_AT_ONCE, stop)
    circuits = DynamoCircuits(clients.dynamodb, settings.lease_table, settings.quarantine_table)
    streams = cache(lambda arn: DynamoStreams(connect(settings.pool_size, arn).streams, stream_arn=arn, pace=pace))
    load = asking(lambda _: DynamoLeases(clients.dynamodb, *names).load(), stop)
    ask = asking(partial(resume.perform, circuits=circuits, streams=streams), stop)
    with refused():
        row = resume.find_halted(name, load(None))
        agree(row)
        machine = resume.Resume(
            row, caller(clients.dynamodb), time.time(), secrets.token_hex(16), quarantine_all=quarantine_all
        )
        resume.drive(machine, ask, watch)
    return machine


def audit_log(settings: Settings, limit: int | None) -> list[dict[str, str]]:
    """The newest `limit` acts, newest first. Raises StartRefused."""
    stop = threading.Event()
    clients = connect(settings.pool_size)
    check_tables(clients, stop, settings, "quarantine_table")
    with refused():
        return list(islice(DynamoAudit(clients.dynamodb, settings.quarantine_table, stop).rows(), limit))
