"""Settled records expire when that is asked for: head and parts in the write that settles them. Nothing else does."""

from collections.abc import Callable

import pytest

from consumer.aws.corrections import image_value, item_actions
from consumer.aws.items import quarantine_key
from consumer.domain.audit import AuditEntry
from consumer.domain.corrections import FoundItem, IndexRow, RecordKey, corrected
from consumer.domain.fold import Delta
from consumer.domain.quarantine import Application, OperatorAction, QuarantineEntry
from consumer.domain.records import Image
from consumer.domain.replies import Committed, Done
from tests.contract.dynamo_subject import DynamoSubject
from tests.contract.subject import unit
from tests.contract.test_quarantine import big
from tests.contract.test_tables import in_index
from tests.support.builders import (
    CREATED,
    ITEM,
    ME,
    commit_plain,
    game,
    image,
    lease,
    plain_rows,
    poison,
    row,
    sequence_number,
    shard,
)

SETTLED_AT = CREATED + 3600.9
EXPIRES = str(int(CREATED) + 3600 + 30 * 86_400)

Settle = Callable[[DynamoSubject, QuarantineEntry, int | None], object]


def action(entry: QuarantineEntry) -> OperatorAction:
    return OperatorAction(entry, "token", AuditEntry("me", SETTLED_AT, "a test", str(entry), {}))


def redrive(dynamo: DynamoSubject, entry: QuarantineEntry, retention_days: int | None) -> object:
    wanted = game(1)
    application = Application(action(entry), {"foo": Delta(1, wanted.score, wanted.date)}, {})
    return dynamo.quarantine_port(retention_days).apply([application])


def discard(dynamo: DynamoSubject, entry: QuarantineEntry, retention_days: int | None) -> object:
    return dynamo.quarantine_port(retention_days).discard([action(entry)], "a test")


def expiries(dynamo: DynamoSubject) -> dict[str, str]:
    """When rows of the quarantine table expire, by sort key."""
    items = dynamo.items(dynamo.names.quarantine)
    return {item["sequenceNumber"]["S"]: item["expiresAt"]["N"] for item in items if "expiresAt" in item}


def quarantined(dynamo: DynamoSubject) -> QuarantineEntry:
    """A record in several parts; beside it another one that stays pending, a gap and a table binding."""
    dynamo.create_root_rows(row(owner=ME))
    records = unit(big(1), poison(2))
    assert dynamo.commits.commit(lease(), records, plain_rows(records), fills_gap=False) == Committed()
    assert dynamo.commits.record_gap(shard(), records.last, CREATED)
    found = dynamo.quarantine.entry(shard().shard_id, sequence_number(1))
    assert found is not None
    assert found.parts > 1
    return found


@pytest.mark.parametrize("settle", [redrive, discard])
def test_head_and_parts_of_a_settled_record_expire_together_and_nothing_else_does(
    dynamo: DynamoSubject, settle: Settle
) -> None:
    entry = quarantined(dynamo)
    assert expiries(dynamo) == {}
    assert settle(dynamo, entry, 30) == Done()
    keys = [entry.sequence_number, *(f"{entry.sequence_number}#{part}" for part in range(1, entry.parts + 1))]
    assert expiries(dynamo) == dict.fromkeys(keys, EXPIRES)


@pytest.mark.parametrize("settle", [redrive, discard])
def test_by_default_a_settled_record_stays_and_leaves_the_index_of_pending_ones(
    dynamo: DynamoSubject, settle: Settle
) -> None:
    entry = quarantined(dynamo)
    assert in_index(dynamo) == 2
    assert settle(dynamo, entry, None) == Done()
    assert expiries(dynamo) == {}
    assert in_index(dynamo) == 1


@pytest.mark.parametrize("settle", [redrive, discard])
def test_a_record_without_its_parts_is_settled_all_the_same(dynamo: DynamoSubject, settle: Settle) -> None:
    """What is missing stays missing: the row that then stands for a part holds no record, and expires too."""
    entry = quarantined(dynamo)
    dynamo._delete(dynamo.names.quarantine, shardId=entry.shard_id, sequenceNumber=f"{entry.sequence_number}#1")
    assert settle(dynamo, entry, 30) == Done()
    assert len(expiries(dynamo)) == 1 + entry.parts
    (missing,) = dynamo.quarantine.records([entry])
    assert str(missing) == f"part 1 of record {entry.sequence_number} is missing"


def test_a_record_whose_rows_have_expired_is_not_in_quarantine_any_more(dynamo: DynamoSubject) -> None:
    """A re-drive that has found it before finds it gone, and counts nothing."""
    entry = quarantined(dynamo)
    assert discard(dynamo, entry, 30) == Done()
    for key in expiries(dynamo):
        dynamo._delete(dynamo.names.quarantine, shardId=entry.shard_id, sequenceNumber=key)
    assert [left.sequence_number for left in dynamo.quarantine.entries()] == [sequence_number(2)]
    assert redrive(dynamo, entry, 30) != Done()
    assert dynamo.board() == {}
    assert expiries(dynamo) == {}


def test_a_settled_record_that_is_read_again_still_expires(dynamo: DynamoSubject) -> None:
    """After a step back of the checkpoint its rows are written again."""
    entry = quarantined(dynamo)
    assert discard(dynamo, entry, 30) == Done()
    before = expiries(dynamo)
    dynamo.delete_row(shard())
    dynamo.create_root_rows(row(owner=ME))
    assert commit_plain(dynamo.commits, lease(), unit(big(1))) == Committed()
    assert expiries(dynamo) == before
    assert dynamo.pending_records.count() == 1


@pytest.mark.parametrize(("counted", "expire"), [(image(), False), (None, True)])
def test_a_discarded_record_that_alone_says_what_counts_does_not_expire(
    dynamo: DynamoSubject, counted: Image | None, *, expire: bool
) -> None:
    entry = quarantined(dynamo)
    dynamo.clients.dynamodb.update_item(
        TableName=dynamo.names.quarantine,
        Key=quarantine_key(entry.shard_id, entry.sequence_number),
        UpdateExpression="SET kept = :kept",
        ExpressionAttributeValues={":kept": image_value(counted)},
    )
    found = dynamo.quarantine.entry(entry.shard_id, entry.sequence_number)
    assert found is not None
    assert discard(dynamo, found, 30) == Done()
    dynamo.quarantine_port(30).update_old_rows()
    assert bool(expiries(dynamo)) is expire


@pytest.mark.parametrize(("counted", "expire"), [(image(), False), (None, True)])
def test_nor_does_one_that_was_discarded_before_its_item_was_gone(
    dynamo: DynamoSubject, counted: Image | None, *, expire: bool
) -> None:
    entry = quarantined(dynamo)
    assert discard(dynamo, entry, 30) == Done()
    record = RecordKey(entry.shard_id, entry.sequence_number)
    found = FoundItem(IndexRow(ITEM, record, counted), "discarded", entry.parts)
    actions = item_actions(dynamo.names.quarantine, corrected(ITEM, found, expired=True), CREATED, 30)
    dynamo.clients.dynamodb.transact_write_items(TransactItems=[action for action in actions if "Update" in action])
    assert (entry.sequence_number in expiries(dynamo)) is expire
    kept = dynamo.quarantine.entry(entry.shard_id, entry.sequence_number)
    assert kept is not None
    assert dynamo.quarantine_port(30).restore([action(kept)]) == Done()
    assert not expiries(dynamo), "a pending record stays, with its parts"
