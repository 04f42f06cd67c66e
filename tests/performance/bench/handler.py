"""The straightforward handler with which the worker is compared: plain boto3, one atomic ADD per record.

`python -m tests.performance.bench.handler STREAM_ARN LEADERBOARD RECORDS` prints when it began and when it ended (unix
seconds), and then waits to be killed, so that its processor time can be read from outside. It keeps no checkpoint.
"""

import argparse
import os
import signal
import time
from collections.abc import Iterator, Mapping
from typing import Any

import boto3

_POLL_SECONDS = 0.2


def handle(dynamodb: Any, leaderboard: str, record: Mapping[str, Any]) -> None:
    """Adds one record's game to its player's row."""
    if record["eventName"] != "INSERT":
        return
    game = record["dynamodb"]["NewImage"]
    dynamodb.update_item(
        TableName=leaderboard,
        Key={"playerId": game["playerId"]},
        UpdateExpression="ADD gamesPlayed :one, totalScore :score SET lastPlayedDate = :date",
        ExpressionAttributeValues={
            ":one": {"N": "1"},
            ":score": game["score"],
            ":date": {"S": game["timestamp"]["S"][:10]},
        },
    )


def pages(streams: Any, stream_arn: str) -> Iterator[list[Mapping[str, Any]]]:
    """The pages of all current shards in turn, from their beginning; a pause when all are empty."""
    shards: list[str] = []
    start: dict[str, str] = {}
    while True:
        description = streams.describe_stream(StreamArn=stream_arn, **start)["StreamDescription"]
        shards += [shard["ShardId"] for shard in description["Shards"]]
        if "LastEvaluatedShardId" not in description:
            break
        start = {"ExclusiveStartShardId": description["LastEvaluatedShardId"]}
    iterators = {
        shard: streams.get_shard_iterator(StreamArn=stream_arn, ShardId=shard, ShardIteratorType="TRIM_HORIZON")[
            "ShardIterator"
        ]
        for shard in shards
    }
    while iterators:
        found = 0
        for shard, iterator in list(iterators.items()):
            page = streams.get_records(ShardIterator=iterator, Limit=1_000)
            found += len(page["Records"])
            yield page["Records"]
            iterators[shard] = page.get("NextShardIterator")
            if iterators[shard] is None:
                del iterators[shard]
        if not found:
            time.sleep(_POLL_SECONDS)


def main() -> None:
    """Handles so many records."""
    parser = argparse.ArgumentParser(prog="python -m tests.performance.bench.handler")
    parser.add_argument("stream_arn")
    parser.add_argument("leaderboard")
    parser.add_argument("records", type=int)
    given = parser.parse_args()
    region = os.environ["AWS_REGION"]
    dynamodb = boto3.client("dynamodb", region_name=region)
    streams = boto3.client("dynamodbstreams", region_name=region)
    print(f"began {time.time()}", flush=True)
    done = 0
    for page in pages(streams, given.stream_arn):
        for record in page:
            handle(dynamodb, given.leaderboard, record)
            done += 1
            if done == given.records:
                print(f"ended {time.time()}", flush=True)
                signal.pause()


if __name__ == "__main__":
    main()
