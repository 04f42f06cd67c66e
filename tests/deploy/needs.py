"""What a recorded call needs of IAM: actions on resources, as the service authorization reference tells them.

A transaction is no action of its own: its parts need PutItem, UpdateItem, DeleteItem, ConditionCheckItem or GetItem.
The condition key dynamodb:EnclosingOperation then says which transaction they are part of.
"""

from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple
from urllib.parse import parse_qs

from tests.processes import Call

_ON_THE_STREAM = ("DescribeStream", "GetShardIterator", "GetRecords")
_IN_A_TRANSACTION = {
    "Put": "PutItem",
    "Update": "UpdateItem",
    "Delete": "DeleteItem",
    "ConditionCheck": "ConditionCheckItem",
    "Get": "GetItem",
}


class Need(NamedTuple):
    """An action on a resource. `within`: the transaction that it is part of; None: a call of its own."""

    action: str
    resource: str
    within: str | None = None

    def __str__(self) -> str:
        inside = f" within {self.within}" if self.within else ""
        return f"{self.action} on {self.resource}{inside}"


def needs_of(calls: Iterable[Call], account_arn: str) -> set[Need]:
    """Of one process's calls, in their order. `account_arn` is what a table's ARN begins with, up to `table`."""
    streams: dict[str, str] = {}
    found: set[Need] = set()
    for call in calls:
        found |= set(_needs(call, account_arn, streams))
        for name in ("ShardIterator", "NextShardIterator"):
            if call.applied and (iterator := _reply(call).get(name)):
                streams[iterator] = _stream(call, streams)
    return found


def _needs(call: Call, account_arn: str, streams: dict[str, str]) -> Iterator[Need]:
    operation = call.operation
    if not operation:
        (action,) = parse_qs(call.body.decode())["Action"]
        yield Need(f"sts:{action}", "*")
    elif operation in _ON_THE_STREAM:
        yield Need(f"dynamodb:{operation}", _stream(call, streams))
    elif operation.startswith("Transact"):
        for (part, request), *_ in (list(each.items()) for each in call.request["TransactItems"]):
            yield Need(f"dynamodb:{_IN_A_TRANSACTION[part]}", _table(request, account_arn), operation)
    else:
        yield Need(f"dynamodb:{operation}", _table(call.request, account_arn))


def _table(request: dict[str, Any], account_arn: str) -> str:
    assert "IndexName" not in request, "an index is a resource of its own"
    return f"{account_arn}/{request['TableName']}"


def _stream(call: Call, streams: dict[str, str]) -> str:
    """GetRecords names an iterator only; whose it is, is known from the answer that it came in."""
    if call.operation == "GetRecords":
        return streams[call.request["ShardIterator"]]
    return str(call.request["StreamArn"])


def _reply(call: Call) -> dict[str, Any]:
    return call.reply if call.operation in _ON_THE_STREAM else {}
