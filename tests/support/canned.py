"""A client whose calls get replies that the test makes. Nothing is sent."""

import json
import os
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple
from unittest.mock import patch

import boto3
from botocore.awsrequest import AWSPreparedRequest, AWSResponse
from botocore.config import Config

from consumer.aws.direct import POLLS, READS, STATEMENTS, TRANSACTIONS, Operation, Post, Reply, send_directly


def make_client(service: str, token: str | None = None, **more: Any) -> Any:
    """A client that, as those of `connect`, repeats no calls. Nothing asks for its region and credentials."""
    session = boto3.Session("key", "secret", token, region_name="eu-west-1")
    return session.client(service, config=Config(retries={"total_max_attempts": 1}), **more)


class Request(NamedTuple):
    """What the client sent. Names of headers are in lower case."""

    operation: str
    url: str
    headers: Mapping[str, str]
    body: bytes


Answer = Callable[[Request], tuple[int, Any]]
"""Status and body; a body that is not bytes becomes JSON."""


def answer_calls(client: Any, answer: Answer, *, direct: bool, headers: Mapping[str, str] | None = None) -> None:
    """Calls of `client` get these replies from now on. `direct`: they go to the wire without botocore's client."""
    taken: list[str] = []

    def reply(request: Request) -> Reply:
        status, body = answer(request)
        return Reply(status, headers or {}, body if isinstance(body, bytes) else json.dumps(body).encode())

    def connect(url: str) -> Post:
        return lambda head, body: reply(_request_of(url, head, body))

    def before_send(request: AWSPreparedRequest, **_: object) -> AWSResponse | None:
        sent = {name.lower(): _text(value) for name, value in request.headers.items()}
        operation = sent["x-amz-target"].rpartition(".")[2]
        if operation in taken:
            return None  # botocore is to read what was received already
        assert isinstance(request.body, bytes)
        status, received, body = reply(Request(operation, request.url, sent, request.body))
        return AWSResponse(request.url, status, received, _Raw(body))

    if direct:
        with patch.dict(os.environ, {"NO_PROXY": "*", "no_proxy": "*"}):  # this machine's own settings do not matter
            taken += send_directly(client, operations_of(client), connect)
        assert len(taken) == len(operations_of(client))
    client.meta.events.register("before-send", before_send, unique_id="canned")


def operations_of(client: Any) -> tuple[Operation, ...]:
    """Those that can be sent directly."""
    tables = client.meta.service_model.service_name == "dynamodb"
    return (TRANSACTIONS, STATEMENTS, READS) if tables else (POLLS,)


def _request_of(url: str, head: bytes, body: bytes) -> Request:
    first, *lines = head.decode().removesuffix("\r\n").split("\r\n")
    headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
    assert first == "POST / HTTP/1.1"
    return Request(headers["x-amz-target"].rpartition(".")[2], url, headers, body)


def _text(value: str | bytes) -> str:
    return value.decode() if isinstance(value, bytes) else value


class _Raw(NamedTuple):
    """What urllib3 would have read."""

    body: bytes

    def stream(self, **_: object) -> Iterator[bytes]:
        yield self.body
