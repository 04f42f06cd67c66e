"""Calls straight to the wire: the requests are those of botocore, the replies are read as by botocore.

Nothing leaves this machine: a test makes the replies, or a server of its own does.
"""

import json
import socket
import ssl
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from shutil import which
from typing import Any, Final
from zlib import crc32

import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from botocore.exceptions import (
    ClientError,
    ConnectionClosedError,
    EndpointConnectionError,
    HTTPClientError,
    ReadTimeoutError,
    SSLError,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from consumer.aws.direct import (
    POLLS,
    READS,
    STATEMENTS,
    TRANSACTIONS,
    Connections,
    Operation,
    Post,
    Reply,
    send_directly,
)
from consumer.aws.wire import body_of_reply, check_replies, decode_json, keep_bodies, translated
from consumer.domain.errors import CallFailed
from tests.support.canned import Request, answer_calls, make_client, operations_of

TEXT = st.text(max_size=20)
VALUE = st.one_of(
    st.builds(lambda text: {"S": text}, TEXT),
    st.builds(lambda number: {"N": str(number)}, st.decimals(allow_nan=False, allow_infinity=False)),
    st.builds(lambda binary: {"B": binary}, st.binary(max_size=20)),
    st.builds(lambda texts: {"L": [{"S": text} for text in texts]}, st.lists(TEXT, max_size=3)),
)
ACTION = st.builds(
    lambda table, key, values: {
        "Update": {
            "TableName": table,
            "Key": key,
            "UpdateExpression": "SET a = :a",
            "ExpressionAttributeValues": values,
        }
    },
    st.text(min_size=1, max_size=20),
    st.dictionaries(TEXT, VALUE, max_size=2),
    st.dictionaries(TEXT, VALUE, max_size=4),
)
STATEMENT = st.builds(
    lambda text, values, more: {"Statement": text, "Parameters": values, **more},
    st.text(min_size=1, max_size=20),
    st.lists(VALUE, min_size=1, max_size=4),
    st.sampled_from([{}, {"ReturnValuesOnConditionCheckFailure": "ALL_OLD"}]),
)
KEYS = st.lists(st.builds(lambda text: {"playerId": {"S": text}}, TEXT), min_size=1, max_size=3)
REQUESTS = {
    TRANSACTIONS: st.builds(
        lambda actions: {"TransactItems": actions, "ClientRequestToken": "token"},
        st.lists(ACTION, min_size=1, max_size=3),
    ),
    STATEMENTS: st.builds(lambda statements: {"Statements": statements}, st.lists(STATEMENT, min_size=1, max_size=3)),
    READS: st.builds(lambda keys: {"RequestItems": {"t": {"Keys": keys, "ConsistentRead": True}}}, KEYS),
    POLLS: st.builds(lambda iterator: {"ShardIterator": iterator, "Limit": 7}, st.text(min_size=1, max_size=20)),
}
NOT_COMPARED: Final = {"authorization", "x-amz-date", "amz-sdk-invocation-id", "amz-sdk-request", "content-length"}
TOKEN: Final = "session token"
CLIENTS: Final = {
    (service, direct): make_client(service, TOKEN)
    for service in ("dynamodb", "dynamodbstreams")
    for direct in (True, False)
}


class Wire:
    """What the next call gets as its reply, and what the last one sent."""

    def __init__(self) -> None:
        self.reply: tuple[int, Any] = 200, {}
        self.headers: dict[str, str] = {}
        self.sent: list[Request] = []

    def __call__(self, request: Request) -> tuple[int, Any]:
        self.sent.append(request)
        return self.reply


WIRES: Final = {of: Wire() for of in CLIENTS}
for of, made in CLIENTS.items():
    answer_calls(made, WIRES[of], direct=of[1], headers=WIRES[of].headers)
    check_replies(made)
    for each in operations_of(made):
        if each.raw:
            keep_bodies(made, each.name)


def client_of(operation: Operation, *, direct: bool) -> tuple[Any, Wire]:
    of = "dynamodbstreams" if operation is POLLS else "dynamodb", direct
    return CLIENTS[of], WIRES[of]


def sent(operation: Operation, request: dict[str, Any], *, direct: bool) -> Request:
    client, wire = client_of(operation, direct=direct)
    wire.reply, wire.sent[:] = (200, {}), ()
    getattr(client, operation.method)(**request)
    (only,) = wire.sent
    return only


@pytest.mark.parametrize("operation", REQUESTS, ids=lambda operation: operation.name)
@settings(deadline=None, max_examples=50)
@given(data=st.data())
def test_a_request_is_that_of_botocore(operation: Operation, data: st.DataObject) -> None:
    request = data.draw(REQUESTS[operation])
    ours, botocores = (sent(operation, request, direct=direct) for direct in (True, False))
    assert json.loads(ours.body) == json.loads(botocores.body)
    assert ours.url == botocores.url
    left, right = (
        {name: value for name, value in each.headers.items() if name not in NOT_COMPARED} for each in (ours, botocores)
    )
    assert left.pop("host") == ours.url.removeprefix("https://").removesuffix("/")
    assert left.pop("accept-encoding") == "identity"
    assert left == right
    assert TOKEN in left.values()


@pytest.mark.parametrize("operation", REQUESTS, ids=lambda operation: operation.name)
def test_the_signature_is_of_what_is_sent(operation: Operation) -> None:
    """Signed again by botocore, from nothing but what went over the wire."""
    request = sent(operation, dict(operation.probe), direct=True)
    scope, signed, signature = request.headers["authorization"].split(", ")
    assert "/eu-west-1/dynamodb/aws4_request" in scope
    names = signed.removeprefix("SignedHeaders=").split(";")
    assert {"host", "x-amz-date", "x-amz-security-token", "x-amz-target", "content-type"} <= set(names)
    again = AWSRequest("POST", request.url, {name: request.headers[name] for name in names}, request.body)
    again.context = {"timestamp": request.headers["x-amz-date"]}
    signer = SigV4Auth(Credentials("key", "secret").get_frozen_credentials(), "dynamodb", "eu-west-1")
    assert (
        signature
        == f"Signature={signer.signature(signer.string_to_sign(again, signer.canonical_request(again)), again)}"
    )


def cancelled(*reasons: dict[str, Any]) -> bytes:
    name = "com.amazonaws.dynamodb.v20120810#TransactionCanceledException"
    return json.dumps({"__type": name, "Message": "cancelled", "CancellationReasons": list(reasons)}).encode()


REPLIES: Final = {
    "nothing": (200, b"{}"),
    "units": (200, b'{"ConsumedCapacity": [{"TableName": "t", "CapacityUnits": 2.0}]}'),
    "a page": (200, b'{"Records": [], "NextShardIterator": "next"}'),
    "answers": (200, b'{"Responses": [{"Error": {"Code": "ThrottlingError"}}, {}]}'),
    "no JSON": (200, b"<html>"),
    "cut": (200, b'{"Responses": ['),
    "a list": (200, b"[]"),
    "empty": (200, b""),
    "endless nesting": (200, b'{"a":' * 100_000),
    "cancelled": (400, cancelled({"Code": "None"}, {"Code": "ConditionalCheckFailed", "Item": {"k": {"B": "AP8="}}})),
    "throttled": (400, b'{"__type": "x#ThrottlingException", "message": "slow down"}'),
    "expired": (400, b'{"__type": "x#ExpiredIteratorException"}'),
    "an error of a proxy": (502, b"<html>Bad Gateway</html>"),
    "a server's error": (500, b'{"__type": "x#InternalServerError"}'),
    "an error without a body": (503, b""),
    "elsewhere": (301, b"{}"),
}


def outcome(operation: Operation, reply: tuple[int, bytes], headers: dict[str, str], *, direct: bool) -> Any:
    """What the call returns or raises, without what is of HTTP alone."""
    client, wire = client_of(operation, direct=direct)
    wire.reply = reply
    wire.headers.clear()
    wire.headers.update(headers)
    try:
        with translated():
            parsed = getattr(client, operation.method)(**operation.probe)
            return decode_json(body_of_reply(parsed)) if operation.raw else {**parsed, "ResponseMetadata": None}
    except CallFailed as failure:
        cause = failure.__cause__
        fields = {**cause.response, "ResponseMetadata": None} if isinstance(cause, ClientError) else None
        return failure.kind, failure.detail, type(cause).__name__, fields
    except Exception as error:  # noqa: BLE001  the same one is expected of both
        return type(error)


OF_OTHERS: Final = {(TRANSACTIONS, "a page"), (TRANSACTIONS, "answers")}
"""botocore drops fields that a reply of the operation does not have."""


@pytest.mark.parametrize("checksum", ["none", "right", "wrong"])
@pytest.mark.parametrize(
    ("operation", "reply"),
    [
        pytest.param(operation, reply, id=f"{operation.name}-{reply}")
        for operation in REQUESTS
        for reply in REPLIES
        if (operation, reply) not in OF_OTHERS
    ],
)
def test_a_reply_means_what_it_means_to_botocore(operation: Operation, reply: str, checksum: str) -> None:
    status, body = REPLIES[reply]
    headers = {"x-amz-crc32": str(crc32(body) + (checksum == "wrong"))} if checksum != "none" else {}
    ours, botocores = (outcome(operation, (status, body), headers, direct=direct) for direct in (True, False))
    assert ours == botocores
    assert checksum != "wrong" or "checksum" in str(ours)


def test_handlers_of_events_are_called_once_per_call() -> None:
    client = make_client("dynamodb")
    wire = Wire()
    answer_calls(client, wire, direct=True)
    events: list[Any] = []
    client.meta.events.register("provide-client-params", lambda params, **_: events.append(sorted(params)))
    client.meta.events.register("after-call", lambda http_response, **_: events.append(http_response.status_code))
    client.batch_get_item(**READS.probe)
    assert events == [["RequestItems"], 200]
    assert len(wire.sent) == 1
    client.close()


def test_what_a_handler_adds_is_sent() -> None:
    client = make_client("dynamodb")
    wire = Wire()
    answer_calls(client, wire, direct=True)
    client.meta.events.register(
        "provide-client-params", lambda params, **_: params.update(ReturnConsumedCapacity="TOTAL")
    )
    client.batch_get_item(**READS.probe)
    assert json.loads(wire.sent[0].body)["ReturnConsumedCapacity"] == "TOTAL"
    client.close()


def test_a_token_with_a_line_break_sends_nothing() -> None:
    client = make_client("dynamodb", "token\n")
    wire = Wire()
    answer_calls(client, wire, direct=True)
    with pytest.raises(HTTPClientError, match="no HTTP header can have"):
        client.batch_get_item(**READS.probe)
    assert not wire.sent
    client.close()


# --- where botocore has to send ---


@pytest.fixture(autouse=True)
def no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    """This machine's own settings do not matter."""
    monkeypatch.setenv("NO_PROXY", "*")
    monkeypatch.setenv("no_proxy", "*")


def taken(client: Any, operations: Any) -> list[str]:
    def connect(_: str) -> Callable[[bytes, bytes], Reply]:
        return lambda *_: Reply(200, {}, b"{}")

    try:
        return send_directly(client, operations, connect)
    finally:
        client.close()


@pytest.mark.parametrize("variable", ["HTTPS_PROXY", "https_proxy", "ALL_PROXY"])
def test_behind_a_proxy_botocore_sends(monkeypatch: pytest.MonkeyPatch, variable: str) -> None:
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv(variable, "http://127.0.0.1:9")
    assert taken(make_client("dynamodb"), [READS]) == []
    monkeypatch.setenv("NO_PROXY", "amazonaws.com")
    assert taken(make_client("dynamodb"), [READS]) == ["BatchGetItem"]


def test_an_operation_that_a_client_does_not_have_is_left_alone() -> None:
    assert taken(make_client("dynamodbstreams"), [READS, POLLS]) == ["GetRecords"]


def test_a_body_that_botocore_would_write_otherwise_is_written_by_botocore() -> None:
    client = make_client("dynamodb")
    client.meta.events.register("before-call", lambda params, **_: params.update(body=b'{"other": 1}'))
    assert taken(client, [READS]) == []


def test_without_the_event_botocore_sends() -> None:
    """As another botocore might be: the request is not seen, and is not sent anywhere either."""
    client = make_client("dynamodb", endpoint_url="http://127.0.0.1:9")
    client.meta.events.register_last = lambda *_: None
    assert taken(client, [READS]) == []


def test_where_certificates_cannot_be_read_botocore_sends(tmp_path: Path) -> None:
    """Then the first call fails with botocore's own words."""
    (tmp_path / "empty.pem").touch()

    def connect(name: str, url: str) -> Post:
        return Connections(url, 1.0, 1.0, str(tmp_path / name)).post

    for name in ("missing.pem", "empty.pem"):
        client = make_client("dynamodb")
        assert send_directly(client, [READS], partial(connect, name)) == []
        client.close()


def test_what_is_signed_in_another_way_is_sent_by_botocore() -> None:
    client = make_client("dynamodb")
    client.meta.events.register("before-call", lambda context, **_: context.update(auth_type="v4a"))
    assert taken(client, [READS]) == []


# --- connections ---


class Server:
    """Accepts connections one after the other, and serves each with the next of `scripts`; see `serving`."""

    def __init__(self, *scripts: Callable[[socket.socket], object], context: ssl.SSLContext | None = None) -> None:
        self._socket = socket.create_server(("127.0.0.1", 0))
        self._scripts, self._context = scripts, context
        self.accepted = 0
        self.closed = threading.Semaphore(0)
        scheme = "http" if context is None else "https"
        self.url = f"{scheme}://localhost:{self._socket.getsockname()[1]}/"
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        for script in self._scripts:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            self.accepted += 1
            try:
                with (
                    connection
                    if self._context is None
                    else self._context.wrap_socket(connection, server_side=True) as served
                ):
                    script(served)
            except OSError:
                continue
            finally:
                self.closed.release()

    def close(self) -> None:
        self._socket.close()


@contextmanager
def serving(*scripts: Callable[[socket.socket], object], context: ssl.SSLContext | None = None) -> Iterator[Server]:
    server = Server(*scripts, context=context)
    try:
        yield server
    finally:
        server.close()


def replies(*bodies: bytes, more: bytes = b"") -> Callable[[socket.socket], object]:
    """Reads a request and replies, for each body; then the connection is closed."""

    def script(connection: socket.socket) -> None:
        for body in bodies:
            read_request(connection)
            connection.sendall(b"HTTP/1.1 200 OK\r\n%sContent-Length: %d\r\n\r\n%s" % (more, len(body), body))

    return script


def read_request(connection: socket.socket) -> bytes:
    received = b""
    while not received.endswith(b"the body"):
        received += connection.recv(65536)
    return received


HEAD: Final = b"POST / HTTP/1.1\r\nHost: localhost\r\n"


def connections(url: str, certificates: str | None = None, read_seconds: float = 5.0) -> Callable[[], bytes]:
    """Posts a request; the body of the reply."""
    made = Connections(url, 1.0, read_seconds, certificates)
    return lambda: made.post(HEAD, b"the body").body


def test_a_connection_is_used_again() -> None:
    with serving(replies(b"one", b"two")) as server:
        post = connections(server.url)
        assert [post(), post()] == [b"one", b"two"]
        assert server.accepted == 1


def test_a_connection_that_its_server_closed_is_not_used_again() -> None:
    with serving(replies(b"one"), replies(b"two")) as server:
        post = connections(server.url)
        assert post() == b"one"
        assert server.closed.acquire(timeout=10)
        assert post() == b"two"
        assert server.accepted == 2


def test_a_reply_that_ends_its_connection() -> None:
    with serving(replies(b"one", more=b"Connection: close\r\n"), replies(b"two")) as server:
        post = connections(server.url)
        assert [post(), post()] == [b"one", b"two"]


def test_a_connection_that_breaks_is_an_error_and_the_next_call_has_a_new_one() -> None:
    def breaks(connection: socket.socket) -> None:
        read_request(connection)

    def cut(connection: socket.socket) -> None:
        read_request(connection)
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nabc")

    def nonsense(connection: socket.socket) -> None:
        read_request(connection)
        connection.sendall(b"nonsense\r\n\r\n")

    with serving(breaks, cut, nonsense, replies(b"at last")) as server:
        post = connections(server.url)
        for _ in range(3):
            with pytest.raises(ConnectionClosedError):
                post()
        assert post() == b"at last"


def test_a_server_that_is_silent() -> None:
    asked = threading.Event()
    with serving(lambda _: asked.wait(10)) as server:
        post = connections(server.url, read_seconds=0.05)
        with pytest.raises(ReadTimeoutError):
            post()
        asked.set()


def test_nothing_listens() -> None:
    with socket.create_server(("127.0.0.1", 0)) as unused:
        port = unused.getsockname()[1]
    with pytest.raises(EndpointConnectionError):
        connections(f"http://127.0.0.1:{port}/")()


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One of localhost, with its key, signed by itself."""
    if which("openssl") is None:
        pytest.skip("openssl is not installed")
    both = tmp_path_factory.mktemp("tls") / "both.pem"
    made = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost"]
    made += ["-addext", "subjectAltName=DNS:localhost", "-keyout", str(both), "-out", f"{both}.cert"]
    subprocess.run(made, check=True, capture_output=True)
    with both.open("a") as file:
        file.write(Path(f"{both}.cert").read_text())
    return both


def test_only_trusted_certificates_are_accepted(certificate: Path) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    with serving(replies(b"one"), replies(b"two"), replies(b"three"), context=context) as server:
        assert connections(server.url, f"{certificate}.cert")() == b"one"
        with pytest.raises(SSLError):
            connections(server.url, None)()
        with pytest.raises(SSLError):  # of another host
            connections(server.url.replace("localhost", "127.0.0.1"), f"{certificate}.cert")()
