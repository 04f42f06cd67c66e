"""Beats, and who may come and go."""

from consumer.domain.leases import Members, Vouch
from consumer.domain.outcomes import Done, Removed
from tests.builders import CREATED, ME, OTHER, row
from tests.contract.dynamo_subject import DynamoSubject
from tests.contract.subject import Subject


def test_nobody_is_there(subject: Subject) -> None:
    assert subject.membership.look() == Members(0, {})


def test_a_worker_joins_beats_and_leaves(subject: Subject) -> None:
    first, second = Vouch(1), Vouch(2, 3, 1, 12.345, CREATED)
    assert subject.membership.beat(ME, first, joining=True, bump=True) == Done()
    assert subject.membership.look() == Members(1, {ME: first})
    assert subject.membership.beat(ME, second, joining=False, bump=False) == Done()
    assert subject.membership.look() == Members(1, {ME: second})
    assert subject.membership.leave(ME) == Done()
    assert subject.membership.look() == Members(2, {})


def test_members_do_not_touch_each_other(subject: Subject) -> None:
    subject.membership.beat(ME, Vouch(1), joining=True, bump=True)
    subject.membership.beat(OTHER, Vouch(7), joining=True, bump=True)
    subject.membership.beat(ME, Vouch(2), joining=False, bump=False)
    assert subject.membership.look() == Members(2, {ME: Vouch(2), OTHER: Vouch(7)})
    subject.membership.leave(ME)
    assert subject.membership.look() == Members(3, {OTHER: Vouch(7)})


def test_a_late_beat_does_not_bring_back_who_left(subject: Subject) -> None:
    assert subject.membership.beat(ME, Vouch(1), joining=False, bump=True) == Removed()
    assert subject.membership.look() == Members(0, {})
    subject.membership.beat(ME, Vouch(1), joining=True, bump=True)
    subject.membership.beat(OTHER, Vouch(1), joining=True, bump=True)
    subject.membership.leave(ME)
    for bump in (False, True):
        assert subject.membership.beat(ME, Vouch(2), joining=False, bump=bump) == Removed()
    assert subject.membership.look() == Members(3, {OTHER: Vouch(1)})
    assert subject.membership.beat(ME, Vouch(3), joining=True, bump=True) == Done()
    assert subject.membership.look() == Members(4, {ME: Vouch(3), OTHER: Vouch(1)})


def test_a_bump_counts_each_time(subject: Subject) -> None:
    subject.membership.beat(ME, Vouch(1), joining=True, bump=False)
    assert subject.membership.look().changes == 0
    for beat in range(2, 5):
        subject.membership.beat(ME, Vouch(beat), joining=False, bump=True)
        assert subject.membership.look().changes == beat - 1
    assert subject.membership.beat(ME, Vouch(9), joining=True, bump=True) == Done(), "joining twice is a beat"
    assert subject.membership.look() == Members(4, {ME: Vouch(9)})


def test_leaving_counts_once(subject: Subject) -> None:
    assert subject.membership.leave(ME) == Done()
    assert subject.membership.look() == Members(0, {})
    subject.membership.beat(ME, Vouch(1), joining=True, bump=False)
    for _ in range(2):
        assert subject.membership.leave(ME) == Done()
        assert subject.membership.look() == Members(1, {})


def test_the_dead_are_buried_unless_they_have_beaten_since(subject: Subject) -> None:
    assert subject.membership.bury(ME, 1) == Done()
    subject.membership.beat(ME, Vouch(5), joining=True, bump=False)
    subject.membership.beat(OTHER, Vouch(5), joining=True, bump=False)
    for beat in (4, 6):
        assert subject.membership.bury(ME, beat) == Done()
    assert subject.membership.look() == Members(0, {ME: Vouch(5), OTHER: Vouch(5)})
    for _ in range(2):
        assert subject.membership.bury(ME, 5) == Done()
        assert subject.membership.look() == Members(1, {OTHER: Vouch(5)})
    assert subject.membership.beat(ME, Vouch(6), joining=False, bump=False) == Removed()


def test_a_name_may_hold_what_an_expression_uses(subject: Subject) -> None:
    for owner in ("w.1/a", "w#1:x/b", "w 1[0]/c", "é/d"):
        vouch = Vouch(1, 2, 1, 0.5, CREATED)
        assert subject.membership.beat(owner, vouch, joining=True, bump=False) == Done()
        assert subject.membership.look().workers == {owner: vouch}
        assert subject.membership.bury(owner, 1) == Done()
        assert subject.membership.look().workers == {}


def test_members_are_no_shards(subject: Subject) -> None:
    subject.membership.beat(ME, Vouch(1), joining=True, bump=True)
    assert subject.ledgers.load().rows == ()
    subject.plant(row())
    assert subject.ledgers.load().rows == (row(),)
    assert subject.membership.look() == Members(1, {ME: Vouch(1)})


def test_a_beat_of_an_older_version_says_nothing_of_shards_behind(dynamo: DynamoSubject) -> None:
    dynamo.membership.beat(ME, Vouch(1, 2, 1, 0.5, CREATED), joining=True, bump=False)
    dynamo.clients.dynamodb.update_item(
        TableName=dynamo.leases,
        Key={"leaseKey": {"S": "members"}},
        UpdateExpression="REMOVE #worker.behind",
        ExpressionAttributeNames={"#worker": f"worker#{ME}"},
    )
    assert dynamo.membership.look().workers == {ME: Vouch(1, 2, 0, 0.5, CREATED)}
