"""Rules of windows and of numbers that hardly any seed needs, each in the one case that does."""

from collections.abc import Iterable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from datetime import UTC, date, datetime

import pytest

from consumer.domain.accepted_rules import AcceptedRules, Reading
from consumer.domain.board_windows import board_windows
from consumer.domain.leases import LeaseRow, Ledger
from consumer.domain.records import Rules, decode
from consumer.domain.windows import WindowKind, calendar_of
from consumer.operations import quarantine
from consumer.worker import lease_assignment
from tests.simulation import change_switches
from tests.simulation.switches import Switch, switched_off
from tests.support.builders import row

DAY = WindowKind.DAY
TWO_DAYS = Rules(windows=((DAY, 2),), time_zone="Etc/GMT+12")
AT = datetime(2026, 11, 26, 23, 59, tzinfo=UTC).timestamp()


def with_or_without(rule: bool, *switches: Switch) -> AbstractContextManager[None]:
    return nullcontext() if rule else switched_off(switches)


def game(day: str, created: float) -> dict[str, object]:
    image = {"playerId": {"S": "foo"}, "score": {"N": "1"}, "timestamp": {"S": day}}
    change = {"SequenceNumber": "7", "ApproximateCreationDateTime": created, "NewImage": image}
    return {"eventName": "INSERT", "dynamodb": change}


@pytest.mark.parametrize("rule", [True, False], ids=["with", "without"])
def test_a_bare_date_ahead_that_was_read_before_a_claim_is_in_no_complete_window(rule: bool) -> None:
    """Twelve hours behind UTC the 27th begins at noon of that day: a day and a half after the game's record."""
    before = replace(TWO_DAYS, windows=())
    counted = decode(game("2026-11-27", AT - 86_400 + 60), before, None)
    assert getattr(counted, "windows", None) == (), "the owner before counts it in no day"
    accepted = AcceptedRules((before, TWO_DAYS))
    with with_or_without(rule, change_switches.margin_of_a_day):
        reading = accepted.claimed(Reading(1, {}), 2, AT - 86_400 + 61)
    board = board_windows(Ledger((row(0).read_as(reading),), (), accepted))
    assert board is not None
    noon = datetime(2026, 11, 27, 12, tzinfo=UTC).timestamp()
    assert calendar_of(TWO_DAYS.windows, TWO_DAYS.time_zone).local_day(noon) == "2026-11-27"
    (days,) = board.kinds
    assert days.complete(date(2026, 11, 27), noon) is not rule


@pytest.mark.parametrize("rule", [True, False], ids=["with", "without"])
def test_an_operator_whose_clock_is_a_day_ahead_counts_in_windows_that_are_kept(rule: bool) -> None:
    entry = decode(game("2026-11-25T23:00:00", AT - 86_400), TWO_DAYS, None)
    assert getattr(entry, "windows", None) == ("day_20261125",)
    assert calendar_of(TWO_DAYS.windows, TWO_DAYS.time_zone).oldest(AT) == ("day_20261125",), "it is kept now"
    with with_or_without(rule, change_switches.expired_for_two_days):
        kept = vars(quarantine)["without_expired"](entry, TWO_DAYS, AT + 86_000)
    assert (getattr(kept, "windows", None) == ("day_20261125",)) is rule


def held(owner: str, numbers: Iterable[int], rules: int) -> list[LeaseRow]:
    return [replace(row(number, owner), rules=rules) for number in numbers]


@pytest.mark.parametrize("rule", [True, False], ids=["with", "without"])
def test_the_shards_that_only_one_worker_may_have_are_shared_out_first(rule: bool) -> None:
    """Its rules were accepted again since it claimed the other ones, which another worker may have, too."""
    rows = [*held("w0", (0, 1), 1), *held("w0", (2, 3), 3)]
    with with_or_without(rule, change_switches.highest_rows_first):
        plan = vars(lease_assignment)["plan"](rows, {"w0": 3, "w1": 2}, "w0", [each.shard for each in rows])
    assert [shard.shard_id for shard in plan.release] == (["shard-0", "shard-1"] if rule else ["shard-1"])
