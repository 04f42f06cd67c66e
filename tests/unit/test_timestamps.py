from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from consumer.domain.records import Game, Poison, Reason, Rules, decode
from consumer.domain.timestamps import parse_timestamp, played_by
from tests.support.builders import CREATED, wire


def date_of(text: str) -> str:
    entry = decode(wire(timestamp=text), Rules(max_future_seconds=1e12), None)
    assert isinstance(entry, Game), entry
    return entry.date


def reason_of(text: str, rules: Rules | None = None, created: object = CREATED) -> Reason | None:
    entry = decode(wire(timestamp=text, created=created), rules or Rules(), None)
    return entry.reason if isinstance(entry, Poison) else None


@pytest.mark.parametrize(
    ("text", "date"),
    [
        ("2026-01-31", "2026-01-31"),
        ("2024-02-29", "2024-02-29"),
        ("0001-01-01", "0001-01-01"),
        ("9999-12-31", "9999-12-31"),
        ("2026-01-31T10:20", "2026-01-31"),
        ("2026-01-31 10:20", "2026-01-31"),
        ("2026-01-31T10:20:30", "2026-01-31"),
        ("2026-01-31T23:59:59.9", "2026-01-31"),
        ("2026-01-31 23:59:59.999999999999", "2026-01-31"),
        ("2026-01-31T10:20Z", "2026-01-31"),
        ("2026-01-31T10:20:30.123Z", "2026-01-31"),
        ("2026-01-31T00:30:00+01:00", "2026-01-30"),
        ("2026-01-31T23:30:00-01:00", "2026-02-01"),
        ("2026-01-31T00:30+0100", "2026-01-30"),
        ("2026-01-31T00:30+01", "2026-01-30"),
        ("2026-01-31T12:00:00.5-23:59", "2026-02-01"),
        ("2026-01-31T00:00:00+00:00", "2026-01-31"),
        ("2026-01-31T00:00:00-00:00", "2026-01-31"),
        ("2026-03-01T00:00:00.000+00:01", "2026-02-28"),
        ("0001-01-01T01:00+01:00", "0001-01-01"),
        ("9999-12-31T22:59-01:00", "9999-12-31"),
    ],
)
def test_the_date_is_the_utc_date(text: str, date: str) -> None:
    assert date_of(text) == date


@pytest.mark.parametrize(
    "text",
    [
        "",
        "2026",
        "2026-01",
        "2026-1-31",
        "26-01-31",
        "20260131",
        "2026-02-30",
        "2025-02-29",
        "2026-00-10",
        "2026-13-01",
        "2026-01-00",
        "0000-01-01",
        "10000-01-01",
        "-2026-01-31",
        "2026-W05",
        "2026-W05-6",
        "2026-031",
        "2026/01/31",
        "31.01.2026",
        "2026-01-31T",
        "2026-01-31Z",
        "2026-01-31+01:00",
        "2026-01-31T10",
        "2026-01-31T1:20",
        "2026-01-31T1020",
        "2026-01-31t10:20",
        "2026-01-31  10:20",
        "2026-01-31T24:00",
        "2026-01-31T24:00:00",
        "2026-01-31T10:60",
        "2026-01-31T23:59:60",
        "2026-01-31T10:20:30.",
        "2026-01-31T10:20:30,5",
        "2026-01-31T10:20.5",
        "2026-01-31T10:20z",
        "2026-01-31T10:20 Z",
        "2026-01-31T10:20ZZ",
        "2026-01-31T10:20+1",
        "2026-01-31T10:20+01:",
        "2026-01-31T10:20+01:0",
        "2026-01-31T10:20+24:00",
        "2026-01-31T10:20+01:60",
        "2026-01-31T10:20+01:00:00",
        "2026-01-31T10:20 CET",
        "0001-01-01T00:30+01:00",
        "9999-12-31T23:30-01:00",
        " 2026-01-31",
        "2026-01-31 ",
        "2026-01-31\n",
        "٢٠٢٦-01-31",
        "1769860800",
        "now",
    ],
)
def test_everything_else_is_invalid(text: str) -> None:
    assert reason_of(text, Rules(max_future_seconds=1e12)) is Reason.TIMESTAMP_INVALID


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("2026-02-01T12:00:00Z", None),
        ("2026-02-01T12:00:01Z", Reason.TIMESTAMP_IN_FUTURE),
        ("2026-02-01T13:00:00+01:00", None),
        ("2026-02-01T11:00:01-01:00", Reason.TIMESTAMP_IN_FUTURE),
        ("2026-02-01", None),
        ("2026-02-02", Reason.TIMESTAMP_IN_FUTURE),
        ("0001-01-01", None),
    ],
)
def test_the_future_begins_a_day_after_the_record_was_created(text: str, reason: Reason | None) -> None:
    assert reason_of(text) is reason


def test_the_limit_of_the_future_is_a_setting() -> None:
    assert reason_of("2026-01-31T12:00:10Z", Rules(max_future_seconds=10)) is None
    assert reason_of("2026-01-31T12:00:11Z", Rules(max_future_seconds=10)) is Reason.TIMESTAMP_IN_FUTURE
    assert reason_of("2026-01-31T12:00:11Z", Rules(max_future_seconds=10), CREATED + 1) is None


@given(
    st.datetimes(),
    st.none() | st.integers(-1439, 1439),
    st.sampled_from(["T", " "]),
    st.sampled_from(["", ":", "seconds", "fraction"]),
)
def test_every_form_agrees_with_the_calendar(
    time: datetime, offset_minutes: int | None, between: str, precision: str
) -> None:
    text = time.strftime(f"{time.year:04}-%m-%d{between}%H:%M")
    if precision in ("seconds", "fraction"):
        text += f":{time.second:02}" + (".123456789" if precision == "fraction" else "")
    zone = UTC
    if offset_minutes is not None:
        zone = timezone(timedelta(minutes=offset_minutes))
        hours, minutes = divmod(abs(offset_minutes), 60)
        text += f"{'-' if offset_minutes < 0 else '+'}{hours:02}{':' if precision == ':' else ''}{minutes:02}"
    try:
        expected = time.replace(second=0, tzinfo=zone).astimezone(UTC)
    except OverflowError:
        assume(False)
    assert date_of(text) == f"{expected.year:04}-{expected.month:02}-{expected.day:02}"


@given(
    st.datetimes(datetime(2026, 1, 30), datetime(2026, 2, 3)),  # noqa: DTZ001
    st.none() | st.integers(-1439, 1439),
    st.integers(-200_000, 200_000),
)
@example(datetime(2026, 1, 31, 0, 30), 60, 0)  # noqa: DTZ001
@example(datetime(2026, 1, 31, 23, 30), -60, 86_400)  # noqa: DTZ001
@example(datetime(2026, 1, 31, 23, 30), -60, 43_200)  # noqa: DTZ001
def test_the_fast_path_agrees_with_the_slow_one(clock: datetime, ahead: int | None, seconds: int) -> None:
    zone = None if ahead is None else timezone(timedelta(minutes=ahead))
    text, latest = clock.replace(tzinfo=zone).isoformat(timespec="seconds"), CREATED + seconds
    at, day = parse_timestamp(text)
    played = played_by(text, latest)
    assert played == ((day, played[1]) if played is not None and at <= latest else None)
    assert played is None or (played[1] is not None and played[1] // 60 == at // 60)
