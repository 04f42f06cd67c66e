"""Puts games at a rate, in a process of its own: neither the client nor the proxy slows it.

`python -m tests.performance.bench.producer TABLE FILE RATE`: the file has one item per line. It prints, for each call
in the order of the items, when it was sent (unix seconds) and how many items it put, as JSON.
"""

import argparse
import json
import os
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import boto3
from botocore.config import Config

_CALLS_PER_SECOND = 40
_THREADS = 4
_MOST_PER_CALL = 25


def main() -> None:
    """A call is sent when it is due, or when one of the threads is free."""
    parser = argparse.ArgumentParser(prog="python -m tests.performance.bench.producer")
    parser.add_argument("table")
    parser.add_argument("file", type=Path)
    parser.add_argument("rate", type=float)
    given = parser.parse_args()
    items = [json.loads(line) for line in given.file.read_text().splitlines()]
    config = Config(max_pool_connections=_THREADS)
    client = boto3.client("dynamodb", region_name=os.environ["AWS_REGION"], config=config)
    per_call = min(_MOST_PER_CALL, max(1, round(given.rate / _CALLS_PER_SECOND)))
    began = time.time()

    def put(first: int) -> tuple[float, int]:
        time.sleep(max(0.0, began + first / given.rate - time.time()))
        waiting, at = items[first : first + per_call], time.time()
        requests: list[dict[str, Any]] = [{"PutRequest": {"Item": item}} for item in waiting]
        while requests:
            requests = client.batch_write_item(RequestItems={given.table: requests})["UnprocessedItems"].get(
                given.table, []
            )
        return at, len(waiting)

    with ThreadPoolExecutor(_THREADS) as threads:
        print(json.dumps(list(threads.map(put, range(0, len(items), per_call)))), flush=True)


if __name__ == "__main__":
    main()
