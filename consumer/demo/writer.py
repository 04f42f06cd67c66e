"""The demo's source table: created with its stream, and written to as a game's server would."""

from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from itertools import islice
from threading import Event
from typing import Any, Final

from consumer.aws.wire import call_with_retries
from consumer.demo.expected import Expected
from consumer.demo.games import Record

KEYS: Final = (("playerId", "S"), ("gameId", "S"))
"""Of the source table. The player is its partition key, so games are written by marked writes."""
BATCH_ITEMS: Final = 25
"""Most items of one BatchWriteItem. Source: its API reference."""


class Writer:
    """Writes records in a thread of its own, so that games go on while the worker is dead. `written` counts them."""

    def __init__(self, client: Any, table: str, records: Iterable[Record], stop: Event) -> None:
        self.expected = Expected()
        self.written = 0
        self._client = client
        self._table = table
        self._records = iter(records)
        self._stop = stop
        self._executor = ThreadPoolExecutor(1, "writer")
        self._parts: list[Future[None]] = []

    def create_table(self) -> None:
        """Creates the table, with a stream of new images, and waits until it is active. Raises CallFailed."""
        create = partial(
            self._client.create_table,
            TableName=self._table,
            BillingMode="PAY_PER_REQUEST",
            KeySchema=[
                {"AttributeName": name, "KeyType": kind}
                for (name, _), kind in zip(KEYS, ("HASH", "RANGE"), strict=True)
            ],
            AttributeDefinitions=[{"AttributeName": name, "AttributeType": type_} for name, type_ in KEYS],
            StreamSpecification={"StreamEnabled": True, "StreamViewType": "NEW_IMAGE"},
        )
        call_with_retries(create, self._stop)
        active = self._client.get_waiter("table_exists")
        call_with_retries(partial(active.wait, TableName=self._table, WaiterConfig={"Delay": 1}), self._stop)

    def write(self, count: int | None = None) -> None:
        """Starts to write the next `count` records, after those that were started before; None: all that are left."""
        self._parts.append(self._executor.submit(self._write, islice(self._records, count)))

    @property
    def finished(self) -> bool:
        """Whether everything that was started is written, or has failed."""
        return all(part.done() for part in self._parts)

    @property
    def failure(self) -> BaseException | None:
        """Why writing ended early."""
        return next((failure for part in self._parts if part.done() and (failure := part.exception())), None)

    def close(self) -> None:
        """Waits for the batch in flight, and writes no more."""
        self._stop.set()
        self._executor.shutdown()

    def _write(self, records: Iterator[Record]) -> None:
        while not self._stop.is_set() and (batch := list(islice(records, BATCH_ITEMS))):
            self._put(batch)
            for record in batch:
                self.expected.add(record)
            self.written += len(batch)

    def _put(self, batch: list[Record]) -> None:
        """Each item under a key of its own. What DynamoDB leaves unprocessed is sent again. Raises CallFailed.

        All of it is sent again after a lost reply: a put that changes nothing makes no stream record.
        """
        requests = [{"PutRequest": {"Item": record.image}} for record in batch]
        while requests and not self._stop.is_set():
            put = partial(self._client.batch_write_item, RequestItems={self._table: requests})
            requests = call_with_retries(put, self._stop).get("UnprocessedItems", {}).get(self._table, [])
