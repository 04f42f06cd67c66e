"""`consumer quarantine` as a process: what it lists, shows, counts and discards, and its errors."""

import json
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from decimal import Decimal
from typing import Any

import pytest

from consumer.demo.child_process import spawn
from tests.support.builders import ARN, sequence_number, shard, wire
from tests.support.engines import TableEngine
from tests.support.processes import Call, Fate, Game, Proxy, Row, consumer
from tests.support.processes.committed_shard import commit_wires

LATE = 1001
"""A number with one digit more than those before 1000."""
KEYS = [
    *("shardId", "sequenceNumber", "reason", "detail", "state", "playerId", "quarantinedAt", "createdAt", "streamArn"),
    *("parts", "appliedAt", "appliedBy", "repairs", "discardedAt", "discardedBy", "discardReason"),
]


@pytest.fixture
def game(engine: TableEngine) -> Iterator[Game]:
    """Shard 0: four scores as strings, one game that counts, a wrong day; shard 1: a game without a player."""
    with Game(engine) as game:
        spoiled = [wire(number, player=f"p{number % 2}", score={"S": "12"}) for number in (997, 998, 999, LATE)]
        commit_wires(game, [wire(996), *spoiled, wire(LATE + 1, player="p0", timestamp="yesterday")])
        commit_wires(game, [wire(5, player=None)], shard(1))
        yield game


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
    assert all(list(row) == KEYS for row in rows)
    assert [row["sequenceNumber"] for row in rows] == sequence(997, 998, 999, LATE, LATE + 1, 5)
    assert first == {
        **dict.fromkeys(KEYS),
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
    }
    several = ("--player", "p0", "--reason", "score_type", "--since", "2026-01-31T13:00:00+01:00", "--state", "all")
    assert numbers(game, "--shard", str(shard()), *several) == sequence(998)

    code, out, err = ended(game, "list", "--limit", "2")
    assert (code, err) == (0, "2 of 6 records shown (--limit)\n")
    assert out.splitlines()[0].split() == [
        *("shardId", "sequenceNumber", "playerId", "reason", "state", "quarantinedAt", "detail")
    ]
    assert [line.split()[1] for line in out.splitlines()[1:]] == sequence(997, 998)


def test_show(game: Game) -> None:
    code, out, err = ended(game, "show", str(shard()), sequence_number(LATE), "--json")
    assert (code, err) == (0, "")
    document = json.loads(out)
    assert list(document) == [*KEYS, "record"]
    assert document["record"] == wire(LATE, player="p1", score={"S": "12"})
    code, out, err = ended(game, "show", "shard-0", sequence_number(LATE))
    assert (code, err) == (0, "")
    above, _, record = out.partition("\n\n")
    assert "reason       score_type: score is of type 'S'; it must be N" in above
    assert json.loads(record) == wire(LATE, player="p1", score={"S": "12"})


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
    code, out, err = ended(game, "discard", *one[1:], "--reason", "late", "--yes")
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


def test_the_current_settings_decide(game: Game) -> None:
    """The producer wrote another attribute: then the settings are wrong, not the records."""
    commit_wires(
        game,
        [wire(7, image={"playerId": {"S": "p"}, "points": {"N": "3"}, "timestamp": {"S": "2026-01-31"}})],
        shard(2),
    )
    code, out, err = ended(game, "redrive", "--shard", "shard-2", "--yes", "--score-attribute", "points")
    assert (code, out, err) == (0, "1 record counted\n", "")
    assert game.board()["p"] == Row(1, Decimal(3), "2026-01-31")


def test_discard(game: Game) -> None:
    before = game.board()
    code, out, err = ended(game, "discard", "--reason-code", "score_type", "--player", "p1", "--reason", "why not")
    assert (code, out) == (4, "")
    assert "Discard 3 records of 1 shard (score_type 3)?" in err
    code, out, err = ended(
        game, "discard", "--reason-code", "score_type", "--player", "p1", "--reason", "why not", "--yes"
    )
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
    assert newest["target"] == f"{shard()} {sequence_number(LATE)}"
    assert second["target"] == f"{shard()} {sequence_number(999)}"
    assert {name: newest[name] for name in ("act", "outcome", "why", "reason", "player")} == {
        "act": "discard",
        "outcome": "discarded",
        "why": "why not",
        "reason": "score_type",
        "player": "p1",
    }
    assert newest["who"] == rows[0]["discardedBy"]
    plain = consumer("audit-log", environment=game.environment())
    assert plain.stdout.splitlines()[0].split() == ["at", "who", "act", "target", "details"]
    assert len(plain.stdout.splitlines()) == 4


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
        (2, ["redrive", "--set", "level=1", "--yes"], "--set level=1: it must be player=..., score=... or timestamp"),
        (2, ["redrive", "--set", "score=many", "--yes"], "not a number that DynamoDB can hold"),
        (2, ["redrive", "--reason", "scores", "--yes"], "there is no reason 'scores': it is one of player_missing, "),
        (2, ["list", "--since", "2026-02-01T00:00:00Z", "--until", "2026-01-01T00:00:00Z"], "nothing can match"),
        (2, ["list", "--since", "2026-02-01"], "it must be an ISO time with a zone"),
        (2, ["list", "--state", "lost"], "'lost' is not one of"),
        (2, ["list", "--limit", "0"], "0 is not in the range x>=1"),
        (2, ["discard", "--yes"], "--reason is missing"),
        (2, ["discard", "--reason", " ", "--yes"], "--reason is missing"),
        (4, ["redrive"], "add --yes to do it"),
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
            ["discard", "--shard", "shrd-0", "--reason", "x", "--yes"],
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
        (["redrive", "--yes"], "leaderboard"),
        (["redrive", "--yes"], "lease"),
        (["discard", "--reason", "x", "--yes"], "quarantine"),
    ],
)
def test_a_missing_table(ministack_game: Game, arguments: list[str], role: str) -> None:
    code, out, err = ended(ministack_game, *arguments, proxy=None, **{f"{role}_table": "nowhere"})
    assert (code, out) == (3, "")
    assert f"nowhere (CONSUMER_{role.upper()}_TABLE) does not exist: create it with `consumer init`" in err


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
    with Game(TableEngine("ministack", ministack_url)) as game, Proxy(game.engine.url) as proxy:
        commit_wires(game, [wire(each, score={"S": "12"}) for each in range(1, 21)])
        held = proxy.hold(is_write, skip=5)
        arguments = ["quarantine", "redrive", "--set", "score=12", "--yes"]
        process = spawn(
            [sys.executable, "-m", "consumer", *arguments],
            env=game.environment(proxy),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        held.wait_caught()
        process.send_signal(number)
        stdout, stderr = process.communicate(timeout=30)
        assert (process.returncode, stdout) == (130, b"")
        assert stderr == b"Stopped: 5 counted, 15 of 20 records not tried; run it again for the rest.\n"
        held.let_go()
        assert game.board()["foo"].games == 6, "the sixth was in flight"
        code, out, _ = ended(game, *arguments[1:])
        assert (code, out) == (0, "14 records counted\n")
        assert game.board() == {"foo": Row(20, Decimal(240), "2026-01-31")}


def test_without_permission_it_reports_progress(game: Game) -> None:
    seen: list[Call] = []

    def deny_the_third(call: Call) -> Fate:
        if is_write(call):
            seen.append(call)
        return Fate.DENY if is_write(call) and len(seen) > 2 else Fate.PASS

    with Proxy(game.engine.url, deny_the_third) as proxy:
        code, out, err = ended(game, "redrive", "--set", "score=12", "--yes", proxy=proxy)
    assert (code, out) == (3, "")
    assert "Stopped: 2 counted, 4 of 6 records not tried; run it again for the rest." in err
    assert "AWS denies access: check the credentials and the permissions of this role" in err
    assert numbers(game, "--state", "applied") == sequence(997, 998)
