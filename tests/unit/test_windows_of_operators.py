"""Windows in what operators count: by the record's creation, without those that expired two days ago."""

from decimal import Decimal

import pytest

from consumer.domain.quarantine import EntryState, decode_again, repaired
from consumer.domain.records import Game, Rules, decode, without_expired
from consumer.domain.timestamps import TimestampFormat
from consumer.domain.windows import WindowKind
from consumer.operations.quarantine import Applied, Repair
from tests.support.builders import CREATED, sequence_number, wire
from tests.support.commands import finish
from tests.support.replay_fixture import ReplayFixture, image

KEPT = tuple((kind, 2) for kind in WindowKind)
RULES = Rules(windows=KEPT)
TODAY = {window: (1, Decimal(150)) for window in ("day_20260131", "month_202601", "week_2026W05")}
DAY_SECONDS = 86_400


def game_at(days: float) -> Game:
    """A game of 31 January as an operator counts it so many days after the record's creation."""
    entry = without_expired(decode(wire(), RULES, None), RULES, CREATED + days * DAY_SECONDS)
    assert isinstance(entry, Game)
    return entry


@pytest.mark.parametrize(
    ("days", "windows"),
    [
        (-1, ("day_20260131", "month_202601", "week_2026W05")),
        (2.4, ("day_20260131", "month_202601", "week_2026W05")),
        (3.4, ("day_20260131", "month_202601", "week_2026W05")),
        (3.6, ("month_202601", "week_2026W05")),
        (10.6, ("month_202601",)),
        (100, ()),
    ],
)
def test_what_expired_two_days_ago_is_left_out(days: float, windows: tuple[str, ...]) -> None:
    """31 January expires with 2 February; noon of that is two days before half past three days later."""
    assert game_at(days).windows == windows


def test_rules_without_windows_leave_a_record_as_it_is() -> None:
    entry = decode(wire(), Rules(), None)
    assert without_expired(entry, Rules(), 1e12) is entry


def test_a_redrive_counts_in_the_windows_of_its_record() -> None:
    fixture = ReplayFixture()
    fixture.rules = RULES
    (number,) = fixture.write(image(score={"S": "many"}))
    service = fixture.service.quarantine_service
    entry = service.quarantine.entry("shard-0", number)
    assert entry is not None
    repair = Repair({"score": "150"}, only_wrong=True)
    assert isinstance(finish(service.redrive(entry, repair)), Applied)
    assert fixture.tables.board["foo"].windows == TODAY


def test_a_recount_counts_in_the_windows_of_each_record() -> None:
    fixture = ReplayFixture()
    fixture.rules = RULES
    numbers = fixture.write(image(), image(score={"S": "12"}), image())
    fixture.resolve(numbers[1], EntryState.APPLIED, score="0.5")
    fixture.recount()
    assert fixture.tables.board["foo"].windows == {window: (3, Decimal("2.5")) for window in TODAY}


def test_a_recount_of_a_later_day_leaves_out_what_has_expired() -> None:
    fixture = ReplayFixture()
    fixture.rules = RULES
    fixture.write(image())
    fixture.now += 10.6 * DAY_SECONDS
    fixture.recount()
    assert fixture.tables.board["foo"].windows == {"month_202601": (1, Decimal(1))}


# --- timestamps of another format ---


@pytest.mark.parametrize(
    ("format_", "stored"),
    [(TimestampFormat.EPOCH_SECONDS, "1769817600"), (TimestampFormat.EPOCH_MILLISECONDS, "1769817600000")],
)
def test_a_repair_gives_a_timestamp_as_ever_and_is_stored_as_the_rules_read_it(
    format_: TimestampFormat, stored: str
) -> None:
    rules = Rules(timestamp_format=format_, windows=KEPT)
    record = wire(timestamp="soon")
    made = repaired(record, {"timestamp": "2026-01-31"}, rules)
    assert made["dynamodb"]["NewImage"]["timestamp"] == {"N": stored}
    entry, used = decode_again(record, {"timestamp": "2026-01-31"}, rules, only_wrong=True)
    assert isinstance(entry, Game)
    assert (entry.date, entry.windows[0], used) == ("2026-01-31", "day_20260131", {"timestamp": "2026-01-31"})


def test_a_converted_timestamp_is_stored_as_the_rules_read_it() -> None:
    rules = Rules(timestamp_format=TimestampFormat.EPOCH_SECONDS)
    entry, used = decode_again(wire(timestamp="1769860800"), {}, rules, only_wrong=True, converts=["timestamp"])
    assert isinstance(entry, Game)
    assert (entry.date, used) == ("2026-01-31", {"timestamp": "2026-01-31T12:00:00Z"})
    assert entry.sequence_number == sequence_number(1)
