"""What is no answer is trouble of the right kind, and soon (design: G4)."""

import os
import socket
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from unittest import mock

import pytest

from consumer.aws.clients import Clients, connect
from consumer.aws.commit import DynamoCommits
from consumer.aws.leases import DynamoLeases
from consumer.aws.membership import DynamoMembership
from consumer.aws.stream import DynamoStreams
from consumer.domain.errors import Trouble, TroubleKind
from consumer.domain.leases import Adoption, Pin, Shard, Vouch
from consumer.domain.position import SHARD_END, TRIM_HORIZON
from consumer.domain.records import Rules
from tests.builders import ARN, CREATED, ME, game, lease, row, shard
from tests.contract.dynamo_subject import DynamoSubject
from tests.contract.subject import unit
from tests.engines import TableEngine

Ask = Callable[[DynamoLeases, DynamoCommits], object]

UNLISTED = replace(row(checkpoint=SHARD_END), unlisted_since=CREATED)
CALLS: dict[str, Ask] = {
    "origin": lambda leases, _: leases.origin(ARN),
    "pin": lambda leases, _: leases.pin(Pin(ARN, None, (), complete=False), None, CREATED),
    "plant": lambda leases, _: leases.plant(ARN, (row(),)),
    "complete_pin": lambda leases, _: leases.complete_pin(ARN),
    "adopt": lambda leases, _: leases.adopt(Adoption(row(checkpoint=SHARD_END), (row(1),))),
    "mark": lambda leases, _: leases.mark(row(checkpoint=SHARD_END), CREATED),
    "unmark": lambda leases, _: leases.mark(UNLISTED, None),
    "forget": lambda leases, _: leases.forget(UNLISTED, None),
    "load": lambda leases, _: leases.load(),
    "claim": lambda leases, _: leases.claim(row(), lease(epoch=8)),
    "release": lambda leases, _: leases.release(lease()),
    "commit": lambda _, commits: commits.commit(lease(), unit(game(1)), frozenset(), fills_gap=False),
    "end": lambda _, commits: commits.end(lease(), TRIM_HORIZON, (), ()),
    "record_gap": lambda _, commits: commits.record_gap(shard(), TRIM_HORIZON, CREATED, lease()),
    "pending": lambda _, commits: commits.pending(),
    "examine": lambda _, commits: commits.examine(game(1)),
}

MEMBER_CALLS: dict[str, Callable[[DynamoMembership], object]] = {
    "beat": lambda members: members.beat(ME, Vouch(1), joining=True, bump=True),
    "look": lambda members: members.look(),
    "leave": lambda members: members.leave(ME),
    "bury": lambda members: members.bury(ME, 1),
}

SHARD = Shard(ARN, "shardId-00000001769860800000-0123abcd")
STREAM_CALLS: dict[str, Callable[[DynamoStreams], object]] = {
    "find_stream": lambda streams: streams.find_stream(),
    "list_shards": lambda streams: streams.list_shards(ARN),
    "open": lambda streams: streams.open(SHARD, TRIM_HORIZON),
    "read": lambda streams: streams.read("iterator", 1000),
    "poll": lambda streams: streams.poll("iterator", 1000, Rules(), None),
    "find_children": lambda streams: streams.find_children(SHARD),
}


def asks(clients: Clients, prefix: str) -> dict[str, Callable[[], object]]:
    """All calls, of tables whose names begin so."""
    names = [f"{prefix}-{table}" for table in ("leases", "leaderboard", "quarantine")]
    leases, commits = DynamoLeases(clients.dynamodb, *names), DynamoCommits(clients.dynamodb, *names)
    members = DynamoMembership(clients.dynamodb, names[0])
    streams = DynamoStreams(clients.streams, clients.dynamodb, f"{prefix}-source")
    return {
        **{name: partial(call, leases, commits) for name, call in CALLS.items()},
        **{name: partial(call, members) for name, call in MEMBER_CALLS.items()},
        **{name: partial(call, streams) for name, call in STREAM_CALLS.items()},
    }


@pytest.mark.parametrize("call", [*CALLS, *MEMBER_CALLS, "find_stream"])
def test_a_table_that_is_not_there(dynamo: DynamoSubject, call: str) -> None:
    with pytest.raises(Trouble) as raised:
        asks(dynamo.clients, "no-such")[call]()
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


@pytest.mark.parametrize("call", [*CALLS, *MEMBER_CALLS, *STREAM_CALLS])
def test_an_endpoint_that_refuses(nobody: Clients, call: str) -> None:
    ask = asks(nobody, "consumer")[call]
    began = time.monotonic()
    with pytest.raises(Trouble) as raised:
        ask()
    assert raised.value.kind is TroubleKind.NETWORK
    assert time.monotonic() - began < 2
