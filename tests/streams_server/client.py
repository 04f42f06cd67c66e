"""Short forms of the calls that the tests of the server make."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.streams_server import shard_id
from tests.support.processes import until

Wire = dict[str, Any]


def items(count: int, first: int = 0) -> list[Wire]:
    """Games of a source table with the key `matchId`."""
    return [{"matchId": {"S": f"m{number}"}, "score": {"N": "1"}} for number in range(first, first + count)]


def iterator(streams: Any, arn: str, shard: int = 0, kind: str = "TRIM_HORIZON", **more: Any) -> str:
    """The iterator that GetShardIterator returns."""
    answer = streams.get_shard_iterator(StreamArn=arn, ShardId=shard_id(shard), ShardIteratorType=kind, **more)
    return str(answer["ShardIterator"])


def read(streams: Any, start: str, limit: int = 1000, pages: int = 50) -> tuple[list[str], str | None, int]:
    """Reads until a page is empty or the shard ends: the matches, the iterator after them, the number of pages."""
    found: list[str] = []
    after: str | None = start
    for page in range(1, pages + 1):
        answer = streams.get_records(ShardIterator=after, Limit=limit)
        after = answer.get("NextShardIterator")
        found += [record["dynamodb"]["Keys"]["matchId"]["S"] for record in answer["Records"]]
        if after is None or not answer["Records"]:
            return found, after, page
    raise AssertionError(f"more than {pages} pages")


def listed(streams: Any, arn: str, parent: int | None = None) -> list[Wire]:
    """All listed shards, or the children of one, over all pages."""
    more: Wire = {}
    if parent is not None:
        more["ShardFilter"] = {"Type": "CHILD_SHARDS", "ShardId": shard_id(parent)}
    found: list[Wire] = []
    while True:
        description = streams.describe_stream(StreamArn=arn, **more)["StreamDescription"]
        found += description["Shards"]
        if "LastEvaluatedShardId" not in description:
            return found
        more["ExclusiveStartShardId"] = description["LastEvaluatedShardId"]


@contextmanager
def refused(code: str) -> Iterator[dict[str, Any]]:
    """A call in this context must be refused with this code; afterwards its whole reply is in the dict."""
    answer: dict[str, Any] = {}
    with pytest.raises(ClientError) as raised:
        yield answer
    answer |= raised.value.response
    assert answer["Error"]["Code"] == code, answer


def side_by_side(*calls: Callable[[], object], begun: Callable[[], object]) -> list[object]:
    """Runs the first call, and the others once `begun` says that it is in flight: what each returned or raised."""
    results: list[object] = [None] * len(calls)

    def run(index: int) -> None:
        try:
            results[index] = calls[index]()
        except ClientError as error:
            results[index] = error

    threads = [threading.Thread(target=run, args=(index,)) for index in range(len(calls))]
    threads[0].start()
    until(begun, "the first call is in flight")
    for thread in threads[1:]:
        thread.start()
    for thread in threads:
        thread.join()
    return results
