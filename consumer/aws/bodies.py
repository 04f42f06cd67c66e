"""Request bodies that are written here, where botocore would take most of a busy worker's time for them.

botocore gets a short request instead, from which it derives headers and endpoint, and signs the body that is sent.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, NamedTuple

from botocore.exceptions import BotoCoreError, ClientError

from consumer.aws.wire import decode_json, encode_json, service_of

_CONTEXT_KEY: Final = "leaderboard_consumer_body"


class Form(NamedTuple):
    """An operation whose bodies are written here: its client's method, a shorter request, and one to try it with.

    The short request is one that DynamoDB would always refuse. None: botocore writes the body.
    """

    operation: str
    method: str
    shorten: Callable[[Mapping[str, Any]], dict[str, Any] | None]
    probe: Mapping[str, Any]


def _short_transaction(params: Mapping[str, Any]) -> dict[str, Any] | None:
    """It names the table, from which botocore derives the endpoint."""
    if "ClientRequestToken" not in params:
        return None  # botocore makes up a token, which no body of ours would have
    (first,) = params["TransactItems"][0].values()
    check = {"TableName": first["TableName"], "Key": {}, "ConditionExpression": ""}
    return {**params, "TransactItems": [{"ConditionCheck": check}]}


def _short_statements(params: Mapping[str, Any]) -> dict[str, Any] | None:
    return {**params, "Statements": [{"Statement": "-"}]}


def _short_read(params: Mapping[str, Any]) -> dict[str, Any] | None:
    """It names the tables, from which botocore derives the endpoint."""
    return {"RequestItems": {table: {"Keys": [{}]} for table in params["RequestItems"]}}


def write_bodies(client: Any, spare: Any) -> list[str]:
    """`client` writes the bodies of these operations itself, as far as `spare` shows that this botocore allows it.

    `spare` is another client of the same service, for this probe only; nothing is sent. Where botocore does not allow
    it, botocore writes them, with the same result.
    """
    return [form.operation for form in FORMS if _works(form, spare) and _register(form, client)]


def _works(form: Form, spare: Any) -> bool:
    try:
        before = request_body(spare, form, form.probe)
        _register(form, spare)
        return bool(decode_json(request_body(spare, form, form.probe)) == decode_json(before))
    except (AttributeError, BotoCoreError, ClientError, LookupError, TypeError, ValueError):
        return False


def _register(form: Form, client: Any) -> bool:
    events, name = client.meta.events, f"{service_of(client)}.{form.operation}"
    # Not first: other handlers add to the request before its body is written.
    events.register(f"provide-client-params.{name}", partial(_take_params, form), f"take.{form.operation}")
    events.register_first(f"before-call.{name}", _put_body, f"put.{form.operation}")
    return True


def _take_params(form: Form, params: Mapping[str, Any], context: dict[str, Any], **_: object) -> dict[str, Any] | None:
    short = form.shorten(params)
    if short is not None:
        context[_CONTEXT_KEY] = encode_json(params)
    return short


def _put_body(params: dict[str, Any], context: dict[str, Any], **_: object) -> None:
    body = context.pop(_CONTEXT_KEY, None)
    if body is not None:
        params["body"] = body


def request_body(client: Any, form: Form, request: Mapping[str, Any]) -> bytes:
    """The body that the client would send. A handler replies before anything is sent."""
    bodies: list[bytes] = []

    def reply(params: dict[str, Any], **_: object) -> tuple[_NotSent, dict[str, Any]]:
        bodies.append(params["body"])
        return _NotSent(), {}

    event = f"before-call.{service_of(client)}.{form.operation}"
    client.meta.events.register_last(event, reply)
    try:
        getattr(client, form.method)(**request)
    finally:
        client.meta.events.unregister(event, reply)
    return bodies[0]


@dataclass(frozen=True, slots=True)
class _NotSent:
    """Stands for the HTTP reply to a request that is not sent."""

    status_code: int = 200


_TRANSACTION_PROBE: Final[dict[str, Any]] = {
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

_STATEMENT_PROBE: Final[dict[str, Any]] = {
    "Statements": [
        {
            "Statement": 'UPDATE "probe" SET n = n + ? WHERE k = ?',
            "Parameters": [{"N": "12345678901234567890123456789012345678"}, {"S": 'é\u2028😀"\\'}],
            "ReturnValuesOnConditionCheckFailure": "ALL_OLD",
        },
        {"Statement": "INSERT INTO \"probe\" VALUE {'k': ?}", "Parameters": [{"S": "1"}]},
    ],
}

_READ_PROBE: Final[dict[str, Any]] = {
    "RequestItems": {
        "probe": {
            "Keys": [{"k": {"S": 'é\u2028😀"\\'}}, {"k": {"S": "1"}}],
            "ProjectionExpression": "k, l",
            "ConsistentRead": False,
        }
    }
}

TRANSACTIONS: Final = Form("TransactWriteItems", "transact_write_items", _short_transaction, _TRANSACTION_PROBE)
STATEMENTS: Final = Form("BatchExecuteStatement", "batch_execute_statement", _short_statements, _STATEMENT_PROBE)
READS: Final = Form("BatchGetItem", "batch_get_item", _short_read, _READ_PROBE)
FORMS: Final = (TRANSACTIONS, STATEMENTS, READS)
