"""Both ways to decode a page give the same: from the few fields that count, and from whole records."""

import json
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from consumer.aws import streams
from consumer.aws.streams import decoded_page, raw_page
from consumer.domain.records import Entry, Game, Ignored, Rules
from tests.support.builders import CREATED, wire
from tests.support.fakes import decoded

PLAYERS = st.text(max_size=5) | st.sampled_from(["x" * 2048, "x" * 2049, "é", "\ud800", 7, ["a"], {"N": "1"}, {}])
SCORES = st.decimals().map(str) | st.sampled_from(
    ["1_0", " 1", "+1", "1e125", "1e126", "9" * 39, "NaN", "", "x", 7, 1.5, True, [0, [1], 0], {"S": "1"}]
)
TIMES = st.datetimes() | st.datetimes(datetime(2026, 1, 30), datetime(2026, 2, 3))  # noqa: DTZ001
ZONES = st.none() | st.integers(-1439, 1439).map(lambda minutes: timezone(timedelta(minutes=minutes)))
TIMESTAMPS = st.builds(lambda time, zone: time.replace(tzinfo=zone).isoformat(), TIMES, ZONES) | st.sampled_from(
    [
        "2026-01-31",
        "2026-02-01T11:59:00Z",
        "2026-02-02",
        "2026-02-30",
        "2026-01-31T24:00Z",
        "2026-01-31T11:59:60Z",
        "2026-01-31 11:59+00:00",
        "2026-01-31T23:59:59-01:00",
        "2026-01-31T00:00:00.000+01:00",
        "0000-01-01",
        "0001-01-01T00:00+14:00",
        "2026-01-31T11:59:00Z\n",
        "٢٠٢٦-01-31",
        7,
        ["2026-01-31"],
    ]
)
CREATIONS = st.sampled_from([CREATED, CREATED - 86_400, int(CREATED), -0.0, 1e12, -1e12, 10**400, None, True, "now"])
EVENTS = st.sampled_from(["INSERT"] * 5 + ["MODIFY", "REMOVE", "insert", None, 7])
START_TIMES = st.sampled_from([None, CREATED, CREATED + 1])
WIRES = st.builds(wire, player=PLAYERS, score=SCORES, timestamp=TIMESTAMPS, created=CREATIONS, event=EVENTS)


def body_of(wires: list[dict[str, Any]]) -> bytes:
    return json.dumps({"Records": wires, "NextShardIterator": "next"}).encode()


def both(wires: list[dict[str, Any]], rules: Rules = Rules(), start_time: float | None = None) -> list[Entry]:  # noqa: B008
    """The entries, if both ways give the same."""
    body = body_of(wires)
    page = decoded_page(body, rules, start_time)
    assert page == decoded(raw_page(body), rules, start_time)
    return list(page.entries)


@given(st.lists(WIRES, max_size=4), START_TIMES)
@example([wire(score="1_0")], None)
@example([wire(score="NaN")], None)
@example([wire(player="x" * 2049)], None)
@example([wire(player="")], None)
@example([wire(timestamp="2026-02-02T11:59:00Z")], None)
@example([wire(timestamp="2026-02-01T23:59:00-00:02")], None)
@example([wire(score={"N": [0, [1], 0]})], None)
@example([wire()], CREATED + 1)
@example([wire(created=-1e12)], CREATED)
def test_both_ways_decode_the_same(wires: list[dict[str, Any]], start_time: float | None) -> None:
    both(wires, start_time=start_time)


@pytest.mark.parametrize("image", [None, [], "x", {}, {"playerId": {"S": "foo"}}, {"playerId": {}}])
def test_half_a_record(image: Any) -> None:
    record = wire(2)
    record["dynamodb"]["NewImage"] = image
    both([wire(1), record, wire(3)])
    del record["dynamodb"]["NewImage"]
    both([wire(1), record, wire(3)])


@pytest.mark.parametrize("name", ["größe", "a b", "x.y", 'quo"te', "back\\slash", "line\n", "\ud800", "S", "score.N"])
def test_attributes_of_any_name(name: str) -> None:
    image = {name: {"S": "foo"}, "score": {"N": "1"}, "timestamp": {"S": "2026-01-31"}}
    (entry,) = both([wire(image=image)], Rules(player_attribute=name))
    assert isinstance(entry, Game)
    assert entry.player == "foo"


@pytest.mark.parametrize(
    "record",
    [
        wire(),
        wire(timestamp="2026-01-31"),
        wire(timestamp="2026-01-31T11:59:00.123Z"),
        wire(timestamp="2026-01-31 11:59+00:00"),
        wire(timestamp="2026-01-31T11:59:00-05:00"),
        wire(event="REMOVE"),
        wire(event="MODIFY", score=None),
        wire(created=CREATED - 100),
    ],
)
def test_nearly_all_records_are_decoded_from_few_fields(
    record: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(streams, "raw_page", lambda _: pytest.fail("the whole record was parsed"))
    (entry,) = decoded_page(body_of([record]), Rules(), CREATED - 50).entries
    assert isinstance(entry, Game | Ignored)


def test_a_page_is_parsed_as_a_whole_once_at_the_most(monkeypatch: pytest.MonkeyPatch) -> None:
    body = body_of([wire(number, score=None) for number in range(5)])
    parsed = iter([raw_page(body)])
    monkeypatch.setattr(streams, "raw_page", lambda _: next(parsed))
    assert len(decoded_page(body, Rules(), None).entries) == 5
