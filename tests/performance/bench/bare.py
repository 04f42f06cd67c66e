"""A bare GetRecords loop with plain boto3, with which an idle poll is compared.

`python -m tests.performance.bench.bare STREAM_ARN AFTER SECONDS` waits, then reads the stream's first shard in short
bursts, and prints the microseconds of processor time per call.
"""

import argparse
import os
import time

import boto3

_BURST = 50
_PAUSE_SECONDS = 0.4
"""Between bursts, so that what slows the worker slows this loop too, and the loop does not slow the worker."""


def main() -> None:
    """One thread, one client, default settings."""
    parser = argparse.ArgumentParser(prog="python -m tests.performance.bench.bare")
    parser.add_argument("stream_arn")
    parser.add_argument("after", type=float)
    parser.add_argument("seconds", type=float)
    given = parser.parse_args()
    streams = boto3.client("dynamodbstreams", region_name=os.environ["AWS_REGION"])
    shard = streams.describe_stream(StreamArn=given.stream_arn, Limit=1)["StreamDescription"]["Shards"][0]["ShardId"]
    where = {"StreamArn": given.stream_arn, "ShardId": shard, "ShardIteratorType": "LATEST"}
    time.sleep(given.after)
    iterator = streams.get_shard_iterator(**where)["ShardIterator"]
    until, calls, took = time.monotonic() + given.seconds, -_BURST, 0.0
    while time.monotonic() < until:
        began = time.process_time()
        for _ in range(_BURST):
            streams.get_records(ShardIterator=iterator, Limit=1_000)
        took += time.process_time() - began if calls >= 0 else 0.0  # the first burst is a warm-up
        calls += _BURST
        time.sleep(_PAUSE_SECONDS)
    print(took / calls * 1e6, flush=True)


if __name__ == "__main__":
    main()
