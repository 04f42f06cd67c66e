"""A person's replay, over the real tables and streams."""

import random
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache, partial

from consumer.aws.clients import connect
from consumer.aws.commit import DynamoCommits
from consumer.aws.leases import DynamoLeases
from consumer.aws.listings import DESCRIBES_AT_ONCE, DESCRIBES_PER_SECOND
from consumer.aws.pace import Pace
from consumer.aws.replay import DynamoReplays
from consumer.aws.stream import DynamoStreams
from consumer.aws.tables import LEADERBOARD_KEYS, DynamoTables
from consumer.bootstrap.common import asking, refused
from consumer.bootstrap.quarantine import ward
from consumer.operations.replay.calls import World, perform
from consumer.operations.replay.desk import Desk
from consumer.retries import JitteredBackoff
from consumer.settings import Settings

PATIENCE_SECONDS = 60.0
"""A replay is long: a throttled table, or a network that is away for a while, must not end it."""


@contextmanager
def replay_desk(settings: Settings, into: str | None) -> Iterator[Desk]:
    """What a replay needs, into the configured leaderboard or table `into`. Trouble leaves as StartRefused."""
    stop = threading.Event()
    clients = connect(settings.pool_size)
    if into is not None:
        made_by = f"consumer init --leaderboard-table {into}"
        tables = DynamoTables(clients.dynamodb, clients.streams, stop)
        tables.check(into, LEADERBOARD_KEYS, "--into", made_by)
    names = (settings.lease_table, into or settings.leaderboard_table, settings.quarantine_table)
    ledgers = DynamoLeases(clients.dynamodb, *names)
    pace = Pace(DESCRIBES_PER_SECOND, DESCRIBES_AT_ONCE, stop)
    streams = cache(lambda arn: DynamoStreams(connect(settings.pool_size, arn).streams, stream_arn=arn, pace=pace))
    with refused(), ward(settings, acting=True) as open_ward:
        world = World(
            streams,
            DynamoReplays(clients.dynamodb, settings.lease_table, settings.quarantine_table, stop),
            open_ward.quarantine,
            DynamoCommits(clients.dynamodb, *names),
        )
        yield Desk(
            open_ward,
            asking(partial(perform, world=world), stop, PATIENCE_SECONDS),
            stop.wait,
            partial(asking(lambda _: ledgers.load(), stop), None),
            asking(lambda stream_arn: ledgers.origin(stream_arn).birth, stop),
            JitteredBackoff(random.Random()),
        )
