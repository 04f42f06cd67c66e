"""Items that a transaction locks, the log of transactions, and the counts."""

import json
import secrets
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.streams_server import Remote, Transaction, assert_one_committer, dump, load
from tests.streams_server.client import refused, side_by_side

HOLD_SECONDS = 0.6


def update(table: str, key: str) -> dict[str, Any]:
    return {
        "Update": {
            "TableName": table,
            "Key": {"leaseKey": {"S": key}},
            "UpdateExpression": "ADD n :one",
            "ExpressionAttributeValues": {":one": {"N": "1"}},
        }
    }


def put(table: str, key: str) -> dict[str, Any]:
    return {"Put": {"TableName": table, "Item": {"leaseKey": {"S": key}}}}


def writer(tables: Any, *actions: dict[str, Any], token: str | None = None) -> Callable[[], object]:
    more = {"ClientRequestToken": token or secrets.token_hex(8)}
    return lambda: tables.transact_write_items(TransactItems=list(actions), **more)


def requested(remote: Remote) -> int:
    """How many transactions have arrived."""
    return remote.counts().calls.get("TransactWriteItems", 0)


def code(result: object) -> str | None:
    return str(result.response["Error"]["Code"]) if isinstance(result, ClientError) else None


def reasons(result: object) -> list[str]:
    assert isinstance(result, ClientError), result
    return [reason["Code"] for reason in result.response["CancellationReasons"]]


def test_overlapping_transactions_are_cancelled_by_index(remote: Remote, tables: Any, table: str) -> None:
    remote.set_options(hold_seconds=HOLD_SECONDS)
    won, lost, apart = side_by_side(
        writer(tables, update(table, "a"), update(table, "b")),
        writer(tables, put(table, "x"), put(table, "b"), update(table, "y")),
        writer(tables, update(table, "z")),
        begun=lambda: requested(remote),
    )
    assert code(won) is None
    assert code(apart) is None
    assert reasons(lost) == ["None", "TransactionConflict", "None"]
    assert isinstance(lost, ClientError)
    assert lost.response["CancellationReasons"][1]["Message"] == "Transaction is ongoing for the item"
    rows = {row["leaseKey"]["S"] for row in tables.scan(TableName=table)["Items"]}
    assert rows == {"a", "b", "z"}
    assert remote.counts().conflicts == 1
    writer(tables, update(table, "b"))()  # the locks have ended


def test_single_writes_and_transactional_reads_conflict_too(remote: Remote, tables: Any, table: str) -> None:
    remote.set_options(hold_seconds=HOLD_SECONDS)
    single = update(table, "a")["Update"]
    get = {"Get": {"TableName": table, "Key": {"leaseKey": {"S": "a"}}}}
    _, written, elsewhere, read = side_by_side(
        writer(tables, update(table, "a")),
        lambda: tables.update_item(**single),
        lambda: tables.put_item(TableName=table, Item={"leaseKey": {"S": "b"}}),
        lambda: tables.transact_get_items(TransactItems=[get]),
        begun=lambda: requested(remote),
    )
    assert code(written) == "TransactionConflictException"
    assert code(elsewhere) is None
    assert reasons(read) == ["TransactionConflict"]


def test_a_statement_for_a_locked_row_conflicts_alone(remote: Remote, tables: Any, board: str) -> None:
    remote.set_options(hold_seconds=HOLD_SECONDS)
    update = {
        "TableName": board,
        "Key": {"playerId": {"S": "a"}},
        "UpdateExpression": "ADD n :one",
        "ExpressionAttributeValues": {":one": {"N": "1"}},
    }
    insert = f"INSERT INTO \"{board}\" VALUE {{'playerId': ?}}"
    statements = [{"Statement": insert, "Parameters": [{"S": player}]} for player in "xay"]
    locked, written = side_by_side(
        writer(tables, {"Update": update}),
        lambda: tables.batch_execute_statement(Statements=statements),
        begun=lambda: requested(remote),
    )
    assert code(locked) is None
    assert isinstance(written, dict)
    codes = [answer.get("Error", {}).get("Code") for answer in written["Responses"]]
    assert codes == [None, "TransactionConflict", None]
    rows = {row["playerId"]["S"]: row.get("n") for row in tables.scan(TableName=board)["Items"]}
    assert rows == {"a": {"N": "1"}, "x": None, "y": None}
    assert remote.counts().writes[board] == {"TransactWriteItems": 1, "BatchExecuteStatement": 3}


def test_the_same_request_twice_side_by_side(remote: Remote, tables: Any, table: str) -> None:
    remote.set_options(hold_seconds=HOLD_SECONDS)
    same = writer(tables, update(table, "a"), token="same")
    first, second = side_by_side(same, same, begun=lambda: requested(remote))
    assert code(first) is None
    assert code(second) == "TransactionInProgressException"


def test_locks_last_for_a_while_after_the_reply(remote: Remote, tables: Any, table: str) -> None:
    remote.set_options(hold_seconds=0.0, linger_seconds=HOLD_SECONDS)
    writer(tables, update(table, "a"))()
    with refused("TransactionCanceledException"):
        writer(tables, update(table, "a"))()
    time.sleep(HOLD_SECONDS)
    writer(tables, update(table, "a"))()


def test_without_locks_nothing_conflicts(remote: Remote, tables: Any, table: str) -> None:
    writes = [writer(tables, update(table, "a")) for _ in range(5)]
    assert [code(result) for result in side_by_side(*writes, begun=lambda: requested(remote))] == [None] * 5


def commit(table: str, *players: str, previous: str = "TRIM_HORIZON", last: str = "12") -> list[dict[str, Any]]:
    """A transaction as the product writes a unit."""
    values = {":me": "w1/a", ":previous": previous, ":last": last}
    advance = {
        "TableName": table,
        "Key": {"leaseKey": {"S": "shard#label#shard-0"}},
        "UpdateExpression": "SET checkpoint = :last, leaseOwner = :me, leaseEpoch = :epoch",
        "ConditionExpression": "attribute_not_exists(checkpoint) OR checkpoint = :previous",
        "ExpressionAttributeValues": {name: {"S": value} for name, value in values.items()} | {":epoch": {"N": "7"}},
    }
    return [{"Update": advance}, *(update(table, player) for player in players)]


def test_the_log_of_transactions(remote: Remote, tables: Any, table: str, tmp_path: Path) -> None:
    writer(tables, *commit(table, "p1", "p2"), token="one")()
    writer(tables, *commit(table, "p1", "p2"), token="one")()
    writer(tables, *commit(table, "p1", previous="12", last="100"))()
    with refused("TransactionCanceledException"):
        writer(tables, *commit(table, previous="12", last="101"))()
    writer(tables, put(table, "other"))()
    first, again, second, other = remote.transactions()
    assert first._replace(at=0) == Transaction(
        0, "shard#label#shard-0", "w1/a", 7, "TRIM_HORIZON", "12", players=0, actions=3, repeated=False
    )
    assert abs(first.at - time.time()) < 10
    assert (again.repeated, second.repeated) == (True, False)
    assert (other.lease, other.actions) == (None, 1)
    assert remote.transactions(since=3) == [other]
    assert assert_one_committer(remote.transactions()) == 2
    dump(remote.transactions(), tmp_path / "log")
    assert load(tmp_path / "log") == remote.transactions()
    assert json.loads((tmp_path / "log").read_text().splitlines()[0])["epoch"] == 7
    remote.set_options(hide_tokens=True)
    with refused("TransactionCanceledException"):
        writer(tables, *commit(table, "p1", "p2"), token="one")()


def moved(epoch: int, owner: str, previous: str, checkpoint: str, lease: str = "s") -> Transaction:
    return Transaction(0.0, lease, owner, epoch, previous, checkpoint, 1, 2, repeated=False)


def test_one_committer() -> None:
    good = [
        moved(1, "w1", "TRIM_HORIZON", "999"),
        moved(1, "w1", "999", "1000"),
        moved(1, "w9", "TRIM_HORIZON", "5", lease="t"),
        moved(2, "w2", "1000", "1001"),
        moved(2, "w2", "1001", "SHARD_END"),
    ]
    assert assert_one_committer(good) == 5
    for bad, why in (
        (moved(1, "w2", "1000", "1001"), "two committers"),
        (moved(0, "w1", "1000", "1001"), "older epoch"),
        (moved(2, "w2", "999", "1001"), "does not begin"),
        (moved(2, "w2", "1000", "1000"), "did not move"),
    ):
        with pytest.raises(AssertionError, match=why):
            assert_one_committer([*good[:2], bad])


def test_calls_writes_and_read_units_are_counted(remote: Remote, tables: Any, table: str) -> None:
    remote.clear_counts()
    writer(tables, update(table, "a"), put(table, "b"))()
    tables.update_item(**update(table, "c")["Update"])
    tables.batch_write_item(
        RequestItems={table: [{"PutRequest": {"Item": {"leaseKey": {"S": name}}}} for name in "de"]}
    )
    tables.scan(TableName=table, ConsistentRead=True)
    tables.get_item(TableName=table, Key={"leaseKey": {"S": "a"}})
    tables.put_item(TableName=table, Item={"leaseKey": {"S": "big"}, "much": {"S": "x" * 9000}})
    tables.get_item(TableName=table, Key={"leaseKey": {"S": "big"}}, ConsistentRead=True)
    tables.batch_get_item(RequestItems={table: {"Keys": [{"leaseKey": {"S": name}} for name in ("a", "missing")]}})
    counts = remote.counts()
    assert counts.calls == {
        "TransactWriteItems": 1, "UpdateItem": 1, "BatchWriteItem": 1, "Scan": 1, "GetItem": 2, "PutItem": 1,
        "BatchGetItem": 1,
    }  # fmt: skip
    assert counts.writes[table] == {"TransactWriteItems": 2, "UpdateItem": 1, "BatchWriteItem": 2, "PutItem": 1}
    assert counts.read_units[table] == 1 + 0.5 + 3 + 2 * 0.5
    assert counts.busiest["GetItem"] in (1, 2)
