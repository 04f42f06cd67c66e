"""Games that come at a rate: how soon a game is on the leaderboard, and what that costs."""

import json
import os
import subprocess
import sys
import tempfile
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from itertools import accumulate, count
from pathlib import Path
from typing import NamedTuple

from consumer.demo.child_process import spawn
from tests.performance.bench.runs import (
    HANDLER,
    ROOT,
    HandlerProcess,
    Run,
    committed_at,
    worker_run,
)
from tests.performance.bench.units import Units, parameter, table_of
from tests.performance.usage import Sampler
from tests.support.engines import TableEngine
from tests.support.processes import Call, Game, Played, Proxy, differences, until

_START_SECONDS = 30.0
_LAST_SECONDS = 120.0
_MORE_SECONDS = 60.0

Key = tuple[str, str]
Numbered = tuple[float, str, int]
"""A time (unix seconds), a player, and a number that grows with the player's games."""


class Load(NamedTuple):
    """One game of each of the `players`, in order, so many per second."""

    players: Sequence[str]
    rate: float


def worker(
    tables: TableEngine,
    load: Load,
    variant: str,
    *,
    keyed: bool = True,
    met: bool = False,
    poll: str = "0.2",
    window: str = "0",
) -> Run:
    """The worker, on a board with the rows of all players. `keyed`: by player.

    `met`: it has made the rows itself and remembers them, as a worker does that has run for a while; else another
    worker has, and it reads each row once.
    """
    with Game(tables, keyed=keyed) as game:
        if not met:
            make_rows(game, load.players)
        with Proxy(tables.url) as proxy:
            process = game.worker(proxy, log_level="INFO", poll_interval_seconds=poll, batch_window_seconds=window)
            until(lambda: proxy.of("GetRecords"), "a first poll", _START_SECONDS)
            if met:
                _put_rows(game, load.players)
            before = game.expected.games
            with Sampler(process.pid) as sampler:
                put = _play(game, load)
                played = game.played()
                numbers, last = _numbers(played), played[-1].sequence_number
                settled = until(lambda: committed_at(proxy.calls, last), f"a commit of {last}", _LAST_SECONDS)
            process.terminate()
            assert not differences(game.board(), game.expected.rows), "the board is wrong"
            writes = [write for call in list(proxy.calls) for write in row_writes(call, game.tables["leaderboard"])]
            waits = waited([(at, player, numbers[player, time]) for (player, time), at in put.items()], writes)
            records, began = game.expected.games - before, min(put.values())
            ended = max(at + wait for at, wait in zip(put.values(), waits, strict=True))
            return worker_run(
                game, proxy, sampler, records, began, ended, settled=settled, variant=variant, waits=waits
            )


def handler(tables: TableEngine, load: Load, client: str = HANDLER, variant: str = "") -> Run:
    """A handler that polls every 0.2 s, as the worker does."""
    with Game(tables) as game, Proxy(tables.url) as proxy:
        environment = tables.environment() | proxy.variables()
        records, board = len(load.players), game.tables["leaderboard"]
        with HandlerProcess(environment, game.stream_arn, board, records, client) as process:
            process.wait_for("began", _START_SECONDS)
            with Sampler(process.pid) as sampler:
                put = _play(game, load)
                ended = process.wait_for("ended", _LAST_SECONDS + _MORE_SECONDS)
        assert sum(row.games for row in game.board().values()) == records
        adds = [call for call in proxy.of("UpdateItem") if call.applied]
        numbers = _ordinals(_numbers(game.played()))
        waits = waited([(at, key[0], numbers[key]) for key, at in put.items()], _added(adds))
        began = min(put.values())
        return Run(
            client,
            tables.name,
            records,
            ended - began,
            sampler.cpu_seconds(began, ended),
            len(adds),
            Units(ended - began, board_writes=len(adds), polls=len(proxy.of("GetRecords"))),
            sampler.peak_mib,
            variant=variant,
            waits=waits,
        )


def make_rows(game: Game, players: Iterable[str]) -> None:
    """A worker makes the row of each player, from one game."""
    first = game.worker(log_level="WARNING")
    _put_rows(game, players)
    assert first.terminate().code == 0


def _put_rows(game: Game, players: Iterable[str]) -> None:
    """Puts a game of each player, and waits for the worker that makes their rows."""
    game.count(*_made(game, dict.fromkeys(players)))
    game.wait_until_consumed(_LAST_SECONDS)


def _made(game: Game, players: Iterable[str]) -> list[dict[str, dict[str, str]]]:
    """Games that are played now, each after the one before: no row has a later date."""
    began = datetime.now(UTC)
    times = (began + timedelta(microseconds=number) for number in count())
    return [
        game.make(player, timestamp=time.isoformat(timespec="microseconds"))
        for player, time in zip(players, times, strict=False)
    ]


def _play(game: Game, load: Load) -> dict[Key, float]:
    """When each game was put (unix seconds, just before)."""
    items = _made(game, load.players)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "items.json"
        file.write_text("\n".join(map(json.dumps, items)))
        command = ["-m", "tests.performance.bench.producer", game.tables["source"], os.fspath(file), f"{load.rate:g}"]
        environment = {**game.engine.environment(), "PYTHONPATH": os.fspath(ROOT)}
        with spawn([sys.executable, *command], env=environment, stdout=subprocess.PIPE) as process:
            try:
                output, _ = process.communicate(timeout=len(items) / load.rate + _MORE_SECONDS)
            finally:
                process.kill()
    for item in items:
        game.expected.count(item)
    times = [at for at, number in json.loads(output) for _ in range(number)]
    return {_key(item): at for item, at in zip(items, times, strict=True)}


def _numbers(played: Iterable[Played]) -> dict[Key, int]:
    """The sequence numbers of the games."""
    return {_key(each.image): int(each.sequence_number) for each in played if each.image is not None}


def _ordinals(numbers: Mapping[Key, int]) -> dict[Key, int]:
    """The how-manieth game of its player each one is."""
    seen: defaultdict[str, int] = defaultdict(int)
    ordinals = {}
    for key in sorted(numbers, key=numbers.__getitem__):
        seen[key[0]] += 1
        ordinals[key] = seen[key[0]]
    return ordinals


def row_writes(call: Call, board: str) -> Iterator[Numbered]:
    """The rows of the leaderboard that a worker's call wrote, and up to which sequence number."""
    if not call.applied:
        return
    at = call.answered_at or 0.0
    if call.operation == "BatchExecuteStatement":
        for statement, answer in zip(call.request["Statements"], call.reply["Responses"], strict=True):
            if "Error" not in answer and table_of(statement) == board:
                yield at, parameter(statement, "playerId")["S"], int(parameter(statement, "appliedTo")["S"])
    elif call.operation in ("UpdateItem", "TransactWriteItems"):
        actions = call.request.get("TransactItems") or [{"Update": call.request}]
        updates = [action["Update"] for action in actions if "Update" in action]
        values = [update.get("ExpressionAttributeValues", {}) for update in updates]
        for update, its in zip(updates, values, strict=True):
            if update["TableName"] == board:
                to = its.get(":to") or values[0][":last"]
                yield at, update["Key"]["playerId"]["S"], int(to["S"])


def _added(adds: Iterable[Call]) -> Iterator[Numbered]:
    """The rows that a handler wrote, and with how many games."""
    games: defaultdict[str, int] = defaultdict(int)
    for call in adds:
        player = call.request["Key"]["playerId"]["S"]
        games[player] += int(call.request["ExpressionAttributeValues"][":games"]["N"])
        yield call.answered_at or 0.0, player, games[player]


def _key(item: Mapping[str, Mapping[str, str]]) -> Key:
    return item["playerId"]["S"], item["timestamp"]["S"]


def waited(put: Iterable[Numbered], writes: Iterable[Numbered]) -> list[float]:
    """How long each game waited for the first write of its player's row that covers it. `writes` are in order."""
    written: defaultdict[str, list[tuple[float, int]]] = defaultdict(list)
    for at, player, number in writes:
        written[player].append((at, number))
    reached_by = {player: list(accumulate((number for _, number in its), max)) for player, its in written.items()}
    return [written[player][bisect_left(reached_by[player], number)][0] - at for at, player, number in put]
