"""`consumer quarantine` as a process: what it lists, shows, counts and discards, and its errors."""

import csv
import json
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from consumer.aws.items import BINDING, SOURCE_KEY, lease_key, quarantine_key
from consumer.aws.rule_items import RULES_NAME, rules_list
from consumer.aws.tables import LEADERBOARD_KEYS, LEASE_KEYS, DynamoTables
from consumer.demo.child_process import spawn
from consumer.domain.accepted_rules import AcceptedRules
from consumer.domain.leases import label_of
from consumer.domain.records import Rules
from tests.support.builders import ARN, sequence_number, shard, wire
from tests.support.engines import TableEngine
from tests.support.processes import Call, Fate, Game, Proxy, Row, consumer, until
from tests.support.processes.committed_shard import commit_wires

LATE = 1001
"""A number with one digit more than those before 1000."""
KEYS = [
    *("shardId", "sequenceNumber", "reason", "detail", "state", "playerId", "quarantinedAt", "createdAt", "streamArn"),
    *("parts", "appliedAt", "appliedBy", "repairs", "discardedAt", "discardedBy", "discardReason"),
    *("supersededAt", "kept"),
]
LISTED = [*KEYS, "value", "itemKey"]


@pytest.fixture
def game(engine: TableEngine) -> Iterator[Game]:
    """Shard 0: four scores as strings, one game that counts, a wrong day; shard 1: a game without a player."""
    with Game(engine) as game:
        spoiled = [wire(number, player=f"p{number % 2}", score={"S": "12"}) for number in (997, 998, 999, LATE)]
        commit_wires(game, [wire(996), *map(keyed, spoiled), wire(LATE + 1, player="p0", timestamp="yesterday")])
        commit_wires(game, [wire(5, player=None)], shard(1))
        yield game


def keyed(record: dict[str, Any]) -> dict[str, Any]:
    """The record as it comes from a table with this key."""
    change = record["dynamodb"]
    keys = {name: change["NewImage"][name] for name in ("playerId", "timestamp")}
    return {**record, "dynamodb": {**change, "Keys": keys}}


def ended(game: Game, *arguments: str, proxy: Proxy | None = None, **settings: str) -> tuple[int, str, str]:
    """Exit code, stdout and stderr of `consumer quarantine`."""
    done = consumer("quarantine", *arguments, environment=game.environment(proxy, **settings))
    assert "Traceback" not in done.stderr
    assert "unexpected" not in done.stderr
    return done.returncode, done.stdout, done.stderr


def listed(game: Game, *filters: str) -> list[dict[str, Any]]:
    code, out, err = ended(game, "list", "--json", *filters)
    assert (code, err) == (0, "")
    rows: list[dict[str, Any]] = json.loads(out)
    return rows


def numbers(game: Game, *filters: str) -> list[str]:
    return [row["sequenceNumber"] for row in listed(game, *filters)]


def sequence(*positions: int) -> list[str]:
    return [sequence_number(position) for position in positions]


def test_list(game: Game) -> None:
    first, *_ = rows = listed(game)
    assert all(list(row) == LISTED for row in rows)
    assert [row["sequenceNumber"] for row in rows] == sequence(997, 998, 999, LATE, LATE + 1, 5)
    assert first == {
        **dict.fromkeys(LISTED),
        "shardId": "shard-0",
        "sequenceNumber": sequence_number(997),
        "reason": "score_type",
        "detail": "score is of type 'S'; it must be N",
        "state": "pending",
        "playerId": "p1",
        "quarantinedAt": "2026-01-31T12:00:00.000Z",
        "createdAt": 1769860800,
        "streamArn": ARN,
        "parts": 1,
        "value": {"S": "12"},
        "itemKey": {"playerId": {"S": "p1"}, "timestamp": wire(997)["dynamodb"]["NewImage"]["timestamp"]},
    }
    several = ("--player", "p0", "--reason", "score_type", "--since", "2026-01-31T13:00:00+01:00", "--state", "all")
    assert numbers(game, "--shard", str(shard()), *several) == sequence(998)

    code, out, err = ended(game, "list", "--limit", "2")
    assert (code, err) == (0, "2 of 6 records shown (--limit)\n")
    heading, reason, names, one, two, *summary = out.splitlines()
    assert heading == f"shard {shard()}"
    assert reason == "score_type: score is of type 'S'; it must be N"
    assert names.split() == ["sequenceNumber", "playerId", "value", "timestamp"]
    assert [line.split()[:3] for line in (one, two)] == [
        [sequence_number(997), "p1", '{"S":"12"}'],
        [sequence_number(998), "p0", '{"S":"12"}'],
    ]
    assert [line.split()[:5] for line in summary if line] == [
        ["reason", "state", "records", "players", "shards"],
        ["score_type", "pending", "4", "2", "1"],
        ["timestamp_invalid", "pending", "1", "1", "1"],
        ["player_missing", "pending", "1", "0", "1"],
    ]
    assert ended(game, "list", "--summary")[1].splitlines() == [line for line in summary if line]


def test_show(game: Game) -> None:
    code, out, err = ended(game, "show", str(shard()), sequence_number(LATE), "--json")
    assert (code, err) == (0, "")
    document = json.loads(out)
    assert list(document) == [*LISTED, "record"]
    assert document["record"] == keyed(wire(LATE, player="p1", score={"S": "12"}))
    code, out, err = ended(game, "show", "shard-0", sequence_number(LATE))
    assert (code, err) == (0, "")
    above, _, record = out.partition("\n\n")
    assert "reason       score_type: score is of type 'S'; it must be N" in above
    assert json.loads(record) == keyed(wire(LATE, player="p1", score={"S": "12"}))


def test_redrive_one_and_it_cannot_be_done_again(game: Game) -> None:
    one = ("redrive", "shard-0", sequence_number(LATE))
    code, out, err = ended(game, *one, "--yes")
    assert (code, out) == (4, "0 records counted; 1 still poison (score_type 1)\n")
    assert "score is of type 'S'; it must be N" in err
    before = game.board()

    code, out, err = ended(game, *one, "--set", "score=2.5", "--set", "player=new")
    assert (code, out) == (4, "")
    assert "add --yes to do it" in err
    assert game.board() == before

    code, out, err = ended(game, *one, "--set", "score=2.5", "--set", "player=new", "--yes")
    assert (code, out, err) == (0, "1 record counted\n", "")
    assert game.board() == before | {"new": Row(1, Decimal("2.5"), "2026-01-31")}
    (row,) = listed(game, "--state", "applied")
    assert row["repairs"] == {"player": "new", "score": "2.5"}
    assert row["appliedBy"]
    assert row["playerId"] == "p1", "what came stays"
    assert len(game.quarantined_by_shard()) == 6

    code, out, err = ended(game, *one, "--yes")
    assert (code, out) == (4, "")
    assert f"is applied already by {row['appliedBy']} at {row['appliedAt']}" in err
    code, out, err = ended(game, "discard", *one[1:], "--because", "late", "--yes")
    assert (code, out) == (4, "")
    assert "is applied already by" in err


def test_redrive_many(game: Game) -> None:
    before = game.board()
    many = ("redrive", "--shard", "shard-0", "--set", "score=12")
    code, out, err = ended(game, *many, "--dry-run", "--json")
    assert code == 4
    gains = {row.pop("playerId"): row for row in json.loads(out)}
    assert gains == {
        "p0": {"gamesPlayed": 1, "totalScore": 12, "lastPlayedDate": "2026-01-31"},
        "p1": {"gamesPlayed": 3, "totalScore": 36, "lastPlayedDate": "2026-01-31"},
    }
    assert "1 still poison" not in out
    assert f"would stay: {shard()} {sequence_number(LATE + 1)}: timestamp_invalid" in err
    assert game.board() == before, "a dry run writes nothing"

    code, out, err = ended(game, *many, "--yes", "--json")
    assert (code, json.loads(out)) == (4, {"applied": 4, "stillPoison": {"timestamp_invalid": 1}, "takenByOthers": 0})
    assert "timestamp is 'yesterday'" in err
    assert game.board() == before | {
        "p0": Row(1, Decimal(12), "2026-01-31"),
        "p1": Row(3, Decimal(36), "2026-01-31"),
    }
    code, out, err = ended(game, *many, "--set", "timestamp=2026-01-30", "--yes")
    assert (code, out, err) == (0, "1 record counted\n", "")
    assert game.board()["p0"] == Row(2, Decimal(162), "2026-01-31"), "its score was right, and a later date stays"
    assert ended(game, *many, "--yes")[:2] == (0, "0 records counted\n")


def test_the_accepted_rules_decide_and_without_any_the_settings(game: Game) -> None:
    """The producer writes another attribute: then the rules were wrong, not the records."""
    commit_wires(
        game,
        [
            wire(seq, image={"playerId": {"S": "p"}, "points": {"N": "3"}, "timestamp": {"S": "2026-01-31"}})
            for seq in (7, 8)
        ],
        shard(2),
    )
    one = ("redrive", "shard-2", sequence_number(7), "--yes")
    assert ended(game, *one)[0] == 4, "it has no score"
    assert ended(game, *one, score_attribute="points") == (0, "1 record counted\n", "")
    assert game.board()["p"] == Row(1, Decimal(3), "2026-01-31")

    accepted = AcceptedRules((Rules(), Rules(score_attribute="points")))
    game.client.update_item(
        TableName=game.tables["lease"],
        Key=lease_key(SOURCE_KEY),
        UpdateExpression="SET #rules = :accepted",
        ExpressionAttributeNames=RULES_NAME,
        ExpressionAttributeValues={":accepted": rules_list(accepted)},
    )
    other = ("redrive", "shard-2", sequence_number(8), "--yes")
    code, out, err = ended(game, *other, score_attribute="wins")
    assert (code, out) == (0, "1 record counted\n")
    assert err == (
        "Records are read by the accepted rules 2: CONSUMER_SCORE_ATTRIBUTE is 'wins' here and 'points' there.\n"
    )
    assert game.board()["p"] == Row(2, Decimal(6), "2026-01-31")


def test_discard(game: Game) -> None:
    before = game.board()
    code, out, err = ended(game, "discard", "--reason", "score_type", "--player", "p1", "--because", "why not")
    assert (code, out) == (4, "")
    assert "Discard 3 records of 1 shard (score_type 3)?" in err
    code, out, err = ended(game, "discard", "--reason", "score_type", "--player", "p1", "--because", "why not", "--yes")
    assert (code, out, err) == (0, "3 records discarded\n", "")
    rows = listed(game, "--state", "discarded")
    assert [row["sequenceNumber"] for row in rows] == sequence(997, 999, LATE)
    assert {row["discardReason"] for row in rows} == {"why not"}
    assert len(game.quarantined_by_shard()) == 6, "nothing is deleted"
    assert game.board() == before
    code, out, err = ended(game, "redrive", "shard-0", sequence_number(LATE), "--set", "score=1", "--yes")
    assert (code, out) == (4, "")
    assert "is discarded already by" in err

    audit = consumer("audit-log", "--json", "--limit", "2", environment=game.environment())
    assert (audit.returncode, audit.stderr) == (0, "")
    newest, second = json.loads(audit.stdout)
    assert newest["command"] == second["command"]
    targets = {f"{shard()} {number}" for number in sequence(997, 999, LATE)}
    assert {newest["target"], second["target"]} < targets
    assert {name: newest[name] for name in ("act", "outcome", "why", "reason", "player")} == {
        "act": "discard",
        "outcome": "discarded",
        "why": "why not",
        "reason": "score_type",
        "player": "p1",
    }
    assert newest["who"] == rows[0]["discardedBy"]
    plain = consumer("audit-log", environment=game.environment())
    assert plain.stdout.splitlines()[0].split() == ["at", "act", "target", "who", "details"]
    assert len(plain.stdout.splitlines()) == 2, "what one command did is one line"


# --- what is wrong ---


@pytest.mark.parametrize(
    ("code", "arguments", "text"),
    [
        (2, ["show", "shard-0", "12x"], "'12x' is no sequence number"),
        (2, ["show", "shard-0", "1" * 41], "is no sequence number: it has up to 40 decimal digits"),
        (2, ["redrive", "shard-0", "", "--yes"], "'' is no sequence number"),
        (2, ["redrive", "shard-0", "--yes"], "without SEQ: name both, or all records of the shard with --shard"),
        (
            2,
            ["redrive", "shard-0", "1", "--player", "p", "--yes"],
            "and --player selects several: use one of the two",
        ),
        (2, ["redrive", "--yes"], "which records? Name one (SHARD SEQ), or use a filter (--shard, --player, --reason,"),
        (2, ["restore", "--yes"], "or --all for every one that is discarded"),
        (2, ["redrive", "--all", "--reason", "score_type", "--yes"], "--all means every record, and --reason selects"),
        (2, ["redrive", "--all", "--convert", "player", "--yes"], "'player' is not one of 'score', 'timestamp'"),
        (2, ["redrive", "--all", "--convert", "score", "--set", "score=1"], "--set and --convert both name score"),
        (2, ["list", "--json", "--export", "-"], "use one of the two"),
        (2, ["list", "--export", "/nowhere/x.csv"], "--export /nowhere/x.csv: No such file or directory"),
        (2, ["redrive", "--set", "level=1", "--yes"], "--set level=1: it must be player=..., score=... or timestamp"),
        (2, ["redrive", "--set", "score=many", "--yes"], "not a number that DynamoDB can hold"),
        (2, ["redrive", "--reason", "scores", "--yes"], "there is no reason 'scores': it is one of player_missing, "),
        (2, ["list", "--since", "2026-02-01T00:00:00Z", "--until", "2026-01-01T00:00:00Z"], "nothing can match"),
        (2, ["list", "--since", "2026-02-01"], "it must be an ISO time with a zone"),
        (2, ["list", "--state", "lost"], "'lost' is not one of"),
        (2, ["list", "--limit", "0"], "is not a whole number from 1"),
        (2, ["discard", "--all", "--yes"], "--because is missing"),
        (2, ["discard", "--all", "--because", " ", "--yes"], "--because is missing"),
        (2, ["discard", "--reason", "score_type", "--yes"], "--because is missing"),
        (2, ["discard", "--because", "why", "--yes"], "which records?"),
        (2, ["discard", "--reason", "a cheater", "--because", "why"], "there is no reason 'a cheater'"),
        (4, ["redrive", "--all"], "add --yes to do it"),
        (4, ["discard", "--all", "--because", "why"], "add --yes to do it"),
        (5, ["show", "shard-9", "1"], "there is no shard 'shard-9': the nearest ones are shard-"),
        (
            5,
            ["show", "other/shard-0", sequence_number(LATE)],
            "there is no shard 'other/shard-0': the nearest ones are",
        ),
        (5, ["show", "shard-0", sequence_number(996)], f"the nearest one is {sequence_number(997)}"),
        (
            5,
            ["redrive", "shard-0", "1", "--yes"],
            "record 1 of shard 'shard-0' is not in quarantine: of the 5 that are",
        ),
        (
            5,
            ["discard", "--shard", "shrd-0", "--because", "x", "--yes"],
            "there is no shard 'shrd-0': the nearest ones are",
        ),
        (5, ["list", "--shard", "shard-7"], "there is no shard 'shard-7'"),
    ],
)
def test_bad_input(ministack_game: Game, code: int, arguments: list[str], text: str) -> None:
    before = ministack_game.rows("quarantine")
    result = ended(ministack_game, *arguments)
    assert result[:2] == (code, ""), result
    assert text in result[2]
    assert ministack_game.rows("quarantine") == before


@pytest.fixture(scope="module")
def ministack_game(ministack_url: str) -> Iterator[Game]:
    with Game(TableEngine("ministack", ministack_url)) as game:
        commit_wires(game, [wire(996), *(wire(number, score={"S": "12"}) for number in range(997, 1002))])
        yield game


@pytest.mark.parametrize(
    ("arguments", "role"),
    [
        (["list"], "quarantine"),
        (["show", "shard-0", "1"], "quarantine"),
        (["redrive", "--all", "--yes"], "leaderboard"),
        (["redrive", "--all", "--yes"], "lease"),
        (["discard", "--all", "--because", "x", "--yes"], "quarantine"),
    ],
)
def test_a_missing_table(ministack_game: Game, arguments: list[str], role: str) -> None:
    code, out, err = ended(ministack_game, *arguments, proxy=None, **{f"{role}_table": "nowhere"})
    assert (code, out) == (3, "")
    assert f"nowhere (CONSUMER_{role.upper()}_TABLE) does not exist: check its name and the region" in err


@pytest.mark.parametrize(
    ("command", "role"), [(("resume", "shard-0", "--yes"), "lease"), (("audit-log",), "quarantine")]
)
def test_a_missing_table_elsewhere(ministack_game: Game, command: tuple[str, ...], role: str) -> None:
    done = consumer(*command, environment=ministack_game.environment(None, **{f"{role}_table": "nowhere"}))
    assert (done.returncode, done.stdout) == (3, "")
    assert f"nowhere (CONSUMER_{role.upper()}_TABLE) does not exist" in done.stderr


# --- failed calls, interruptions ---


def fates(fate: Fate, matches: Callable[[Call], bool], times: int = 1) -> Callable[[Call], Fate]:
    """The first so many calls that match."""
    left = times

    def choose(call: Call) -> Fate:
        nonlocal left
        if left and matches(call):
            left -= 1
            return fate
        return Fate.PASS

    return choose


def is_write(call: Call) -> bool:
    return call.operation == "TransactWriteItems"


@pytest.mark.parametrize("fate", [Fate.DROP_REPLY, Fate.FAIL_AFTER, Fate.DROP_CALL])
def test_lost_replies_count_once(game: Game, fate: Fate) -> None:
    before = game.board()
    with Proxy(game.engine.url, fates(fate, is_write, 3)) as proxy:
        result = ended(game, "redrive", "--reason", "score_type", "--set", "score=12", "--yes", proxy=proxy)
    assert result == (0, "4 records counted\n", "")
    assert game.board() == before | {
        "p0": Row(1, Decimal(12), "2026-01-31"),
        "p1": Row(3, Decimal(36), "2026-01-31"),
    }


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_reports_progress_and_the_rest_is_done_later(ministack_url: str, number: signal.Signals) -> None:
    """Three players with 40 records each: a transaction for each of them, and the third is held."""
    with Game(TableEngine("ministack", ministack_url)) as game, Proxy(game.engine.url) as proxy:
        commit_wires(game, [wire(each, player=f"p{each % 3}", score={"S": "12"}) for each in range(1, 121)])
        held = proxy.hold(is_write, skip=2)
        arguments = ["quarantine", "redrive", "--all", "--set", "score=12", "--yes"]
        process = spawn(
            [sys.executable, "-m", "consumer", *arguments],
            env=game.environment(proxy),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        held.wait_caught()
        until(lambda: sum(row.games for row in game.board().values()) >= 80, "two of three are counted")
        process.send_signal(number)
        stdout, stderr = process.communicate(timeout=30)
        assert (process.returncode, stdout) == (130, b"")
        assert re.fullmatch(
            rb"Stopped: (40|80) counted; of the other (80|40) of 120 records those in flight may be too. "
            rb"Run it again for the rest: no record is counted twice.\n",
            stderr,
        )
        held.let_go()
        code, out, _ = ended(game, *arguments[1:])
        assert (code, out) in {(0, "40 records counted\n"), (0, "0 records counted\n")}, "the third was in flight"
        assert game.board() == {f"p{player}": Row(40, Decimal(480), "2026-01-31") for player in range(3)}


def test_without_permission_it_reports_progress(ministack_url: str) -> None:
    seen: list[Call] = []

    def deny_the_third(call: Call) -> Fate:
        if is_write(call):
            seen.append(call)
        return Fate.DENY if is_write(call) and len(seen) > 2 else Fate.PASS

    with Game(TableEngine("ministack", ministack_url)) as game, Proxy(game.engine.url, deny_the_third) as proxy:
        commit_wires(game, [wire(each, player=f"p{each % 4}", score={"S": "12"}) for each in range(1, 161)])
        code, out, err = ended(game, "redrive", "--all", "--set", "score=12", "--yes", proxy=proxy)
        assert (code, out) == (3, "")
        assert "Stopped: 80 counted; of the other 80 of 160 records" in err
        assert "AWS denies access: check the credentials and the permissions of this role" in err
        assert sum(row.games for row in game.board().values()) == 80
        assert len(numbers(game, "--state", "applied")) == 80


# --- the right board, own values, a discard taken back ---


def test_a_redrive_counts_into_the_stream_s_own_board_only(game: Game) -> None:
    """Another board, with tables of its own right form: it would count there, with exit code 0."""
    other = f"{game.tables['leaderboard']}-other"
    DynamoTables(game.client, game.streams, threading.Event()).ensure(other, LEADERBOARD_KEYS)
    for more in (("--yes",), ("--dry-run",)):
        code, out, err = ended(game, "redrive", "--all", "--set", "score=12", *more, leaderboard_table=other)
        assert (code, out) == (4, "")
        assert f"is counted into {game.tables['leaderboard']}, and the configured leaderboard is {other}" in err
        assert "Next: correct CONSUMER_LEADERBOARD_TABLE" in err
    assert numbers(game, "--state", "applied") == []
    key = quarantine_key(BINDING, label_of(ARN))
    game.client.delete_item(TableName=game.tables["quarantine"], Key=key)
    code, out, err = ended(game, "redrive", "--all", "--set", "score=12", "--yes")
    assert (code, out) == (4, "")
    assert "Next: check CONSUMER_QUARANTINE_TABLE" in err


def test_other_commands_that_write_check_the_lease_table(game: Game) -> None:
    other = f"{game.tables['lease']}-other"
    DynamoTables(game.client, game.streams, threading.Event()).ensure(other, LEASE_KEYS)
    for row in game.rows("lease"):
        game.client.put_item(TableName=other, Item=row)
    command = ("checkpoint", "set", "shard-0", sequence_number(7), "--yes")
    done = consumer(*command, environment=game.environment(None, lease_table=other))
    assert (done.returncode, done.stdout) == (4, "")
    assert f"is counted by lease table {game.tables['lease']}, and the configured one is {other}" in done.stderr


def test_each_record_gets_its_own_value(ministack_url: str) -> None:
    with Game(TableEngine("ministack", ministack_url)) as game:
        scores = ("2.5", " 7 ", "1,234", "many", "30")
        wires = [wire(number, player=f"p{number}", score={"S": score}) for number, score in enumerate(scores, 1)]
        wires.append(wire(6, player="p6", score={"S": "9"}, timestamp={"N": "1769774400"}))
        commit_wires(game, wires)
        both = ("redrive", "--reason", "score_type", "--convert", "score", "--convert", "timestamp")
        code, out, err = ended(game, *both, "--dry-run")
        assert code == 4
        assert f"shard {shard()}" in out
        assert re.search(rf'{sequence_number(1)} +p1 +score {{"S":"2.5"}} +2.5 *\n', out)
        assert re.search(r'p6 +score .*timestamp {"N":"1769774400"} +9, 2026-01-30T12:00:00Z *\n', out)
        assert re.search(r"p6 +\+1 +\+9 +2026-01-30", out), "what each player would get"
        assert "'1,234' can be read in more than one way" in err
        assert "'many' is no number" in err
        assert "4 records would be counted; 2 would stay (score_type 2)" in err
        assert game.board() == {}

        code, out, err = ended(game, *both, "--yes")
        assert (code, out) == (4, "4 records counted; 2 still poison (score_type 2)\n")
        assert game.board() == {
            "p1": Row(1, Decimal("2.5"), "2026-01-31"),
            "p2": Row(1, Decimal(7), "2026-01-31"),
            "p5": Row(1, Decimal(30), "2026-01-31"),
            "p6": Row(1, Decimal(9), "2026-01-30"),
        }
        assert numbers(game) == sequence(3, 4)
        applied = {row["playerId"]: row["repairs"] for row in listed(game, "--state", "applied")}
        assert applied["p6"] == {"score": "9", "timestamp": "2026-01-30T12:00:00Z"}
        audit = json.loads(consumer("audit-log", "--json", environment=game.environment()).stdout)
        assert {row["leaderboardTable"] for row in audit} == {game.tables["leaderboard"]}
        plain = consumer("audit-log", environment=game.environment()).stdout.splitlines()
        assert len(plain) == 2
        assert "4 records" in plain[1], "what one command did is one line"


def test_a_discard_is_taken_back(game: Game) -> None:
    before = game.board()
    assert ended(game, "discard", "--reason", "score_type", "--because", "a mistake", "--yes")[0] == 0
    assert len(numbers(game)) == 2, "only what the filter selects"
    code, out, err = ended(game, "restore", "--player", "p1")
    assert (code, out) == (4, "")
    assert "Restore 3 records of 1 shard (score_type 3)? They are pending then." in err
    assert ended(game, "restore", "--player", "p1", "--yes") == (0, "3 records restored\n", "")
    code, out, err = ended(game, "restore", "shard-0", sequence_number(997), "--yes")
    assert (code, out) == (4, "")
    assert "is pending: it cannot be restored" in err
    assert (
        ended(game, "restore", "--all", "--yes", "--json")[1] == '{"restored": 1, "expired": 0, "takenByOthers": 0}\n'
    )
    assert len(numbers(game)) == 6
    assert ended(game, "redrive", "--reason", "score_type", "--convert", "score", "--yes")[1] == "4 records counted\n"
    assert game.board() == before | {
        "p0": Row(1, Decimal(12), "2026-01-31"),
        "p1": Row(3, Decimal(36), "2026-01-31"),
    }
    audit = json.loads(consumer("audit-log", "--json", environment=game.environment()).stdout)
    assert [row["act"] for row in audit] == ["redrive"] * 4 + ["restore"] * 4 + ["discard"] * 4


def test_export(game: Game, tmp_path: Path) -> None:
    lines, table = tmp_path / "poison.jsonl", tmp_path / "poison.csv"
    for file in (lines, table):
        code, out, err = ended(game, "list", "--export", str(file))
        assert (code, out, err) == (0, "", f"6 records written to {file}\n")
    rows = [json.loads(line) for line in lines.read_text().splitlines()]
    assert rows == listed(game)
    with table.open(newline="") as opened:
        head, *cells = csv.reader(opened)
    assert head == LISTED
    assert [row[head.index("sequenceNumber")] for row in cells] == sequence(997, 998, 999, LATE, LATE + 1, 5)
    assert json.loads(cells[0][head.index("value")]) == {"S": "12"}
    assert ended(game, "list", "--limit", "1", "--export", "-")[1].count("\n") == 1
    code, out, err = ended(game, "list", "--export", str(table))
    assert (code, out) == (2, "")
    assert f"--export {table}: File exists" in err
