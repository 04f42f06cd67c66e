"""`consumer top` as a process on both engines: every page, every digit, and its errors."""

import json
import random
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from zoneinfo import ZoneInfo

import pytest

from tests.support.engines import TableEngine
from tests.support.processes import Fate, Game, Proxy, consumer
from tests.support.processes.game import Item

HUGE = "99" + "0" * 124
LONG = "1234567890123456789012345678901234567"  # a 38th digit follows


@pytest.fixture
def game(engine: TableEngine) -> Iterator[Game]:
    with Game(engine) as game:
        yield game


def store(game: Game, rows: list[Item]) -> None:
    """Writes rows of the leaderboard, as other programs may have written them."""
    table = game.tables["leaderboard"]
    for start in range(0, len(rows), 25):
        reply = game.client.batch_write_item(
            RequestItems={table: [{"PutRequest": {"Item": row}} for row in rows[start : start + 25]]}
        )
        assert not reply.get("UnprocessedItems")


def player(name: str, games: str, total: str) -> Item:
    return {
        "playerId": {"S": name},
        "gamesPlayed": {"N": games},
        "totalScore": {"N": total},
        "lastPlayedDate": {"S": "2026-01-31"},
    }


def top(game: Game, *arguments: str, proxy: Proxy | None = None) -> tuple[int, str, str]:
    """Exit code, stdout and stderr."""
    ended = consumer("top", *arguments, environment=game.environment(proxy))
    return ended.returncode, ended.stdout, ended.stderr


def test_digits_ties_and_rows_that_another_program_spoiled(game: Game) -> None:
    store(
        game,
        [
            player("tie-b", "2", LONG + "8"),
            player("tie-a", "3", LONG + "8"),
            player("less", "1", LONG + "7"),
            player("huge", "4", HUGE),
            player("small", "5", "-0.5"),
            {"playerId": {"S": "spoiled"}, "gamesPlayed": {"S": "6"}, "totalScore": {"NULL": True}, "more": {"N": "1"}},
        ],
    )
    code, out, err = top(game, "--json")
    assert (code, err) == (0, "")
    assert json.loads(out, parse_int=Decimal, parse_float=Decimal) == [
        {"playerId": name, "gamesPlayed": games, "totalScore": total, "lastPlayedDate": "2026-01-31"}
        for name, games, total in (
            ("huge", 4, Decimal(HUGE)),
            ("tie-a", 3, Decimal(LONG + "8")),
            ("tie-b", 2, Decimal(LONG + "8")),
            ("less", 1, Decimal(LONG + "7")),
            ("small", 5, Decimal("-0.5")),
        )
    ] + [{"playerId": "spoiled", "gamesPlayed": None, "totalScore": None, "lastPlayedDate": None}]
    assert HUGE in out

    code, out, err = top(game, "--by", "gamesPlayed", "--limit", "2")
    assert (code, err) == (0, "")
    assert [line.split()[:3] for line in out.splitlines()[1:]] == [["1", "small", "5"], ["2", "huge", "4"]]


def test_a_player_whose_games_were_all_poison_is_not_on_the_board(game: Game) -> None:
    game.count(game.make("ada", "12"))
    game.put([game.make("bob") | {"score": {"S": "12"}}])
    worker = game.worker()
    game.wait_until_consumed()
    worker.kill()
    assert {row["playerId"]["S"]: row["gamesPlayed"]["N"] for row in game.rows("leaderboard")} == {
        "ada": "1",
        "bob": "0",
    }
    code, out, _ = top(game, "--json")
    assert (code, [row["playerId"] for row in json.loads(out)]) == (0, ["ada"])
    ended = consumer("quarantine", "redrive", "--all", "--set", "score=5", "--yes", environment=game.environment())
    assert ended.returncode == 0, ended.stderr
    code, out, _ = top(game, "--json")
    assert [(row["playerId"], row["totalScore"]) for row in json.loads(out)] == [("ada", 12), ("bob", 5)]


def test_more_than_one_page(game: Game) -> None:
    """Names of 2,000 bytes, 700 of them: more than the megabyte that a page holds."""
    names = [f"{number:04}-".ljust(2_000, "x") for number in range(700)]
    random.Random(1).shuffle(names)
    store(game, [player(name, "1", str(place)) for place, name in enumerate(names)])
    with Proxy(game.engine.url) as proxy:
        code, out, err = top(game, "--json", "--limit", "500", proxy=proxy)
        assert (code, err) == (0, "")
        assert len(proxy.of("Scan")) >= 2
        assert all(call.request["ConsistentRead"] for call in proxy.of("Scan"))
    assert [(row["playerId"], row["totalScore"]) for row in json.loads(out)] == [
        (names[place], place) for place in range(699, 199, -1)
    ]


@pytest.mark.parametrize("denied", ["DescribeTable", "Scan"])
def test_without_permission(game: Game, denied: str) -> None:
    with Proxy(game.engine.url, lambda call: Fate.DENY if call.operation == denied else Fate.PASS) as proxy:
        code, out, err = top(game, "--json", proxy=proxy)
    assert (code, out) == (3, "")
    assert "check the credentials and the permissions" in err
    assert denied in err
    assert "Traceback" not in err


def test_without_the_table_and_with_another_key(game: Game) -> None:
    code, out, err = top(game, "--leaderboard-table", "nowhere")
    assert (code, out) == (3, "")
    assert "nowhere (CONSUMER_LEADERBOARD_TABLE) does not exist: check its name and the region" in err

    code, out, err = top(game, "--leaderboard-table", game.tables["quarantine"])
    assert (code, out) == (3, "")
    assert "has the key shardId (S) + sequenceNumber (S); playerId (S) is needed" in err

    code, out, err = top(game, "--window", "day", "--lease-table", "nowhere")
    assert (code, out) == (3, "")
    assert "nowhere (CONSUMER_LEASE_TABLE) does not exist" in err


def test_a_window_of_a_board_that_a_worker_keeps(game: Game) -> None:
    """Today's games, those of the day before, and one from before the windows that are kept; in the board's zone."""
    now = datetime.now(UTC)
    zone = "Pacific/Kiritimati" if now.hour != 9 else "Asia/Tokyo"  # no midnight while it runs
    today = now.astimezone(ZoneInfo(zone)).date()
    worker = game.worker(windows="day:2,month:1", time_zone=zone)
    for name, score, days in (("ada", "5", 0), ("bob", "7", 0), ("bob", "100", 1), ("old", "900", 2)):
        game.count(game.make(name, score, (today - timedelta(days)).isoformat()))
    game.wait_until_consumed()
    assert worker.terminate().code == 0

    code, out, err = top(game, "--window", f"day:{today}", "--json")
    assert (code, err) == (0, f"day {today:%Y%m%d} in {zone}\n")
    assert [(row["playerId"], row["gamesPlayed"], row["totalScore"]) for row in json.loads(out)] == [
        ("bob", 1, 7),
        ("ada", 1, 5),
    ]
    code, out, err = top(game, "--window", f"day:{today - timedelta(1)}", "--by", "gamesPlayed")
    assert (code, [line.split()[:4] for line in out.splitlines()[1:]]) == (0, [["1", "bob", "1", "100"]])

    code, out, err = top(game, "--window", f"day:{today - timedelta(2)}")
    assert (code, out) == (5, "")
    assert "the board does not keep day" in err
    code, out, err = top(game, "--window", "week")
    assert (code, out) == (5, "")
    assert err == f"the board keeps no week windows: it keeps day:2,month:1 in {zone}\n"
    code, out, err = top(game, "--window", "week:48")
    assert (code, out) == (2, "")
    assert "'48' is no week: it must be like 2026W48 or 2026-W48" in err


def test_the_windows_of_a_board_that_no_worker_has_begun(game: Game) -> None:
    code, out, err = top(game, "--window", "day")
    assert (code, out) == (5, "")
    assert err == "it is not known which windows the board keeps: no worker of this version has begun to read\n"
