"""What is no answer is trouble of the right kind, and soon (design: G4)."""

import os
import socket
import time
from collections.abc import Callable, Iterator
from functools import partial
from unittest import mock

import pytest

from consumer.aws.clients import Clients, connect
from consumer.aws.commit import DynamoCommits
from consumer.aws.leases import DynamoLeases
from consumer.aws.stream import DynamoStreams
from consumer.domain.errors import Trouble, TroubleKind
from consumer.domain.leases import Pin, Shard, Vouch
from consumer.domain.position import TRIM_HORIZON
from tests.builders import ARN, CREATED, ME, game, lease, row, shard
from tests.contract.dynamo_subject import DynamoSubject
from tests.contract.subject import unit
from tests.engines import TableEngine

Ask = Callable[[DynamoLeases, DynamoCommits], object]

CALLS: dict[str, Ask] = {
    "origin": lambda leases, _: leases.origin(ARN),
    "pin": lambda leases, _: leases.pin(Pin(ARN, None, (), complete=False)),
    "plant": lambda leases, _: leases.plant(ARN, (row(),)),
    "complete_pin": lambda leases, _: leases.complete_pin(ARN),
    "load": lambda leases, _: leases.load(),
    "claim": lambda leases, _: leases.claim(row(), lease(epoch=8)),
    "release": lambda leases, _: leases.release(lease()),
    "beat": lambda leases, _: leases.beat(ME, Vouch(1), joining=True, bump=True),
    "look": lambda leases, _: leases.look(),
    "leave": lambda leases, _: leases.leave(ME),
    "bury": lambda leases, _: leases.bury(ME, 1),
    "commit": lambda _, commits: commits.commit(lease(), unit(game(1)), frozenset(), fills_gap=False),
    "end": lambda _, commits: commits.end(lease(), TRIM_HORIZON, (), ()),
    "record_gap": lambda _, commits: commits.record_gap(shard(), TRIM_HORIZON, CREATED),
    "pending": lambda _, commits: commits.pending(),
    "examine": lambda _, commits: commits.examine(game(1)),
}

SHARD = Shard(ARN, "shardId-00000001769860800000-0123abcd")
STREAM_CALLS: dict[str, Callable[[DynamoStreams], object]] = {
    "list_shards": lambda streams: streams.list_shards(ARN),
    "open": lambda streams: streams.open(SHARD, TRIM_HORIZON),
    "read": lambda streams: streams.read("iterator", 1000),
    "find_children": lambda streams: streams.find_children(SHARD),
}


@pytest.mark.parametrize("call", CALLS)
def test_a_table_that_is_not_there(dynamo: DynamoSubject, call: str) -> None:
    names = ("no-such-leases", "no-such-leaderboard", "no-such-quarantine")
    with pytest.raises(Trouble) as raised:
        CALLS[call](DynamoLeases(dynamo.clients.dynamodb, *names), DynamoCommits(dynamo.clients.dynamodb, *names))
    assert raised.value.kind is TroubleKind.MISSING


@pytest.fixture(scope="module")
def nobody() -> Iterator[Clients]:
    """The product's clients, at an address where nobody listens."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        engine = TableEngine("nobody", f"http://127.0.0.1:{listener.getsockname()[1]}")
        with mock.patch.dict(os.environ, engine.variables()):
            clients = connect(threads=2)
        yield clients
        clients.dynamodb.close()
        clients.streams.close()


@pytest.mark.parametrize("call", [*CALLS, *STREAM_CALLS])
def test_an_endpoint_that_refuses(nobody: Clients, call: str) -> None:
    names = ("leases", "leaderboard", "quarantine")
    leases, commits = DynamoLeases(nobody.dynamodb, *names), DynamoCommits(nobody.dynamodb, *names)
    streams = DynamoStreams(nobody.streams)
    ask = partial(CALLS[call], leases, commits) if call in CALLS else partial(STREAM_CALLS[call], streams)
    began = time.monotonic()
    with pytest.raises(Trouble) as raised:
        ask()
    assert raised.value.kind is TroubleKind.NETWORK
    assert time.monotonic() - began < 2
