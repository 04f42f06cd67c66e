"""`consumer verify` as a process: its verdicts under traffic, and how bad input ends."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest

from tests.support.background import Background
from tests.support.engines import TableEngine
from tests.support.processes import Fate, Game, Proxy, consumer
from tests.support.processes.poison import Matches

HASTY = ("-m", "tests.support.processes.hasty")
pytestmark = [
    pytest.mark.timeout(400),
    pytest.mark.parametrize("engine", ["ministack"], indirect=True),  # the other one dates records to the minute
]


@pytest.fixture
def game(engine: TableEngine) -> Iterator[Game]:
    with Game(engine) as game:
        yield game


class Traffic(Background):
    """Players play one game each until the end of the block: newer records show how far the shard is settled."""

    def __init__(self, game: Game, seconds_between: float = 0.5) -> None:
        super().__init__()
        self._game, self._pause, self.played = game, seconds_between, 0

    def run(self) -> None:
        """One game at a time."""
        while not self.stop.wait(self._pause):
            self._game.count(self._game.make(f"traffic-{self.played}"))
            self.played += 1


def verify(game: Game, *arguments: str, proxy: Proxy | None = None) -> tuple[int, Any]:
    """Exit code and the document."""
    environment = game.environment(proxy)
    ended = consumer("verify", "--json", *arguments, environment=environment, seconds=300, entry=HASTY)
    assert ended.stdout, ended.stderr
    (line,) = ended.stderr.splitlines()
    found, event = json.loads(ended.stdout, parse_float=Decimal), json.loads(line)
    assert (event["event"], event["verdict"]) == ("verify.finished", found["verdict"])
    return ended.returncode, found


def change(game: Game, player: str, expression: str, **values: str) -> None:
    """A row of the leaderboard is changed by other hands than a worker's."""
    game.client.update_item(
        TableName=game.tables["leaderboard"],
        Key={"playerId": {"S": player}},
        UpdateExpression=expression,
        ExpressionAttributeValues={f":{name}": {"N": value} for name, value in values.items()},
    )


@pytest.mark.proof
def test_equal_under_traffic_then_one_player_differs_then_no_worker(game: Game) -> None:
    game.play(60, 10, poison=0.1)
    worker = game.worker()
    game.wait_until_consumed()
    with Traffic(game):
        code, found = verify(game)
        assert (code, found["verdict"], found["undecided"], found["notProven"]) == (0, "equal", 0, []), found
        assert found["players"] >= 10

        change(game, "player-00003", "ADD totalScore :one", one="1")
        code, found = verify(game)
        assert (code, found["verdict"]) == (8, "different"), found
        (wrong,) = found["differences"]
        assert wrong["playerId"] == "player-00003"
        (field,) = wrong["fields"]
        assert field["field"] == "totalScore"
        assert Decimal(field["board"]) - Decimal(field["games"]) == 1

        worker.kill()
        code, found = verify(game, "--timeout", "8")
        assert (code, found["verdict"]) == (9, "undecided"), found
        assert "which w1/" in found["why"][0]


@pytest.mark.proof
@pytest.mark.parametrize("keyed", [True, False])
def test_nothing_is_written_any_more_and_what_operators_did_counts(engine: TableEngine, *, keyed: bool) -> None:
    """The stream itself shows that nothing is unread. Repaired records count as repaired, discarded ones not."""
    with Game(engine) if keyed else Matches(engine) as game:
        game.play(40, 5)
        spoiled = [game.make(f"player-{number:05}") | {"score": {"S": "many"}} for number in range(3)]
        game.put(spoiled)
        game.worker()
        game.wait_until_consumed()
        assert verify(game)[0] == 0
        environment = game.environment()
        for action in (("redrive", "--set", "score=5"), ("discard", "--because", "of no use")):
            command, *options = action
            player = "player-00000" if command == "redrive" else "player-00001"
            ended = consumer("quarantine", command, "--player", player, *options, "--yes", environment=environment)
            assert ended.returncode == 0, ended.stderr
        code, found = verify(game)
        assert (code, found["undecided"], found["different"]) == (0, 0, 0), found

        code, found = verify(game, "--player", "player-00000")
        assert (code, found["players"]) == (0, 1)
        states = [line["state"] for line in found["games"]]
        assert (states.count("applied"), states.count("counted")) == (1, len(states) - 1)
        (repaired,) = [line for line in found["games"] if line["state"] == "applied"]
        assert repaired["playerScore"] == 5
        change(game, "player-00000", "ADD gamesPlayed :one", one="1")
        assert verify(game, "--player", "player-00000")[0] == 8
        assert verify(game, "--player", "player-00001")[0] == 0
        code, found = verify(game, "--sample", "2")
        assert (found["players"], code in (0, 8)) == (2, True)


def test_a_changed_item_rightly_differs(game: Game) -> None:
    item = game.make("ada", "12")
    game.count(item)
    game.worker()
    game.wait_until_consumed()
    game.put([item | {"score": {"N": "13"}}])
    game.wait_until_consumed()
    code, found = verify(game)
    assert (code, found["verdict"], found["undecided"], found["different"]) == (9, "undecided", 1, 1), found
    assert [(each["code"], each["blocks"]) for each in found["notProven"]] == [("corrections_ignored", True)]
    code, found = verify(game, "--assume", "no-corrections")
    assert (code, found["verdict"]) == (8, "different")


def test_games_from_before_the_start_rightly_differ(game: Game) -> None:
    game.put([game.make("ada", "12")])
    game.worker(start_position="LATEST").wait_for_event("stream.pinned")
    last = game.make("bob", "3")
    game.count(last)
    code, found = verify(game, "--timeout", "20")
    assert code == 9, found
    assert [(each["code"], each["blocks"]) for each in found["notProven"]] == [("before_start", True)]


def test_windows_are_compared(game: Game) -> None:
    game.count(game.make("ada", "12"))
    game.worker(windows="day:2,month:2")
    game.wait_until_consumed()
    today = game.make("ada", "5", timestamp=datetime.now(UTC).isoformat())
    game.count(today)
    game.wait_until_consumed()
    assert verify(game)[0] == 0
    window = next(name for name in game.rows("leaderboard")[0] if name.startswith("day_") and name.endswith("_score"))
    change(game, "ada", f"ADD {window} :one", one="1")
    code, found = verify(game)
    assert code == 8, found
    assert [field["field"] for field in found["differences"][0]["fields"]] == [window]


def refused(game: Game, *arguments: str, **settings: str) -> tuple[int, str]:
    """Exit code and stderr of one that cannot begin, or is stopped."""
    environment = game.environment(**settings)  # type: ignore[arg-type]
    ended = consumer("verify", *arguments, environment=environment, entry=HASTY)
    assert "Traceback" not in ended.stderr
    return ended.returncode, ended.stderr


def test_each_bad_input_ends_in_a_sentence(game: Game) -> None:
    code, said = refused(game)
    assert (code, "no worker has run with it" in said) == (4, True), said
    game.count(game.make("ada"))
    game.worker()
    game.wait_until_consumed()
    assert refused(game, "--player", "ada", "--sample", "3")[0] == 2
    code, said = refused(game, "--source-table", "elsewhere")
    assert (code, "elsewhere" in said) == (3, True), said
    code, said = refused(game, "--leaderboard-table", game.tables["quarantine"])
    assert code in (2, 3), said
    game.client.update_item(
        TableName=game.tables["quarantine"],
        Key={"shardId": {"S": "#birth"}, "sequenceNumber": {"S": game.stream_arn.rpartition("/")[2]}},
        UpdateExpression="SET leaderboardTable = :other",
        ExpressionAttributeValues={":other": {"S": "another-board"}},
    )
    code, said = refused(game)
    assert (code, "do not belong together" in said) == (4, True), said


def test_a_throttled_table_leaves_it_undecided(game: Game) -> None:
    game.count(game.make("ada"))
    game.worker()
    game.wait_until_consumed()
    source = game.tables["source"]

    def fate(call: Any) -> Fate:
        return Fate.DROP_CALL if call.operation == "Scan" and call.request["TableName"] == source else Fate.PASS

    with Proxy(game.engine.url, fate) as proxy:
        environment = game.environment(proxy)
        ended = consumer("verify", "--json", environment=environment, entry=HASTY, seconds=60)
    assert ended.returncode == 9, ended.stderr
    assert "AWS did not answer in time" in json.loads(ended.stdout)["why"][0]
