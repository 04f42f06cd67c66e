"""Which windows a record counts in, by its timestamp in every format, and in both ways to decode it."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consumer.aws.streams import decoded_page, raw_page
from consumer.domain.records import UNKNOWN_CREATION, Game, Poison, Reason, Rules, decode
from consumer.domain.timestamps import TimestampFormat
from consumer.domain.windows import WindowKind
from tests.support.builders import CREATED, wire
from tests.support.fakes import decoded

ALL = tuple((kind, 2) for kind in WindowKind)
SECONDS, MILLISECONDS = TimestampFormat.EPOCH_SECONDS, TimestampFormat.EPOCH_MILLISECONDS


def rules(zone: str = "UTC", format_: TimestampFormat = TimestampFormat.ISO) -> Rules:
    return Rules(windows=ALL, time_zone=zone, timestamp_format=format_)


def days(record: dict[str, Any], by: Rules) -> tuple[str, str]:
    """The date of a game, and the day that it counts in."""
    entry = decode(record, by, None)
    assert isinstance(entry, Game)
    (quick,) = decoded_page(json.dumps({"Records": [record]}).encode(), by, None).entries
    assert quick == entry
    return entry.date, entry.windows[0]


@pytest.mark.parametrize(
    ("timestamp", "zone", "date", "day"),
    [
        ("2026-01-31T11:59:00Z", "UTC", "2026-01-31", "day_20260131"),
        ("2026-01-31T00:30:00+01:00", "UTC", "2026-01-30", "day_20260130"),
        ("2026-01-31T07:59:59Z", "America/Los_Angeles", "2026-01-31", "day_20260130"),
        ("2026-01-31T08:00:00Z", "America/Los_Angeles", "2026-01-31", "day_20260131"),
        ("2026-01-31T11:59", "Pacific/Kiritimati", "2026-01-31", "day_20260201"),
        ("2026-01-31T23:59:59.999-02:00", "Pacific/Kiritimati", "2026-02-01", "day_20260201"),
        ("2026-02-01", "America/Los_Angeles", "2026-02-01", "day_20260201"),
    ],
)
def test_a_moment_is_the_date_of_the_zone(timestamp: str, zone: str, date: str, day: str) -> None:
    assert days(wire(timestamp=timestamp), rules(zone)) == (date, day)


@pytest.mark.parametrize("zone", ["UTC", "America/Los_Angeles", "Pacific/Kiritimati"])
def test_a_timestamp_without_a_time_is_that_date_in_every_zone(zone: str) -> None:
    assert days(wire(timestamp="2026-01-31"), rules(zone)) == ("2026-01-31", "day_20260131")


def test_rules_that_keep_no_windows_count_in_none() -> None:
    entry = decode(wire(), Rules(), None)
    assert isinstance(entry, Game)
    assert entry.windows == ()


def test_a_late_record_counts_in_the_totals_alone() -> None:
    entry = decode(wire(timestamp="2025-11-30"), rules(), None)
    assert isinstance(entry, Game)
    assert (entry.date, entry.windows) == ("2025-11-30", ())


def test_a_record_without_a_creation_time_counts_in_all_its_windows() -> None:
    entry = decode(wire(timestamp="2001-02-03", created=None), rules(), None)
    assert isinstance(entry, Game)
    assert entry.created == UNKNOWN_CREATION
    assert entry.windows == ("day_20010203", "month_200102", "week_2001W05")


# --- numbers of seconds and milliseconds ---


@pytest.mark.parametrize(
    ("text", "format_", "date"),
    [
        ("1769860800", SECONDS, "2026-01-31"),
        ("1769860800.75", SECONDS, "2026-01-31"),
        ("1.7698608E9", SECONDS, "2026-01-31"),
        ("1769860800000", MILLISECONDS, "2026-01-31"),
        ("1769817599999", MILLISECONDS, "2026-01-30"),
        ("1769817600000", MILLISECONDS, "2026-01-31"),
        ("0", SECONDS, "1970-01-01"),
        ("-1", SECONDS, "1969-12-31"),
        ("-0.5", SECONDS, "1969-12-31"),
        ("-1", MILLISECONDS, "1969-12-31"),
        ("-62135596800", SECONDS, "0001-01-01"),
    ],
)
def test_a_number_is_a_moment(text: str, format_: TimestampFormat, date: str) -> None:
    by = Rules(timestamp_format=format_)
    record = wire(timestamp={"N": text})
    entry = decode(record, by, None)
    assert isinstance(entry, Game)
    assert entry.date == date
    assert decoded_page(json.dumps({"Records": [record]}).encode(), by, None).entries == [entry]


@pytest.mark.parametrize(
    ("value", "reason", "detail"),
    [
        ("2026-01-31", Reason.TIMESTAMP_TYPE, "timestamp is of type 'S'; it must be N"),
        (None, Reason.TIMESTAMP_MISSING, "the record has no timestamp"),
        ({"N": "1e20"}, Reason.TIMESTAMP_INVALID, "timestamp is '1e20', not a time in seconds in the years 1 to 9999"),
        ({"N": "-62135596801"}, Reason.TIMESTAMP_INVALID, "not a time in seconds in the years 1 to 9999"),
        ({"N": "soon"}, Reason.TIMESTAMP_INVALID, "timestamp is 'soon', not a time in seconds"),
        ({"N": "NaN"}, Reason.TIMESTAMP_INVALID, "timestamp is 'NaN', not a time in seconds"),
        ({"N": "1_0"}, Reason.TIMESTAMP_INVALID, "timestamp is '1_0', not a time in seconds"),
        ({"N": "1769947201"}, Reason.TIMESTAMP_IN_FUTURE, "too far after the record was created"),
    ],
)
def test_a_number_that_is_no_moment_is_poison(value: object, reason: Reason, detail: str) -> None:
    entry = decode(wire(timestamp=value), rules(format_=SECONDS), None)
    assert isinstance(entry, Poison)
    assert entry.reason is reason
    assert detail in entry.detail


def test_a_text_is_needed_where_the_format_is_iso() -> None:
    entry = decode(wire(timestamp={"N": "1769860800"}), rules(), None)
    assert isinstance(entry, Poison)
    assert entry.detail == "timestamp is of type 'N'; it must be S"


# --- both ways to decode ---

NUMBERS = st.integers(-(10**13), 10**13).map(str) | st.decimals().map(str) | st.sampled_from(["1e9", "x", "", "1_0"])
TEXTS = st.datetimes(datetime(2026, 1, 29), datetime(2026, 2, 2)).map(  # noqa: DTZ001
    lambda time: time.replace(tzinfo=UTC).isoformat()
)
STAMPS = TEXTS | NUMBERS.map(lambda text: {"N": text}) | st.sampled_from(["2026-01-30", "2026-01-31T23:59-12:00", None])
ZONES = st.sampled_from(["UTC", "America/Los_Angeles", "Pacific/Kiritimati", "Australia/Lord_Howe"])


@given(
    st.lists(st.builds(wire, timestamp=STAMPS, created=st.sampled_from([CREATED, CREATED + 40_000, None])), max_size=4),
    st.builds(rules, ZONES, st.sampled_from(TimestampFormat)),
)
def test_both_ways_decode_the_same_windows(wires: list[dict[str, Any]], by: Rules) -> None:
    body = json.dumps({"Records": wires, "NextShardIterator": "next"}).encode()
    assert decoded_page(body, by, None) == decoded(raw_page(body), by, None)
