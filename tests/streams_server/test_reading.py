"""Shard iterators and pages of records."""

import itertools
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

import pytest

from tests.streams_server import Fault, LastPage, Remote, Rule, build_shards, shard_id
from tests.streams_server.client import items, iterator, read, refused
from tests.support.processes import until

KEYS = ["matchId"]
TREE = build_shards(2)


@pytest.fixture
def arn(remote: Remote) -> str:
    return remote.create_stream("games", TREE, {0: items(10)}, keys=KEYS)


def numbers(remote: Remote, shard: int = 0) -> list[str]:
    return [record["dynamodb"]["SequenceNumber"] for record in remote.records()[shard_id(shard)]]


def test_records_are_as_the_service_sends_them(remote: Remote, streams: Any, arn: str) -> None:
    remote.append({1: items(1)}, event="MODIFY", created=1_800_000_000.7)
    (record,) = streams.get_records(ShardIterator=iterator(streams, arn, 1))["Records"]
    change = record["dynamodb"]
    assert (record["eventName"], record["eventSource"]) == ("MODIFY", "aws:dynamodb")
    assert change["ApproximateCreationDateTime"] == datetime.fromtimestamp(1_800_000_000, UTC), "whole seconds"
    assert change["NewImage"] == change["OldImage"] == items(1)[0]
    assert change["Keys"] == {"matchId": {"S": "m0"}}
    assert record["eventID"] not in {each["eventID"] for each in remote.records()[shard_id(0)]}


def test_sequence_numbers_grow_with_gaps_and_get_longer(remote: Remote, arn: str) -> None:
    remote.append({0: items(100)})
    grown = [int(number) for number in numbers(remote)]
    assert grown == sorted(grown)
    assert max(after - before for before, after in itertools.pairwise(grown)) > 1
    lengths = {len(str(number)) for number in grown}
    assert len(lengths) == 2
    for seed in range(40):
        remote.disable()
        arn = remote.create_stream("games", TREE, {0: items(1), 1: items(10)}, keys=KEYS, label=f"label-{seed}")
        lengths |= {len(number) for shard in (0, 1) for number in numbers(remote, shard)}
    assert min(lengths) >= 21
    assert max(lengths) <= 40
    assert len(lengths) > 10
    assert arn.endswith("/stream/label-39")


def test_positions_of_iterators(remote: Remote, streams: Any, arn: str) -> None:
    at = numbers(remote)[4]
    between = str(int(at) + 1) if str(int(at) + 1) != numbers(remote)[5] else at
    assert read(streams, iterator(streams, arn))[0] == [f"m{number}" for number in range(10)]
    assert read(streams, iterator(streams, arn, kind="AT_SEQUENCE_NUMBER", SequenceNumber=at))[0][0] == "m4"
    assert read(streams, iterator(streams, arn, kind="AFTER_SEQUENCE_NUMBER", SequenceNumber=at))[0][0] == "m5"
    assert read(streams, iterator(streams, arn, kind="AFTER_SEQUENCE_NUMBER", SequenceNumber=between))[0][0] == "m5"
    latest = iterator(streams, arn, kind="LATEST")
    remote.append({0: items(1, 10)})
    assert read(streams, latest)[0] == ["m10"]


def test_at_timestamp_and_a_service_that_refuses_it(remote: Remote, streams: Any, arn: str) -> None:
    remote.append({1: items(2)}, created=1_800_000_000)
    remote.append({1: items(2, 2)}, created=1_800_000_060)
    at = datetime.fromtimestamp(1_800_000_001, UTC)
    assert read(streams, iterator(streams, arn, 1, "AT_TIMESTAMP", Timestamp=at))[0] == ["m2", "m3"]
    remote.set_options(at_timestamp=False)
    with refused("ValidationException"):
        iterator(streams, arn, 1, "AT_TIMESTAMP", Timestamp=at)


def test_pages_are_bounded_in_records_and_bytes(remote: Remote, streams: Any, arn: str) -> None:
    remote.append({1: items(1500)})
    answer = streams.get_records(ShardIterator=iterator(streams, arn, 1))
    assert len(answer["Records"]) == 1000
    assert len(streams.get_records(ShardIterator=answer["NextShardIterator"])["Records"]) == 500
    remote.append({0: [{"matchId": {"S": "big"}, "much": {"S": "x" * 400_000}}] * 5})
    start = iterator(streams, arn, kind="AFTER_SEQUENCE_NUMBER", SequenceNumber=numbers(remote)[9])
    assert [len(streams.get_records(ShardIterator=start, Limit=n)["Records"]) for n in (1, 1000)] == [1, 2]
    with refused("ValidationException"):
        streams.get_records(ShardIterator=start, Limit=1001)


@pytest.mark.parametrize(("last_page", "pages"), [(LastPage.TOGETHER, 2), (LastPage.APART, 3)])
def test_only_a_closed_shard_ends(remote: Remote, streams: Any, arn: str, last_page: LastPage, pages: int) -> None:
    remote.set_options(page_records=5, last_page=last_page)
    found, after, _ = read(streams, iterator(streams, arn))
    assert (len(found), after is None) == (10, False)
    remote.split(0, 0)
    assert read(streams, str(after))[:2] == ([], None)
    assert read(streams, iterator(streams, arn))[1:] == (None, pages)


def test_iterators_expire(remote: Remote, streams: Any, arn: str) -> None:
    start = iterator(streams, arn)
    remote.set_faults(Rule(Fault.EXPIRE, calls=(2,)))
    streams.get_records(ShardIterator=start)
    with refused("ExpiredIteratorException"):
        streams.get_records(ShardIterator=start)
    streams.get_records(ShardIterator=start)
    remote.expire_iterators()
    with refused("ExpiredIteratorException"):
        streams.get_records(ShardIterator=start)
    remote.set_options(iterator_seconds=0.0)
    with refused("ExpiredIteratorException"):
        streams.get_records(ShardIterator=iterator(streams, arn))


def test_trimmed_records(remote: Remote, streams: Any, arn: str) -> None:
    start = iterator(streams, arn)
    known = numbers(remote)
    assert remote.trim(0, 4) == 4
    with refused("TrimmedDataAccessException"):
        streams.get_records(ShardIterator=start)
    for kind in ("AT_SEQUENCE_NUMBER", "AFTER_SEQUENCE_NUMBER"):
        with refused("TrimmedDataAccessException"):
            iterator(streams, arn, kind=kind, SequenceNumber=known[3])
    assert read(streams, iterator(streams, arn))[0][0] == "m4"
    assert read(streams, iterator(streams, arn, kind="AT_SEQUENCE_NUMBER", SequenceNumber=known[4]))[0][0] == "m4"
    assert remote.trim(0) == 6
    assert read(streams, iterator(streams, arn))[0] == []
    remote.append({1: items(9)})
    remote.set_faults(Rule(Fault.TRIM, times=1))
    with refused("TrimmedDataAccessException"):
        streams.get_records(ShardIterator=iterator(streams, arn, 1))
    lost = {shard.shard_id: shard.trimmed for shard in remote.shards()}[shard_id(1)]
    assert read(streams, iterator(streams, arn, 1))[0][0] == f"m{lost}"


def test_missing_streams_and_shards_are_refused(remote: Remote, streams: Any, arn: str) -> None:
    start = iterator(streams, arn)
    with refused("ResourceNotFoundException"):
        iterator(streams, arn, 99)
    with refused("ResourceNotFoundException"):
        iterator(streams, arn[:-1] + "x")
    with refused("ValidationException"):
        streams.get_records(ShardIterator="nonsense")
    remote.remove(0)
    with refused("ResourceNotFoundException"):
        iterator(streams, arn)
    with refused("ResourceNotFoundException"):
        streams.get_records(ShardIterator=start)
    remote.remove_stream(arn)
    with refused("ResourceNotFoundException"):
        iterator(streams, arn, 1)


def test_empty_and_short_pages(remote: Remote, streams: Any, arn: str) -> None:
    remote.set_faults(Rule(Fault.EMPTY, times=3))
    after: str | None = iterator(streams, arn)
    for _ in range(3):
        found, after, _ = read(streams, str(after))
        assert found == [], "before data"
    assert len(read(streams, str(after))[0]) == 10
    remote.set_faults(Rule(Fault.SHORT))
    found, _, pages = read(streams, iterator(streams, arn))
    assert (len(found), pages > 2) == (10, True)
    assert remote.counts().faults["GetRecords/empty"] == 3


def test_every_reply_has_a_date_and_reads_are_counted(remote: Remote, streams: Any, arn: str) -> None:
    start = iterator(streams, arn)
    replies = [streams.get_records(ShardIterator=start), streams.describe_stream(StreamArn=arn)]
    for reply in replies:
        date = parsedate_to_datetime(reply["ResponseMetadata"]["HTTPHeaders"]["date"])
        assert abs((datetime.now(UTC) - date).total_seconds()) < 5
    (delivery,) = remote.deliveries()
    assert (delivery.shard_id, delivery.records) == (shard_id(0), 10)
    assert [delivery.first, delivery.last] == [numbers(remote)[0], numbers(remote)[9]]
    state = remote.shards()[0]
    assert (state.reads, state.longest_pause) == (1, 0.0)
    streams.get_records(ShardIterator=start)
    until(lambda: remote.shards()[0].longest_pause > 0, "a pause between two reads")
    remote.clear_counts()
    assert remote.shards()[0].reads == 0
