import pytest
from hypothesis import given
from hypothesis import strategies as st

from consumer.aws.items import (
    birth_item,
    birth_key,
    birth_row,
    fence_values,
    gap_key,
    lease_item,
    lease_row,
    pin_item,
    pin_row,
    seconds,
    shard_key,
    stream_key,
    text,
    vouch_of,
    vouch_value,
)
from consumer.domain.leases import Birth, LeaseRow, Pin, Shard, Vouch, label_of
from tests.builders import ARN, ME, lease, row, shard

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
def test_a_row_comes_back_as_it_was(each: LeaseRow) -> None:
    assert lease_row(lease_item(each)) == each


def test_the_creation_of_the_last_record_is_read_from_the_row() -> None:
    item = lease_item(row(owner=ME)) | {"checkpointCreatedAt": seconds(1_769_860_800.5)}
    assert lease_row(item) == row(owner=ME, created=1_769_860_800.5)


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
        "parentShardId": {"S": "shard-1"},
        "childShardIds": {"L": [{"S": "shard-4"}]},
    }
    assert "leaseOwner" not in lease_item(row()), "released means that the attribute is absent"
    assert gap_key(shard(3), "17")["shardId"] == {"S": "#gap"}
    assert birth_key(ARN) == {"shardId": {"S": "#birth"}, "sequenceNumber": {"S": label_of(ARN)}}
    assert fence_values(lease(epoch=4)) == {":me": {"S": ME}, ":epoch": {"N": "4"}}


@pytest.mark.parametrize("floor", [None, 0.0, 1_769_860_800.0, 1_769_860_800.125])
@pytest.mark.parametrize("complete", [True, False])
def test_a_pin_comes_back_as_it_was(floor: float | None, complete: bool) -> None:
    pin = Pin(ARN, floor, ("shard-0", "shard-1"), complete)
    assert pin_row(pin_item(pin)) == pin
    assert pin_row(pin_item(Pin(ARN, floor, (), complete))).roots == ()


def test_a_birth_row_comes_back_as_it_was() -> None:
    birth = Birth(ARN, "consumer-leases", "Leaderboards")
    assert birth_row(birth_item(birth)) == birth


@given(st.integers(0, 2**40), st.integers(0, 1000), st.integers(0, 10**9), st.integers(0, 2**41))
def test_a_beat_comes_back_to_the_millisecond(beat: int, shards: int, lag: int, as_of: int) -> None:
    vouch = Vouch(beat, shards, shards // 2, lag / 1000, as_of / 1000)
    assert vouch_of(vouch_value(vouch)) == vouch


@pytest.mark.parametrize(
    ("value", "digits"),
    [(0.0, "0"), (100.0, "100"), (0.5, "0.5"), (0.0004, "0"), (1e12, "1000000000000"), (-1.25, "-1.25")],
)
def test_seconds_have_no_exponent_and_no_needless_zero(value: float, digits: str) -> None:
    assert seconds(value) == {"N": digits}


@pytest.mark.parametrize("item", [{}, {"a": {"N": "1"}}, {"a": {"NULL": True}}, {"a": {"S": 1}}])
def test_an_attribute_that_is_not_there_or_of_another_type(item: dict[str, dict[str, object]]) -> None:
    assert text(item, "a") is None
