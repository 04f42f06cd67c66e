"""A bare GetRecords loop with plain boto3 and nothing around it: what an idle poll is compared with.

`python -m tests.bench.bare STREAM_ARN CALLS` reads the shards of a stream in turn and prints how many microseconds of
processor time a call took.
"""

import argparse
import itertools
import os
import time

import boto3

_WARM_UP = 200


def main() -> None:
    """One thread, one client, default settings."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.bare")
    parser.add_argument("stream_arn")
    parser.add_argument("calls", type=int)
    asked = parser.parse_args()
    streams = boto3.client("dynamodbstreams", region_name=os.environ["AWS_REGION"])
    page = streams.describe_stream(StreamArn=asked.stream_arn)["StreamDescription"]["Shards"]
    iterators = [
        streams.get_shard_iterator(StreamArn=asked.stream_arn, ShardId=shard["ShardId"], ShardIteratorType="LATEST")
        for shard in page
    ]
    turn = itertools.cycle([each["ShardIterator"] for each in iterators])
    for _ in range(_WARM_UP):
        streams.get_records(ShardIterator=next(turn), Limit=1_000)
    began = time.process_time()
    for _ in range(asked.calls):
        streams.get_records(ShardIterator=next(turn), Limit=1_000)
    print((time.process_time() - began) / asked.calls * 1e6, flush=True)


if __name__ == "__main__":
    main()
