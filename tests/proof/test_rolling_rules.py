"""A rolling release from one set of rules to another and back, under traffic, with kills on both sides.

Each game has a `score` for the older rules and `points` for the newer ones, and each is a power of two of its own: what
a player's sum consists of says which game was counted by which rules, and how often.
"""

import random
from collections.abc import Iterator
from dataclasses import replace
from itertools import groupby
from typing import Any, Final

import pytest

from tests.streams_server import Remote, StreamsServer, build_shards
from tests.streams_server.remote import undrained
from tests.support.background import Background
from tests.support.engines import TableEngine
from tests.support.processes import Game, WorkerProcess, consumer, until

SEED = 20_261_127
PLAYERS = 200
MOST_GAMES = 45
"""Of one player: the sum of two times so many powers of two has at most 28 digits, as ministack adds."""
TTL = "1"
OLDER: Final[dict[str, Any]] = {}
NEWER: Final[dict[str, Any]] = {"score_attribute": "points", "windows": "day:2,month:2"}


class Traffic(Background):
    """Games of random players, until the test is done with it. `played`: how many each player has."""

    def __init__(self, game: Game) -> None:
        super().__init__()
        self.played = [0] * PLAYERS
        self._game = game
        self._random = random.Random(SEED)

    def run(self) -> None:
        while not self.stop.wait(0.1):
            chosen = self._random.sample(range(PLAYERS), 25)
            self._game.put([self._made(player) for player in chosen if self.played[player] < MOST_GAMES])

    def _made(self, player: int) -> dict[str, Any]:
        number = self.played[player]
        self.played[player] += 1
        item = self._game.make(f"player-{player:03}", score=str(2**number))
        return {**item, "points": {"N": str(2 ** (number + MOST_GAMES))}}


class Release:
    """The workers of both rules, and what is done to them."""

    def __init__(self, game: Game) -> None:
        self.kills = 0
        self._game = game
        self._random = random.Random(SEED)
        self._started = 0

    def start(self, rules: dict[str, Any]) -> WorkerProcess:
        """A worker that has joined."""
        self._started += 1
        worker = self._game.worker(worker_id=f"w{self._started}", lease_ttl_seconds=TTL, **rules)
        worker.wait_for_event("worker.joined")
        return worker

    def kill(self, worker: WorkerProcess) -> None:
        """While it writes."""
        worker.wait_for_event("unit.committed", count=len(worker.events("unit.committed")) + self._random.randint(1, 3))
        worker.kill()
        self.kills += 1

    def accept(self, rules: dict[str, Any]) -> None:
        """An operator accepts these rules."""
        environment = self._game.environment(None, **rules)
        ended = consumer("init", "--accept-rules", "--yes", environment=environment)
        assert ended.returncode == 0, ended.stderr

    def numbers(self) -> set[str]:
        """By which rules the unfinished shards are read."""
        rows = [row for row in self._game.rows("lease") if row["leaseKey"]["S"].startswith("shard#")]
        return {row["rules"]["N"] for row in rows if row["checkpoint"]["S"] != "SHARD_END"}

    def wait_for_numbers(self, *numbers: str) -> None:
        until(lambda: self.numbers() == set(numbers), f"shards of the rules {', '.join(numbers)}")


@pytest.fixture
def server(fresh_engine: TableEngine) -> Iterator[StreamsServer]:
    with StreamsServer(fresh_engine.url) as server:
        yield server


def by_which_rules(total: int, games: int) -> str:
    """Of a player's games in order: `o` counted once by the older rules, `n` once by the newer, else what is wrong."""
    bits = [(total >> number & 1, total >> (number + MOST_GAMES) & 1) for number in range(MOST_GAMES)]
    letters = {(1, 0): "o", (0, 1): "n", (0, 0): "-", (1, 1): "!"}
    return "".join(letters[each] for each in bits[:games]) + "?" * (sum(map(sum, bits[games:])) > 0)


@pytest.mark.proof
@pytest.mark.timeout(400)
@pytest.mark.parametrize("keyed", [True, False], ids=["marks", "transactions"])
def test_a_release_to_newer_rules_and_back(fresh_engine: TableEngine, server: StreamsServer, keyed: bool) -> None:
    with Game(replace(fresh_engine, url=server.url), SEED, keyed=keyed) as game:
        remote = server.remote
        shards = _many_shards(game, remote)
        release, traffic = Release(game), Traffic(game)
        with traffic:
            older = [release.start(OLDER) for _ in range(3)]
            release.wait_for_numbers("1")
            release.kill(older.pop())
            _refused(game)
            release.accept(NEWER)

            newer = [release.start(NEWER)]
            release.wait_for_numbers("1", "2")  # both read
            remote.split(shards[0], 2)
            release.kill(older.pop())
            release.kill(newer.pop())
            newer += [release.start(NEWER) for _ in range(2)]
            release.kill(newer.pop())
            assert older.pop().terminate().code == 0
            newer.append(release.start(NEWER))
            release.wait_for_numbers("2")

            older = [release.start(OLDER)]
            release.accept(OLDER)  # and back: the running worker learns its new number
            remote.split(shards[1], 2)
            release.kill(newer.pop())
            release.wait_for_numbers("2", "3")
            release.kill(older.pop())
            older += [release.start(OLDER) for _ in range(2)]
            assert newer.pop().terminate().code == 0
            release.wait_for_numbers("3")
            assert traffic.running
        arn = remote.streams()[-1]
        until(lambda: not undrained(remote.shards(arn), game.rows("lease"), arn), "every shard is drained", 60)
        for worker in older:
            assert worker.terminate().code == 0
        _assert_each_once(game, traffic, keyed=keyed)
        assert game.rows("quarantine") == [row for row in game.rows("quarantine") if row["shardId"]["S"][0] == "#"]
        print(f"{fresh_engine.name}, seed {SEED}: {sum(traffic.played):,} games, {release.kills} kills")


def _many_shards(game: Game, remote: Remote) -> list[str]:
    """The game's stream gets three root shards; their ids."""
    (arn,) = remote.streams()
    remote.disable()
    remote.remove_stream(arn)
    remote.create_stream(game.tables["source"], build_shards(3))
    return [shard.shard_id for shard in remote.shards()]


def _refused(game: Game) -> None:
    """A worker of rules that are not accepted ends with exit code 4, and says what is different."""
    ended = game.worker(worker_id="refused", **NEWER).wait()
    assert ended.code == 4, ended.stderr
    for part in ("CONSUMER_SCORE_ATTRIBUTE is points, accepted is score", "CONSUMER_WINDOWS is day:2,month:2"):
        assert part in ended.stderr


def _assert_each_once(game: Game, traffic: Traffic, *, keyed: bool) -> None:
    """Each game counts once, by one set of rules. Of a player in one lineage, first the older, newer, older again."""
    board = game.board()
    read = {f"player-{player:03}": games for player, games in enumerate(traffic.played) if games}
    assert board.keys() == read.keys()
    every = ""
    for player, games in read.items():
        row = board[player]
        counted = by_which_rules(int(row.total), games)
        assert row.games == games, f"{player}: {row.games} of {games} games, {counted}"
        assert set(counted) <= {"o", "n"}, f"{player}: {counted}"
        order = "".join(letter for letter, _ in groupby(counted))
        assert not keyed or order in ("o", "n", "on", "no", "ono"), f"{player}: {counted}"
        every += counted
    assert min(every.count("o"), every.count("n")) > len(every) / 20, "both have read much"
