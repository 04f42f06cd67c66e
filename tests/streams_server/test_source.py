"""A source table whose writes become records of the server's own stream."""

from collections.abc import Iterator
from typing import Any

import pytest

from tests.streams_server import Remote, StreamsServer, build_shards
from tests.streams_server.client import items, refused
from tests.streams_server.shard import TIME_TO_LIVE

SPECIFICATION = {"StreamEnabled": True, "StreamViewType": "NEW_AND_OLD_IMAGES"}


@pytest.fixture
def source(tables: Any) -> Iterator[str]:
    name = "streams-server-games"
    tables.create_table(
        TableName=name,
        BillingMode="PAY_PER_REQUEST",
        KeySchema=[
            {"AttributeName": "matchId", "KeyType": "HASH"},
            {"AttributeName": "round", "KeyType": "RANGE"},
        ],
        AttributeDefinitions=[
            {"AttributeName": "matchId", "AttributeType": "S"},
            {"AttributeName": "round", "AttributeType": "N"},
        ],
        StreamSpecification=SPECIFICATION,
    )
    yield name
    tables.delete_table(TableName=name)


def game(match: str, score: str = "1", number: str = "1") -> dict[str, Any]:
    return {"matchId": {"S": match}, "round": {"N": number}, "score": {"N": score}}


def events(remote: Remote) -> list[tuple[str, str | None]]:
    """The event and the new score of each record of all shards."""
    return [
        (record["eventName"], record["dynamodb"].get("NewImage", {}).get("score", {}).get("N"))
        for records in remote.records().values()
        for record in records
    ]


def test_the_table_shows_the_servers_stream(remote: Remote, tables: Any, source: str) -> None:
    description = tables.describe_table(TableName=source)["Table"]
    assert [description["LatestStreamArn"]] == remote.streams()
    assert description["StreamSpecification"] == SPECIFICATION
    off = tables.update_table(TableName=source, StreamSpecification={"StreamEnabled": False})["TableDescription"]
    assert "StreamSpecification" not in off
    assert off["LatestStreamArn"] == description["LatestStreamArn"]
    tables.update_table(TableName=source, StreamSpecification={"StreamEnabled": True, "StreamViewType": "NEW_IMAGE"})
    again = tables.describe_table(TableName=source)["Table"]
    assert [description["LatestStreamArn"], again["LatestStreamArn"]] == remote.streams()
    assert again["LatestStreamArn"].endswith(again["LatestStreamLabel"])
    assert again["StreamSpecification"]["StreamViewType"] == "NEW_IMAGE"


def test_writes_become_records(remote: Remote, tables: Any, source: str) -> None:
    key = {"matchId": {"S": "m1"}, "round": {"N": "1"}}
    tables.put_item(TableName=source, Item=game("m1", "1"))
    tables.put_item(TableName=source, Item=game("m1", "1"))
    tables.put_item(TableName=source, Item=game("m1", "2"))
    with refused("ConditionalCheckFailedException"):
        tables.put_item(TableName=source, Item=game("m1", "3"), ConditionExpression="attribute_not_exists(matchId)")
    tables.delete_item(TableName=source, Key=key)
    tables.delete_item(TableName=source, Key=key)
    puts = [{"PutRequest": {"Item": game("m1", number)}} for number in ("4",)]
    tables.batch_write_item(RequestItems={source: puts})
    tables.transact_write_items(TransactItems=[{"Put": {"TableName": source, "Item": game("m1", "5")}}])
    assert events(remote) == [("INSERT", "1"), ("MODIFY", "2"), ("REMOVE", None), ("INSERT", "4"), ("MODIFY", "5")]
    with refused("ValidationException"):
        tables.update_item(TableName=source, Key=key, UpdateExpression="REMOVE score")
    remote.set_options(capture=False)
    tables.put_item(TableName=source, Item=game("m2"))
    assert len(events(remote)) == 5


def test_changes_and_removals_have_both_images_and_say_who_removed(remote: Remote, tables: Any, source: str) -> None:
    key = {"matchId": {"S": "m1"}, "round": {"N": "1"}}
    for _ in range(2):
        tables.put_item(TableName=source, Item=game("m1", "1"))
        tables.put_item(TableName=source, Item=game("m1", "2"))
        tables.delete_item(TableName=source, Key=key)
        remote.set_options(deletes_expire=True)
    (records,) = remote.records().values()
    seen = [(record["eventName"], record.get("userIdentity")) for record in records]
    assert seen[:3] == [("INSERT", None), ("MODIFY", None), ("REMOVE", None)]
    assert seen[3:] == [("INSERT", None), ("MODIFY", None), ("REMOVE", TIME_TO_LIVE)]
    _, changed, removed, *_ = (record["dynamodb"] for record in records)
    assert (changed["OldImage"], changed["NewImage"]) == (game("m1", "1"), game("m1", "2"))
    assert (removed["OldImage"], "NewImage" in removed) == (game("m1", "2"), False)
    assert changed["Keys"] == removed["Keys"] == key


def test_a_key_stays_in_its_lineage(remote: Remote, tables: Any, source: str) -> None:
    for round_number in range(1, 5):
        puts = [{"PutRequest": {"Item": game(f"m{match}", number=str(round_number))}} for match in range(24)]
        tables.batch_write_item(RequestItems={source: puts})
        if round_number < 4:
            for shard in [shard.shard_id for shard in remote.shards() if not shard.closed]:
                remote.split(shard, 2)
    shards = {shard.shard_id: shard for shard in remote.shards()}
    written = remote.records()
    assert len(shards) == 1 + 2 + 4 + 8
    for shard_id, records in written.items():
        parent = shards[shard_id].parent
        before = {record["dynamodb"]["Keys"]["matchId"]["S"] for record in written[parent]} if parent else None
        keys = [record["dynamodb"]["Keys"]["matchId"]["S"] for record in records]
        assert before is None or set(keys) <= before
        assert len(keys) == len(set(keys))
    assert sum(len(records) for records in written.values()) == 4 * 24
    assert sum(shard.records > 0 for shard in shards.values()) > 10


def test_a_stream_of_a_table_that_the_engine_knows(remote: Remote, tables: Any, table: str) -> None:
    assert "LatestStreamArn" not in tables.describe_table(TableName=table)["Table"]
    arn = remote.create_stream(table, build_shards(2))
    assert tables.describe_table(TableName=table)["Table"]["LatestStreamArn"] == arn
    tables.put_item(TableName=table, Item={"leaseKey": {"S": "a"}})
    (record,) = [record for records in remote.records().values() for record in records]
    assert record["dynamodb"]["Keys"] == {"leaseKey": {"S": "a"}}


def test_the_server_as_a_process_of_its_own(ministack_url: str) -> None:
    with StreamsServer(ministack_url) as server:
        arn = server.remote.create_stream("games", build_shards(3), {2: items(5)}, keys=["matchId"])
        assert server.remote.streams() == [arn]
        assert [shard.records for shard in server.remote.shards()] == [0, 0, 5]
