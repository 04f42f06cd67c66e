"""The ledger in a person's hands: how things stand, and a shard's position."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from consumer.aws.clients import connect
from consumer.aws.identity import caller
from consumer.aws.listings import DESCRIBES_PER_SECOND
from consumer.aws.overview import DynamoOverviews
from consumer.aws.pace import Pace
from consumer.aws.placements import DynamoPlacements
from consumer.aws.stream import DynamoStreams
from consumer.aws.tables import (
    DynamoTables,
)
from consumer.bootstrap.common import check_tables, refused
from consumer.domain.leases import LeaseRow
from consumer.operations import checkpoint
from consumer.operations.observatory import Observatory
from consumer.operations.standing import Status
from consumer.settings import Settings

STATUS_DESCRIBES_AT_ONCE = 5
"""A person waits for the listing, once: of the 10 calls a second some are left to the workers."""


@contextmanager
def status(settings: Settings) -> Iterator["StatusLook"]:
    """Something to ask how things stand, as often as one likes. Raises StartRefused for what a person must mend."""
    stop = threading.Event()
    clients = connect(settings.pool_size, settings.stream_arn)
    tables = DynamoTables(clients.dynamodb, clients.streams, stop)
    check_tables(clients, stop, settings, "lease_table", "quarantine_table")
    overviews = DynamoOverviews(clients.dynamodb, settings.lease_table, settings.quarantine_table, stop)
    pace = Pace(DESCRIBES_PER_SECOND, STATUS_DESCRIBES_AT_ONCE, stop)
    streams = DynamoStreams(clients.streams, clients.dynamodb, settings.source_table, settings.stream_arn, pace)

    def newest() -> str:
        return settings.stream_arn or tables.find_stream(str(settings.source_table))

    try:
        yield StatusLook(Observatory(overviews, streams, newest, settings.lease_ttl_seconds), stop)
    finally:
        stop.set()


class StatusLook:
    """Asks, and waits between two questions."""

    def __init__(self, observatory: Observatory, stop: threading.Event) -> None:
        self._observatory = observatory
        self._stop = stop

    def __call__(self) -> Status:
        """How things stand now. Raises StartRefused."""
        with refused():
            return self._observatory.look()

    def wait(self, seconds: float) -> None:
        """Ends early on Ctrl-C."""
        self._stop.wait(seconds)


def show_checkpoint(settings: Settings, name: str) -> LeaseRow:
    """A shard's row. Raises NotFound, StartRefused."""
    clients, stop = connect(settings.pool_size), threading.Event()
    check_tables(clients, stop, settings, "lease_table")
    with refused():
        table = DynamoOverviews(clients.dynamodb, settings.lease_table, settings.quarantine_table, stop).lease_table()
    return checkpoint.find_row(table.ledger, name)


def set_checkpoint(
    settings: Settings, name: str, position: str, agree: Callable[[tuple[str, ...]], None]
) -> checkpoint.Placement:
    """Places a shard's row, once `agree` has not raised. Raises ConsumerError."""
    clients, stop = connect(settings.pool_size), threading.Event()
    check_tables(clients, stop, settings, "lease_table", "quarantine_table")
    names = (settings.lease_table, settings.quarantine_table, stop)
    placements = DynamoPlacements(clients.dynamodb, *names)
    with refused():
        _, now = placements.look()
        ledger = DynamoOverviews(clients.dynamodb, *names).lease_table().ledger
        placement = checkpoint.plan(ledger, name, position, now)
        checkpoint.refuse_alive(placement, placements, settings.lease_ttl_seconds, stop.wait)
        agree(placement.sentences)
        checkpoint.carry_out(placement, placements, caller(clients.dynamodb), time.time())
    return placement
