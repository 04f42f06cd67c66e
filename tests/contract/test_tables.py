"""The tables are created once, and a wrong one is refused with a sentence that says what was found."""

import secrets
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from consumer.aws.tables import LEADERBOARD_KEYS, LEASE_KEYS, QUARANTINE_KEYS, Keys, TableReport
from consumer.domain.errors import StartRefused, UnsafeRefused
from tests.contract.differences import NO_RECOVERY
from tests.contract.dynamo_subject import DynamoSubject
from tests.contract.subject import unit
from tests.support.builders import ME, game, lease, row


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
    dynamo.commits.commit(lease(), unit(game(1)), frozenset(), fills_gap=False)
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
    arn = dynamo.make_source(view).stream_arn
    for complaint in (lambda: dynamo.tables.require_stream(dynamo.source), lambda: dynamo.tables.check_stream(arn)):
        with pytest.raises(StartRefused, match=f"has the view type {view}.*NEW_IMAGE or NEW_AND_OLD_IMAGES is needed"):
            complaint()


def test_a_stream_with_both_images(dynamo: DynamoSubject) -> None:
    arn = dynamo.make_source("NEW_AND_OLD_IMAGES").stream_arn
    assert dynamo.tables.require_stream(dynamo.source) == arn
    dynamo.tables.check_stream(arn)


def test_a_stream_that_is_not_there(dynamo: DynamoSubject) -> None:
    arn = dynamo.make_source().stream_arn.rpartition("/")[0] + "/2001-01-01T00:00:00.000"
    with pytest.raises(StartRefused, match=r"\(CONSUMER_STREAM_ARN\) does not exist, or is older than 24 hours"):
        dynamo.tables.check_stream(arn)
