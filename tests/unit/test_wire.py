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
from consumer.aws.bodies import FORMS, READS, STATEMENTS, TRANSACTIONS, Form, request_body, write_bodies
from consumer.aws.wire import decode_json, encode_json
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

STATEMENT = st.builds(
    lambda text, values, more: {"Statement": text, "Parameters": values, **more},
    st.text(min_size=1, max_size=20),
    st.lists(VALUE, min_size=1, max_size=4),
    st.sampled_from([{}, {"ReturnValuesOnConditionCheckFailure": "ALL_OLD"}]),
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
    assert write_bodies(made, client()) == ["TransactWriteItems", "BatchExecuteStatement", "BatchGetItem"]
    yield made
    made.close()


@settings(deadline=None, max_examples=50)
@given(st.lists(ACTION, min_size=1, max_size=3))
def test_bodies_are_those_of_botocore(plain: Any, ours: Any, actions: list[Any]) -> None:
    request = {"TransactItems": actions, "ClientRequestToken": "token"}
    assert json.loads(request_body(ours, TRANSACTIONS, request)) == json.loads(
        request_body(plain, TRANSACTIONS, request)
    )


@settings(max_examples=200, deadline=None)
@given(st.lists(STATEMENT, min_size=1, max_size=3))
def test_bodies_of_statements_are_those_of_botocore(plain: Any, ours: Any, statements: list[Any]) -> None:
    request = {"Statements": statements}
    assert json.loads(request_body(ours, STATEMENTS, request)) == json.loads(request_body(plain, STATEMENTS, request))


@settings(deadline=None, max_examples=50)
@given(st.lists(TEXT, min_size=1, max_size=3), st.booleans())
def test_bodies_of_reads_are_those_of_botocore(plain: Any, ours: Any, players: list[str], consistent: bool) -> None:
    wanted = {"Keys": [{"playerId": {"S": player}} for player in players], "ProjectionExpression": "a, b"}
    request = {"RequestItems": {"t": {**wanted, "ConsistentRead": consistent}}}
    assert json.loads(request_body(ours, READS, request)) == json.loads(request_body(plain, READS, request))


def test_a_call_without_a_token_is_left_to_botocore(plain: Any, ours: Any) -> None:
    request = {"TransactItems": [add_delta("t", "foo", Delta(1, Decimal("0.10"), "2026-01-31"), dated=True)]}
    own, other = (
        json.loads(request_body(ours, TRANSACTIONS, request)),
        json.loads(request_body(plain, TRANSACTIONS, request)),
    )
    assert len(own.pop("ClientRequestToken")) == len(other.pop("ClientRequestToken")) == 36
    assert own == other


def test_what_is_given_to_botocore_instead_is_no_request_by_itself(ours: Any) -> None:
    """If the second handler were missing, DynamoDB would refuse the rest, and nothing would be lost."""
    seen: list[Any] = []
    ours.meta.events.register("before-parameter-build", lambda params, **_: seen.append(params), unique_id="seen")
    request_body(
        ours,
        TRANSACTIONS,
        {"TransactItems": [{"Put": {"TableName": "t", "Item": {}}}] * 2, "ClientRequestToken": "token"},
    )
    (params,) = seen
    (check,) = params["TransactItems"]
    assert check == {"ConditionCheck": {"TableName": "t", "Key": {}, "ConditionExpression": ""}}


@pytest.mark.parametrize("form", FORMS, ids=lambda form: form.operation)
@pytest.mark.parametrize("missing", ["provide-client-params", "before-call"])
def test_where_an_event_is_missing_botocore_writes_the_bodies(missing: str, form: Form) -> None:
    made, spare = (without_event(missing, form, client()) for _ in range(2))
    before = request_body(made, form, form.probe)
    write_bodies(made, spare)
    assert request_body(made, form, form.probe) == before
    made.close()


def without_event(event: str, form: Form, made: Any) -> Any:
    """Like a botocore without this event of one operation: its handlers never run."""
    for method in ("register", "register_first"):
        register = getattr(made.meta.events, method)

        def register_others(name: str, *of: Any, register: Any = register) -> None:
            if not (name.startswith(event) and name.endswith(form.operation)):
                register(name, *of)

        setattr(made.meta.events, method, register_others)
    return made


def test_a_client_without_the_operation_is_left_alone() -> None:
    made = boto3.Session("key", "secret", region_name="eu-west-1").client("dynamodbstreams")
    assert not write_bodies(made, made)
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
