"""Which quarantined records a filter selects, and which repairs a record can get before it is decoded again."""

from dataclasses import replace

import pytest

from consumer.domain.errors import UsageFault
from consumer.domain.quarantine import (
    EntryState,
    QuarantineEntry,
    QuarantineFilter,
    decode_again,
    parse_repairs,
    repaired,
)
from consumer.domain.records import Game, Poison, Reason, Rules
from tests.support.builders import ARN, sequence_number, wire

RULES = Rules()
AT = "2026-01-31T12:00:00.000Z"
NOON = 1_769_860_800.0
ENTRY = QuarantineEntry(
    "shard-0", sequence_number(1), "score_type", EntryState.PENDING, "foo", 1, quarantined_at=AT, stream_arn=ARN
)


@pytest.mark.parametrize(
    ("texts", "repairs"),
    [
        ([], {}),
        (["score=12"], {"score": "12"}),
        (
            ["player=a=b", "timestamp=2026-01-31T10:00:00+02:00"],
            {"player": "a=b", "timestamp": "2026-01-31T10:00:00+02:00"},
        ),
        (["score=-0.5", "player= "], {"score": "-0.5", "player": " "}),
    ],
)
def test_fields_and_values(texts: list[str], repairs: dict[str, str]) -> None:
    assert parse_repairs(texts) == repairs


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("score", "it must be player=..., score=... or timestamp=..."),
        ("level=3", "it must be player=..., score=... or timestamp=..."),
        ("score=", "not a number that DynamoDB can hold"),
        ("score=many", "not a number that DynamoDB can hold"),
        ("score=NaN", "not a number that DynamoDB can hold"),
        ("score=1e126", "not a number that DynamoDB can hold"),
        ("player=", "player is empty"),
        ("player=" + "x" * 2049, "has 2049 bytes"),
        ("timestamp=yesterday", "YYYY-MM-DD"),
        ("timestamp=2026-02-30", "not a time in the years"),
    ],
)
def test_values_that_no_record_can_have(text: str, fault: str) -> None:
    with pytest.raises(UsageFault) as raised:
        parse_repairs([text])
    assert str(raised.value).startswith(f"--set {text}: ")
    assert fault in str(raised.value)


def test_all_faults_at_once() -> None:
    with pytest.raises(UsageFault) as fault:
        parse_repairs(["score=1", "score=2", "x=1"])
    assert str(fault.value).splitlines() == [
        "--set score=2: score is set twice",
        "--set x=1: it must be player=..., score=... or timestamp=...",
    ]


def test_the_record_itself_is_not_changed() -> None:
    came = wire(1, score={"S": "12"})
    changed = repaired(came, {"score": "12", "player": "bar"}, RULES)
    assert came == wire(1, score={"S": "12"})
    assert changed == wire(1, score="12", player="bar")


def test_attributes_have_the_names_of_the_current_rules() -> None:
    rules = Rules("name", "points", "when")
    entry, used = decode_again(
        wire(1, image={"name": {"S": "foo"}, "when": {"S": "2026-01-31"}}), {"score": "7"}, rules, only_wrong=True
    )
    assert isinstance(entry, Game)
    assert (entry.player, f"{entry.score}", used) == ("foo", "7", {"score": "7"})


def test_of_many_records_only_what_is_wrong_is_set() -> None:
    repairs = {"score": "12", "player": "bar"}
    entry, used = decode_again(wire(1, score={"S": "5"}), repairs, RULES, only_wrong=True)
    assert isinstance(entry, Game)
    assert (entry.player, f"{entry.score}", used) == ("foo", "12", {"score": "12"})
    entry, used = decode_again(wire(1, timestamp="yesterday", score="150"), repairs, RULES, only_wrong=True)
    assert isinstance(entry, Poison)
    assert (entry.reason, used) == (Reason.TIMESTAMP_INVALID, {})


def test_of_one_record_everything_is_set() -> None:
    entry, used = decode_again(wire(1), {"score": "12", "player": "bar"}, RULES, only_wrong=False)
    assert isinstance(entry, Game)
    assert (entry.player, f"{entry.score}", used) == ("bar", "12", {"score": "12", "player": "bar"})


def test_more_than_one_field_is_wrong() -> None:
    bad = wire(1, player=None, score=None, timestamp="yesterday")
    entry, used = decode_again(bad, {"score": "1", "player": "a", "timestamp": "2026-01-01"}, RULES, only_wrong=True)
    assert isinstance(entry, Game)
    assert set(used) == {"score", "player", "timestamp"}


def test_without_an_image_nothing_can_be_set() -> None:
    bare = wire(1)
    del bare["dynamodb"]["NewImage"]
    entry, _ = decode_again(bare, {"score": "1"}, RULES, only_wrong=False)
    assert isinstance(entry, Poison)
    assert entry.reason is Reason.IMAGE_MISSING


@pytest.mark.parametrize(
    ("filter_", "selected"),
    [
        (QuarantineFilter(since=NOON), True),
        (QuarantineFilter(since=NOON + 1), False),
        (QuarantineFilter(until=NOON), True),
        (QuarantineFilter(until=NOON - 1), False),
        (QuarantineFilter(player="bar"), False),
        (QuarantineFilter(reason="score_missing"), False),
        (QuarantineFilter(state=EntryState.APPLIED), False),
        (QuarantineFilter(shard="shard-1"), False),
        (QuarantineFilter(shard="shard-0", player="foo", reason="score_type"), True),
    ],
)
def test_a_filter_selects_by_all_that_it_says(filter_: QuarantineFilter, selected: bool) -> None:
    assert filter_.matches(ENTRY) is selected


def test_a_row_with_an_invalid_time_matches_no_time() -> None:
    spoiled = replace(ENTRY, quarantined_at="yesterday")
    assert QuarantineFilter().matches(spoiled)
    assert not QuarantineFilter(since=0.0).matches(spoiled)
