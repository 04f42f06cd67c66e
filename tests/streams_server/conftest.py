"""A server for each test, in front of the test process's ministack, and clients of the server."""

from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Any

import pytest

from tests.streams_server import Remote, StreamsThread
from tests.support.engines import TableEngine


@pytest.fixture
def server(ministack_url: str) -> Iterator[StreamsThread]:
    with StreamsThread(ministack_url, seed=7) as server:
        yield server


@pytest.fixture
def remote(server: StreamsThread) -> Remote:
    return server.remote


@pytest.fixture
def streams(server: StreamsThread) -> Iterator[Any]:
    with closing(TableEngine("ministack", server.url).client("dynamodbstreams")) as client:
        yield client


@pytest.fixture
def tables(server: StreamsThread) -> Iterator[Any]:
    with closing(TableEngine("ministack", server.url).client("dynamodb")) as client:
        yield client


@pytest.fixture
def table(tables: Any) -> Iterator[str]:
    """A table with the key `leaseKey` and no stream."""
    with _table(tables, "streams-server-rows", "leaseKey") as name:
        yield name


@pytest.fixture
def board(tables: Any) -> Iterator[str]:
    """A table with the key `playerId` and no stream."""
    with _table(tables, "streams-server-board", "playerId") as name:
        yield name


@contextmanager
def _table(tables: Any, name: str, key: str) -> Iterator[str]:
    tables.create_table(
        TableName=name,
        BillingMode="PAY_PER_REQUEST",
        KeySchema=[{"AttributeName": key, "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": key, "AttributeType": "S"}],
    )
    yield name
    tables.delete_table(TableName=name)
