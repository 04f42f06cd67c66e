"""Bodies on the wire are those that botocore would send. Nothing here sends anything."""

import base64
import json
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import boto3
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from consumer.aws.board import add_delta
from consumer.aws.wire import decode_json, encode_json, transaction_body, write_transaction_bodies
from consumer.domain.fold import Delta

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


def client() -> Any:
    """An ordinary client. Nothing asks for its region and credentials."""
    return boto3.Session("key", "secret", region_name="eu-west-1").client("dynamodb")


@pytest.fixture(scope="module")
def plain() -> Iterator[Any]:
    made = client()
    yield made
    made.close()


@pytest.fixture(scope="module")
def ours() -> Iterator[Any]:
    made = client()
    assert write_transaction_bodies(made, client())
    yield made
    made.close()


@settings(deadline=None, max_examples=50)
@given(st.lists(ACTION, min_size=1, max_size=3))
def test_bodies_are_those_of_botocore(plain: Any, ours: Any, actions: list[Any]) -> None:
    request = {"TransactItems": actions, "ClientRequestToken": "token"}
    assert json.loads(transaction_body(ours, request)) == json.loads(transaction_body(plain, request))


def test_a_call_without_a_token_is_left_to_botocore(plain: Any, ours: Any) -> None:
    request = {"TransactItems": [add_delta("t", "foo", Delta(1, Decimal("0.10"), "2026-01-31"), dated=True)]}
    own, other = json.loads(transaction_body(ours, request)), json.loads(transaction_body(plain, request))
    assert len(own.pop("ClientRequestToken")) == len(other.pop("ClientRequestToken")) == 36
    assert own == other


def test_what_is_given_to_botocore_instead_is_no_request_by_itself(ours: Any) -> None:
    """If the second handler were missing, DynamoDB would refuse the rest, and nothing would be lost."""
    seen: list[Any] = []
    ours.meta.events.register("before-parameter-build", lambda params, **_: seen.append(params), unique_id="seen")
    transaction_body(
        ours, {"TransactItems": [{"Put": {"TableName": "t", "Item": {}}}] * 2, "ClientRequestToken": "token"}
    )
    (params,) = seen
    (check,) = params["TransactItems"]
    assert check == {"ConditionCheck": {"TableName": "t", "Key": {}, "ConditionExpression": ""}}


@pytest.mark.parametrize("missing", ["provide-client-params", "before-call"])
def test_where_an_event_is_missing_botocore_writes_the_bodies(missing: str) -> None:
    made, spare = (without_event(missing, client()) for _ in range(2))
    request = {"TransactItems": [{"Put": {"TableName": "t", "Item": {"a": {"B": b"\xff"}}}}], "ClientRequestToken": "t"}
    before = transaction_body(made, request)
    write_transaction_bodies(made, spare)
    assert transaction_body(made, request) == before
    made.close()


def without_event(event: str, made: Any) -> Any:
    """Like a botocore without this event: its handlers never run."""
    register = made.meta.events.register_first

    def register_others(name: str, *of: Any) -> None:
        if not name.startswith(event):
            register(name, *of)

    made.meta.events.register_first = register_others
    return made


def test_a_client_without_the_operation_is_left_alone() -> None:
    made = boto3.Session("key", "secret", region_name="eu-west-1").client("dynamodbstreams")
    assert not write_transaction_bodies(made, made)
    made.close()


def test_half_a_surrogate_pair_is_written_and_read_as_the_standard_library_does() -> None:
    text = '{"a": ["\\ud800", "\\ud83d\\ude00"]}'
    value = decode_json(text.encode())
    assert value == json.loads(text) == {"a": ["\ud800", "😀"]}
    assert json.loads(encode_json(value)) == value
    assert decode_json('{"a": 1}'.encode("utf-16")) == {"a": 1}


@pytest.mark.parametrize("body", [b"", b"{", b'{"a": "\xff"}', b"[" * 100_000])
def test_what_is_no_json_is_an_error(body: bytes) -> None:
    with pytest.raises((ValueError, RecursionError)):
        decode_json(body)


def test_binary_values_are_base64() -> None:
    assert json.loads(encode_json({"B": b"\x00\xff"})) == {"B": base64.b64encode(b"\x00\xff").decode()}
    with pytest.raises(TypeError):
        encode_json({"N": object()})
