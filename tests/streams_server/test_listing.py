"""What DescribeStream and ListStreams show, and what they keep back."""

import time
from typing import Any

import pytest

from consumer.aws.streams import DynamoStreams, RateLimiter
from tests.streams_server import CommandRefused, Fault, Remote, Rule, ShardFilter, build_shards, shard_id
from tests.streams_server.client import items, iterator, listed, read, refused
from tests.support.processes import until

KEYS = ["matchId"]


@pytest.fixture
def arn(remote: Remote) -> str:
    return remote.create_stream("games", build_shards(6, {0: 1, 1: [2, 3]}), {0: items(2)}, keys=KEYS)


def ids(shards: list[dict[str, Any]]) -> list[str]:
    return [shard["ShardId"] for shard in shards]


def is_open(shards: list[dict[str, Any]], number: int) -> bool:
    (found,) = [shard for shard in shards if shard["ShardId"] == shard_id(number)]
    return "EndingSequenceNumber" not in found["SequenceNumberRange"]


def test_trees_are_data() -> None:
    assert build_shards(6, {0: 1, 1: [2, 3]}) == (
        (shard_id(0), None),
        (shard_id(4), None),
        (shard_id(5), None),
        (shard_id(1), shard_id(0)),
        (shard_id(2), shard_id(1)),
        (shard_id(3), shard_id(1)),
    )
    for wrong in ({0: 9}, {0: 2, 1: 2}, {0: 1, 1: 0}):
        with pytest.raises(ValueError, match=r"cannot be a child|descend from one another"):
            build_shards(3, wrong)


def test_the_listing_of_a_tree(streams: Any, arn: str) -> None:
    shards = listed(streams, arn)
    parents = {shard["ShardId"]: shard.get("ParentShardId") for shard in shards}
    assert parents == dict(build_shards(6, {0: 1, 1: [2, 3]}))
    assert [is_open(shards, number) for number in range(6)] == [False, False, True, True, True, True]
    (first,) = [shard["SequenceNumberRange"] for shard in shards if shard["ShardId"] == shard_id(0)]
    assert int(first["StartingSequenceNumber"]) < int(first["EndingSequenceNumber"])


def test_shards_split_and_roll_over(remote: Remote, streams: Any, arn: str) -> None:
    assert remote.split(2) == [shard_id(6), shard_id(7)]
    assert remote.split(3, 1) == [shard_id(8)]
    assert remote.split(4, 0) == []
    assert remote.add_root() == shard_id(9)
    shards = listed(streams, arn)
    assert len(shards) == 10
    assert [is_open(shards, number) for number in range(2, 10)] == [False, False, False, True, True, True, True, True]
    for change in (lambda: remote.split(2), lambda: remote.append({2: items(1)})):
        with pytest.raises(CommandRefused, match="is closed"):
            change()


@pytest.mark.parametrize("keys", [["matchId"], ["playerId", "timestamp"]])
def test_a_listing_names_the_partition_key(remote: Remote, streams: Any, keys: list[str]) -> None:
    """The worker's own port reads it from the first page; all pages say the same."""
    arn = remote.create_stream(f"keyed-by-{keys[0]}", build_shards(150), keys=keys)
    listing = DynamoStreams(streams, None, "games", rate_limiter=RateLimiter(1e9)).list_shards(arn)
    assert (len(listing.shards), listing.partition_key) == (150, keys[0])


def test_pages_of_shards(remote: Remote, streams: Any) -> None:
    arn = remote.create_stream("many", build_shards(250), keys=KEYS)
    for page_shards, calls in ((100, 3), (7, 36)):
        remote.set_options(page_shards=page_shards)
        remote.clear_counts()
        assert ids(listed(streams, arn)) == [shard_id(number) for number in range(250)]
        assert remote.counts().calls["DescribeStream"] == calls
    assert len(streams.describe_stream(StreamArn=arn, Limit=3)["StreamDescription"]["Shards"]) == 3
    with refused("ValidationException"):
        streams.describe_stream(StreamArn=arn, Limit=101)


@pytest.mark.parametrize(
    ("how", "found"), [(ShardFilter.SERVED, [2, 3]), (ShardFilter.IGNORED, [0, 1, 2, 3, 4, 5]), (ShardFilter.EMPTY, [])]
)
def test_children_of_a_shard(remote: Remote, streams: Any, arn: str, how: ShardFilter, found: list[int]) -> None:
    remote.set_options(shard_filter=how)
    assert ids(listed(streams, arn, parent=1)) == [shard_id(number) for number in found]


def test_hidden_shards_can_be_read(remote: Remote, streams: Any, arn: str) -> None:
    remote.hide([0, 2], 0.3)
    assert shard_id(0) not in ids(listed(streams, arn))
    assert ids(listed(streams, arn, parent=1)) == [shard_id(3)]
    assert read(streams, iterator(streams, arn))[0] == ["m0", "m1"]
    until(lambda: len(listed(streams, arn)) == 6, "hidden shards are listed again")


def test_children_hidden_by_chance(remote: Remote, streams: Any, arn: str) -> None:
    remote.set_faults(Rule(Fault.HIDE, calls=(2,), seconds=(0.3, 0.3)))
    first, second = remote.split(2)
    assert {first, second} & set(ids(listed(streams, arn))) == {first}
    until(lambda: second in ids(listed(streams, arn)), "the child is listed")


def test_parents_shown_open(remote: Remote, streams: Any, arn: str) -> None:
    remote.set_faults(Rule(Fault.SHOW_OPEN, times=1))
    assert [is_open(listed(streams, arn), 1) for _ in range(2)] == [True, False]
    remote.show_open([1], 0.3)
    shards = listed(streams, arn)
    assert (is_open(shards, 0), is_open(shards, 1)) == (False, True)
    until(lambda: not is_open(listed(streams, arn), 1), "shown closed")


def test_a_stream_that_is_being_switched_on(remote: Remote, streams: Any) -> None:
    remote.set_options(enabling_seconds=0.3)
    arn = remote.create_stream("games", build_shards(2), keys=KEYS)
    description = streams.describe_stream(StreamArn=arn)["StreamDescription"]
    assert (description["StreamStatus"], description["Shards"]) == ("ENABLING", [])
    remote.set_faults(Rule(Fault.STALE, seconds=(60.0, 60.0)))
    until(lambda: len(listed(streams, arn)) == 2, "its roots, however stale the listing is")
    assert streams.describe_stream(StreamArn=arn)["StreamDescription"]["StreamStatus"] == "ENABLED"


def test_stale_listings(remote: Remote, streams: Any) -> None:
    arn = remote.create_stream("games", build_shards(2), {0: items(2)}, keys=KEYS)
    until(lambda: _age(streams, arn) > 0.4, "a stream of some age")
    remote.split(0)
    remote.remove(1)
    remote.set_faults(Rule(Fault.STALE, times=1, seconds=(0.3, 0.3)))
    stale, fresh = listed(streams, arn), listed(streams, arn)
    assert ids(stale) == [shard_id(0), shard_id(1)]
    assert is_open(stale, 0)
    assert ids(fresh) == [shard_id(0), shard_id(2), shard_id(3)]


def _age(streams: Any, arn: str) -> float:
    enabled_at = streams.describe_stream(StreamArn=arn)["StreamDescription"]["CreationRequestDateTime"]
    return float(time.time() - enabled_at.timestamp())


def test_a_second_stream_with_the_same_shard_ids(remote: Remote, streams: Any) -> None:
    first = remote.create_stream("games", build_shards(1), {0: items(2)}, keys=KEYS)
    with pytest.raises(CommandRefused, match="is on"):
        remote.create_stream("games", keys=KEYS)
    remote.disable("games")
    description = streams.describe_stream(StreamArn=first)["StreamDescription"]
    assert description["StreamStatus"] == "DISABLED"
    assert not is_open(description["Shards"], 0)
    second = remote.create_stream("games", build_shards(1), {0: items(3, 10)}, keys=KEYS)
    assert first != second
    assert read(streams, iterator(streams, first))[:2] == (["m0", "m1"], None)
    assert read(streams, iterator(streams, second))[0] == ["m10", "m11", "m12"]
    remote.create_stream("others", keys=KEYS)
    arns = [stream["StreamArn"] for stream in streams.list_streams(TableName="games")["Streams"]]
    assert arns == [first, second]
    page = streams.list_streams(Limit=1)
    assert page["LastEvaluatedStreamArn"] == first
    rest = streams.list_streams(ExclusiveStartStreamArn=first)["Streams"]
    assert [stream["StreamArn"] for stream in rest] == remote.streams()[1:]
    assert remote.append({0: items(1)}, stream=second).keys() == {shard_id(0)}
    assert [shard.records for shard in remote.shards(first)] == [2]
