"""Faults on the way to the tables and back."""

import time
from collections.abc import Callable
from contextlib import closing
from typing import Any
from zlib import crc32

import pytest
from botocore.exceptions import ClientError, ConnectionClosedError, HTTPClientError
from botocore.exceptions import ConnectionError as BotoConnectionError

from tests.streams_server import CommandRefused, Fault, Remote, Rule, StreamsThread, all_faults, build_shards
from tests.streams_server.client import items, iterator, refused
from tests.support.engines import TableEngine
from tests.support.processes import until

THROTTLES = {"ThrottlingException", "ProvisionedThroughputExceededException", "RequestLimitExceeded"}
CUTS = (ConnectionClosedError, BotoConnectionError, HTTPClientError)

Add = Callable[[], object]


@pytest.fixture
def add(tables: Any, table: str) -> Add:
    """Adds one to a row."""
    return lambda: tables.update_item(
        TableName=table,
        Key={"leaseKey": {"S": "row"}},
        UpdateExpression="ADD n :one",
        ExpressionAttributeValues={":one": {"N": "1"}},
    )


@pytest.fixture
def total(tables: Any, table: str) -> Callable[[], int]:
    def read() -> int:
        row = tables.get_item(TableName=table, Key={"leaseKey": {"S": "row"}}, ConsistentRead=True)
        return int(row.get("Item", {"n": {"N": "0"}})["n"]["N"])

    return read


UPDATES = ("UpdateItem",)


def test_throttling(remote: Remote, streams: Any, tables: Any, table: str, add: Add) -> None:
    arn = remote.create_stream("games", keys=["matchId"])
    remote.set_faults(Rule(Fault.THROTTLE))
    with refused("LimitExceededException"):
        iterator(streams, arn)
    with refused("LimitExceededException"):
        streams.describe_stream(StreamArn=arn)
    codes: set[str] = set()
    for _ in range(40):
        with pytest.raises(ClientError) as raised:
            add()
        codes.add(raised.value.response["Error"]["Code"])
    assert codes == THROTTLES
    reasons: list[str] = []
    for _ in range(20):
        with pytest.raises(ClientError) as raised:
            tables.transact_write_items(TransactItems=[{"Put": {"TableName": table, "Item": {"leaseKey": {"S": "a"}}}}])
        reasons += [reason["Code"] for reason in raised.value.response.get("CancellationReasons", ())]
    assert set(reasons) == {"ThrottlingError"}
    remote.set_faults()
    iterator(streams, arn)
    add()


@pytest.mark.parametrize(
    ("fault", "done"), [(Fault.FAIL, 0), (Fault.FAIL_AFTER, 1), (Fault.CUT, 0), (Fault.LOSE_REPLY, 1)]
)
def test_failures_before_and_after_the_effect(
    remote: Remote, add: Add, total: Callable[[], int], fault: Fault, done: int
) -> None:
    remote.set_faults(Rule(fault, times=1, operations=UPDATES))
    if fault in (Fault.FAIL, Fault.FAIL_AFTER):
        with refused("InternalServerError") as answer:
            add()
        assert answer["ResponseMetadata"]["HTTPStatusCode"] == 500
    else:
        with pytest.raises(CUTS):
            add()
    assert total() == done
    add()
    assert total() == done + 1
    assert remote.counts().faults == {f"UpdateItem/{fault}": 1}


def test_a_damaged_reply_has_the_checksum_of_the_right_one(remote: Remote, add: Add, tables: Any, table: str) -> None:
    add()
    seen: list[tuple[bytes, str]] = []

    def see(response_dict: dict[str, Any], **_: object) -> None:
        seen.append((response_dict["body"], response_dict["headers"]["x-amz-crc32"]))

    tables.meta.events.register("before-parse.dynamodb", see)
    for _ in range(2):
        tables.get_item(TableName=table, Key={"leaseKey": {"S": "row"}})
        remote.set_faults(Rule(Fault.CORRUPT))
    tables.meta.events.unregister("before-parse.dynamodb", see)
    remote.set_faults()
    (right, checksum), (wrong, same) = seen
    assert checksum == same == str(crc32(right))
    assert wrong == right.replace(b'"1"', b'"8"') != right


@pytest.mark.parametrize("fault", [Fault.CUT, Fault.FAIL, Fault.LOSE_REPLY, Fault.FAIL_AFTER])
def test_calls_to_streams_fail_alike(remote: Remote, streams: Any, fault: Fault) -> None:
    arn = remote.create_stream("games", keys=["matchId"])
    remote.set_faults(Rule(fault, times=1))
    with pytest.raises((*CUTS, ClientError)):
        iterator(streams, arn)
    iterator(streams, arn)


def test_a_late_request_and_a_late_duplicate(remote: Remote, add: Add, total: Callable[[], int]) -> None:
    remote.set_faults(Rule(Fault.LATE, times=1, seconds=(0.2, 0.2)))
    with pytest.raises(CUTS):
        add()
    assert total() == 0
    until(lambda: total() == 1, "the late request")
    remote.set_faults(Rule(Fault.DUPLICATE, times=1, seconds=(0.2, 0.2)))
    add()
    assert total() == 2
    until(lambda: total() == 3, "the duplicate")


def test_slow_replies(remote: Remote, add: Add) -> None:
    remote.set_faults(Rule(Fault.SLOW, seconds=(0.3, 0.3)))
    began = time.monotonic()
    add()
    assert time.monotonic() - began >= 0.3


def test_conflicts_by_chance(remote: Remote, tables: Any, table: str, add: Add, total: Callable[[], int]) -> None:
    remote.set_faults(Rule(Fault.CONFLICT))
    with refused("TransactionConflictException"):
        add()
    puts = [{"Put": {"TableName": table, "Item": {"leaseKey": {"S": name}}}} for name in "ab"]
    with refused("TransactionCanceledException") as answer:
        tables.transact_write_items(TransactItems=puts)
    codes = [reason["Code"] for reason in answer["CancellationReasons"]]
    assert sorted(codes) == ["None", "TransactionConflict"]
    assert total() == 0


def write_rows(tables: Any, board: str, number: int = 12) -> list[str | None]:
    """Makes rows, or adds one to those that are there; the code of each."""
    rows = tables.scan(TableName=board, ConsistentRead=True)["Items"]
    there = {row["playerId"]["S"] for row in rows}
    players = [f"player-{position:02}" for position in range(number)]
    new, old = (
        f"INSERT INTO \"{board}\" VALUE {{'playerId': ?, 'n': ?}}",
        f'UPDATE "{board}" SET n = n + ? WHERE playerId = ?',
    )
    one = {"N": "1"}
    statements = [
        {"Statement": old, "Parameters": [one, {"S": player}]}
        if player in there
        else {"Statement": new, "Parameters": [{"S": player}, one]}
        for player in players
    ]
    return [
        answer.get("Error", {}).get("Code")
        for answer in tables.batch_execute_statement(Statements=statements)["Responses"]
    ]


def rows_of(tables: Any, board: str) -> dict[str, int]:
    rows = tables.scan(TableName=board, ConsistentRead=True)["Items"]
    return {row["playerId"]["S"]: int(row["n"]["N"]) for row in rows}


@pytest.mark.parametrize(
    ("fault", "codes"),
    [
        (Fault.THROTTLE, {"ThrottlingError", "ProvisionedThroughputExceeded", "RequestLimitExceeded"}),
        (Fault.CONFLICT, {"TransactionConflict"}),
        (Fault.FAIL, {"InternalServerError"}),
        (Fault.FAIL_AFTER, {"InternalServerError"}),
    ],
)
def test_some_statements_of_a_call_fail(remote: Remote, tables: Any, board: str, fault: Fault, codes: set[str]) -> None:
    """What has failed has no effect, but for FAIL_AFTER. Other calls fail as a whole."""
    assert write_rows(tables, board) == [None] * 12
    expected = rows_of(tables, board)
    remote.set_faults(Rule(fault, operations=("BatchExecuteStatement",)))
    seen, whole = set(), 0
    for _ in range(30):
        try:
            answers = write_rows(tables, board)
        except ClientError:
            whole += 1
            answers = ["whole"] * 12
        seen |= {answer for answer in answers if answer not in (None, "whole")}
        for player, answer in zip(expected, answers, strict=True):
            expected[player] += answer is None or fault is Fault.FAIL_AFTER
        assert rows_of(tables, board) == expected
    remote.set_faults()
    assert seen == codes
    assert (whole == 0) is (fault is Fault.CONFLICT)


def test_when_a_rule_applies(remote: Remote, table: str, add: Add) -> None:
    def refusals(rule: Rule, calls: int = 10) -> list[int]:
        remote.set_faults(rule)
        refused_at = []
        for call in range(1, calls + 1):
            try:
                add()
            except ClientError:
                refused_at.append(call)
        return refused_at

    assert refusals(Rule(Fault.FAIL, calls=(2, 5))) == [2, 5]
    assert refusals(Rule(Fault.FAIL, times=3)) == [1, 2, 3]
    assert refusals(Rule(Fault.FAIL, tables=("another",))) == []
    assert refusals(Rule(Fault.FAIL, tables=(table,), times=1)) == [1]
    assert 20 < len(refusals(Rule(Fault.FAIL, rate=0.5), 100)) < 80
    with pytest.raises(CommandRefused, match="cannot affect"):
        remote.set_faults(Rule(Fault.EXPIRE, operations=UPDATES))


def test_all_faults_at_once_and_then_none(remote: Remote, streams: Any, add: Add, total: Callable[[], int]) -> None:
    arn = remote.create_stream("games", build_shards(3, {0: [1, 2]}), {1: items(50)}, keys=["matchId"])
    rules = all_faults(0.5, without=(Fault.TRIM, Fault.SLOW))
    remote.set_faults(*rules)
    for _ in range(60):
        for ask in (add, total, lambda: streams.describe_stream(StreamArn=arn), lambda: iterator(streams, arn)):
            try:
                ask()
            except (*CUTS, ClientError):
                continue
    drawn = {name.partition("/")[2] for name in remote.counts().faults}
    assert drawn >= {"throttle", "fail", "cut", "lose_reply", "stale", "show_open"}
    remote.set_faults()
    for _ in range(20):
        add()
        iterator(streams, arn)


def test_calls_without_faults_are_not_counted(server: StreamsThread, remote: Remote, tables: Any, table: str) -> None:
    remote.clear_counts()
    remote.set_faults(*all_faults(1.0))
    with (
        closing(TableEngine("ministack", server.faultless_url).client("dynamodb")) as rows,
        closing(TableEngine("ministack", server.faultless_url).client("dynamodbstreams")) as streams,
    ):
        arn = remote.create_stream("games", keys=["matchId"])
        rows.put_item(TableName=table, Item={"leaseKey": {"S": "a"}})
        assert rows.get_item(TableName=table, Key={"leaseKey": {"S": "a"}})["Item"]
        iterator(streams, arn)
    counts = remote.counts()
    assert (counts.calls, counts.writes, counts.read_units, counts.faults) == ({}, {}, {}, {})
    remote.set_faults()
    assert tables.get_item(TableName=table, Key={"leaseKey": {"S": "a"}})["Item"]


def test_a_closed_connection_to_the_engine_is_replaced(total: Callable[[], int]) -> None:
    for _ in range(1_100):  # ministack closes a connection after a thousand calls
        assert total() == 0
