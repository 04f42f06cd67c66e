"""TransactWriteItems' bodies, written at once: botocore's validation and its walk over shapes cost five times as much.

Two handlers of botocore's events (boto3's "Extensibility guide"): `provide-client-params` takes the request out,
`before-call` puts its body in. Sessions, endpoints, signing and pools stay botocore's.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from botocore.exceptions import BotoCoreError, ClientError

from consumer.aws.notation import read, write

OPERATION: Final = "TransactWriteItems"
_BODY: Final = "leaderboard_consumer_body"


def write_bodies(client: Any, spare: Any) -> bool:
    """`client` writes its transactions' bodies itself, if `spare` shows that this botocore lets it.

    `spare` is another client of the same service, which is not used any more after this; nothing is sent. Otherwise
    botocore writes them, with the same results.
    """
    try:
        before = body_of(spare, _PROBE)
        _install(spare)
        same = bool(read(body_of(spare, _PROBE)) == read(before))
    except (AttributeError, BotoCoreError, ClientError, LookupError, TypeError, ValueError):
        return False
    if same:
        _install(client)
    return same


def _install(client: Any) -> None:
    service = client.meta.service_model.service_id.hyphenize()
    client.meta.events.register_first(f"provide-client-params.{service}.{OPERATION}", _take_out, f"take.{_BODY}")
    client.meta.events.register_first(f"before-call.{service}.{OPERATION}", _put_in, f"put.{_BODY}")


def _take_out(params: Mapping[str, Any], context: dict[str, Any], **_: object) -> dict[str, Any] | None:
    """What botocore goes on with names the table, by which it chooses the endpoint; DynamoDB would always refuse it."""
    if "ClientRequestToken" not in params:
        return None  # botocore makes one up, and no other body has it
    context[_BODY] = write(params)
    (first,) = params["TransactItems"][0].values()
    check = {"TableName": first["TableName"], "Key": {}, "ConditionExpression": ""}
    return {**params, "TransactItems": [{"ConditionCheck": check}]}


def _put_in(params: dict[str, Any], context: dict[str, Any], **_: object) -> None:
    body = context.pop(_BODY, None)
    if body is not None:
        params["body"] = body


def body_of(client: Any, request: Mapping[str, Any]) -> bytes:
    """What the client would send of a transaction: an answer is given before it is sent."""
    seen: list[bytes] = []

    def answer(params: dict[str, Any], **_: object) -> tuple[_NotSent, dict[str, Any]]:
        seen.append(params["body"])
        return _NotSent(), {}

    event = f"before-call.{client.meta.service_model.service_id.hyphenize()}.{OPERATION}"
    client.meta.events.register_last(event, answer)
    try:
        client.transact_write_items(**request)
    finally:
        client.meta.events.unregister(event, answer)
    return seen[0]


@dataclass(frozen=True, slots=True)
class _NotSent:
    """Stands for the answer to what is not sent."""

    status_code: int = 200


_PROBE: Final[dict[str, Any]] = {
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
