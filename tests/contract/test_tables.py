"""The tables are created once, and a wrong one is refused with a sentence that says what was found."""

import secrets
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from consumer.aws.items import quarantine_key
from consumer.aws.tables import LEADERBOARD_KEYS, LEASE_KEYS, QUARANTINE_KEYS, Keys, TableReport
from consumer.domain.errors import StartRefused, UnsafeRefused
from consumer.domain.records import Corrections
from consumer.domain.replies import Committed
from tests.contract.differences import NO_RECOVERY
from tests.contract.dynamo_subject import DynamoSubject
from tests.contract.subject import unit
from tests.support.builders import ME, commit_plain, game, lease, plain_rows, poison, row, sequence_number, shard
from tests.support.engines import make_old_quarantine_table


@pytest.mark.parametrize("keys", [LEADERBOARD_KEYS, LEASE_KEYS, QUARANTINE_KEYS])
def test_a_table_is_created_once(dynamo: DynamoSubject, keys: Keys) -> None:
    name = f"made-{secrets.token_hex(4)}"
    note = "this engine has no point-in-time recovery" if dynamo.has(NO_RECOVERY) else None
    assert dynamo.tables.ensure(name, keys) == TableReport(name, created=True, note=note)
    assert dynamo.tables.ensure(name, keys) == TableReport(name, created=False, note=note)
    table = dynamo.clients.dynamodb.describe_table(TableName=name)["Table"]
    assert table["TableStatus"] == "ACTIVE"
    assert table["BillingModeSummary"]["BillingMode"] == "PAY_PER_REQUEST"
    if not dynamo.has(NO_RECOVERY):
        backups = dynamo.clients.dynamodb.describe_continuous_backups(TableName=name)["ContinuousBackupsDescription"]
        assert backups["PointInTimeRecoveryDescription"]["PointInTimeRecoveryStatus"] == "ENABLED"
    dynamo.tables.check(name, keys, "CONSUMER_SOME_TABLE")


def test_creating_it_again_leaves_its_items(dynamo: DynamoSubject) -> None:
    dynamo.create_root_rows(row(owner=ME))
    commit_plain(dynamo.commits, lease(), unit(game(1)))
    before = dynamo.everything()
    for name, keys in zip(dynamo.names, (LEASE_KEYS, LEADERBOARD_KEYS, QUARANTINE_KEYS), strict=True):
        dynamo.tables.ensure(name, keys)
    assert dynamo.everything() == before


def test_of_several_commands_that_create_a_table_one_does(dynamo: DynamoSubject) -> None:
    name = f"made-{secrets.token_hex(4)}"
    start = threading.Barrier(3)

    def make(_: int) -> TableReport:
        start.wait()
        return dynamo.tables.ensure(name, LEASE_KEYS)

    with ThreadPoolExecutor(3) as pool:
        reports = list(pool.map(make, range(3)))
    assert sorted(report.created for report in reports) == [False, False, True]


OTHERS = [
    (LEASE_KEYS, QUARANTINE_KEYS, "leaseKey (S)", "shardId (S) + sequenceNumber (S)"),
    (QUARANTINE_KEYS, LEASE_KEYS, "shardId (S) + sequenceNumber (S)", "leaseKey (S)"),
    ((("playerId", "N"),), LEADERBOARD_KEYS, "playerId (N)", "playerId (S)"),
    ((("playerId", "S"), ("timestamp", "S")), LEADERBOARD_KEYS, "playerId (S) + timestamp (S)", "playerId (S)"),
    ((("sequenceNumber", "S"), ("shardId", "S")), QUARANTINE_KEYS, "sequenceNumber (S) + shardId (S)", "shardId (S) +"),
]


@pytest.mark.parametrize(("made", "wanted", "found", "needed"), OTHERS)
def test_a_table_of_another_key_is_refused(
    dynamo: DynamoSubject, made: Keys, wanted: Keys, found: str, needed: str
) -> None:
    name = f"other-{secrets.token_hex(4)}"
    dynamo.tables.ensure(name, made)
    with pytest.raises(UnsafeRefused) as unsafe:
        dynamo.tables.ensure(name, wanted)
    with pytest.raises(StartRefused) as refused:
        dynamo.tables.check(name, wanted, "CONSUMER_SOME_TABLE")
    for sentence in (str(unsafe.value), str(refused.value)):
        assert name in sentence
        assert f"the key {found};" in sentence
        assert needed in sentence
    assert "CONSUMER_SOME_TABLE" in str(refused.value)


def test_a_table_that_is_not_there(dynamo: DynamoSubject) -> None:
    with pytest.raises(StartRefused, match=r"no-such-table \(CONSUMER_LEASE_TABLE\) does not exist.*consumer init"):
        dynamo.tables.check("no-such-table", LEASE_KEYS, "CONSUMER_LEASE_TABLE")


def test_a_source_and_its_stream(dynamo: DynamoSubject) -> None:
    arn = dynamo.make_source().stream_arn
    assert dynamo.tables.require_stream(dynamo.source) == arn
    dynamo.tables.check_stream(arn)


def test_a_source_that_is_not_there_or_has_no_stream(dynamo: DynamoSubject) -> None:
    with pytest.raises(StartRefused, match=r"no-such-table \(CONSUMER_SOURCE_TABLE\) does not exist"):
        dynamo.tables.require_stream("no-such-table")
    with pytest.raises(StartRefused, match=f"the stream of table {dynamo.names.leaderboard} is off: switch it on"):
        dynamo.tables.require_stream(dynamo.names.leaderboard)


def test_a_stream_that_was_switched_off_is_found_by_its_own_name(dynamo: DynamoSubject) -> None:
    arn = dynamo.make_source().stream_arn
    dynamo.switch_off()
    with pytest.raises(StartRefused, match=f"the stream of table {dynamo.source} is off"):
        dynamo.tables.require_stream(dynamo.source)
    dynamo.tables.check_stream(arn)


@pytest.mark.parametrize("view", ["KEYS_ONLY", "OLD_IMAGE"])
def test_a_stream_without_new_images(dynamo: DynamoSubject, view: str) -> None:
    arn = dynamo.make_source(view=view).stream_arn
    for complaint in (lambda: dynamo.tables.require_stream(dynamo.source), lambda: dynamo.tables.check_stream(arn)):
        with pytest.raises(StartRefused, match=f"has the view type {view}.*NEW_IMAGE or NEW_AND_OLD_IMAGES is needed"):
            complaint()


def test_a_stream_with_both_images(dynamo: DynamoSubject) -> None:
    arn = dynamo.make_source(view="NEW_AND_OLD_IMAGES").stream_arn
    for corrections in Corrections:
        assert dynamo.tables.require_stream(dynamo.source, corrections) == arn
        dynamo.tables.check_stream(arn, corrections)


def test_where_corrections_are_to_count_a_stream_needs_both_images(dynamo: DynamoSubject) -> None:
    arn = dynamo.make_source(view="NEW_IMAGE").stream_arn
    complaints = (
        lambda: dynamo.tables.require_stream(dynamo.source, Corrections.APPLY),
        lambda: dynamo.tables.check_stream(arn, Corrections.APPLY),
    )
    for complaint in complaints:
        with pytest.raises(StartRefused, match="CONSUMER_CORRECTIONS=apply needs NEW_AND_OLD_IMAGES"):
            complaint()


def test_a_stream_that_is_not_there(dynamo: DynamoSubject) -> None:
    arn = dynamo.make_source().stream_arn.rpartition("/")[0] + "/2001-01-01T00:00:00.000"
    with pytest.raises(StartRefused, match=r"\(CONSUMER_STREAM_ARN\) does not exist, or is older than 24 hours"):
        dynamo.tables.check_stream(arn)


# --- what an older version did not make ---


def old_quarantine_table(dynamo: DynamoSubject) -> str:
    """The quarantine table as version 0.1 made it, in place of the subject's own."""
    name = dynamo.names.quarantine
    dynamo.clients.dynamodb.delete_table(TableName=name)
    make_old_quarantine_table(dynamo.clients.dynamodb, name)
    return name


def old_rows(dynamo: DynamoSubject, states: dict[int, str]) -> None:
    """Quarantined records in these states, without what version 0.1 did not write."""
    dynamo.create_root_rows(row(owner=ME))
    records = unit(*(poison(seq) for seq in states))
    assert dynamo.commits.commit(lease(), records, plain_rows(records), fills_gap=False) == Committed()
    for seq, state in states.items():
        dynamo.clients.dynamodb.update_item(
            TableName=dynamo.names.quarantine,
            Key=quarantine_key(shard().shard_id, sequence_number(seq)),
            UpdateExpression="SET #state = :state, appliedAt = :at, discardedAt = :at REMOVE pendingShardId",
            ExpressionAttributeNames={"#state": "state"},
            ExpressionAttributeValues={":state": {"S": state}, ":at": {"S": "2026-01-31T12:00:00.000Z"}},
        )


def test_an_old_quarantine_table_gets_its_index_and_its_rows_enter_it(dynamo: DynamoSubject) -> None:
    name = old_quarantine_table(dynamo)
    old_rows(dynamo, {1: "pending", 2: "applied", 3: "pending", 4: "discarded"})
    assert dynamo.pending_records.count() is None
    assert sum(dynamo.pending_records.scan()) == 2
    assert dynamo.quarantine_port(None).update_old_rows() == 2
    assert dynamo.tables.ensure_index(name) is True
    assert dynamo.pending_records.count() == 2
    before = dynamo.everything()
    assert dynamo.quarantine_port(None).update_old_rows() == 0
    assert dynamo.tables.ensure_index(name) is False
    assert dynamo.everything() == before


def test_a_new_quarantine_table_has_its_index(dynamo: DynamoSubject) -> None:
    assert dynamo.tables.ensure_index(dynamo.names.quarantine) is False
    assert dynamo.pending_records.count() == 0


def test_a_row_that_an_older_version_settled_leaves_the_index(dynamo: DynamoSubject) -> None:
    """It did not know the index's key. Until then the row is in the index, and not counted."""
    dynamo.create_root_rows(row(owner=ME))
    commit_plain(dynamo.commits, lease(), unit(poison(1), poison(2)))
    dynamo.mark(shard().shard_id, sequence_number(1), "discarded")
    assert in_index(dynamo) == 2
    assert dynamo.pending_records.count() == 1
    assert dynamo.quarantine_port(None).update_old_rows() == 1
    assert in_index(dynamo) == 1


def test_rows_that_were_settled_before_expire_from_their_settlement_on(dynamo: DynamoSubject) -> None:
    """Head and parts together; what is pending stays."""
    old_rows(dynamo, {1: "pending", 2: "applied", 3: "discarded"})
    expiring = dynamo.quarantine_port(30)
    assert expiring.update_old_rows() == 3
    thirty_days_later = 1_769_860_800 + 30 * 86_400
    wanted = {sequence_number(seq) + suffix: thirty_days_later for seq in (2, 3) for suffix in ("", "#1")}
    assert expiries(dynamo) == wanted
    assert expiring.update_old_rows() == 0
    assert dynamo.quarantine_port(60).update_old_rows() == 0, "what expires keeps its time"
    assert expiries(dynamo) == wanted


def test_time_to_live_is_switched_on_once(dynamo: DynamoSubject) -> None:
    name = dynamo.names.leases
    for _ in range(2):
        dynamo.tables.ensure_expiry(name)
        found = dynamo.clients.dynamodb.describe_time_to_live(TableName=name)["TimeToLiveDescription"]
        assert (found["TimeToLiveStatus"], found["AttributeName"]) == ("ENABLED", "expiresAt")


def in_index(dynamo: DynamoSubject) -> int:
    found = dynamo.clients.dynamodb.scan(TableName=dynamo.names.quarantine, IndexName="pending", Select="COUNT")
    return int(found["Count"])


def expiries(dynamo: DynamoSubject) -> dict[str, int]:
    """When rows of the quarantine table expire, by sort key."""
    items = dynamo.items(dynamo.names.quarantine)
    return {item["sequenceNumber"]["S"]: int(item["expiresAt"]["N"]) for item in items if "expiresAt" in item}
