"""IAM: what a recorded call needs, and what the policies under deploy/iam allow."""

import json
import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import parse_qs

from tests.support.processes import Call

_ON_THE_STREAM = ("DescribeStream", "GetShardIterator", "GetRecords")
_IN_A_TRANSACTION = {
    "Put": "PutItem",
    "Update": "UpdateItem",
    "Delete": "DeleteItem",
    "ConditionCheck": "ConditionCheckItem",
    "Get": "GetItem",
}
_STATEMENT = re.compile(r'^(UPDATE|INSERT)(?: INTO)? "([^"]+)"')


class Need(NamedTuple):
    """An action on a resource. `within`: the transaction that it is part of; None: a call of its own."""

    action: str
    resource: str
    within: str | None = None

    def __str__(self) -> str:
        inside = f" within {self.within}" if self.within else ""
        return f"{self.action} on {self.resource}{inside}"


def needs_of(calls: Iterable[Call], account_arn: str) -> set[Need]:
    """The needs of one process's calls, in order. `account_arn`: the beginning of a table's ARN, up to `table`."""
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
        for (part, request), *_ in (list(action.items()) for action in call.request["TransactItems"]):
            yield Need(f"dynamodb:{_IN_A_TRANSACTION[part]}", _table(request, account_arn), operation)
    elif operation == "BatchGetItem":
        for table in call.request["RequestItems"]:
            yield Need(f"dynamodb:{operation}", f"{account_arn}/{table}")
    elif operation == "BatchExecuteStatement":
        for statement in call.request["Statements"]:
            ((kind, table),) = _STATEMENT.findall(statement["Statement"])
            yield Need(f"dynamodb:PartiQL{kind.capitalize()}", f"{account_arn}/{table}")
    else:
        yield Need(f"dynamodb:{operation}", _table(call.request, account_arn))


def _table(request: dict[str, Any], account_arn: str) -> str:
    """The table, or the index that is read, which is a resource of its own."""
    index = f"/index/{request['IndexName']}" if "IndexName" in request else ""
    return f"{account_arn}/{request['TableName']}{index}"


def _stream(call: Call, streams: dict[str, str]) -> str:
    """GetRecords has only an iterator; its stream is known from the reply that returned the iterator."""
    if call.operation == "GetRecords":
        return streams[call.request["ShardIterator"]]
    return str(call.request["StreamArn"])


def _reply(call: Call) -> dict[str, Any]:
    return call.reply if call.operation in _ON_THE_STREAM else {}


FOLDER = Path(__file__).parents[2] / "deploy" / "iam"
_PLACEHOLDER = re.compile(r"\$\{([\w:]+)\}")
_KEY = ("ForAnyValue:StringEquals", "dynamodb:EnclosingOperation")


class Grant(NamedTuple):
    """One action on one resource. `within`: only as part of this transaction; None: always."""

    action: str
    resource: str
    within: str | None
    sid: str

    def covers(self, need: Need) -> bool:
        """Whether it allows the need."""
        return (
            self.action == need.action
            and fnmatchcase(need.resource, self.resource)
            and self.within in (None, need.within)
        )

    def is_used_by(self, need: Need) -> bool:
        """Whether it is no wider than the need: a grant for single calls is too wide for parts of transactions."""
        return self.covers(need) and self.within == need.within

    def __str__(self) -> str:
        inside = f" within {self.within}" if self.within else ""
        return f"{self.action} on {self.resource}{inside} ({self.sid})"


def statements(name: str) -> list[dict[str, Any]]:
    """The statements of a policy file, as they are written."""
    policy = json.loads((FOLDER / name).read_text())
    assert policy.keys() == {"Version", "Statement"}
    assert policy["Version"] == "2012-10-17"
    found: list[dict[str, Any]] = policy["Statement"]
    return found


def grants_of(statements: Iterable[Mapping[str, Any]], values: Mapping[str, str]) -> list[Grant]:
    """What statements allow with values for their placeholders. AssertionError for an unknown kind of statement."""
    found: list[Grant] = []
    for statement in statements:
        assert statement.keys() <= {"Sid", "Effect", "Action", "Resource", "Condition"}, statement
        assert statement["Effect"] == "Allow"
        for resource in statement["Resource"]:
            filled = _PLACEHOLDER.sub(lambda match: values[match[1]], resource)
            found += [
                Grant(action, filled, within, statement["Sid"])
                for action in statement["Action"]
                for within in _within(statement.get("Condition"))
            ]
    return found


def _within(condition: Mapping[str, Any] | None) -> list[str | None]:
    if condition is None:
        return [None]
    operator, key = _KEY
    assert condition.keys() == {operator}, condition
    assert condition[operator].keys() == {key}, condition
    return list(condition[operator][key])


def denied(grants: Collection[Grant], needs: Iterable[Need]) -> list[str]:
    """The needs that are not allowed."""
    return sorted(str(need) for need in needs if not any(grant.covers(need) for grant in grants))


def unused(grants: Iterable[Grant], needs: Collection[Need]) -> list[str]:
    """The grants that were not needed."""
    return sorted(str(grant) for grant in grants if not any(grant.is_used_by(need) for need in needs))
