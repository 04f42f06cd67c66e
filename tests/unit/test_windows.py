"""Windows of a board: which ones a game counts in, and which have expired, in every zone."""

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from consumer.domain.records import UNKNOWN_CREATION
from consumer.domain.windows import Kept, WindowKind, calendar_of, kind_of, name_of, window_of

KEPT: Kept = tuple((kind, 2) for kind in WindowKind)
ZONES = ["UTC", "America/Los_Angeles", "Pacific/Kiritimati", "Europe/Berlin", "Australia/Lord_Howe", "Asia/Kathmandu"]


def at(text: str) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()


# --- names ---


@pytest.mark.parametrize(
    ("day", "names"),
    [
        ("2026-11-26", ("day_20261126", "week_2026W48", "month_202611")),
        ("2026-12-31", ("day_20261231", "week_2026W53", "month_202612")),
        ("2027-01-03", ("day_20270103", "week_2026W53", "month_202701")),
        ("2027-01-04", ("day_20270104", "week_2027W01", "month_202701")),
        ("2024-12-30", ("day_20241230", "week_2025W01", "month_202412")),
        ("0001-01-01", ("day_00010101", "week_0001W01", "month_000101")),
    ],
)
def test_the_names_of_windows_over_the_turn_of_a_year(day: str, names: tuple[str, ...]) -> None:
    assert tuple(name_of(kind, date.fromisoformat(day)) for kind in WindowKind) == names
    assert tuple(map(kind_of, names)) == tuple(WindowKind)
    for name in names:
        assert window_of(f"{name}_games") == window_of(f"{name}_score") == name


@given(st.dates(), st.dates())
def test_names_of_a_kind_sort_by_time(one: date, other: date) -> None:
    for kind in WindowKind:
        if one <= other:
            assert name_of(kind, one) <= name_of(kind, other)


@pytest.mark.parametrize(
    "name", ["gamesPlayed", "day_2026_games", "day_20261126", "day_20261126_total", "x_day_20261126_games"]
)
def test_other_attributes_belong_to_no_window(name: str) -> None:
    assert window_of(name) is None


# --- which windows a game counts in ---


def test_a_game_counts_in_the_windows_of_its_own_date() -> None:
    """A late game changes yesterday's board, and one dated ahead tomorrow's."""
    calendar, created = calendar_of(KEPT, "UTC"), at("2026-11-26T12:00")
    assert calendar.counted("2026-11-26", created) == ("day_20261126", "month_202611", "week_2026W48")
    assert calendar.counted("2026-11-25", created) == ("day_20261125", "month_202611", "week_2026W48")
    assert calendar.counted("2026-12-01", created) == ("day_20261201", "month_202612", "week_2026W49")


@pytest.mark.parametrize(
    ("day", "counted"),
    [
        ("2026-11-24", ("month_202611", "week_2026W48")),
        ("2026-11-16", ("month_202611", "week_2026W47")),
        ("2026-11-15", ("month_202611",)),
        ("2026-10-01", ("month_202610",)),
        ("2026-09-30", ()),
    ],
)
def test_a_game_that_is_older_than_the_kept_windows_counts_in_the_totals_alone(
    day: str, counted: tuple[str, ...]
) -> None:
    assert calendar_of(KEPT, "UTC").counted(day, at("2026-11-26T12:00")) == counted


def test_how_late_a_game_is_depends_on_its_record_and_not_on_any_clock() -> None:
    calendar = calendar_of(KEPT, "UTC")
    assert "day_20261125" in calendar.counted("2026-11-25", at("2026-11-26T23:59:59"))
    assert "day_20261125" not in calendar.counted("2026-11-25", at("2026-11-27T00:00"))


def test_a_record_whose_creation_is_not_known_counts_in_all_its_windows_and_expires_none() -> None:
    calendar = calendar_of(KEPT, "UTC")
    assert calendar.counted("1999-12-31", UNKNOWN_CREATION) == ("day_19991231", "month_199912", "week_1999W52")
    assert calendar.expired(("day_19991231", "month_199912"), UNKNOWN_CREATION) == ()


@pytest.mark.parametrize(
    ("zone", "before", "after"),
    [
        ("UTC", "2026-11-25T23:59:59", "2026-11-26T00:00"),
        ("America/Los_Angeles", "2026-11-26T07:59:59", "2026-11-26T08:00"),
        ("Pacific/Kiritimati", "2026-11-25T09:59:59", "2026-11-25T10:00"),
        ("Asia/Kathmandu", "2026-11-25T18:14:59", "2026-11-25T18:15"),
        # the night in which summer time begins, and that in which it ends
        ("Europe/Berlin", "2026-03-28T22:59:59", "2026-03-28T23:00"),
        ("Europe/Berlin", "2026-03-29T21:59:59", "2026-03-29T22:00"),
        ("Europe/Berlin", "2026-10-24T21:59:59", "2026-10-24T22:00"),
        ("Europe/Berlin", "2026-10-25T22:59:59", "2026-10-25T23:00"),
        # half an hour of summer time
        ("Australia/Lord_Howe", "2026-04-04T12:59:59", "2026-04-04T13:00"),
        ("Australia/Lord_Howe", "2026-04-05T13:29:59", "2026-04-05T13:30"),
    ],
)
def test_a_day_begins_at_midnight_of_the_zone(zone: str, before: str, after: str) -> None:
    calendar = calendar_of(KEPT, zone)
    days = [date.fromisoformat(calendar.local_day(at(text))) for text in (before, after)]
    assert days[1] - days[0] == timedelta(1)
    (kept_before, *_), (kept_after, *_) = calendar.oldest(at(before)), calendar.oldest(at(after))
    assert (kept_before, kept_after) == tuple(name_of(WindowKind.DAY, day - timedelta(1)) for day in days)


def test_what_has_expired_goes_and_so_do_windows_of_kinds_that_are_not_kept() -> None:
    calendar = calendar_of(((WindowKind.DAY, 2), (WindowKind.MONTH, 1)), "UTC")
    had = ("month_202611", "day_20261124", "day_20261125", "day_20261127", "month_202610", "week_2026W48")
    assert calendar.expired(had, at("2026-11-26T12:00")) == ("day_20261124", "month_202610", "week_2026W48")
    assert calendar_of((), "UTC").expired(had, at("2026-11-26T12:00")) == tuple(sorted(had))


@given(
    st.sampled_from(ZONES),
    st.datetimes(datetime(1973, 1, 1), datetime(2037, 1, 1)),  # noqa: DTZ001
    st.dates(date(1972, 6, 1), date(2037, 6, 1)),
    st.integers(1, 31),
)
@example("Europe/Berlin", datetime(2026, 3, 29, 1), date(2026, 3, 28), 2)  # noqa: DTZ001
def test_the_calendar_agrees_with_counting_days_one_by_one(zone: str, time: datetime, day: date, kept: int) -> None:
    created = time.replace(tzinfo=UTC)
    calendar = calendar_of(tuple((kind, kept) for kind in WindowKind), zone)
    today = created.astimezone(ZoneInfo(zone)).date()
    assert calendar.local_day(created.timestamp()) == today.isoformat()
    for kind in WindowKind:
        newest, back = {name_of(kind, today)}, today
        while len(newest) < kept:
            back -= timedelta(1)
            newest.add(name_of(kind, back))
        name = name_of(kind, day)
        counts = name >= min(newest)
        assert (name in calendar.counted(day.isoformat(), created.timestamp())) is counts
        assert (name in calendar.expired((name,), created.timestamp())) is not counts


@pytest.mark.parametrize("zone", ZONES)
@pytest.mark.parametrize("seconds", [-1e11, -62_135_596_800.0, 0.0, 253_402_300_799.0, 253_402_300_800.0])
def test_times_at_the_ends_of_the_calendar(zone: str, seconds: float) -> None:
    calendar = calendar_of(KEPT, zone)
    assert calendar.counted(calendar.local_day(seconds), seconds)
    assert len(calendar.oldest(seconds)) == len(KEPT)
