"""A call without a proper reply fails soon, with the right kind (design: G4)."""

import os
import socket
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from unittest import mock

import pytest

from consumer.aws.clients import Clients, connect
from consumer.aws.commits import DynamoCommits
from consumer.aws.leases import DynamoLeases, DynamoMembership
from consumer.aws.streams import DynamoStreams
from consumer.aws.tables import DynamoPending
from consumer.domain.accepted_rules import UNNUMBERED
from consumer.domain.errors import CallFailed, FailureKind
from consumer.domain.leases import SHARD_END, TRIM_HORIZON, Adoption, Shard, StreamStart, TableNames
from consumer.domain.membership import HeartbeatReport
from consumer.domain.records import Rules
from tests.contract.dynamo_subject import DynamoSubject
from tests.contract.subject import unit
from tests.support.builders import ARN, CREATED, ME, commit_plain, game, lease, row, shard
from tests.support.engines import TableEngine

LeaseCall = Callable[[DynamoLeases, DynamoCommits], object]

UNLISTED = replace(row(checkpoint=SHARD_END), unlisted_since=CREATED)
CALLS: dict[str, LeaseCall] = {
    "read_origin": lambda leases, _: leases.read_origin(ARN),
    "record_stream_start": lambda leases, _: leases.record_stream_start(
        StreamStart(ARN, None, (), complete=False), None, CREATED
    ),
    "create_root_rows": lambda leases, _: leases.create_root_rows(ARN, (row(),)),
    "complete_stream_start": lambda leases, _: leases.complete_stream_start(ARN),
    "adopt": lambda leases, _: leases.adopt(Adoption(row(checkpoint=SHARD_END), (row(1),))),
    "mark_unlisted": lambda leases, _: leases.mark_unlisted(row(checkpoint=SHARD_END), CREATED),
    "unmark_unlisted": lambda leases, _: leases.mark_unlisted(UNLISTED, None),
    "forget": lambda leases, _: leases.forget(UNLISTED, None),
    "load": lambda leases, _: leases.load(),
    "claim": lambda leases, _: leases.claim(row(), lease(epoch=8), UNNUMBERED),
    "release": lambda leases, _: leases.release(lease()),
    "commit": lambda _, commits: commit_plain(commits, lease(), unit(game(1))),
    "read_items": lambda _, commits: commits.read_items(["{}"]),
    "end": lambda _, commits: commits.end(lease(), TRIM_HORIZON, (), ()),
    "record_gap": lambda _, commits: commits.record_gap(shard(), TRIM_HORIZON, CREATED, lease()),
    "examine": lambda _, commits: commits.examine(game(1)),
}

MEMBER_CALLS: dict[str, Callable[[DynamoMembership], object]] = {
    "send_heartbeat": lambda members: members.send_heartbeat(ME, HeartbeatReport(1), joining=True, bump=True),
    "read_members": lambda members: members.read_members(),
    "leave": lambda members: members.leave(ME),
    "evict": lambda members: members.evict(ME, 1),
}

PENDING_CALLS: dict[str, Callable[[DynamoPending], object]] = {
    "count_pending": lambda pending: pending.count(),
    "scan_pending": lambda pending: list(pending.scan()),
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


def calls(clients: Clients, prefix: str) -> dict[str, Callable[[], object]]:
    """All calls, on tables with this prefix."""
    names = TableNames(*(f"{prefix}-{table}" for table in ("leases", "leaderboard", "quarantine")))
    leases, commits = DynamoLeases(clients.dynamodb, names), DynamoCommits(clients.dynamodb, names)
    members, pending = DynamoMembership(clients.dynamodb, names), DynamoPending(clients.dynamodb, names)
    streams = DynamoStreams(clients.streams, clients.dynamodb, f"{prefix}-source")
    return {
        **{name: partial(call, leases, commits) for name, call in CALLS.items()},
        **{name: partial(call, members) for name, call in MEMBER_CALLS.items()},
        **{name: partial(call, pending) for name, call in PENDING_CALLS.items()},
        **{name: partial(call, streams) for name, call in STREAM_CALLS.items()},
    }


@pytest.mark.parametrize("call", [*CALLS, *MEMBER_CALLS, *PENDING_CALLS, "find_stream"])
def test_a_table_that_is_not_there(dynamo: DynamoSubject, call: str) -> None:
    with pytest.raises(CallFailed) as raised:
        calls(dynamo.clients, "no-such")[call]()
    assert raised.value.kind is FailureKind.MISSING


@pytest.fixture(scope="module")
def unreachable() -> Iterator[Clients]:
    """The product's clients, at an address where nothing listens."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        engine = TableEngine("unreachable", f"http://127.0.0.1:{listener.getsockname()[1]}")
        with mock.patch.dict(os.environ, engine.variables()):
            clients = connect(threads=2)
        yield clients
        clients.dynamodb.close()
        clients.streams.close()


@pytest.mark.parametrize("call", [*CALLS, *MEMBER_CALLS, *PENDING_CALLS, *STREAM_CALLS])
def test_an_endpoint_that_refuses(unreachable: Clients, call: str) -> None:
    failing = calls(unreachable, "consumer")[call]
    began = time.monotonic()
    with pytest.raises(CallFailed) as raised:
        failing()
    assert raised.value.kind is FailureKind.NETWORK
    assert time.monotonic() - began < 2
