"""The tables as operators' commands read them."""

from consumer.domain.leases import Ledger, StreamStart
from consumer.domain.membership import HeartbeatReport
from consumer.domain.replies import Done
from tests.contract.dynamo_subject import DynamoSubject
from tests.contract.operator_subject import operator_subject
from tests.contract.subject import Subject, unit
from tests.support.builders import ARN, CREATED, ME, game, lease, plain_rows, poison, row, sequence_number, shard


def test_empty_tables(subject: Subject) -> None:
    operator = operator_subject(subject)
    table = operator.reader.lease_table()
    assert (table.ledger, table.members.workers, table.replays) == (Ledger((), ()), {}, ())
    assert (operator.reader.gaps(), operator.reader.bindings(), operator.reader.pending()) == ((), (), 0)


def test_bindings_outlive_a_lease_table_that_was_emptied(subject: Subject) -> None:
    stream_start = StreamStart(ARN, None, (), complete=False)
    assert subject.ledgers.record_stream_start(stream_start, None, CREATED) == Done()
    (binding,) = operator_subject(subject).reader.bindings()
    assert binding.stream_arn == ARN
    assert binding == subject.ledgers.read_origin(ARN).binding


def test_ledger_members_gaps_and_pending(subject: Subject) -> None:
    operator = operator_subject(subject)
    subject.create_root_rows(row(0, owner=ME), row(1))
    report = HeartbeatReport(3, 2, 1, 12.5, CREATED)
    subject.membership.send_heartbeat(ME, report, joining=True, bump=False)
    subject.commits.commit(
        lease(),
        unit(poison(1), game(2), poison(3), poison(4)),
        plain_rows(unit(poison(1), game(2), poison(3), poison(4))),
        fills_gap=False,
    )
    subject.mark(shard().shard_id, sequence_number(3), "discarded")
    subject.commits.record_gap(shard(1), sequence_number(9), CREATED)
    if isinstance(subject, DynamoSubject):
        item = {"leaseKey": {"S": "replay#x"}, "to": {"S": "9"}, "games": {"N": "3"}, "parts": {"L": []}}
        subject.clients.dynamodb.put_item(TableName=subject.names.leases, Item=item)
        assert operator.reader.lease_table().replays == ({"games": "3", "leaseKey": "replay#x", "to": "9"},)
    table = operator.reader.lease_table()
    assert {row.shard for row in table.ledger.rows} == {shard(0), shard(1)}
    assert set(table.ledger.rows) == set(subject.ledgers.load().rows)
    assert table.ledger.stream_starts == subject.ledgers.load().stream_starts
    assert table.members == subject.membership.read_members()
    assert operator.reader.pending() == 2
    (gap,) = operator.reader.gaps()
    assert (gap.stream_arn, gap.shard_id, gap.start, gap.end, gap.loss) == (
        ARN,
        shard(1).shard_id,
        sequence_number(9),
        None,
        "possible",
    )


def test_a_gap_between_two_streams(dynamo: DynamoSubject) -> None:
    older = ARN.replace("2026-01-01", "2025-12-31")
    assert dynamo.ledgers.record_stream_start(StreamStart(ARN, None, (), complete=False), older, CREATED) == Done()
    (gap,) = operator_subject(dynamo).reader.gaps()
    assert (gap.shard_id, gap.start, gap.end) == (None, older.rpartition("/")[2], ARN.rpartition("/")[2])
    assert gap.found_at == "2026-01-31T12:00:00.000Z"
