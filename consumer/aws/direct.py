"""The frequent calls of a client, straight to the wire: botocore's client and urllib3 take most of a call's time.

botocore says once what a call's URL and headers are, and signs each. Only good replies are read here: any other is
given to botocore, which raises what it would have raised. Where botocore or the network is not as expected here, as
behind a proxy, botocore sends.
"""

import ssl
import weakref
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from http.client import HTTPConnection, HTTPException, HTTPMessage, HTTPResponse, HTTPSConnection
from select import POLLIN, poll
from socket import SO_KEEPALIVE, SOL_SOCKET
from threading import local
from typing import Any, Final, NamedTuple
from urllib.parse import urlsplit
from zlib import crc32

from botocore.awsrequest import AWSRequest, AWSResponse
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    ConnectionClosedError,
    ConnectTimeoutError,
    EndpointConnectionError,
    HTTPClientError,
    ReadTimeoutError,
    SSLError,
)
from botocore.utils import get_environ_proxies

from consumer.aws.wire import decode_json, encode_json, service_of


@dataclass(frozen=True, eq=False, slots=True)
class Operation:
    """A frequent operation: its client's method, and a request to learn from, which is not sent.

    `raw`: its replies carry their bytes under "Body"; see `keep_bodies`.
    """

    name: str
    method: str
    probe: Mapping[str, Any]
    raw: bool = True


class Reply(NamedTuple):
    """An HTTP reply."""

    status: int
    headers: HTTPMessage | Mapping[str, str]
    body: bytes


Post = Callable[[bytes, bytes], Reply]
"""Sends the head of a request, without its last line, and its body. Raises what botocore raises."""


class Connections:
    """The open connections to one endpoint. Each has one request at a time, so there are as many as threads.

    `certificates` is a file with those that are trusted; None: the system's.
    """

    def __init__(self, url: str, connect_seconds: float, read_seconds: float, certificates: str | None) -> None:
        self._url, self._connect_seconds, self._read_seconds = url, connect_seconds, read_seconds
        to = urlsplit(url)
        self._make: Callable[..., HTTPConnection] = partial(HTTPConnection, to.hostname or "", to.port)
        if to.scheme == "https":
            context = ssl.create_default_context(cafile=certificates)
            self._make = partial(HTTPSConnection, to.hostname or "", to.port, context=context)
        self._idle: deque[tuple[HTTPConnection, poll]] = deque()
        weakref.finalize(self, _close_all, self._idle)

    def post(self, head: bytes, body: bytes) -> Reply:
        """One request; see Post."""
        connection, readable = self._take()
        try:
            connection.send(b"%sContent-Length: %d\r\n\r\n%s" % (head, len(body), body))
            response = HTTPResponse(connection.sock, method="POST")
            response.begin()
            reply = Reply(response.status, response.headers, response.read())
        except Exception as error:
            connection.close()
            if isinstance(error, TimeoutError):
                raise ReadTimeoutError(endpoint_url=self._url, error=error) from error
            if isinstance(error, OSError | HTTPException):
                raise ConnectionClosedError(endpoint_url=self._url, error=error) from error
            raise
        if response.will_close:
            connection.close()
        else:
            self._idle.append((connection, readable))
        return reply

    def _take(self) -> tuple[HTTPConnection, poll]:
        """An idle connection that its server has not closed, or a new one."""
        with suppress(IndexError):
            while True:
                connection, readable = self._idle.pop()
                if not readable.poll(0):
                    return connection, readable
                connection.close()
        connection = self._make(timeout=self._connect_seconds)
        try:
            connection.connect()
        except TimeoutError as error:
            raise ConnectTimeoutError(endpoint_url=self._url, error=error) from error
        except ssl.SSLError as error:
            raise SSLError(endpoint_url=self._url, error=error) from error
        except OSError as error:
            raise EndpointConnectionError(endpoint_url=self._url, error=error) from error
        connection.sock.setsockopt(SOL_SOCKET, SO_KEEPALIVE, 1)
        connection.sock.settimeout(self._read_seconds)
        readable = poll()
        readable.register(connection.sock, POLLIN)
        return connection, readable


def _close_all(idle: Iterable[tuple[HTTPConnection, poll]]) -> None:
    for connection, _ in idle:
        connection.close()


class _Learned(NamedTuple):
    """What botocore's client would have sent, and how it would have signed it."""

    url: str
    headers: Mapping[str, str]
    body: bytes
    signer: Any
    context: Mapping[str, Any]


class _NotSent(NamedTuple):
    """Stands for the HTTP reply to a request that is not sent."""

    status_code: int = 200


class Direct:
    """One operation of a client, in place of the client's method. Raises what that raises."""

    def __init__(self, client: Any, operation: Operation, learned: _Learned, post: Post) -> None:
        name = f"{service_of(client)}.{operation.name}"
        self._operation = operation
        self._client_method = getattr(client, operation.method)
        self._emit = client.meta.events.emit
        self._before, self._after = f"provide-client-params.{name}", f"after-call.{name}"
        self._model = client.meta.service_model.operation_model(operation.name)
        self._url, self._headers, _, self._signer, context = learned
        signing = context.get("signing", {})
        self._scope = (
            signing.get("signing_name", self._signer.signing_name),
            signing.get("region", self._signer.region_name),
        )
        self._post = post
        url = urlsplit(self._url)
        lines = [f"POST {url.path or '/'} HTTP/1.1", f"Host: {url.netloc}", "Accept-Encoding: identity"]
        lines += [f"{header}: {value}" for header, value in self._headers.items()]
        self._head = "".join(f"{line}\r\n" for line in lines).encode()
        self._received = local()
        client.meta.events.register(f"before-send.{name}", self._give)

    def __call__(self, **params: Any) -> Any:
        """The call; its handlers of botocore's events are called as by botocore."""
        given, context = dict(params), dict[str, Any]()
        self._emit(self._before, params=given, model=self._model, context=context)
        body = encode_json(given)
        reply = self._post(self._head + self._signature(body), body)
        parsed = self._read(reply)
        if parsed is None:
            return self._read_by_botocore(params, reply)
        http = _NotSent(reply.status)
        self._emit(self._after, http_response=http, parsed=parsed, model=self._model, context=context)
        return parsed

    def _signature(self, body: bytes) -> bytes:
        """The lines that botocore's signer adds to the head."""
        request = AWSRequest("POST", self._url, headers=self._headers, data=body)
        request.context = {}
        self._signer.get_auth_instance(*self._scope).add_auth(request)
        added = {name: str(value) for name, value in request.headers.items() if name not in self._headers}
        if any(not value.isprintable() for value in added.values()):
            raise HTTPClientError(error=ValueError("the credentials have characters that no HTTP header can have"))
        return "".join(f"{name}: {value}\r\n" for name, value in added.items()).encode()

    def _read(self, reply: Reply) -> dict[str, Any] | None:
        """The reply, if it is a good one."""
        checksum = reply.headers.get("x-amz-crc32")
        if reply.status != 200 or (checksum is not None and checksum != str(crc32(reply.body))):
            return None
        if self._operation.raw:
            return {"Body": reply.body}
        try:
            parsed = decode_json(reply.body)
        except (ValueError, RecursionError):
            return None
        return parsed if isinstance(parsed, dict) else None

    def _read_by_botocore(self, params: Mapping[str, Any], reply: Reply) -> Any:
        self._received.reply = reply
        try:
            return self._client_method(**params)
        finally:
            self._received.reply = None

    def _give(self, request: Any, **_: object) -> AWSResponse | None:
        """To a request of botocore's client on this thread, the reply that was received already."""
        reply: Reply | None = getattr(self._received, "reply", None)
        return None if reply is None else AWSResponse(request.url, reply.status, reply.headers, _Body(reply.body))


class _Body(NamedTuple):
    """The body of a reply, as botocore reads it."""

    content: bytes

    def stream(self, **_: object) -> Iterator[bytes]:
        yield self.content


def send_directly(client: Any, operations: Iterable[Operation], connect: Callable[[str], Post]) -> list[str]:
    """These operations of `client` go straight to the wire from now on; the names of those that do.

    `connect` makes connections to a URL. Nothing is sent. Call it before other threads have the client. An operation
    whose way is not known exactly stays botocore's, with the same results.
    """
    posts: dict[str, Post] = {}
    taken = []
    for operation in operations:
        learned = _learn(client, operation)
        if learned is None:
            continue
        if learned.url not in posts:
            try:
                posts[learned.url] = connect(learned.url)
            except OSError:  # certificates that cannot be read: botocore says so
                continue
        setattr(client, operation.method, Direct(client, operation, learned, posts[learned.url]))
        taken.append(operation.name)
    return taken


def _learn(client: Any, operation: Operation) -> _Learned | None:
    """What botocore would send for the probe, if `Direct` would send the same. A handler replies: nothing is sent."""
    requests: list[_Learned] = []

    def reply(params: dict[str, Any], request_signer: Any, context: dict[str, Any], **_: object) -> Any:
        if params["method"] == "POST" and not params["query_string"]:
            requests.append(_Learned(params["url"], params["headers"], params["body"], request_signer, context))
        return _NotSent(), {}

    client.meta.events.register_last("before-call", reply)
    try:
        getattr(client, operation.method)(**operation.probe)
        (learned,) = requests
        version = learned.context.get("auth_type") or learned.signer.signature_version
        expected = version == "v4" and decode_json(learned.body) == decode_json(encode_json(operation.probe))
        return learned if expected and not get_environ_proxies(learned.url) else None
    except (AttributeError, BotoCoreError, ClientError, LookupError, TypeError, ValueError):
        return None
    finally:
        client.meta.events.unregister("before-call", reply)


_TRANSACTION: Final = {
    "TransactItems": [
        {
            "Update": {
                "TableName": "probe",
                "Key": {"k": {"S": "é\u2028😀"}},
                "UpdateExpression": "ADD n :n SET b = :b, l = :l",
                "ConditionExpression": "k <> :s",
                "ExpressionAttributeNames": {"#k": "k"},
                "ExpressionAttributeValues": {
                    ":n": {"N": "12345678901234567890123456789012345678"},
                    ":b": {"B": b"\x00\xff"},
                    ":l": {"L": [{"S": '"\\'}, {"M": {"inner": {"BOOL": True}}}]},
                },
                "ReturnValuesOnConditionCheckFailure": "ALL_OLD",
            }
        },
        {"Put": {"TableName": "probe", "Item": {"k": {"S": "1"}}, "ConditionExpression": "attribute_not_exists(k)"}},
    ],
    "ClientRequestToken": "probe",
}
_STATEMENTS: Final = {
    "Statements": [
        {
            "Statement": 'UPDATE "probe" SET n = n + ? WHERE k = ?',
            "Parameters": [{"N": "12345678901234567890123456789012345678"}, {"S": 'é\u2028😀"\\'}],
            "ReturnValuesOnConditionCheckFailure": "ALL_OLD",
        },
        {"Statement": "INSERT INTO \"probe\" VALUE {'k': ?}", "Parameters": [{"S": "1"}]},
    ],
}
_READ: Final = {
    "RequestItems": {
        "probe": {
            "Keys": [{"k": {"S": 'é\u2028😀"\\'}}, {"k": {"S": "1"}}],
            "ProjectionExpression": "k, l",
            "ConsistentRead": False,
        }
    }
}

TRANSACTIONS: Final = Operation("TransactWriteItems", "transact_write_items", _TRANSACTION, raw=False)
STATEMENTS: Final = Operation("BatchExecuteStatement", "batch_execute_statement", _STATEMENTS)
READS: Final = Operation("BatchGetItem", "batch_get_item", _READ)
POLLS: Final = Operation("GetRecords", "get_records", {"ShardIterator": "probe", "Limit": 1_000})
