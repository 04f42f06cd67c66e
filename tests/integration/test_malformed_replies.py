"""Whatever an engine, a proxy or a captive portal replies: a failed call, never a crash, never a commit."""

import http.client
import json
import ssl
import subprocess
import threading
import zlib
from collections.abc import Callable, Iterator
from dataclasses import replace
from http.client import HTTPConnection, HTTPResponse
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import islice
from typing import Any, cast
from zlib import crc32

import pytest
import urllib3
from botocore.auth import SigV4Auth
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from consumer.aws.clients import Clients, connect
from consumer.aws.commits import DynamoCommits
from consumer.aws.leases import DynamoLeases, DynamoMembership
from consumer.aws.streams import DynamoStreams, RateLimiter
from consumer.aws.tables import DynamoPending
from consumer.domain.accepted_rules import UNNUMBERED
from consumer.domain.cut import cut
from consumer.domain.errors import CallFailed, DataTrimmed, FailureKind, IteratorExpired
from consumer.domain.fold import Limits
from consumer.domain.leases import Adoption, Lease, LeaseRow, Shard, StreamStart, TableNames
from consumer.domain.marks import ABSENT, Mark, Route, RowWrite, StoredRow
from consumer.domain.membership import HeartbeatReport
from consumer.domain.records import Rules
from consumer.domain.replies import Committed, RawPage, RowRefused, RowReply
from consumer.worker.calls import Ports
from consumer.worker.shard_calls import LookUpShard
from tests.support.builders import SYMPTOM, game, plain_rows

SHARD = Shard(
    "arn:aws:dynamodb:eu-west-1:123456789012:table/T/stream/2026-01-01T00:00:00.000", "shardId-00000000000000000001"
)
LEASE = Lease(SHARD, "w/1", 5)
ROW = LeaseRow(SHARD, None, 4, "TRIM_HORIZON")
UNIT = cut([game(1)], "TRIM_HORIZON", Limits(), 0.0)
NAMES = ("leases", "board", "quarantine")
MARK = Mark(str(SHARD), "1", 0.0)
WRITE = RowWrite("foo", UNIT.deltas["foo"], Route.FOLLOW, MARK, MARK._replace(to="2"))

NAMES_IN_REPLIES = [
    "Records",
    "NextShardIterator",
    "ShardIterator",
    "StreamDescription",
    "Shards",
    "dynamodb",
    "__type",
    "CancellationReasons",
    "UnprocessedKeys",
    "board",
    "playerId",
    "appliedShard",
    "appliedTo",
    "appliedAt",
    "lastPlayedDate",
    "Item",
    "Items",
    "Attributes",
    "Responses",
    "Error",
    "Code",
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
    checksum: str | None = None


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
        if self.server.checksum is not None:
            self.send_header("x-amz-crc32", self.server.checksum)
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
def clients(portal: Portal) -> Iterator[Clients]:
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
        yield connect(1)


def write_rows(commits: DynamoCommits, *writes: RowWrite) -> RowReply:
    """The reply to the first of them. Raises one that is a failed call."""
    reply, *_ = commits.write_rows(writes)
    if isinstance(reply, CallFailed):
        raise reply
    return reply


@pytest.fixture(scope="module")
def calls(portal: Portal, clients: Clients) -> dict[str, Callable[[], object]]:
    """Every call of a worker."""
    streams = DynamoStreams(clients.streams, clients.dynamodb, "GameEvents", rate_limiter=RateLimiter(1e9))
    leases, members = (
        DynamoLeases(clients.dynamodb, TableNames(*NAMES)),
        DynamoMembership(clients.dynamodb, TableNames(*NAMES)),
    )
    pending = DynamoPending(clients.dynamodb, TableNames(*NAMES))
    commits, statements = (DynamoCommits(clients.dynamodb, TableNames(*NAMES)) for _ in range(2))
    portal.body = json.dumps({"Responses": [{"Error": {"Code": "ConditionalCheckFailed"}}]}).encode()
    assert statements.probe_statements() is None
    ports = Ports(streams, leases, members, commits, Rules())
    return {
        "find_stream": streams.find_stream,
        "list_shards": lambda: streams.list_shards(SHARD.stream_arn),
        "open": lambda: streams.open(SHARD, "TRIM_HORIZON"),
        "read": lambda: streams.read("iterator", 10),
        "poll": lambda: streams.poll("iterator", 10, Rules(), None),
        "open_at": lambda: streams.open_at(SHARD, "1" * 21),
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
        "claim": lambda: leases.claim(ROW, LEASE, UNNUMBERED),
        "send_heartbeat": lambda: members.send_heartbeat("w/1", HeartbeatReport(1), joining=True, bump=True),
        "read_members": members.read_members,
        "evict": lambda: members.evict("w/1", 1),
        "leave": lambda: members.leave("w/1"),
        "complete_stream_start": lambda: leases.complete_stream_start(SHARD.stream_arn),
        "release": lambda: leases.release(LEASE),
        "upgrade_stream": lambda: leases.upgrade_stream(SHARD.stream_arn, keyed=True),
        "read_rows": lambda: commits.read_rows(["foo", "bar"]),
        "probe_statements": commits.probe_statements,
        "write_row": lambda: write_rows(commits, WRITE),
        "write_rows": lambda: write_rows(statements, WRITE, WRITE._replace(player="bar")),
        "look_up_shard": lambda: LookUpShard(LEASE, str(SHARD)).execute(ports),
        "commit": lambda: commits.commit(LEASE, UNIT, plain_rows(UNIT), fills_gap=False),
        "end": lambda: commits.end(LEASE, "1", ("a",), (ROW,)),
        "record_gap": lambda: commits.record_gap(SHARD, "1", 0.0, LEASE),
        "halt": lambda: commits.halt(LEASE, "1", 0, 0.0, SYMPTOM),
        "examine": lambda: commits.examine(game(1)),
        "count_pending": pending.count,
        "scan_pending": lambda: list(islice(pending.scan(), 3)),
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


def portal_shows(portal: Portal, row: object) -> Iterator[str]:
    """The calls that meet a player's row, each when the portal answers it with this one."""
    refusal = {"__type": "com.amazonaws.dynamodb.v20120810#ConditionalCheckFailedException", "Item": row}
    reasons = [{"Code": "None"}, {"Code": "ConditionalCheckFailed", "Item": row}]
    cancelled = {"__type": "x#TransactionCanceledException", "CancellationReasons": reasons}
    found = {"Responses": {"board": [{"playerId": {"S": "foo"}, **row} if isinstance(row, dict) else row]}}
    answers = {"Responses": [{"Error": {"Code": "ConditionalCheckFailed", "Item": row}}, {}]}
    for call, status, body in (
        ("write_row", 400, refusal),
        ("write_rows", 200, answers),
        ("read_rows", 200, found),
        ("commit", 400, cancelled),
    ):
        portal.status, portal.body = status, json.dumps(body).encode()
        yield call


@pytest.mark.parametrize(
    "row",
    [
        {"appliedShard": {"S": "a/b"}, "appliedTo": {"S": "1"}, "appliedAt": {"N": "soon"}},
        {"appliedShard": "a/b"},
        [],
    ],
    ids=["no time", "no map", "a list"],
)
def test_a_row_that_is_none_is_a_failed_call(
    portal: Portal, calls: dict[str, Callable[[], object]], row: object
) -> None:
    for call in portal_shows(portal, row):
        with pytest.raises(CallFailed) as raised:
            calls[call]()
        assert raised.value.kind is FailureKind.MALFORMED, call


@pytest.mark.parametrize(
    "to", [{"S": "many"}, {"N": "7"}, {"S": "1" * 5_000}, {}], ids=["text", "type N", "too long", "nothing"]
)
def test_a_damaged_mark_is_one_of_an_unknown_shard(
    portal: Portal, calls: dict[str, Callable[[], object]], to: object
) -> None:
    """Whichever way it is met: the shard halts before it."""
    row = {"appliedShard": {"S": "a/b"}, "appliedTo": to, "appliedAt": {"N": "1"}}
    for call in portal_shows(portal, row):
        if call == "commit":
            continue  # its write knows no marks
        reply = calls[call]()
        found: StoredRow = reply["foo"] if isinstance(reply, dict) else cast("RowRefused", reply).row
        assert found.mark is not None
        assert found.mark.shard == "a/b (damaged)", call


def test_rows_that_are_not_read_are_not_absent(portal: Portal, calls: dict[str, Callable[[], object]]) -> None:
    """What a throttled table leaves out is to be read again; when it leaves out all, the call has failed."""
    left = {"board": {"Keys": [{"playerId": {"S": "bar"}}]}}
    portal.status, portal.body = 200, json.dumps({"Responses": {"board": []}, "UnprocessedKeys": left}).encode()
    assert calls["read_rows"]() == {"foo": ABSENT}
    left["board"]["Keys"].append({"playerId": {"S": "foo"}})
    portal.body = json.dumps({"Responses": {}, "UnprocessedKeys": left}).encode()
    with pytest.raises(CallFailed) as raised:
        calls["read_rows"]()
    assert raised.value.kind is FailureKind.THROTTLED


@pytest.mark.parametrize("status", [200, 400, 500])
def test_a_reply_that_does_not_fit_its_checksum_is_not_believed(
    portal: Portal, calls: dict[str, Callable[[], object]], status: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No call takes anything from it, whatever it says."""
    body = b'{"__type": "ResourceNotFoundException", "message": "no", "Records": [], "Item": {}, "Count": 0}'
    monkeypatch.setattr(portal, "status", status)
    monkeypatch.setattr(portal, "body", body)
    for checksum in (str(crc32(body) ^ 1), "", "none"):
        monkeypatch.setattr(portal, "checksum", checksum)
        for name, call in calls.items():
            with pytest.raises(CallFailed) as raised:
                call()
            assert raised.value.kind is FailureKind.CORRUPTED, name


def test_a_reply_that_fits_its_checksum_is_believed(
    portal: Portal, calls: dict[str, Callable[[], object]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(portal, "status", 200)
    monkeypatch.setattr(portal, "body", b'{"Records": []}')
    monkeypatch.setattr(portal, "checksum", str(crc32(portal.body)))
    assert calls["commit"]() == Committed()
    assert calls["read"]() == RawPage([], None, len(portal.body))


RAISED = [
    FileNotFoundError("no such file"),
    PermissionError("not executable"),
    OSError(24, "too many open files"),
    TimeoutError("timed out"),
    ssl.SSLError("bad record"),
    subprocess.TimeoutExpired("credentials", 1.0),
    RuntimeError("can't start new thread"),
    http.client.IncompleteRead(b""),
    EOFError("compressed body ended"),
    zlib.error("incorrect header"),
    urllib3.exceptions.ProtocolError("connection broken"),
    json.JSONDecodeError("no value", "", 0),
    KeyError("AccessKeyId"),
    AssertionError("a defect"),
    ZeroDivisionError("a defect"),
]


@pytest.mark.parametrize("event", ["provide-client-params", "before-send", "before-parse", "after-call"])
@pytest.mark.parametrize("error", RAISED, ids=lambda error: type(error).__name__)
def test_whatever_is_raised_below_a_call_is_a_failed_call(
    portal: Portal, clients: Clients, calls: dict[str, Callable[[], object]], event: str, error: Exception
) -> None:
    """By a connection or a parser of botocore, which is given an error of each call here, or by a handler."""
    portal.status, portal.body = (200, b"{}") if event in ("provide-client-params", "after-call") else (400, b"{}")

    def fail(**_: object) -> None:
        raise error

    both = (clients.dynamodb.meta.events, clients.streams.meta.events)
    for events in both:
        events.register_first(event, fail)
    try:
        for call in calls.values():
            with pytest.raises(CallFailed):
                call()
    finally:
        for events in both:
            events.unregister(event, fail)


@pytest.mark.parametrize(
    ("of", "part"), [(HTTPConnection, "send"), (HTTPResponse, "begin"), (SigV4Auth, "add_auth")], ids=str
)
@pytest.mark.parametrize("error", RAISED, ids=lambda error: type(error).__name__)
def test_whatever_is_raised_below_a_direct_call_is_a_failed_call(
    portal: Portal,
    monkeypatch: pytest.MonkeyPatch,
    calls: dict[str, Callable[[], object]],
    of: type,
    part: str,
    error: Exception,
) -> None:
    portal.status, portal.body = 200, b"{}"

    def fail(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(of, part, fail)
    for call in calls.values():
        with pytest.raises(CallFailed):
            call()
