"""Whatever an engine, a proxy or a captive portal answers: trouble, never a crash, never a commit."""

import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from consumer.aws.clients import connect
from consumer.aws.commit import DynamoCommits
from consumer.aws.leases import DynamoLeases
from consumer.aws.membership import DynamoMembership
from consumer.aws.pace import Pace
from consumer.aws.stream import DynamoStreams
from consumer.domain.errors import DataTrimmed, IteratorExpired, Trouble
from consumer.domain.leaderboard import Limits, cut
from consumer.domain.leases import Adoption, Lease, LeaseRow, Pin, Shard, Vouch
from consumer.domain.outcomes import Committed
from tests.builders import game

SHARD = Shard("arn:aws:dynamodb:eu-west-1:123456789012:table/T/stream/2026-01-01T00:00:00.000", "shardId-1")
LEASE = Lease(SHARD, "w/1", 5)
ROW = LeaseRow(SHARD, None, 4, "TRIM_HORIZON")
UNIT = cut([game(1)], "TRIM_HORIZON", Limits(), 0.0)
NAMES = ("leases", "board", "quarantine")

NAMES_IN_ANSWERS = [
    "Records",
    "NextShardIterator",
    "ShardIterator",
    "StreamDescription",
    "Shards",
    "dynamodb",
    "__type",
    "CancellationReasons",
    "Item",
    "Items",
    "Attributes",
    "Responses",
    "Count",
    "S",
    "N",
    "M",
]

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(NAMES_IN_ANSWERS),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)
bodies = st.binary(max_size=60) | json_values.map(lambda value: json.dumps(value).encode())


class Portal(ThreadingHTTPServer):
    """Answers every request alike."""

    daemon_threads = True
    status = 200
    body = b""


class Answer(BaseHTTPRequestHandler):
    """Reads the request and gives the portal's answer."""

    protocol_version = "HTTP/1.1"
    wbufsize = -1
    disable_nagle_algorithm = True
    server: Portal

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length", "0")))
        self.send_response(self.server.status)
        self.send_header("Content-Length", str(len(self.server.body)))
        self.end_headers()
        self.wfile.write(self.server.body)

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture(scope="module")
def portal() -> Iterator[Portal]:
    with Portal(("127.0.0.1", 0), Answer) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture(scope="module")
def calls(portal: Portal) -> Iterator[dict[str, Callable[[], object]]]:
    with pytest.MonkeyPatch.context() as patch:
        url = f"http://127.0.0.1:{portal.server_address[1]}"
        for name, value in {
            "AWS_ENDPOINT_URL_DYNAMODB": url,
            "AWS_ENDPOINT_URL_DYNAMODB_STREAMS": url,
            "AWS_ACCESS_KEY_ID": "a",
            "AWS_SECRET_ACCESS_KEY": "b",
            "AWS_REGION": "eu-west-1",
        }.items():
            patch.setenv(name, value)
        clients = connect(1)
        streams = DynamoStreams(clients.streams, clients.dynamodb, "GameEvents", pace=Pace(1e9))
        leases, members = DynamoLeases(clients.dynamodb, *NAMES), DynamoMembership(clients.dynamodb, NAMES[0])
        commits = DynamoCommits(clients.dynamodb, *NAMES)
        yield {
            "find_stream": streams.find_stream,
            "list_shards": lambda: streams.list_shards(SHARD.stream_arn),
            "open": lambda: streams.open(SHARD, "TRIM_HORIZON"),
            "read": lambda: streams.read("iterator", 10),
            "find_children": lambda: streams.find_children(SHARD),
            "origin": lambda: leases.origin(SHARD.stream_arn),
            "pin": lambda: leases.pin(Pin(SHARD.stream_arn, None, ("a",), complete=False), None, 0.0),
            "adopt": lambda: leases.adopt(Adoption(ROW, (ROW,))),
            "mark": lambda: leases.mark(ROW, 1.0),
            "forget": lambda: leases.forget(replace(ROW, unlisted_since=1.0), None),
            "plant": lambda: leases.plant(SHARD.stream_arn, (ROW,)),
            "load": leases.load,
            "claim": lambda: leases.claim(ROW, LEASE),
            "beat": lambda: members.beat("w/1", Vouch(1), joining=True, bump=True),
            "look": members.look,
            "commit": lambda: commits.commit(LEASE, UNIT, frozenset(), fills_gap=False),
            "end": lambda: commits.end(LEASE, "1", ("a",), (ROW,)),
            "record_gap": lambda: commits.record_gap(SHARD, "1", 0.0, LEASE),
            "pending": commits.pending,
        }


@pytest.mark.parametrize("status", [200, 400, 500])
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(body=bodies)
def test_an_answer_of_any_shape_is_trouble_or_sound(
    portal: Portal, calls: dict[str, Callable[[], object]], status: int, body: bytes
) -> None:
    portal.status, portal.body = status, body
    for call in calls.values():
        try:
            call()
        except (Trouble, IteratorExpired, DataTrimmed):
            continue


@pytest.mark.parametrize("body", [b"<html>Welcome to the hotel</html>", b"[]", b"null", b'{"Records": ['])
def test_what_is_no_json_object_is_no_commit(
    portal: Portal, calls: dict[str, Callable[[], object]], body: bytes
) -> None:
    portal.status, portal.body = 200, body
    with pytest.raises(Trouble):
        calls["commit"]()
    portal.body = b"{}"
    assert calls["commit"]() == Committed()
