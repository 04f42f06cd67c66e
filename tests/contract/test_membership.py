"""Heartbeats, and how workers join and leave."""

from consumer.domain.leases import PROTOCOL
from consumer.domain.membership import HeartbeatReport, LateShard, Members
from consumer.domain.replies import Done, HeartbeatRemoved
from tests.contract.dynamo_subject import DynamoSubject
from tests.contract.subject import Subject
from tests.support.builders import CREATED, ME, OTHER, row


def test_no_worker_is_a_member(subject: Subject) -> None:
    assert subject.membership.read_members() == Members(0, {})


def test_a_worker_joins_sends_heartbeats_and_leaves(subject: Subject) -> None:
    late = (LateShard("00ff00ff", 12.0), LateShard("abcdef01", 9.0, known=False))
    first, second = HeartbeatReport(1), HeartbeatReport(2, 3, 1, 12.345, CREATED, late=late)
    assert subject.membership.send_heartbeat(ME, first, joining=True, bump=True) == Done()
    assert subject.membership.read_members() == Members(1, {ME: first})
    assert subject.membership.send_heartbeat(ME, second, joining=False, bump=False) == Done()
    assert subject.membership.read_members() == Members(1, {ME: second})
    assert subject.membership.leave(ME) == Done()
    assert subject.membership.read_members() == Members(2, {})


def test_members_do_not_touch_each_other(subject: Subject) -> None:
    subject.membership.send_heartbeat(ME, HeartbeatReport(1), joining=True, bump=True)
    subject.membership.send_heartbeat(OTHER, HeartbeatReport(7), joining=True, bump=True)
    subject.membership.send_heartbeat(ME, HeartbeatReport(2), joining=False, bump=False)
    assert subject.membership.read_members() == Members(2, {ME: HeartbeatReport(2), OTHER: HeartbeatReport(7)})
    subject.membership.leave(ME)
    assert subject.membership.read_members() == Members(3, {OTHER: HeartbeatReport(7)})


def test_a_late_heartbeat_does_not_bring_back_a_worker_that_left(subject: Subject) -> None:
    assert subject.membership.send_heartbeat(ME, HeartbeatReport(1), joining=False, bump=True) == HeartbeatRemoved()
    assert subject.membership.read_members() == Members(0, {})
    subject.membership.send_heartbeat(ME, HeartbeatReport(1), joining=True, bump=True)
    subject.membership.send_heartbeat(OTHER, HeartbeatReport(1), joining=True, bump=True)
    subject.membership.leave(ME)
    for bump in (False, True):
        assert subject.membership.send_heartbeat(ME, HeartbeatReport(2), joining=False, bump=bump) == HeartbeatRemoved()
    assert subject.membership.read_members() == Members(3, {OTHER: HeartbeatReport(1)})
    assert subject.membership.send_heartbeat(ME, HeartbeatReport(3), joining=True, bump=True) == Done()
    assert subject.membership.read_members() == Members(4, {ME: HeartbeatReport(3), OTHER: HeartbeatReport(1)})


def test_a_bump_counts_each_time(subject: Subject) -> None:
    subject.membership.send_heartbeat(ME, HeartbeatReport(1), joining=True, bump=False)
    assert subject.membership.read_members().changes == 0
    for number in range(2, 5):
        subject.membership.send_heartbeat(ME, HeartbeatReport(number), joining=False, bump=True)
        assert subject.membership.read_members().changes == number - 1
    assert subject.membership.send_heartbeat(ME, HeartbeatReport(9), joining=True, bump=True) == Done(), (
        "joining twice is a heartbeat"
    )
    assert subject.membership.read_members() == Members(4, {ME: HeartbeatReport(9)})


def test_leaving_counts_once(subject: Subject) -> None:
    assert subject.membership.leave(ME) == Done()
    assert subject.membership.read_members() == Members(0, {})
    subject.membership.send_heartbeat(ME, HeartbeatReport(1), joining=True, bump=False)
    for _ in range(2):
        assert subject.membership.leave(ME) == Done()
        assert subject.membership.read_members() == Members(1, {})


def test_a_dead_worker_is_evicted_unless_it_has_sent_another_heartbeat(subject: Subject) -> None:
    assert subject.membership.evict(ME, 1) == Done()
    subject.membership.send_heartbeat(ME, HeartbeatReport(5), joining=True, bump=False)
    subject.membership.send_heartbeat(OTHER, HeartbeatReport(5), joining=True, bump=False)
    for number in (4, 6):
        assert subject.membership.evict(ME, number) == Done()
    assert subject.membership.read_members() == Members(0, {ME: HeartbeatReport(5), OTHER: HeartbeatReport(5)})
    for _ in range(2):
        assert subject.membership.evict(ME, 5) == Done()
        assert subject.membership.read_members() == Members(1, {OTHER: HeartbeatReport(5)})
    assert subject.membership.send_heartbeat(ME, HeartbeatReport(6), joining=False, bump=False) == HeartbeatRemoved()


def test_a_name_may_hold_what_an_expression_uses(subject: Subject) -> None:
    for owner in ("w.1/a", "w#1:x/b", "w 1[0]/c", "é/d"):
        report = HeartbeatReport(1, 2, 1, 0.5, CREATED)
        assert subject.membership.send_heartbeat(owner, report, joining=True, bump=False) == Done()
        assert subject.membership.read_members().workers == {owner: report}
        assert subject.membership.evict(owner, 1) == Done()
        assert subject.membership.read_members().workers == {}


def test_members_are_no_shards(subject: Subject) -> None:
    subject.membership.send_heartbeat(ME, HeartbeatReport(1), joining=True, bump=True)
    assert subject.ledgers.load().rows == ()
    subject.create_root_rows(row())
    assert subject.ledgers.load().rows == (row(),)
    assert subject.membership.read_members() == Members(1, {ME: HeartbeatReport(1)})


def test_a_heartbeat_of_an_older_version_does_not_count_shards_behind(dynamo: DynamoSubject) -> None:
    dynamo.membership.send_heartbeat(ME, HeartbeatReport(1, 2, 1, 0.5, CREATED), joining=True, bump=False)
    dynamo.clients.dynamodb.update_item(
        TableName=dynamo.names.leases,
        Key={"leaseKey": {"S": "members"}},
        UpdateExpression="REMOVE #worker.behind",
        ExpressionAttributeNames={"#worker": f"worker#{ME}"},
    )
    assert dynamo.membership.read_members().workers == {ME: HeartbeatReport(1, 2, 0, 0.5, CREATED)}


def test_a_heartbeat_says_by_which_protocol_its_worker_counts(subject: Subject) -> None:
    """Those of version 0.1 say nothing: it was the first one."""
    subject.put_old_heartbeat(OTHER, 7)
    subject.membership.send_heartbeat(ME, HeartbeatReport(1), joining=True, bump=False)
    members = subject.membership.read_members()
    assert {owner: (report.number, report.protocol) for owner, report in members.workers.items()} == {
        OTHER: (7, 1),
        ME: (1, PROTOCOL),
    }


def test_a_worker_of_version_0_1_is_evicted_as_any_other(subject: Subject) -> None:
    subject.put_old_heartbeat(OTHER, 7)
    subject.membership.evict(OTHER, 6)
    assert set(subject.membership.read_members().workers) == {OTHER}
    subject.membership.evict(OTHER, 7)
    assert not subject.membership.read_members().workers
