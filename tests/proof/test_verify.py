"""`consumer verify` under traffic of 100 games/s, with splits and kills: every verdict is right, each time.

`VERIFY_ROUNDS=20` makes twenty rounds of it.
"""

import os
import random
import threading
from collections.abc import Callable
from dataclasses import replace
from typing import Final

import pytest

from tests.integration.test_verify import change, verify
from tests.streams_server import StreamsServer
from tests.support.background import Background
from tests.support.engines import TableEngine
from tests.support.processes import Game, WorkerProcess, until
from tests.support.processes.game import Item

ROUNDS = int(os.environ.get("VERIFY_ROUNDS", "2"))
"""With four of them a row is tampered with in each way once."""
PLAYERS = 20_000
GAMES_PER_SECOND = 100
WRITTEN_AT_ONCE = 25
CHANGE_SECONDS = 15.0
MOST_SHARDS = 8

TTL: Final = "2"
WINDOWS: Final = "month:12"

Tamper = Callable[[Game, str, Item, str], None]
"""What is done to a player's row; the sign takes it back."""


class Traffic(Background):
    """Games of many players, until the end of the block; no player is seen so often that a row is never quiet."""

    def __init__(self, game: Game) -> None:
        super().__init__()
        self._game = game

    def run(self) -> None:
        """A batch at a time."""
        while not self.stop.wait(WRITTEN_AT_ONCE / GAMES_PER_SECOND):
            self._game.play(WRITTEN_AT_ONCE, PLAYERS, poison=0.01)


class Changes(Background):
    """Shards split, and workers are killed and started again, by turns."""

    def __init__(self, game: Game, server: StreamsServer, random_: random.Random) -> None:
        super().__init__()
        self._game, self._remote, self._random = game, server.remote, random_
        self.kills = self.splits = 0
        self.workers: list[WorkerProcess] = []
        self.lock = threading.Lock()

    def run(self) -> None:
        """One every few seconds."""
        while not self.stop.wait(CHANGE_SECONDS):
            with self.lock:
                if self.stop.is_set():
                    return
                if self.kills > self.splits and len(self._remote.shards()) < MOST_SHARDS:
                    open_shards = [at for at, shard in enumerate(self._remote.shards()) if not shard.closed]
                    self._remote.split(self._random.choice(open_shards))
                    self.splits += 1
                else:
                    self.workers.pop(0).kill()
                    self.workers.append(
                        self._game.worker(worker_id=f"w{self.kills + 10}", lease_ttl_seconds=TTL, windows=WINDOWS)
                    )
                    self.kills += 1


def a_point_more(game: Game, player: str, _: Item, sign: str) -> None:
    change(game, player, "ADD totalScore :one", one=f"{sign}1")


def a_game_less(game: Game, player: str, item: Item, sign: str) -> None:
    a_game_twice(game, player, item, "" if sign else "-")


def a_game_twice(game: Game, player: str, item: Item, sign: str) -> None:
    change(game, player, "ADD gamesPlayed :one, totalScore :score", one=f"{sign}1", score=sign + item["score"]["N"])


def another_window(game: Game, player: str, _: Item, sign: str) -> None:
    row = game.client.get_item(TableName=game.tables["leaderboard"], Key={"playerId": {"S": player}})["Item"]
    window = next(name for name in row if name.startswith("month_") and name.endswith("_games"))
    change(game, player, f"ADD {window} :one", one=f"{sign}1")


TAMPERS: tuple[Tamper, ...] = (a_point_more, a_game_less, a_game_twice, another_window)


@pytest.mark.proof
@pytest.mark.timeout(3_600)
def test_every_verdict_is_right(ministack_url: str) -> None:
    engine = TableEngine("ministack", ministack_url)
    with StreamsServer(engine.url) as server, Game(replace(engine, url=server.url)) as game:
        changes = Changes(game, server, random.Random(26))
        for number in range(2):
            changes.workers.append(game.worker(worker_id=f"w{number}", lease_ttl_seconds=TTL, windows=WINDOWS))
        until(lambda: game.lease() is not None, "a worker has started the stream")
        with Traffic(game), changes:
            for number in range(ROUNDS):
                code, found = verify(game)
                assert (code, found["undecided"]) == (0, 0), found
                item = game.make(f"marked-{number}", "7")
                game.count(item)
                assert verify(game, "--player", f"marked-{number}")[0] == 0
                tamper = TAMPERS[number % len(TAMPERS)]
                tamper(game, f"marked-{number}", item, "")
                code, found = verify(game)
                assert code == 8, found
                assert [each["playerId"] for each in found["differences"]] == [f"marked-{number}"]
                tamper(game, f"marked-{number}", item, "-")
            changes.stop.set()
            with changes.lock:
                for worker in changes.workers:
                    worker.kill()
            for _ in range(ROUNDS):
                assert verify(game, "--timeout", "5")[0] == 9
        assert changes.kills
        assert changes.splits
