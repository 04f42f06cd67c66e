import pytest
from hypothesis import given
from hypothesis import strategies as st

from consumer.aws.items import (
    binding_item,
    binding_key,
    binding_row,
    fence_values,
    gap_key,
    lease_item,
    lease_row,
    progress_item,
    report_of,
    report_value,
    seconds,
    shard_key,
    stream_key,
    stream_start_item,
    stream_start_row,
    text,
)
from consumer.aws.rule_items import accepted_rules, rules_list
from consumer.domain.accepted_rules import AcceptedRules
from consumer.domain.breaker import Circuit
from consumer.domain.leases import LeaseRow, Shard, StreamStart, TableBinding, label_of
from consumer.domain.membership import HeartbeatReport
from consumer.domain.records import Corrections, Rules
from consumer.domain.replay import Mode, Progress, Range
from tests.support.builders import ARN, ME, finished, lease, row, sequence_number, shard


def test_rules_that_ignore_corrections_are_written_as_a_version_without_that_setting_wrote_them() -> None:
    """Else a list of that version would not be the one that was read, and no rules could ever be accepted after it."""
    stored = rules_list(AcceptedRules((Rules(),)))
    assert "corrections" not in stored["L"][0]["M"]
    assert accepted_rules({"rules": stored}) == AcceptedRules((Rules(),))
    applied = AcceptedRules((Rules(corrections=Corrections.APPLY),))
    assert accepted_rules({"rules": rules_list(applied)}) == applied


NAMES = st.text(st.characters(codec="utf-8"), min_size=1, max_size=12)
SHARDS = st.builds(Shard, st.just(ARN), NAMES)
ROWS = st.builds(
    LeaseRow,
    shard=SHARDS,
    owner=st.none() | NAMES,
    epoch=st.integers(0, 2**53),
    checkpoint=st.sampled_from(["TRIM_HORIZON", "SHARD_END", "123456789012345678901"]),
    parent=st.none() | NAMES,
    children=st.lists(NAMES, max_size=3).map(tuple),
)


@given(ROWS)
def test_a_row_comes_back_as_it_was(row_: LeaseRow) -> None:
    assert lease_row(lease_item(row_)) == row_


def test_the_creation_of_the_last_record_is_read_from_the_row() -> None:
    item = lease_item(row(owner=ME)) | {"checkpointCreatedAt": seconds(1_769_860_800.5)}
    assert lease_row(item) == row(owner=ME, created=1_769_860_800.5)


@pytest.mark.parametrize(
    ("written", "had_game"),
    [
        (row(), False),
        (row(checkpoint=sequence_number(3)), True),
        (finished(0, 1), True),
        (row(1, parent=0), True),
    ],
)
def test_a_row_of_version_0_1_does_not_say_what_there_was(written: LeaseRow, had_game: bool) -> None:
    """A shard with a checkpoint, or with a parent, may have had a game: it is not halted early. Or a correction."""
    item = lease_item(written)
    assert lease_row(item).circuit == Circuit()
    del item["hadGame"], item["ignoredCorrections"]
    assert lease_row(item).circuit == Circuit(had_game=had_game, ignored=had_game)


def test_the_encodings_are_a_contract() -> None:
    assert shard_key(shard(3)) == "shard#2026-01-01T00:00:00.000#shard-3"
    assert stream_key(ARN) == "stream#2026-01-01T00:00:00.000"
    assert lease_item(LeaseRow(shard(3), ME, 9, "TRIM_HORIZON", "shard-1", ("shard-4",))) == {
        "leaseKey": {"S": "shard#2026-01-01T00:00:00.000#shard-3"},
        "streamArn": {"S": ARN},
        "shardId": {"S": "shard-3"},
        "leaseOwner": {"S": ME},
        "leaseEpoch": {"N": "9"},
        "checkpoint": {"S": "TRIM_HORIZON"},
        "hadGame": {"BOOL": False},
        "ignoredCorrections": {"BOOL": False},
        "parentShardId": {"S": "shard-1"},
        "childShardIds": {"L": [{"S": "shard-4"}]},
    }
    assert "leaseOwner" not in lease_item(row()), "released means that the attribute is absent"
    assert gap_key(shard(3), "17")["shardId"] == {"S": "#gap"}
    assert binding_key(ARN) == {"shardId": {"S": "#birth"}, "sequenceNumber": {"S": label_of(ARN)}}
    assert fence_values(lease(epoch=4)) == {":me": {"S": ME}, ":epoch": {"N": "4"}}


@pytest.mark.parametrize("start_time", [None, 0.0, 1_769_860_800.0, 1_769_860_800.125])
@pytest.mark.parametrize("complete", [True, False])
def test_a_stream_start_comes_back_as_it_was(start_time: float | None, complete: bool) -> None:
    start = StreamStart(ARN, start_time, ("shard-0", "shard-1"), complete)
    assert stream_start_row(stream_start_item(start)) == start
    assert stream_start_row(stream_start_item(StreamStart(ARN, start_time, (), complete))).roots == ()


def test_a_binding_comes_back_as_it_was() -> None:
    binding = TableBinding(ARN, "consumer-leases", "Leaderboards")
    assert binding_row(binding_item(binding)) == binding


@given(st.integers(0, 2**40), st.integers(0, 1000), st.integers(0, 10**9), st.integers(0, 2**41))
def test_a_heartbeat_comes_back_to_the_millisecond(number: int, shards: int, lag: int, as_of: int) -> None:
    report = HeartbeatReport(number, shards, shards // 2, lag / 1000, as_of / 1000)
    assert report_of(report_value(report)) == report


@pytest.mark.parametrize(
    ("value", "digits"),
    [(0.0, "0"), (100.0, "100"), (0.5, "0.5"), (0.0004, "0"), (1e12, "1000000000000"), (-1.25, "-1.25")],
)
def test_seconds_have_no_exponent_and_no_needless_zero(value: float, digits: str) -> None:
    assert seconds(value) == {"N": digits}


@pytest.mark.parametrize("item", [{}, {"a": {"N": "1"}}, {"a": {"NULL": True}}, {"a": {"S": 1}}])
def test_an_attribute_that_is_not_there_or_of_another_type(item: dict[str, dict[str, object]]) -> None:
    assert text(item, "a") is None


def test_a_progress_row_expires_when_the_stream_has_had_none_of_its_range_for_days() -> None:
    """Every record of its ranges was created before it began, and a stream keeps a record for one day."""
    began = 1_769_860_800.5
    made = Progress(shard(), "board", Mode.RECOUNT, Range("1", "9"), "9", "1", "id", "runner", "me", began)
    assert progress_item(made)["expiresAt"] == {"N": str(1_769_860_800 + 7 * 86_400)}
