"""A game that is played for ever, some poison in it: for a look at the whole thing, see ../compose.yaml.

python games.py table           makes the table that CONSUMER_SOURCE_TABLE names, with its stream, if it is not there
python games.py play            plays, --per-second 20, until it is stopped; --games 1000: so many
"""

import argparse
import os
import secrets
import signal
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import count, islice
from threading import Event
from typing import Any

from consumer.aws.clients import connect
from consumer.aws.source import BATCH_ITEMS, DynamoSource
from consumer.aws.tables import DynamoTables
from consumer.demo.games import season
from consumer.domain.errors import ConsumerError, StartRefused

SEASON = 1_000
PLAYERS = 200
KEYS = (("gameId", "S"),)


def make_table(table: str, stop: Event) -> None:
    """Makes it, or finds it as it should be."""
    clients = connect(1)
    try:
        DynamoTables(clients.dynamodb, clients.streams, stop).check(table, KEYS, "CONSUMER_SOURCE_TABLE")
    except StartRefused:
        DynamoSource(clients.dynamodb, table, stop).create()


def images() -> Iterator[dict[str, Any]]:
    """Games without end, like no others also after a restart."""
    for turn in count():
        prefix = secrets.token_hex(6)
        for record in season(SEASON, PLAYERS, datetime.now(UTC), seed=turn):
            yield record.image | {"gameId": {"S": f"{prefix}-{record.game_id}"}}


def play(table: str, games: int | None, per_second: float, stop: Event) -> None:
    """Writes them in small batches, at a steady rate."""
    source = DynamoSource(connect(1).dynamodb, table, stop)
    waiting = islice(images(), games)
    size = max(1, min(BATCH_ITEMS, round(per_second)))
    while (batch := list(islice(waiting, size))) and not stop.wait(size / per_second):
        source.write(batch)


def main() -> int:
    """0: done, or stopped."""
    arguments = argparse.ArgumentParser(description="A game that is played for ever.")
    arguments.add_argument("what", choices=["table", "play"])
    arguments.add_argument("--games", type=int, help="so many, and then end")
    arguments.add_argument("--per-second", type=float, default=20.0)
    given = arguments.parse_args()
    stop = Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    try:
        if given.what == "table":
            make_table(os.environ["CONSUMER_SOURCE_TABLE"], stop)
        else:
            play(os.environ["CONSUMER_SOURCE_TABLE"], given.games, given.per_second, stop)
    except ConsumerError as error:
        sys.stderr.write(f"{error}\n")
        return 3
    return 0


if __name__ == "__main__":
    sys.exit(main())
