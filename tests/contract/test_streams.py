"""Reading a shard: every record as it was written, in order, from wherever it is opened."""

import time
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

import pytest

from consumer.aws.clients import resolution_seconds
from consumer.aws.streams import DynamoStreams
from consumer.domain.errors import CallFailed, FailureKind
from consumer.domain.leases import TRIM_HORIZON, Shard, is_sequence_number, rank
from consumer.domain.records import Game, Ignored, Outcome, Poison, Rules, decode
from consumer.domain.replies import ListedShard
from tests.contract.differences import LOSES_EMPTY_MAPS
from tests.contract.dynamo_subject import DynamoSubject
from tests.contract.subject import Subject
from tests.support.fakes import decoded

Wire = Mapping[str, Any]

MOST_READS = 100


def item(number: int, **more: Any) -> dict[str, Any]:
    """A game's item in wire form."""
    return {
        "gameId": {"S": f"game-{number:06}"},
        "playerId": {"S": f"player-{number % 7}"},
        "score": {"N": str(number)},
        "timestamp": {"S": "2026-01-31T11:59:00Z"},
        **more,
    }


def read_all(subject: Subject, iterator: str | None, records: int, limit: int = 1000) -> tuple[list[Wire], str | None]:
    """So many records from there on, and the iterator behind them."""
    found: list[Wire] = []
    for _ in range(MOST_READS):
        if iterator is None or len(found) >= records:
            break
        page = subject.streams.read(iterator, limit)
        assert len(page.records) <= limit
        assert page.size_bytes > 0
        found += page.records
        iterator = page.next_iterator
    return found, iterator


def numbers(records: list[Wire]) -> list[str]:
    """Sequence numbers."""
    return [record["dynamodb"]["SequenceNumber"] for record in records]


def images(records: list[Wire]) -> list[Mapping[str, Any]]:
    """New images."""
    return [record["dynamodb"]["NewImage"] for record in records]


def test_a_listing(subject: Subject) -> None:
    shard = subject.make_source()
    listing = subject.streams.list_shards(shard.stream_arn)
    assert listing.stream_arn == shard.stream_arn
    assert listing.enabled
    assert listing.shards == (ListedShard(shard.shard_id, None),)
    assert abs(listing.served_at - time.time()) < 5
    assert listing.served_at == int(listing.served_at), "a Date has whole seconds"


@pytest.mark.parametrize("keys", [("gameId",), ("playerId", "timestamp"), ("timestamp", "playerId")])
def test_a_listing_names_the_partition_key_of_the_table(subject: Subject, keys: tuple[str, ...]) -> None:
    """By it a worker knows whether all games of a player are in one lineage."""
    shard = subject.make_source(keys)
    assert subject.streams.list_shards(shard.stream_arn).partition_key == keys[0]


def test_from_the_horizon(subject: Subject) -> None:
    shard = subject.make_source()
    first = [item(number) for number in range(5)]
    subject.write(first)
    records, then = read_all(subject, subject.streams.open(shard, TRIM_HORIZON), 5)
    assert images(records) == first
    assert all(is_sequence_number(number) for number in numbers(records))
    assert sorted(numbers(records), key=rank) == numbers(records)
    assert len({record["eventID"] for record in records}) == 5
    assert then is not None
    assert subject.streams.read(then, 1000).records == [], "an open shard has a next page, which may be empty"
    more = [item(number) for number in range(5, 8)]
    subject.write(more)
    records, then = read_all(subject, then, 3)
    assert images(records) == more
    assert then is not None


def test_after_a_sequence_number(subject: Subject) -> None:
    shard = subject.make_source()
    subject.write([item(number) for number in range(6)])
    known, _ = read_all(subject, subject.streams.open(shard, TRIM_HORIZON), 6)
    for position in range(6):
        iterator = subject.streams.open(shard, numbers(known)[position])
        records, then = read_all(subject, iterator, 5 - position)
        assert records == known[position + 1 :]
        assert then is not None
    subject.write([item(6)])
    records, _ = read_all(subject, subject.streams.open(shard, numbers(known)[-1]), 1)
    assert images(records) == [item(6)]


def test_a_page_read_twice_is_the_same(subject: Subject) -> None:
    shard = subject.make_source()
    subject.write([item(number) for number in range(6)])
    iterator = subject.streams.open(shard, TRIM_HORIZON)
    assert subject.streams.read(iterator, 3).records == subject.streams.read(iterator, 3).records


def test_a_page_is_decoded_as_its_records_are(subject: Subject) -> None:
    shard = subject.make_source()
    subject.write([item(1), item(2, playerId={"S": "é"}), item(3, score={"S": "many"}), item(4)])
    subject.remove(item(4)["gameId"]["S"])
    iterator = subject.streams.open(shard, TRIM_HORIZON)
    raw = subject.streams.read(iterator, 1000)
    page = subject.streams.poll(iterator, 1000, Rules(), None)
    assert [type(entry) for entry in page.entries] == [Game, Game, Poison, Game, Ignored]
    assert page.entries == decoded(raw, Rules(), None).entries
    assert page.next_iterator is not None
    assert page.size_bytes > 0
    late = subject.streams.poll(iterator, 1000, Rules(), time.time() + 3_600)
    assert {entry.outcome for entry in late.entries if isinstance(entry, Ignored)} == {Outcome.BEFORE_START}
    assert len(late.entries) == 5
    assert len(subject.streams.poll(iterator, 2, Rules(), None).entries) == 2


@pytest.mark.parametrize("limit", [1000, 100])
def test_more_records_than_a_page_holds(subject: Subject, limit: int) -> None:
    shard = subject.make_source()
    written = [item(number) for number in range(1100)]
    subject.write(written)
    records, then = read_all(subject, subject.streams.open(shard, TRIM_HORIZON), 1100, limit)
    assert images(records) == written
    assert len(set(numbers(records))) == 1100
    assert then is not None


def test_more_bytes_than_a_page_holds(subject: Subject) -> None:
    shard = subject.make_source()
    written = [item(number, text={"S": str(number) * 390_000}) for number in range(5)]
    for big_item in written:
        subject.write([big_item])
    records, _ = read_all(subject, subject.streams.open(shard, TRIM_HORIZON), 5)
    assert images(records) == written


EVERYTHING = {
    "s": {"S": '日本 " \\ \u0000 \u2028 🎲'},
    "empty": {"S": ""},
    "n": {"N": "12345678901234567890123456789012345678"},
    "small": {"N": "-0.0000001"},
    "b": {"B": "AAECA/8="},
    "yes": {"BOOL": True},
    "no": {"BOOL": False},
    "null": {"NULL": True},
    "ss": {"SS": ["a", "b"]},
    "ns": {"NS": ["1", "2.5"]},
    "bs": {"BS": ["/w==", "AAE="]},
    "l": {"L": [{"S": "x"}, {"N": "1"}, {"L": []}, {"M": {}}]},
    "m": {"M": {"deep": {"M": {"list": {"L": [{"BOOL": True}, {"NULL": True}, {"B": "AA=="}]}}}}},
}


def test_every_type_of_attribute_as_it_was_written(subject: Subject) -> None:
    shard = subject.make_source()
    subject.write([item(1, **EVERYTHING)])
    records, _ = read_all(subject, subject.streams.open(shard, TRIM_HORIZON), 1)
    (image,) = images(records)
    assert image.keys() == item(1, **EVERYTHING).keys()
    if subject.has(LOSES_EMPTY_MAPS):
        assert image["l"]["L"].pop() == {}
        image["l"]["L"].append({"M": {}})
    for name, value in item(1, **EVERYTHING).items():
        ((tag, inner),) = value.items()
        found = image[name][tag]
        assert (sorted(found) if tag in ("SS", "NS", "BS") else found) == inner, name


def test_what_else_a_record_holds(subject: Subject) -> None:
    shard = subject.make_source()
    began = time.time()
    subject.write([item(1)])
    records, _ = read_all(subject, subject.streams.open(shard, TRIM_HORIZON), 1)
    ((record, change),) = [(record, record["dynamodb"]) for record in records]
    assert record["eventName"] == "INSERT"
    assert change["StreamViewType"] == "NEW_IMAGE"
    assert isinstance(change["SizeBytes"], int)
    resolution = resolution_seconds(shard.stream_arn)
    created = change["ApproximateCreationDateTime"]
    assert created % resolution == 0
    assert began - resolution - 1 <= created <= time.time()
    entry = decode(record, Rules(), None)
    assert isinstance(entry, Game)
    assert (entry.player, entry.score, entry.date) == ("player-1", Decimal(1), "2026-01-31")
    assert (entry.sequence_number, entry.created) == (change["SequenceNumber"], created)
    passed = decode(record, Rules(), created + 1)
    assert isinstance(passed, Ignored)
    assert passed.outcome is Outcome.BEFORE_START


def test_changes_and_removals_are_records_too(subject: Subject) -> None:
    shard = subject.make_source()
    subject.write([item(1)])
    subject.overwrite(item(1, score={"N": "7"}))
    subject.remove("game-000001")
    records, _ = read_all(subject, subject.streams.open(shard, TRIM_HORIZON), 3)
    assert [record["eventName"] for record in records] == ["INSERT", "MODIFY", "REMOVE"]
    assert images(records[:2]) == [item(1), item(1, score={"N": "7"})]
    assert "NewImage" not in records[2]["dynamodb"]
    kinds = [type(decode(record, Rules(), None)) for record in records]
    assert kinds == [Game, Ignored, Ignored]


def test_a_shard_that_is_not_there(subject: Subject) -> None:
    shard = subject.make_source()
    other = shard._replace(shard_id="shardId-00000000000000000000-ffffffff")
    with pytest.raises(CallFailed) as raised:
        subject.streams.open(other, TRIM_HORIZON)
    assert raised.value.kind is FailureKind.MISSING


def test_a_stream_that_is_not_there(subject: Subject) -> None:
    shard = subject.make_source()
    table, _, _ = shard.stream_arn.rpartition("/stream/")
    other = Shard(f"{table}/stream/2999-01-01T00:00:00.000", shard.shard_id)
    for ask in (
        lambda: subject.streams.list_shards(other.stream_arn),
        lambda: subject.streams.open(other, TRIM_HORIZON),
        lambda: subject.streams.find_children(other),
    ):
        with pytest.raises(CallFailed) as raised:
            ask()
        assert raised.value.kind is FailureKind.MISSING


@pytest.mark.parametrize("iterator", ["garbage", "a|b", "x" * 500])
def test_what_is_no_iterator_is_a_failed_call(subject: Subject, iterator: str) -> None:
    subject.make_source()
    with pytest.raises(CallFailed) as raised:
        subject.streams.read(iterator, 1000)
    assert raised.value.kind is FailureKind.REJECTED


def test_an_open_shard_has_no_children_yet_and_is_no_leaf(subject: Subject) -> None:
    shard = subject.make_source()
    children = subject.streams.find_children(shard)
    assert (children.shard_ids, children.leaf) == ((), False)
    assert abs(children.served_at - time.time()) < 5


@pytest.mark.parametrize("records", [0, 3])
def test_a_stream_that_is_switched_off_ends_in_a_leaf(subject: Subject, records: int) -> None:
    """With its last records, or after them; nothing is lost."""
    shard = subject.make_source()
    opened = subject.streams.open(shard, TRIM_HORIZON)
    written = [item(number) for number in range(records)]
    subject.write(written)
    subject.switch_off()
    for iterator in (opened, subject.streams.open(shard, TRIM_HORIZON)):
        found, then = read_all(subject, iterator, 10_000)
        assert images(found) == written
        assert then is None
    listing = subject.streams.list_shards(shard.stream_arn)
    assert not listing.enabled
    assert listing.shards == (ListedShard(shard.shard_id, None),)
    children = subject.streams.find_children(shard)
    assert (children.shard_ids, children.leaf) == ((), True)
    if records:
        found, then = read_all(subject, subject.streams.open(shard, numbers(found)[-1]), 10_000)
        assert (found, then) == ([], None)


def test_two_readers_over_one_client(dynamo: DynamoSubject) -> None:
    """A second one does not take the replies' bodies away from the first."""
    shard = dynamo.make_source()
    dynamo.write([item(1)])
    for streams in (DynamoStreams(dynamo.clients.streams), dynamo.streams):
        page = streams.read(streams.open(shard, TRIM_HORIZON), 1000)
        assert images(list(page.records)) == [item(1)]


def test_from_a_record(subject: Subject) -> None:
    shard = subject.make_source()
    subject.write([item(number) for number in range(5)])
    records, _ = read_all(subject, subject.streams.open(shard, TRIM_HORIZON), 5)
    for position in (0, 3, 4):
        first = numbers(records)[position]
        found, _ = read_all(subject, subject.streams.open_at(shard, first), 5 - position)
        assert numbers(found) == numbers(records)[position:]
