"""Our handlers and botocore's own code have the same results: botocore's version decides which of them run."""

from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest

from consumer.aws.streams import DynamoStreams
from consumer.domain.fold import Unit
from consumer.domain.leases import TRIM_HORIZON
from consumer.domain.records import Game
from tests.contract.dynamo_subject import AT_ONCE, DynamoSubject
from tests.contract.row_writes import every_fate
from tests.contract.subject import unit
from tests.support.builders import ME, OTHER, commit_plain, game, ignored, lease, poison, row
from tests.support.engines import TableEngine


@pytest.fixture
def plain(dynamo: DynamoSubject) -> Iterator[DynamoSubject]:
    """The same engine, with its own tables, and clients without our handlers."""
    engine = TableEngine(dynamo.name, dynamo.clients.dynamodb.meta.endpoint_url)
    clients = replace(dynamo.clients, dynamodb=engine.client("dynamodb"), streams=engine.client("dynamodbstreams"))
    yield DynamoSubject(dynamo.name, clients, dynamo.scanning)
    clients.dynamodb.close()
    clients.streams.close()


def wrong_total(subject: DynamoSubject) -> Unit:
    """A unit for a player whose stored total is no number."""
    subject.spoil("foo", "totalScore", "much")
    return unit(game(1))


def later_date(subject: DynamoSubject) -> Unit:
    """A unit for a player with a later stored date."""
    subject.spoil("foo", "lastPlayedDate", "2027-01-01")
    return unit(game(1), game(2, "bar"))


def lost(subject: DynamoSubject) -> Unit:
    """A unit of a shard that another worker owns."""
    subject.delete_row(row().shard)
    subject.create_root_rows(row(owner=OTHER))
    return unit(game(1))


def crowd() -> list[Game]:
    """As many players as a transaction takes."""
    return [game(seq, f"player-{seq}") for seq in range(1, 99)]


UNITS: list[Callable[[DynamoSubject], Unit]] = [
    lambda _: unit(game(1, 'é\u2028😀"\\'), game(2, "bar", "-12345678901234567890.123456789012345678"), ignored(3)),
    lambda _: unit(poison(1), game(2)),
    lambda _: unit(*crowd()),
    lambda _: replace(unit(game(1)), previous="1"),
    lambda _: unit(game(1, "x" * 3_000)),
    lambda _: replace(unit(*crowd()), poison=(poison(98), poison(99))),
    wrong_total,
    later_date,
    lost,
]


@pytest.mark.parametrize("make", UNITS)
def test_transactions_end_the_same(
    dynamo: DynamoSubject, plain: DynamoSubject, make: Callable[[DynamoSubject], Unit]
) -> None:
    def outcome(subject: DynamoSubject) -> tuple[str, object, object]:
        subject.create_root_rows(row(owner=ME))
        reply = commit_plain(subject.commits, lease(), make(subject), fills_gap=True)
        prefix = subject.names.leases.removesuffix("-leases")  # some errors name the table
        return repr(reply).replace(prefix, ""), subject.board(), subject.quarantine_rows()

    assert outcome(dynamo) == outcome(plain)


def test_statements_end_the_same(dynamo: DynamoSubject, plain: DynamoSubject) -> None:
    """New rows and rows that are there, of every fate; names and numbers as they are stored."""

    def outcome(subject: DynamoSubject) -> tuple[str, object, object]:
        writes = every_fate(subject)
        assert subject.commits.probe_statements() is None
        replies = [subject.commits.write_rows(writes) for _ in range(2)]
        return repr(replies), subject.board(), subject.marks()

    assert outcome(dynamo) == outcome(plain)


def test_pages_are_read_the_same(dynamo: DynamoSubject) -> None:
    values = {"S": "é\u2028😀", "N": "12345678901234567890123456789012345678", "B": "AP8=", "BS": ["AA==", "AP8="]}
    more = {"L": [{"M": {"inner": {"NULL": True}}}, {"BOOL": False}], "NS": ["1", "-2.5"]}
    items = [
        {"gameId": {"S": f"m{number}"}, **{tag: {tag: value} for tag, value in (values | more).items()}}
        for number in range(3)
    ]
    source = dynamo.make_source()
    dynamo.write(items)
    dynamo.remove("m1")
    short = dynamo.streams.read(dynamo.streams.open(source, TRIM_HORIZON), 1000)
    plain = TableEngine(dynamo.name, dynamo.clients.streams.meta.endpoint_url).client("dynamodbstreams")
    streams = DynamoStreams(plain, rate_limiter=AT_ONCE)
    plain.meta.events.unregister("before-parse.dynamodb-streams.GetRecords", unique_id="keep-body.GetRecords")
    long = streams.read(streams.open(source, TRIM_HORIZON), 1000)
    assert "Body" not in plain.get_records(ShardIterator=streams.open(source, TRIM_HORIZON))
    assert len(long.records) == len(short.records) == 4
    for own, other in zip(short.records, long.records, strict=True):
        assert {name: own[name] for name in other} == other
        assert other.keys() >= {"eventName", "dynamodb"}
    assert (long.next_iterator is None) == (short.next_iterator is None)
    plain.close()
