"""The straightforward handler that the worker is compared with: plain boto3, one atomic ADD a record.

`python -m tests.bench.handler SOURCE LEADERBOARD RECORDS` says on stdout when it began and when it ended (unix
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
    """One record: its game is added to its player's row."""
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
    """The pages of all shards that there are now, in turn, from their beginning; a shard's next one after a pause."""
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
    """Until so many records are done."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.handler")
    parser.add_argument("stream_arn")
    parser.add_argument("leaderboard")
    parser.add_argument("records", type=int)
    asked = parser.parse_args()
    region = os.environ["AWS_REGION"]
    dynamodb = boto3.client("dynamodb", region_name=region)
    streams = boto3.client("dynamodbstreams", region_name=region)
    print(f"began {time.time()}", flush=True)
    done = 0
    for page in pages(streams, asked.stream_arn):
        for record in page:
            handle(dynamodb, asked.leaderboard, record)
            done += 1
            if done == asked.records:
                print(f"ended {time.time()}", flush=True)
                signal.pause()


if __name__ == "__main__":
    main()
