"""A game that writes items, some of them poison, until it is stopped: see ../compose.yaml.

python games.py table           creates the table that CONSUMER_SOURCE_TABLE names, with its stream, if it is missing
python games.py play            writes --per-second 20 items until it is stopped; --games 1000: so many
"""

import argparse
import os
import secrets
import signal
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from functools import partial
from itertools import count, islice
from threading import Event
from typing import Any

from consumer.aws.clients import connect
from consumer.aws.tables import DynamoTables
from consumer.aws.wire import call_with_retries
from consumer.demo.games import season
from consumer.demo.writer import BATCH_ITEMS, KEYS, Writer
from consumer.domain.errors import ConsumerError, StartRefused

SEASON = 1_000
PLAYERS = 200


def make_table(table: str, stop: Event) -> None:
    """Creates the table, or checks the one that exists."""
    clients = connect(1)
    try:
        DynamoTables(clients.dynamodb, clients.streams, stop).check(table, KEYS, "CONSUMER_SOURCE_TABLE")
    except StartRefused:
        Writer(clients.dynamodb, table, (), stop).create_table()


def images() -> Iterator[dict[str, Any]]:
    """Games without end; each gameId is unique, also after a restart."""
    for turn in count():
        prefix = secrets.token_hex(6)
        for record in season(SEASON, PLAYERS, datetime.now(UTC), seed=turn):
            yield record.image | {"gameId": {"S": f"{prefix}-{record.game_id}"}}


def play(table: str, games: int | None, per_second: float, stop: Event) -> None:
    """Writes games in small batches, at a steady rate."""
    client = connect(1).dynamodb
    waiting = islice(images(), games)
    size = max(1, min(BATCH_ITEMS, round(per_second)))
    while (batch := list(islice(waiting, size))) and not stop.wait(size / per_second):
        requests = [{"PutRequest": {"Item": image}} for image in batch]
        while requests and not stop.is_set():
            put = partial(client.batch_write_item, RequestItems={table: requests})
            requests = call_with_retries(put, stop).get("UnprocessedItems", {}).get(table, [])


def main() -> int:
    """The exit code; 0: done, or stopped."""
    arguments = argparse.ArgumentParser(description="Writes games into the source table.")
    arguments.add_argument("what", choices=["table", "play"])
    arguments.add_argument("--games", type=int, help="how many; without it, no end")
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
