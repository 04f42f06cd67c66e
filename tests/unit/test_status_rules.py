"""What the status says of rules and windows, as an operator and as a machine see it."""

import json
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from consumer.cli.output import to_json
from consumer.cli.status import print_status, status_fields
from consumer.domain.accepted_rules import AcceptedRules
from consumer.domain.leases import LeaseRow, Ledger, StreamStart, TableBinding, TableNames
from consumer.domain.membership import HeartbeatReport, Members
from consumer.domain.operator_ports import LeaseTable
from consumer.domain.records import Rules
from consumer.domain.windows import Kept, WindowKind, after_claim, new_board
from consumer.operations.status import Limits, Scope, Status, Verdict, status
from tests.support.builders import ARN, ME, OTHER, build_shards, finished, row, shard

NOW = datetime(2026, 11, 26, 12, tzinfo=UTC).timestamp()
WINDOWS: Kept = tuple((kind, 2) for kind in WindowKind)
OLD = Rules()
NEW = Rules(score_attribute="points", windows=WINDOWS, time_zone="Europe/Berlin")
STARTS = (StreamStart(ARN, None, tuple(f"shard-{number}" for number in range(5)), complete=True),)


def heartbeat(rules: int, ago: float = 1.0, shards: int = 1) -> HeartbeatReport:
    return HeartbeatReport(5, shards, 0, 0.0, NOW - ago, rules=rules)


def reported(
    *rows: LeaseRow, accepted: tuple[Rules, ...] = (OLD, NEW), members: Mapping[str, HeartbeatReport] | None = None
) -> Status:
    starts = (replace(STARTS[0], roots=tuple(each.shard.shard_id for each in rows)),)
    table = LeaseTable(Ledger(rows, starts, AcceptedRules(accepted)), Members(1, members or {}))
    bindings = (TableBinding(ARN, TableNames().leases, TableNames().leaderboard),)
    scope = Scope("GameEvents", attributes=("playerId", "score", "timestamp"))
    return status(table, [build_shards(len(rows), {})], (), 0, NOW, 5, bindings, scope)


def by(number: int, rules: int, owner: str | None = ME) -> LeaseRow:
    return replace(row(number, owner=owner, created=NOW - 9), rules=rules)


def lines(found: Status, capsys: pytest.CaptureFixture[str], *about: str) -> list[str]:
    print_status(found, Limits(), everything=False)
    return [line for line in capsys.readouterr().out.splitlines() if line.startswith(about)]


def fields(found: Status) -> dict[str, object]:
    read: dict[str, object] = json.loads(to_json(status_fields(found, Limits())))
    return read


# --- who reads by which rules ---


def test_records_are_read_as_the_newest_accepted_rules_say(capsys: pytest.CaptureFixture[str]) -> None:
    found = reported(by(0, 2), members={ME: heartbeat(2)})
    assert lines(found, capsys, "records") == ["records     by playerId, points, timestamp (ISO): rules 2"]
    assert fields(found)["attributes"] == ["playerId", "points", "timestamp"]


def test_without_accepted_rules_the_settings_of_the_command_are_shown_as_such(
    capsys: pytest.CaptureFixture[str],
) -> None:
    found = reported(by(0, 0), accepted=(), members={ME: heartbeat(0)})
    assert lines(found, capsys, "records", "rules", "windows", "waiting") == [
        "records     by playerId, score, timestamp, as this command is set"
    ]
    read = fields(found)
    assert (read["rules"], read["timeZone"], read["windows"]) == ([], None, None)


def test_one_set_of_rules_needs_no_lines(capsys: pytest.CaptureFixture[str]) -> None:
    found = reported(by(0, 1), accepted=(OLD,), members={ME: heartbeat(1)})
    assert lines(found, capsys, "rules", "windows", "waiting") == []
    (worker,) = lines(found, capsys, "worker")
    assert "rules" not in worker


def test_in_a_rolling_release_it_says_who_reads_by_which_and_what_differs(capsys: pytest.CaptureFixture[str]) -> None:
    found = reported(
        by(0, 1), by(1, 2, OTHER), by(2, 2, OTHER), members={ME: heartbeat(1), OTHER: heartbeat(2, shards=2)}
    )
    assert lines(found, capsys, "rules") == [
        "rules       1: 1 worker, 1 shard",
        (
            "rules       2, the newest: 1 worker, 2 shards. Unlike 1: CONSUMER_SCORE_ATTRIBUTE 'points', not 'score', "
            "CONSUMER_WINDOWS 'day:2,week:2,month:2', not '', CONSUMER_TIME_ZONE 'Europe/Berlin', not 'UTC'"
        ),
    ]
    assert [line.rpartition(", ")[2] for line in lines(found, capsys, "worker")] == ["rules 1", "rules 2"]
    read = fields(found)
    assert read["rules"] == [
        {
            "number": 1,
            "workers": 1,
            "shards": 1,
            "playerAttribute": "playerId",
            "scoreAttribute": "score",
            "timestampAttribute": "timestamp",
            "timestampFormat": "iso",
            "maxFutureSeconds": 86400,
            "windows": "",
            "timeZone": "UTC",
            "corrections": "ignore",
        },
        {
            "number": 2,
            "workers": 1,
            "shards": 2,
            "playerAttribute": "playerId",
            "scoreAttribute": "points",
            "timestampAttribute": "timestamp",
            "timestampFormat": "iso",
            "maxFutureSeconds": 86400,
            "windows": "day:2,week:2,month:2",
            "timeZone": "Europe/Berlin",
            "corrections": "ignore",
        },
    ]


def test_rules_that_no_worker_and_no_shard_has_are_left_out_but_for_the_newest(
    capsys: pytest.CaptureFixture[str],
) -> None:
    found = reported(by(0, 2), accepted=(OLD, NEW, OLD), members={ME: heartbeat(2)})
    assert [line.partition(". ")[0] for line in lines(found, capsys, "rules")] == [
        "rules       2: 1 worker, 1 shard",
        "rules       3, the newest: 0 workers, 0 shards",
    ]


def test_a_silent_worker_reads_by_no_rules_and_a_joining_one_by_unknown_ones(
    capsys: pytest.CaptureFixture[str],
) -> None:
    found = reported(by(0, 1), members={ME: heartbeat(1, ago=99), OTHER: heartbeat(0)})
    assert lines(found, capsys, "rules")[0] == "rules       1: 0 workers, 1 shard"
    assert "rules unknown" in " ".join(lines(found, capsys, "worker"))


# --- shards that wait for a worker of newer rules ---


def test_a_shard_waits_while_the_living_workers_have_older_rules(capsys: pytest.CaptureFixture[str]) -> None:
    found = reported(by(0, 1), by(1, 2, None), members={ME: heartbeat(1), OTHER: heartbeat(2, ago=99)})
    assert [each.shard for each in found.waiting_for_rules] == [shard(1)]
    assert lines(found, capsys, "waiting") == [
        (
            f"waiting     1 shard waits for a worker of rules 2 or newer: {shard(1)}. "
            "The living ones read by 1 at most; next: `consumer run` with the settings of rules 2"
        )
    ]
    assert found.verdict(Limits()) is Verdict.BEHIND, "no living worker may read it"
    shards = fields(found)["shards"]
    assert isinstance(shards, list)
    assert [(each["rules"], each["waitsForRules"]) for each in shards] == [(1, False), (2, True)]


def test_many_waiting_shards_are_counted_and_some_named(capsys: pytest.CaptureFixture[str]) -> None:
    found = reported(*(by(number, 2, None) for number in range(5)), members={ME: heartbeat(1, shards=0)})
    (line,) = lines(found, capsys, "waiting")
    assert f"5 shards wait for a worker of rules 2 or newer: {shard(0)}, {shard(1)}, {shard(2)} and 2 more." in line


@pytest.mark.parametrize(
    ("rows", "members"),
    [
        ((by(0, 2, None),), {ME: heartbeat(2)}),
        ((by(0, 1, None),), {ME: heartbeat(2)}),
        ((by(0, 2),), {ME: heartbeat(2), OTHER: heartbeat(1)}),
        ((by(0, 2, None),), {}),
        ((by(0, 2, None),), {ME: heartbeat(0)}),
        ((replace(finished(0), rules=2),), {ME: heartbeat(1)}),
    ],
    ids=["a worker may", "a newer one may", "worked", "no worker at all", "of unknown rules", "finished"],
)
def test_no_shard_waits_for_rules(rows: tuple[LeaseRow, ...], members: Mapping[str, HeartbeatReport]) -> None:
    assert reported(*rows, members=members).waiting_for_rules == ()


# --- windows ---


def test_windows_that_are_complete_are_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    found = reported(replace(by(0, 1), windows=new_board(WINDOWS)), accepted=(NEW,), members={ME: heartbeat(1)})
    assert lines(found, capsys, "windows") == ["windows     day:2,week:2,month:2 in Europe/Berlin: complete"]
    read = fields(found)
    assert read["timeZone"] == "Europe/Berlin"
    windows = read["windows"]
    assert isinstance(windows, list)
    assert windows[0] == {
        "kind": "day",
        "kept": 2,
        "oldest": "day_20261125",
        "complete": True,
        "firstComplete": "day_20261125",
        "firstCompleteBegins": "2026-11-24T23:00:00.000Z",
        "shardsWithout": 0,
    }


def test_windows_that_were_added_are_incomplete_until_they_have_rolled_over(
    capsys: pytest.CaptureFixture[str],
) -> None:
    windows = after_claim({WindowKind.DAY: next(iter(new_board(WINDOWS).values()))}, WINDOWS, "UTC", NOW, 86_400)
    found = reported(replace(by(0, 2), windows=windows), members={ME: heartbeat(2)})
    assert lines(found, capsys, "windows") == [
        "windows     day:2 in Europe/Berlin: complete",
        (
            "windows     week:2 in Europe/Berlin: incomplete: weeks are complete from 2026W49 on "
            "(2026-11-30T00:00+01:00)"
        ),
        (
            "windows     month:2 in Europe/Berlin: incomplete: months are complete from 202612 on "
            "(2026-12-01T00:00+01:00)"
        ),
    ]


def test_windows_that_some_shard_is_not_counted_in_are_incomplete_without_a_date(
    capsys: pytest.CaptureFixture[str],
) -> None:
    found = reported(
        replace(by(0, 2), windows=new_board(WINDOWS)), by(1, 1), members={ME: heartbeat(2), OTHER: heartbeat(1)}
    )
    assert lines(found, capsys, "windows")[0] == (
        "windows     day:2 in Europe/Berlin: incomplete: 1 shard must still be claimed by a worker that counts in it"
    )
    windows = fields(found)["windows"]
    assert isinstance(windows, list)
    assert [windows[0][name] for name in ("complete", "firstComplete", "firstCompleteBegins", "shardsWithout")] == [
        False,
        None,
        None,
        1,
    ]


def test_a_board_without_windows_has_no_line_of_them(capsys: pytest.CaptureFixture[str]) -> None:
    found = reported(by(0, 1), accepted=(OLD,), members={ME: heartbeat(1)})
    assert lines(found, capsys, "windows") == []
    assert fields(found)["windows"] == []
