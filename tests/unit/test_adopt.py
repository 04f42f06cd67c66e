"""What `init --adopt` finds to amend, and does."""

from dataclasses import replace

import pytest

from consumer.domain.errors import UnsafeRefused
from consumer.domain.leases import Amendment, Birth, Pin
from consumer.operations import adopt
from tests.builders import ARN
from tests.fakes import FakeTables
from tests.fakes.overseers import FakeBirths

TABLES = ("consumer-leases", "Leaderboards")
OLDER = ARN.replace("2026-01-01", "2025-12-31")
RIGHT = Birth(ARN, *TABLES)
ELSEWHERE = replace(RIGHT, leaderboard_table="another")
PIN = Pin(ARN, None, (), complete=True)


@pytest.mark.parametrize(
    ("births", "pins", "found", "told"),
    [
        ([], [], [], ""),
        ([RIGHT], [PIN], [], ""),
        ([RIGHT], [], [Amendment(ARN, RIGHT, None, pinned=False)], "up to 24 hours of games, is counted a second"),
        ([ELSEWHERE], [], [Amendment(ARN, ELSEWHERE, None, pinned=False)], "counted a second time"),
        ([ELSEWHERE], [PIN], [Amendment(ARN, ELSEWHERE, RIGHT, pinned=True)], "goes on where it stands"),
        ([], [PIN], [Amendment(ARN, None, RIGHT, pinned=True)], "nothing is counted twice"),
        (
            [replace(RIGHT, stream_arn=OLDER), RIGHT],
            [PIN],
            [Amendment(OLDER, replace(RIGHT, stream_arn=OLDER), None, pinned=False)],
            "CONSUMER_START_POSITION=LATEST",
        ),
    ],
    ids=["new", "right", "ledger lost", "another's", "leaderboard changed", "quarantine lost", "an older stream's"],
)
def test_what_is_amended(births: list[Birth], pins: list[Pin], found: list[Amendment], told: str) -> None:
    planned = adopt.amendments(births, pins, TABLES)
    assert planned == found
    assert told in " ".join(adopt.sentence(each, TABLES) for each in planned)


def test_each_is_done_and_audited_and_nothing_is_left() -> None:
    tables = FakeTables()
    tables.births = {ARN: ELSEWHERE, OLDER: replace(RIGHT, stream_arn=OLDER)}
    tables.pins = {ARN: PIN}
    births = FakeBirths(tables)
    adopt.carry_out(births, adopt.amendments(births.births(), [PIN], TABLES), "foo@host", 5.0)
    assert tables.births == {ARN: RIGHT}
    assert [(trace.target, trace.detail["birth"]) for trace in births.trail] == [(OLDER, "removed"), (ARN, "written")]
    assert births.trail[1].detail["leaderboardTable"] == "another"
    assert adopt.amendments(births.births(), [PIN], TABLES) == []


def test_a_worker_that_began_meanwhile_is_not_orphaned() -> None:
    tables = FakeTables()
    tables.births = {ARN: RIGHT}
    births = FakeBirths(tables)
    planned = adopt.amendments(births.births(), [], TABLES)
    tables.pins = {ARN: PIN}
    with pytest.raises(UnsafeRefused, match="somebody was faster"):
        adopt.carry_out(births, planned, "foo@host", 5.0)
    assert tables.births == {ARN: RIGHT}
