"""Units are counted as AWS bills them, call by call. Nothing is sent: botocore gets a reply that the test made."""

import ast
import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest
from botocore.exceptions import ClientError

from consumer.aws.units import UNASKED, UnitCounter
from consumer.aws.wire import keep_bodies
from consumer.domain.leases import OwnTable, TableNames
from tests.support.canned import Request, answer_calls, make_client

AWS: Final = Path(__file__).parents[2] / "consumer" / "aws"
NAMES: Final = TableNames("leases", "board", "quarantine")
KEY: Final = {"playerId": {"S": "foo"}}
LARGE: Final = {"S": "x" * 2_500}
"""Three started KB."""
UPDATE: Final = {"TableName": "board", "Key": KEY, "UpdateExpression": "ADD n :n"}
STATEMENTS: Final = {"Statements": [{"Statement": 'UPDATE "board" SET n = ? WHERE playerId = ?'}] * 3}


class Units:
    """A UnitMeter that remembers."""

    def __init__(self) -> None:
        self.written: Counter[str] = Counter()
        self.read: dict[str, float] = {}

    def write_units(self, table: OwnTable, units: float) -> None:
        self.written[table.value] += int(units)
        assert int(units) == units

    def read_units(self, table: OwnTable, units: float) -> None:
        self.read[table.value] = self.read.get(table.value, 0) + units


class Service:
    """DynamoDB, which replies what the test says. `units` is what was counted of its calls."""

    def __init__(self, *, direct: bool) -> None:
        self.client = make_client("dynamodb")
        for operation in UNASKED:
            keep_bodies(self.client, operation)
        answer_calls(self.client, self._answer, direct=direct)
        self.units = Units()
        UnitCounter(NAMES, self.units).watch(self.client)
        self._reply: tuple[int, bytes] = (200, b"{}")
        self.sent: dict[str, Any] = {}

    def call(self, method: str, request: dict[str, Any], reply: Any, status: int = 200) -> Units:
        """Calls once more. What all calls cost so far."""
        self._reply = status, reply if isinstance(reply, bytes) else json.dumps(reply).encode()
        try:
            getattr(self.client, method)(**request)
        except ClientError:
            assert status != 200
        return self.units

    def refuse(self, method: str, request: dict[str, Any], code: str, **more: Any) -> Units:
        """The same with a reply that is an error."""
        return self.call(method, request, {"__type": f"com.amazonaws.dynamodb.v20120810#{code}", **more}, 400)

    def _answer(self, request: Request) -> tuple[int, bytes]:
        self.sent = json.loads(request.body)
        return self._reply


@pytest.fixture(scope="module", params=["directly", "by botocore"])
def made(request: pytest.FixtureRequest) -> Iterator[Service]:
    service = Service(direct=request.param == "directly")
    yield service
    service.client.close()


@pytest.fixture
def service(made: Service) -> Service:
    """Nothing is counted yet."""
    made.units.written.clear()
    made.units.read.clear()
    return made


def consumed(table: str, units: float, **more: float) -> dict[str, Any]:
    return {"TableName": table, "CapacityUnits": units, **more}


def actions(*tables: str) -> dict[str, Any]:
    """A transaction."""
    updates = [{"Update": {**UPDATE, "TableName": table}} for table in tables]
    return {"TransactItems": updates, "ClientRequestToken": "t"}


def reasons(*codes: str, **more: Any) -> list[dict[str, Any]]:
    return [{"Code": code, **more} for code in codes]


def test_a_write_costs_what_its_reply_says(service: Service) -> None:
    service.call("update_item", UPDATE, {"ConsumedCapacity": consumed("board", 1.0)})
    assert service.sent["ReturnConsumedCapacity"] == "TOTAL"
    service.call("update_item", {**UPDATE, "TableName": "leases"}, {"ConsumedCapacity": consumed("leases", 4.0)})
    assert service.units.written == {"leaderboard": 1, "lease": 4}
    assert service.units.read == {}


def test_a_transaction_costs_what_its_reply_says_by_table(service: Service) -> None:
    reply = {"ConsumedCapacity": [consumed("leases", 2.0), consumed("quarantine", 9.0, WriteCapacityUnits=9.0)]}
    service.call("transact_write_items", actions("leases", "quarantine", "quarantine"), reply)
    assert service.sent["ReturnConsumedCapacity"] == "TOTAL", "also where its body is written here"
    assert service.units.written == {"lease": 2, "quarantine": 9}


def test_a_transaction_costs_two_units_per_action_at_least(service: Service) -> None:
    """DynamoDB Local says what one action of each table cost."""
    reply = {"ConsumedCapacity": [consumed("leases", 2.0), consumed("board", 2.0)]}
    service.call("transact_write_items", actions("leases", "board", "board"), reply)
    service.call("transact_write_items", actions("quarantine"), {})
    assert service.units.written == {"lease": 2, "leaderboard": 4, "quarantine": 2}


def test_a_transaction_that_was_done_before_costs_reads(service: Service) -> None:
    reply = {"ConsumedCapacity": [consumed("board", 2.0, ReadCapacityUnits=2.0)]}
    assert service.call("transact_write_items", actions("board"), reply).read == {"leaderboard": 2.0}
    assert service.units.written == {}


def test_a_refused_update_costs_what_it_would_have(service: Service) -> None:
    code = "ConditionalCheckFailedException"
    assert service.refuse("update_item", UPDATE, code).written == {"leaderboard": 1}
    assert service.refuse("update_item", UPDATE, code, Item={**KEY, "much": LARGE}).written == {"leaderboard": 4}
    large = {**UPDATE, "ExpressionAttributeValues": {":n": LARGE}}
    assert service.refuse("update_item", large, code, Item=KEY).written == {"leaderboard": 7}


def test_a_cancelled_transaction_costs_two_units_per_action(service: Service) -> None:
    part = {"Put": {"TableName": "quarantine", "Item": {"shardId": {"S": "s"}, "record": {"B": b"x" * 1_500}}}}
    request = actions("leases", "board", "board")
    request["TransactItems"].append(part)
    failed = reasons("ConditionalCheckFailed", Item={**KEY, "much": LARGE})
    service.refuse(
        "transact_write_items",
        request,
        "TransactionCanceledException",
        CancellationReasons=[*reasons("None"), *failed, *reasons("None", "None")],
    )
    assert service.units.written == {"lease": 2, "leaderboard": 6 + 2, "quarantine": 4}


@pytest.mark.parametrize(
    ("codes", "written"),
    [
        (("None", "ConditionalCheckFailed"), 4),
        (("TransactionConflict", "None"), 4),
        (("None", "ThrottlingError"), 0),
        (("ValidationError", "None"), 0),
        (("ProvisionedThroughputExceeded", "None"), 0),
    ],
)
def test_what_is_billed_of_a_cancelled_transaction(service: Service, codes: tuple[str, ...], written: int) -> None:
    request, code = actions("board", "board"), "TransactionCanceledException"
    service.refuse("transact_write_items", request, code, CancellationReasons=reasons(*codes))
    assert service.units.written["leaderboard"] == written


@pytest.mark.parametrize(
    ("errors", "written"),
    [
        ((None, None, None), 3),
        ((None, "ConditionalCheckFailed", "DuplicateItem"), 3),
        (("TransactionConflict", "ConditionalCheckFailed", None), 2),
        ((None, "ProvisionedThroughputExceeded", "ThrottlingError"), 1),
        (("ValidationError", "AccessDenied", "InternalServerError"), 0),
    ],
)
def test_each_statement_is_billed_alone(service: Service, errors: tuple[str | None, ...], written: int) -> None:
    answers = [{"TableName": "board"} | ({"Error": {"Code": code}} if code else {}) for code in errors]
    service.call("batch_execute_statement", STATEMENTS, {"Responses": answers})
    assert service.units.written["leaderboard"] == written
    assert "ReturnConsumedCapacity" not in service.sent


def test_rows_cost_half_a_unit_each_also_where_there_is_none(service: Service) -> None:
    keys = [{"playerId": {"S": name}} for name in ("foo", "bar", "baz")]
    request: dict[str, Any] = {"RequestItems": {"board": {"Keys": keys}}}
    assert service.call("batch_get_item", request, {"Responses": {"board": [KEY]}}).read == {"leaderboard": 1.5}
    left = {"Responses": {"board": []}, "UnprocessedKeys": {"board": {"Keys": keys[1:]}}}
    assert service.call("batch_get_item", request, left).read == {"leaderboard": 2.0}
    request["RequestItems"]["board"]["ConsistentRead"] = True
    assert service.call("batch_get_item", request, {"Responses": {}}).read == {"leaderboard": 5.0}


def test_index_rows_of_corrected_items_cost_a_unit_each(service: Service) -> None:
    keys = [{"shardId": {"S": f"#item#{name}"}, "sequenceNumber": {"S": "item"}} for name in ("foo", "bar")]
    request: dict[str, Any] = {"RequestItems": {"quarantine": {"Keys": keys, "ConsistentRead": True}}}
    assert service.call("batch_get_item", request, {"Responses": {}}).read == {"quarantine": 2.0}


def test_every_action_of_a_transaction_counts(service: Service) -> None:
    """An index row is put, or deleted."""
    key = {"shardId": {"S": "#item#foo"}, "sequenceNumber": {"S": "item"}}
    condition = {"ConditionExpression": "recordShardId = :s", "ExpressionAttributeValues": {":s": {"S": "shard-0"}}}
    request: dict[str, Any] = {
        "TransactItems": [
            {"Put": {"TableName": "quarantine", "Item": {**key, "counted": LARGE}, **condition}},
            {"Delete": {"TableName": "quarantine", "Key": key, **condition}},
            {"Update": {**UPDATE, "TableName": "leases"}},
        ],
        "ClientRequestToken": "t",
    }
    assert service.call("transact_write_items", request, {}).written == {"quarantine": 4, "lease": 2}
    service.units.written.clear()
    refused = reasons("None", "ConditionalCheckFailed", "None")
    service.refuse("transact_write_items", request, "TransactionCanceledException", CancellationReasons=refused)
    assert service.units.written == {"quarantine": 2 * 3 + 2, "lease": 2}


def test_a_read_that_finds_nothing_costs_the_least(service: Service) -> None:
    """DynamoDB Local says that it costs nothing."""
    service.call("query", {"TableName": "quarantine"}, {"ConsumedCapacity": consumed("quarantine", 0.0)})
    service.call("scan", {"TableName": "leases", "ConsistentRead": True}, {"ConsumedCapacity": consumed("leases", 0.0)})
    assert service.units.read == {"quarantine": 0.5, "lease": 1.0}


def test_other_reads_cost_what_their_replies_say(service: Service) -> None:
    get = {"TableName": "leases", "Key": {"leaseKey": {"S": "members"}}}
    assert service.call("get_item", get, {"ConsumedCapacity": consumed("leases", 1.0)}).read == {"lease": 1.0}
    assert service.sent["ReturnConsumedCapacity"] == "TOTAL"
    for method in ("scan", "query"):
        service.call(method, {"TableName": "quarantine"}, {"ConsumedCapacity": consumed("quarantine", 2.5)})
    gets = {"TransactItems": [{"Get": get}, {"Get": {**get, "TableName": "quarantine"}}]}
    service.call(
        "transact_get_items", gets, {"ConsumedCapacity": [consumed("leases", 2.0), consumed("quarantine", 2.0)]}
    )
    assert service.units.read == {"lease": 3.0, "quarantine": 7.0}


@pytest.mark.parametrize(
    ("method", "request_"),
    [
        ("update_item", UPDATE),
        ("transact_write_items", actions("board")),
        ("batch_execute_statement", STATEMENTS),
        ("batch_get_item", {"RequestItems": {"board": {"Keys": [KEY]}}}),
        ("scan", {"TableName": "board"}),
    ],
)
@pytest.mark.parametrize("code", ["ProvisionedThroughputExceededException", "ValidationException", "AccessDenied"])
def test_a_call_that_failed_costs_nothing(service: Service, method: str, request_: dict[str, Any], code: str) -> None:
    assert service.refuse(method, request_, code).written == {}
    assert service.units.read == {}


@pytest.mark.parametrize(
    ("method", "request_", "reply"),
    [
        ("update_item", UPDATE, {}),
        ("update_item", UPDATE, {"ConsumedCapacity": consumed("another", 1.0)}),
        ("update_item", UPDATE, {"ConsumedCapacity": {}}),
        ("batch_execute_statement", STATEMENTS, b'{"Error": 1}'),
        ("batch_execute_statement", STATEMENTS, b'{"Responses": ["Error"], "Error'),
    ],
)
def test_a_reply_of_another_shape_fails_no_call(
    service: Service, method: str, request_: dict[str, Any], reply: Any
) -> None:
    assert service.call(method, request_, reply).written == {}


def test_every_operation_of_the_worker_is_counted() -> None:
    """Of the modules that the worker calls DynamoDB with: each method of the client."""
    called = set()
    for name in ("board", "commits", "leases", "statements", "transact"):
        for node in ast.walk(ast.parse((AWS / f"{name}.py").read_text())):
            match node:
                case ast.Attribute(ast.Name("client") | ast.Attribute(attr="_client"), method):
                    called.add("".join(word.capitalize() for word in method.split("_")))
    free = {"DescribeTable", "GetPaginator"}
    counted = set(UnitCounter(NAMES, Units()).operations)
    assert called - free <= counted
    assert counted - called == {"Query", "Scan"} - called, "read by a paginator"
