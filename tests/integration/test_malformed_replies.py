"""Whatever an engine, a proxy or a captive portal replies: a failed call, never a crash, never a commit."""

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
from consumer.aws.commits import DynamoCommits
from consumer.aws.leases import DynamoLeases, DynamoMembership
from consumer.aws.streams import DynamoStreams, RateLimiter
from consumer.domain.errors import CallFailed, DataTrimmed, IteratorExpired
from consumer.domain.fold import Limits, cut
from consumer.domain.leases import Adoption, Lease, LeaseRow, Shard, StreamStart, TableNames
from consumer.domain.membership import HeartbeatReport
from consumer.domain.replies import Committed
from tests.support.builders import game

SHARD = Shard("arn:aws:dynamodb:eu-west-1:123456789012:table/T/stream/2026-01-01T00:00:00.000", "shardId-1")
LEASE = Lease(SHARD, "w/1", 5)
ROW = LeaseRow(SHARD, None, 4, "TRIM_HORIZON")
UNIT = cut([game(1)], "TRIM_HORIZON", Limits(), 0.0)
NAMES = ("leases", "board", "quarantine")

NAMES_IN_REPLIES = [
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
            st.sampled_from(NAMES_IN_REPLIES),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)
bodies = st.binary(max_size=60) | json_values.map(lambda value: json.dumps(value).encode())


class Portal(ThreadingHTTPServer):
    """Answers every request with the same reply."""

    daemon_threads = True
    status = 200
    body = b""


class Handler(BaseHTTPRequestHandler):
    """Reads the request and sends the portal's reply."""

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
    with Portal(("127.0.0.1", 0), Handler) as server:
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
        streams = DynamoStreams(clients.streams, clients.dynamodb, "GameEvents", rate_limiter=RateLimiter(1e9))
        leases, members = (
            DynamoLeases(clients.dynamodb, TableNames(*NAMES)),
            DynamoMembership(clients.dynamodb, TableNames(*NAMES)),
        )
        commits = DynamoCommits(clients.dynamodb, TableNames(*NAMES))
        yield {
            "find_stream": streams.find_stream,
            "list_shards": lambda: streams.list_shards(SHARD.stream_arn),
            "open": lambda: streams.open(SHARD, "TRIM_HORIZON"),
            "read": lambda: streams.read("iterator", 10),
            "find_children": lambda: streams.find_children(SHARD),
            "read_origin": lambda: leases.read_origin(SHARD.stream_arn),
            "record_stream_start": lambda: leases.record_stream_start(
                StreamStart(SHARD.stream_arn, None, ("a",), complete=False), None, 0.0
            ),
            "adopt": lambda: leases.adopt(Adoption(ROW, (ROW,))),
            "mark_unlisted": lambda: leases.mark_unlisted(ROW, 1.0),
            "forget": lambda: leases.forget(replace(ROW, unlisted_since=1.0), None),
            "create_root_rows": lambda: leases.create_root_rows(SHARD.stream_arn, (ROW,)),
            "load": leases.load,
            "claim": lambda: leases.claim(ROW, LEASE),
            "send_heartbeat": lambda: members.send_heartbeat("w/1", HeartbeatReport(1), joining=True, bump=True),
            "read_members": members.read_members,
            "commit": lambda: commits.commit(LEASE, UNIT, frozenset(), fills_gap=False),
            "end": lambda: commits.end(LEASE, "1", ("a",), (ROW,)),
            "record_gap": lambda: commits.record_gap(SHARD, "1", 0.0, LEASE),
            "pending": commits.pending,
        }


@pytest.mark.parametrize("status", [200, 400, 500])
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(body=bodies)
def test_a_reply_of_any_shape_is_a_failed_call_or_valid(
    portal: Portal, calls: dict[str, Callable[[], object]], status: int, body: bytes
) -> None:
    portal.status, portal.body = status, body
    for call in calls.values():
        try:
            call()
        except (CallFailed, IteratorExpired, DataTrimmed):
            continue


@pytest.mark.parametrize("body", [b"<html>Welcome to the hotel</html>", b"[]", b"null", b'{"Records": ['])
def test_what_is_no_json_object_is_no_commit(
    portal: Portal, calls: dict[str, Callable[[], object]], body: bytes
) -> None:
    portal.status, portal.body = 200, body
    with pytest.raises(CallFailed):
        calls["commit"]()
    portal.body = b"{}"
    assert calls["commit"]() == Committed()
