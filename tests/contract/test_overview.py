"""An operator's look at the tables."""

from consumer.domain.leases import Pin, Vouch
from consumer.domain.outcomes import Done, Ledger
from tests.builders import ARN, CREATED, ME, game, lease, poison, row, sequence_number, shard
from tests.contract.dynamo_subject import DynamoSubject
from tests.contract.operators import desk_of
from tests.contract.subject import Subject, unit


def test_empty_tables(subject: Subject) -> None:
    desk = desk_of(subject)
    table = desk.overviews.lease_table()
    assert (table.ledger, table.members.workers, table.replays) == (Ledger((), ()), {}, ())
    assert (desk.overviews.gaps(), desk.overviews.births(), desk.overviews.pending()) == ((), (), 0)


def test_births_outlive_a_lease_table_that_was_emptied(subject: Subject) -> None:
    pin = Pin(ARN, None, (), complete=False)
    assert subject.ledgers.pin(pin, None, CREATED) == Done()
    (birth,) = desk_of(subject).overviews.births()
    assert birth.stream_arn == ARN
    assert birth == subject.ledgers.origin(ARN).birth
    assert desk_of(subject).births.births() == (birth,)


def test_ledger_members_gaps_and_pending(subject: Subject) -> None:
    desk = desk_of(subject)
    subject.plant(row(0, owner=ME), row(1))
    vouch = Vouch(3, 2, 1, 12.5, CREATED)
    subject.membership.beat(ME, vouch, joining=True, bump=False)
    subject.commits.commit(lease(), unit(poison(1), game(2), poison(3), poison(4)), frozenset(), fills_gap=False)
    subject.mark(shard().shard_id, sequence_number(3), "discarded")
    subject.commits.record_gap(shard(1), sequence_number(9), CREATED)
    if isinstance(subject, DynamoSubject):
        item = {"leaseKey": {"S": "replay#x"}, "to": {"S": "9"}, "games": {"N": "3"}, "parts": {"L": []}}
        subject.clients.dynamodb.put_item(TableName=subject.leases, Item=item)
        assert desk.overviews.lease_table().replays == ({"games": "3", "leaseKey": "replay#x", "to": "9"},)
    table = desk.overviews.lease_table()
    assert {each.shard for each in table.ledger.rows} == {shard(0), shard(1)}
    assert set(table.ledger.rows) == set(subject.ledgers.load().rows)
    assert table.ledger.pins == subject.ledgers.load().pins
    assert table.members == subject.membership.look()
    assert desk.overviews.pending() == 2
    (gap,) = desk.overviews.gaps()
    assert (gap.stream_arn, gap.shard_id, gap.start, gap.end, gap.loss) == (
        ARN,
        shard(1).shard_id,
        sequence_number(9),
        None,
        "possible",
    )


def test_a_gap_between_two_streams(dynamo: DynamoSubject) -> None:
    older = ARN.replace("2026-01-01", "2025-12-31")
    assert dynamo.ledgers.pin(Pin(ARN, None, (), complete=False), older, CREATED) == Done()
    (gap,) = desk_of(dynamo).overviews.gaps()
    assert (gap.shard_id, gap.start, gap.end) == (None, older.rpartition("/")[2], ARN.rpartition("/")[2])
    assert gap.found_at == "2026-01-31T12:00:00.000Z"
