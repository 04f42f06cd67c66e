"""The straightforward handlers with which the worker is compared: plain boto3, one atomic ADD per record.

With `--fold` it is one ADD per player and page. `python -m tests.performance.bench.handler STREAM_ARN LEADERBOARD
RECORDS` prints when it began and when it ended (unix seconds), and how often it wrote; then it waits to be killed, so
that its processor time can be read from outside. It keeps no checkpoint: both count at least once.
"""

import argparse
import os
import signal
import time
from collections.abc import Iterator, Mapping, Sequence
from decimal import Context, Decimal
from typing import Any

import boto3

_POLL_SECONDS = 0.2
_PAGE_RECORDS = 1_000


_EXACT = Context(prec=38)


def handle(dynamodb: Any, leaderboard: str, record: Mapping[str, Any]) -> None:
    """Adds one record's game to its player's row."""
    if record["eventName"] == "INSERT":
        game = record["dynamodb"]["NewImage"]
        _add(dynamodb, leaderboard, game["playerId"], "1", game["score"]["N"], game["timestamp"]["S"][:10])


def handle_folded(dynamodb: Any, leaderboard: str, records: Sequence[Mapping[str, Any]]) -> int:
    """Adds the games of a page, player by player. How many writes that took."""
    games: dict[str, list[Mapping[str, Any]]] = {}
    for record in records:
        if record["eventName"] == "INSERT":
            game = record["dynamodb"]["NewImage"]
            games.setdefault(game["playerId"]["S"], []).append(game)
    for player, played in games.items():
        total = Decimal(0)
        for game in played:
            total = _EXACT.add(total, Decimal(game["score"]["N"]))
        newest = max(game["timestamp"]["S"][:10] for game in played)
        _add(dynamodb, leaderboard, {"S": player}, str(len(played)), f"{total:f}", newest)
    return len(games)


def _add(dynamodb: Any, leaderboard: str, player: Mapping[str, str], games: str, total: str, date: str) -> None:
    dynamodb.update_item(
        TableName=leaderboard,
        Key={"playerId": player},
        UpdateExpression="ADD gamesPlayed :games, totalScore :total SET lastPlayedDate = :date",
        ExpressionAttributeValues={":games": {"N": games}, ":total": {"N": total}, ":date": {"S": date}},
    )


def pages(streams: Any, stream_arn: str) -> Iterator[list[Mapping[str, Any]]]:
    """The pages of all current shards in turn, from their beginning; one round per 0.2 s while none is full."""
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
        asked_at, fullest = time.monotonic(), 0
        for shard, iterator in list(iterators.items()):
            page = streams.get_records(ShardIterator=iterator, Limit=_PAGE_RECORDS)
            fullest = max(fullest, len(page["Records"]))
            yield page["Records"]
            iterators[shard] = page.get("NextShardIterator")
            if iterators[shard] is None:
                del iterators[shard]
        if fullest < _PAGE_RECORDS:
            time.sleep(max(0.0, asked_at + _POLL_SECONDS - time.monotonic()))


def main() -> None:
    """Handles so many records."""
    parser = argparse.ArgumentParser(prog="python -m tests.performance.bench.handler")
    parser.add_argument("stream_arn")
    parser.add_argument("leaderboard")
    parser.add_argument("records", type=int)
    parser.add_argument("--fold", action="store_true")
    given = parser.parse_args()
    region = os.environ["AWS_REGION"]
    dynamodb = boto3.client("dynamodb", region_name=region)
    streams = boto3.client("dynamodbstreams", region_name=region)
    print(f"began {time.time()}", flush=True)
    done = writes = 0
    for page in pages(streams, given.stream_arn):
        if given.fold:
            writes += handle_folded(dynamodb, given.leaderboard, page)
            done += len(page)
        for record in () if given.fold else page[: given.records - done]:
            handle(dynamodb, given.leaderboard, record)
            writes += 1
            done += 1
        if done >= given.records:
            print(f"ended {time.time()}\nwrites {writes}", flush=True)
            signal.pause()


if __name__ == "__main__":
    main()
