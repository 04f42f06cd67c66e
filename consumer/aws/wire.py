"""JSON on the wire, and the three handlers of botocore's events.

They keep a reply's body as it came, reject damaged replies, and write the bodies of transactions.
"""

import base64
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from zlib import crc32

import msgspec
from botocore.exceptions import BotoCoreError, ClientError

from consumer.domain.errors import CallFailed, FailureKind


def encode_json(value: object, *, sort_keys: bool = False) -> bytes:
    """Binary values become base64 text, as in DynamoDB's own JSON."""
    try:
        return (_SORTED if sort_keys else _UNSORTED).encode(value)
    except UnicodeEncodeError:  # half a surrogate pair, which the database has to refuse
        return encode_json_plainly(value, sort_keys=sort_keys)


def encode_json_plainly(value: object, *, sort_keys: bool = False) -> bytes:
    """The same by the standard library, for all types that botocore takes and gives: times become unix seconds."""
    return json.dumps(value, sort_keys=sort_keys, default=_encodable).encode()


def decode_json(body: bytes) -> Any:
    """The value of a body. Raises ValueError, or RecursionError for endless nesting."""
    try:
        return msgspec.json.decode(body)
    except msgspec.DecodeError:  # half a surrogate pair in one record must not hide the others
        return json.loads(body)


_UNSORTED: Final = msgspec.json.Encoder()
_SORTED: Final = msgspec.json.Encoder(order="sorted")


def _encodable(value: object) -> str | float:
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    if isinstance(value, datetime):
        return value.timestamp()
    raise TypeError(f"a request cannot hold a {type(value).__name__}")


def keep_bodies(client: Any, operation: str) -> None:
    """Replies of `operation` carry their bytes under "Body", unparsed: records stay in wire form.

    botocore's own parser takes 15 times as long as json for a page of records. A second registration changes nothing.
    """
    event = f"before-parse.{_service(client)}.{operation}"
    client.meta.events.register_first(event, _keep_body, unique_id=f"keep-body.{operation}")


def body_of_reply(reply: Mapping[str, Any]) -> bytes:
    """The body that `keep_bodies` kept; else the fields that botocore knows, encoded again."""
    if "Body" in reply:
        body: bytes = reply["Body"]
        return body
    return encode_json_plainly({name: value for name, value in reply.items() if name != "ResponseMetadata"})


def check_replies(client: Any) -> None:
    """A reply whose checksum does not fit, or that is no JSON object, raises CallFailed, whatever its status says."""
    client.meta.events.register(f"before-parse.{_service(client)}", _check_reply)


def _service(client: Any) -> str:
    return str(client.meta.service_model.service_id.hyphenize())


def _keep_body(response_dict: dict[str, Any], customized_response_dict: dict[str, Any], **_: object) -> None:
    if response_dict["status_code"] == 200:
        customized_response_dict["Body"] = response_dict["body"]
        response_dict["body"] = b"{}"


def _check_reply(response_dict: dict[str, Any], customized_response_dict: dict[str, Any], **_: object) -> None:
    """`x-amz-crc32` is of the body as sent. botocore compares it in its own retries alone, and engines may omit it."""
    body, status = response_dict["body"], response_dict["status_code"]
    sent = response_dict["headers"].get("x-amz-crc32")
    if sent is not None and sent != str(crc32(customized_response_dict.get("Body", body))):
        raise CallFailed(FailureKind.CORRUPTED, f"the body of an HTTP {status} reply does not fit its checksum")
    try:
        is_object = isinstance(decode_json(body), dict)
    except (ValueError, RecursionError):
        is_object = False
    if not is_object:
        raise CallFailed(FailureKind.MALFORMED, f"the body of an HTTP {status} reply is no JSON object")


_OPERATION: Final = "TransactWriteItems"
_CONTEXT_KEY: Final = "leaderboard_consumer_body"


def write_transaction_bodies(client: Any, spare: Any) -> bool:
    """`client` writes the bodies of its transactions itself, if `spare` shows that this botocore allows it.

    `spare` is another client of the same service, for this probe only; nothing is sent. Where botocore does not allow
    it, botocore writes them, with the same result.
    """
    try:
        before = transaction_body(spare, _PROBE)
        _register(spare)
        same = bool(decode_json(transaction_body(spare, _PROBE)) == decode_json(before))
    except (AttributeError, BotoCoreError, ClientError, LookupError, TypeError, ValueError):
        return False
    if same:
        _register(client)
    return same


def _register(client: Any) -> None:
    events, service = client.meta.events, _service(client)
    events.register_first(f"provide-client-params.{service}.{_OPERATION}", _take_params, f"take.{_CONTEXT_KEY}")
    events.register_first(f"before-call.{service}.{_OPERATION}", _put_body, f"put.{_CONTEXT_KEY}")


def _take_params(params: Mapping[str, Any], context: dict[str, Any], **_: object) -> dict[str, Any] | None:
    """Encodes the request, and leaves botocore a short one.

    It names the table, from which botocore derives the endpoint. DynamoDB would always refuse it.
    """
    if "ClientRequestToken" not in params:
        return None  # botocore makes up a token, which no body of ours would have
    context[_CONTEXT_KEY] = encode_json(params)
    (first,) = params["TransactItems"][0].values()
    check = {"TableName": first["TableName"], "Key": {}, "ConditionExpression": ""}
    return {**params, "TransactItems": [{"ConditionCheck": check}]}


def _put_body(params: dict[str, Any], context: dict[str, Any], **_: object) -> None:
    body = context.pop(_CONTEXT_KEY, None)
    if body is not None:
        params["body"] = body


def transaction_body(client: Any, request: Mapping[str, Any]) -> bytes:
    """The body that the client would send for a transaction. A handler replies before anything is sent."""
    bodies: list[bytes] = []

    def reply(params: dict[str, Any], **_: object) -> tuple[_NotSent, dict[str, Any]]:
        bodies.append(params["body"])
        return _NotSent(), {}

    event = f"before-call.{_service(client)}.{_OPERATION}"
    client.meta.events.register_last(event, reply)
    try:
        client.transact_write_items(**request)
    finally:
        client.meta.events.unregister(event, reply)
    return bodies[0]


@dataclass(frozen=True, slots=True)
class _NotSent:
    """Stands for the HTTP reply to a request that is not sent."""

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
