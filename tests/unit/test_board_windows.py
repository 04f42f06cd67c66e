"""Which windows a board keeps, from when on they are complete, and how an operator names one."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, date, datetime

import pytest

from consumer.domain.accepted_rules import AcceptedRules
from consumer.domain.board_windows import Asked, BoardWindows, asked, board_windows
from consumer.domain.errors import NotFound, UsageFault
from consumer.domain.leases import LeaseRow, Ledger, StreamStart
from consumer.domain.records import Rules
from consumer.domain.windows import Kept, Kind, WindowKind, after_claim, new_board
from consumer.operations.top import window
from tests.support.builders import ARN, finished, row

DAY, WEEK, MONTH = WindowKind
ALL: Kept = ((DAY, 2), (WEEK, 2), (MONTH, 2))
NOW = datetime(2026, 11, 26, 12, tzinfo=UTC).timestamp()
"""A Thursday."""


KEPT = AcceptedRules((Rules(windows=ALL),))


def counted(number: int, windows: Mapping[WindowKind, Kind], rules: int = 1) -> LeaseRow:
    return replace(row(number), windows=windows, rules=rules)


def board(*rows: LeaseRow, kept: Kept = ALL, zone: str = "UTC") -> BoardWindows:
    """Of a ledger whose newest rules keep `kept`."""
    ledger = Ledger(rows, (), AcceptedRules((Rules(), Rules(windows=kept, time_zone=zone))))
    found = board_windows(ledger)
    assert found is not None
    return found


# --- how a window is named ---


@pytest.mark.parametrize(
    ("text", "right"),
    [
        ("day", Asked(DAY)),
        ("day:20261126", Asked(DAY, date(2026, 11, 26))),
        ("day:2026-11-26", Asked(DAY, date(2026, 11, 26))),
        ("week:2026W48", Asked(WEEK, date(2026, 11, 23))),
        ("week:2026-W53", Asked(WEEK, date(2026, 12, 28))),
        ("month:202611", Asked(MONTH, date(2026, 11, 1))),
        ("month:2026-11", Asked(MONTH, date(2026, 11, 1))),
    ],
)
def test_the_labels_of_rows_and_those_of_people_name_a_window(text: str, right: Asked) -> None:
    assert asked(text) == right


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("year", "there is no kind of window 'year': it is one of day, week, month"),
        ("", "there is no kind of window ''"),
        ("day:", "'' is no day: it must be like 20261126 or 2026-11-26"),
        ("day:20261131", "'20261131' is no day"),
        ("day:2026W48", "'2026W48' is no day"),
        ("week:2026W54", "'2026W54' is no week: it must be like 2026W48 or 2026-W48"),
        ("week:2025W53", "'2025W53' is no week"),
        ("week:20261126", "'20261126' is no week"),
        ("month:202613", "'202613' is no month: it must be like 202611 or 2026-11"),
        ("month:0000-01", "'0000-01' is no month"),
    ],
)
def test_what_is_no_window_is_answered_with_what_would_be(text: str, sentence: str) -> None:
    with pytest.raises(UsageFault) as fault:
        asked(text)
    assert sentence in str(fault.value)


# --- which one it is ---


@pytest.mark.parametrize(
    ("zone", "at", "names"),
    [
        ("UTC", (2026, 11, 26, 12), ("day_20261126", "week_2026W48", "month_202611")),
        ("Pacific/Kiritimati", (2026, 11, 30, 12), ("day_20261201", "week_2026W49", "month_202612")),
        ("America/Los_Angeles", (2027, 1, 1, 7), ("day_20261231", "week_2026W53", "month_202612")),
    ],
)
def test_without_a_label_it_is_the_present_one_in_the_zone_of_the_board(
    zone: str, at: tuple[int, int, int, int], names: tuple[str, ...]
) -> None:
    found = board(counted(0, new_board(ALL)), zone=zone)
    now = datetime(*at, tzinfo=UTC).timestamp()
    assert tuple(found.find(Asked(kind), now) for kind in WindowKind) == tuple((name, None) for name in names)


def test_a_window_that_is_not_kept_is_not_shown() -> None:
    """Rows may still have what has expired: readers ignore it."""
    found = board(counted(0, new_board(ALL)))
    assert found.find(asked("day:20261125"), NOW) == ("day_20261125", None)
    with pytest.raises(NotFound) as old:
        found.find(asked("day:20261124"), NOW)
    assert str(old.value) == (
        "the board does not keep day 20261124 any more: the oldest day is now 20261125 (it keeps day:2,week:2,month:2 "
        "in UTC)"
    )
    with pytest.raises(NotFound) as none:
        board(kept=((DAY, 2),)).find(asked("week"), NOW)
    assert str(none.value) == "the board keeps no week windows: it keeps day:2 in UTC"
    with pytest.raises(NotFound) as nothing:
        board(kept=()).find(asked("week"), NOW)
    assert "it keeps no windows at all (CONSUMER_WINDOWS)" in str(nothing.value)


def test_a_window_that_begins_within_a_day_may_have_games_and_later_ones_have_none() -> None:
    found = board(counted(0, new_board(ALL)))
    assert found.find(asked("day:20261127"), NOW) == ("day_20261127", None)
    with pytest.raises(NotFound) as later:
        found.find(asked("day:20261128"), NOW)
    assert str(later.value) == "day 20261128 has not begun, in UTC"


def test_before_a_worker_of_this_version_nothing_is_known_of_windows() -> None:
    assert board_windows(Ledger((row(0),), ())) is None
    with pytest.raises(NotFound) as unknown:
        window(None, Asked(DAY), NOW)
    assert "it is not known which windows the board keeps" in str(unknown.value)


# --- complete or not ---


def test_windows_from_the_first_game_on_are_complete() -> None:
    found = board(counted(0, new_board(ALL)), counted(1, new_board(ALL)))
    assert [each.all_complete(NOW) for each in found.kinds] == [True, True, True]


def test_a_window_that_was_added_is_incomplete_until_it_has_begun_after_the_claim() -> None:
    """Claimed on Thursday: games that were dated ahead may still be counted without the window until Saturday noon."""
    added = after_claim({}, ALL, "UTC", NOW, 86_400)
    found = board(counted(0, added, 2))
    day, week, month = found.kinds
    assert found.find(Asked(DAY), NOW)[1] == (
        "day 20261126 is incomplete: days are complete from 20261129 on (2026-11-29T00:00+00:00)"
    )
    assert [each.first_complete(NOW) for each in (week, month)] == [
        ("week_2026W49", datetime(2026, 11, 30, tzinfo=UTC).timestamp()),
        ("month_202612", datetime(2026, 12, 1, tzinfo=UTC).timestamp()),
    ]
    assert not day.complete(date(2026, 11, 28), NOW + 3 * 86_400)
    assert day.complete(date(2026, 11, 29), NOW + 3 * 86_400)
    assert not day.all_complete(NOW + 3 * 86_400)
    assert day.all_complete(NOW + 4 * 86_400)
    assert not week.all_complete(NOW + 5 * 86_400)
    assert week.all_complete(NOW + 12 * 86_400)


def test_while_a_shard_is_read_by_older_rules_no_window_is_complete() -> None:
    found = board(counted(0, after_claim({}, ALL, "UTC", NOW - 20 * 86_400, 86_400), 2), counted(1, {}))
    assert found.find(Asked(WEEK), NOW) == (
        "week_2026W48",
        "week 2026W48 is incomplete: 1 shard must still be claimed by a worker that counts in it",
    )
    assert [each.first_complete(NOW) for each in found.kinds] == [None, None, None]


def test_while_a_row_is_lost_no_window_is_complete() -> None:
    """It is not known by which rules the shard's games were read."""
    rows = (counted(1, new_board(ALL)),)
    started = StreamStart(ARN, None, ("shard-0", "shard-1"), complete=True)
    for ledger in (Ledger(rows, (started,), KEPT), Ledger((), (started,), KEPT)):
        found = board_windows(ledger)
        assert found is not None
        assert not any(each.all_complete(NOW) for each in found.kinds)
    found = board_windows(Ledger((*rows, counted(0, new_board(ALL))), (started,), KEPT))
    assert found is not None
    assert all(each.all_complete(NOW) for each in found.kinds)


def test_the_latest_shard_decides_and_the_one_that_keeps_least() -> None:
    early, late = {DAY: Kind(3, NOW - 9 * 86_400)}, {DAY: Kind(2, NOW - 86_400)}
    (day,) = board(counted(0, early), counted(1, late), kept=((DAY, 3),)).kinds
    assert (day.everywhere, day.since, day.names(NOW)) == (
        2,
        NOW - 86_400,
        ["day_20261124", "day_20261125", "day_20261126"],
    )
    assert [day.complete(date(2026, 11, day_), NOW) for day_ in (24, 25, 26)] == [False, False, True]
    (day,) = board(counted(0, early), counted(1, {DAY: Kind(2)}), kept=((DAY, 3),)).kinds
    assert [day.complete(date(2026, 11, day_), NOW) for day_ in (24, 25, 26)] == [False, True, True]


def test_fewer_windows_than_before_are_as_complete_as_they_were() -> None:
    (day,) = board(counted(0, {DAY: Kind(5)}), kept=((DAY, 2),)).kinds
    assert (day.everywhere, day.all_complete(NOW)) == (2, True)


def test_a_finished_shard_says_nothing_while_others_are_read() -> None:
    parent = replace(finished(0, 1), windows={}, rules=1)
    found = board(parent, counted(1, new_board(ALL), 2))
    assert all(each.all_complete(NOW) for each in found.kinds)
    found = board(parent, replace(finished(1), windows=new_board(ALL)))
    assert all(each.all_complete(NOW) for each in found.kinds), "all is read: the last shards say it"


def test_a_shard_that_ended_with_its_stream_says_it_beside_those_of_the_next_stream() -> None:
    """A worker of rules without these windows, which read it last, has dropped them from its players' rows."""
    leaf = replace(finished(0), windows={}, rules=2)
    found = board(leaf, counted(1, new_board(ALL), 1))
    assert not any(each.all_complete(NOW) for each in found.kinds)


def test_a_midnight_that_summer_time_skips_or_repeats_begins_the_day() -> None:
    """In Lord Howe's zone the clock moves by half an hour; in Beirut it moved at midnight."""
    (day,) = board(kept=((DAY, 2),), zone="Asia/Beirut").kinds
    assert datetime.fromtimestamp(day.begins(date(2026, 3, 29)), UTC).isoformat() == "2026-03-28T22:00:00+00:00"
    (day,) = board(kept=((DAY, 2),), zone="Australia/Lord_Howe").kinds
    assert datetime.fromtimestamp(day.begins(date(2026, 10, 5)), UTC).isoformat() == "2026-10-04T13:00:00+00:00"
