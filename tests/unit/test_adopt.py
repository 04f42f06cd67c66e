"""What `init --adopt` finds to change, and changes."""

from dataclasses import replace

import pytest

from consumer.domain.errors import UnsafeRefused
from consumer.domain.leases import BindingChange, StreamStart, TableBinding, TableNames
from consumer.operations import adopt
from tests.support.builders import ARN
from tests.support.commands import finish
from tests.support.fakes import FakeTables
from tests.support.fakes.operators import FakeTableBindings

TABLES = TableNames()
OLDER = ARN.replace("2026-01-01", "2025-12-31")
RIGHT = TableBinding(ARN, *TABLES[:2])
ELSEWHERE = replace(RIGHT, leaderboard_table="another")
STREAM_START = StreamStart(ARN, None, (), complete=True)


@pytest.mark.parametrize(
    ("bindings", "stream_starts", "changes", "sentence"),
    [
        ([], [], [], ""),
        ([RIGHT], [STREAM_START], [], ""),
        (
            [RIGHT],
            [],
            [BindingChange(ARN, RIGHT, None, has_stream_start=False)],
            "up to 24 hours of games, is counted a second",
        ),
        ([ELSEWHERE], [], [BindingChange(ARN, ELSEWHERE, None, has_stream_start=False)], "counted a second time"),
        (
            [ELSEWHERE],
            [STREAM_START],
            [BindingChange(ARN, ELSEWHERE, RIGHT, has_stream_start=True)],
            "goes on from its checkpoints",
        ),
        ([], [STREAM_START], [BindingChange(ARN, None, RIGHT, has_stream_start=True)], "nothing is counted twice"),
        (
            [replace(RIGHT, stream_arn=OLDER), RIGHT],
            [STREAM_START],
            [BindingChange(OLDER, replace(RIGHT, stream_arn=OLDER), None, has_stream_start=False)],
            "CONSUMER_START_POSITION=LATEST",
        ),
    ],
    ids=[
        "new",
        "right",
        "lease table lost",
        "another's",
        "leaderboard changed",
        "quarantine lost",
        "an older stream's",
    ],
)
def test_changes(
    bindings: list[TableBinding], stream_starts: list[StreamStart], changes: list[BindingChange], sentence: str
) -> None:
    assert adopt.binding_changes(bindings, stream_starts, TABLES) == changes
    assert sentence in " ".join(adopt.sentence(change, TABLES) for change in changes)


def test_each_change_is_made_and_audited_and_none_is_left() -> None:
    tables = FakeTables()
    tables.bindings = {ARN: ELSEWHERE, OLDER: replace(RIGHT, stream_arn=OLDER)}
    tables.stream_starts = {ARN: STREAM_START}
    bindings = FakeTableBindings(tables)
    changes = adopt.binding_changes(list(tables.bindings.values()), [STREAM_START], TABLES)
    finish(adopt.carry_out(bindings, changes, "foo@host", 5.0))
    assert tables.bindings == {ARN: RIGHT}
    assert [(entry.target, entry.detail["birth"]) for entry in bindings.trail] == [
        (OLDER, "removed"),
        (ARN, "written"),
    ]
    assert bindings.trail[1].detail["leaderboardTable"] == "another"
    assert adopt.binding_changes(list(tables.bindings.values()), [STREAM_START], TABLES) == []


def test_a_worker_that_started_meanwhile_keeps_its_binding() -> None:
    tables = FakeTables()
    tables.bindings = {ARN: RIGHT}
    bindings = FakeTableBindings(tables)
    planned = adopt.binding_changes(list(tables.bindings.values()), [], TABLES)
    tables.stream_starts = {ARN: STREAM_START}
    with pytest.raises(UnsafeRefused, match="changed concurrently"):
        finish(adopt.carry_out(bindings, planned, "foo@host", 5.0))
    assert tables.bindings == {ARN: RIGHT}
