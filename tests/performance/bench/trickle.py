"""Twenty records per second: how soon a game is on the leaderboard, and what that costs."""

import threading
import time
from bisect import bisect_left
from collections.abc import Iterable, Sequence
from itertools import accumulate

from tests.performance.bench.report import Report
from tests.performance.bench.runs import (
    HANDLER,
    HandlerProcess,
    Run,
    committed_at,
    fresh_engine,
    sizes_of,
    worker_run,
    zipf,
)
from tests.performance.bench.write_units import units
from tests.performance.figures import Figure, percentile
from tests.performance.usage import Sampler
from tests.support.engines import TableEngine
from tests.support.processes import Call, Game, Proxy, differences, is_commit, until

_PLAYERS = 1_000
_PER_SECOND = 20
_SECONDS = 25
_START_SECONDS = 30.0
_LAST_SECONDS = 10.0

Key = tuple[str, str]


def trickle(engine: str, seed: int) -> Report:
    """The worker with defaults, with more polls, and with a window; then the handler, which polls every 0.2 s too."""
    with fresh_engine(engine) as tables:
        usual = _worker(tables, seed, "poll 0.2 s")
        eager = _worker(tables, seed, "poll 0.05 s", poll="0.05")
        patient = _worker(tables, seed, "window 1 s", window="1")
        handler = _handler(tables, seed)
    return Report(
        [usual, eager, patient, handler],
        [
            Figure("p50", percentile(usual.waits, 50) * 1e3, "ms", 150),
            Figure("p99", percentile(usual.waits, 99) * 1e3, "ms", 500),
            Figure("p50 with a poll every 0.05 s", percentile(eager.waits, 50) * 1e3, "ms", 60),
            Figure("write units per record", usual.units_per_record, limit=4.0),
            Figure("write units per record, window 1 s", patient.units_per_record, limit=2.1),
            Figure("write calls, window 1 s, as a part", patient.calls_per_record / usual.calls_per_record, limit=0.25),
            Figure("heartbeat writes per second", usual.heartbeats),
        ],
    )


def _worker(tables: TableEngine, seed: int, variant: str, poll: str = "0.2", window: str = "0") -> Run:
    with Game(tables) as game, Proxy(tables.url) as proxy:
        worker = game.worker(proxy, log_level="INFO", poll_interval_seconds=poll, batch_window_seconds=window)
        until(lambda: proxy.of("GetRecords"), "a first poll", _START_SECONDS)
        with Sampler(worker.pid) as sampler:
            put = _play(game, seed)
            last = game.played()[-1].sequence_number
            ended = until(lambda: committed_at(proxy.calls, last), f"a commit of {last}", _LAST_SECONDS)
        worker.terminate()
        assert not differences(game.board(), game.expected.rows), "the board is wrong"
        waits = _waits(put, _numbers(game), proxy.matching(is_commit))
        return worker_run(game, proxy, sampler, min(put.values()), ended, variant=variant, waits=waits)


def _handler(tables: TableEngine, seed: int) -> Run:
    with Game(tables) as game, Proxy(tables.url) as proxy:
        environment = tables.environment() | proxy.variables()
        records = _PER_SECOND * _SECONDS
        with HandlerProcess(environment, game.stream_arn, game.tables["leaderboard"], records) as handler:
            handler.wait_for("began", _START_SECONDS)
            with Sampler(handler.pid) as sampler:
                put = _play(game, seed)
                ended = handler.wait_for("ended", _LAST_SECONDS)
        answered = [call.answered_at or 0.0 for call in proxy.of("UpdateItem")]
        in_order = sorted(_numbers(game).items(), key=lambda number: number[1])
        waits = [at - put[key] for at, (key, _) in zip(answered, in_order, strict=True)]
        began = min(put.values())
        cpu, size = sampler.cpu_seconds(began, ended), max(sizes_of(game).values())
        return Run(
            HANDLER,
            tables.name,
            records,
            ended - began,
            cpu,
            len(answered),
            records * units(size),
            sampler.peak_mib,
            waits=waits,
        )


def _play(game: Game, seed: int) -> dict[Key, float]:
    """Puts games at the rate; when each was put (unix seconds, just before)."""
    put: dict[Key, float] = {}
    pause, began = threading.Event(), time.monotonic()
    for number, player in zip(range(_PER_SECOND * _SECONDS), zipf(_PLAYERS, 1.0, seed), strict=False):
        pause.wait(began + number / _PER_SECOND - time.monotonic())
        item = game.make(player)
        put[_key(item)] = time.time()
        game.client.put_item(TableName=game.tables["source"], Item=item)
        game.expected.count(item)
    return put


def _numbers(game: Game) -> dict[Key, int]:
    """The sequence numbers of the games."""
    return {_key(played.image): int(played.sequence_number) for played in game.played() if played.image is not None}


def _waits(put: dict[Key, float], numbers: dict[Key, int], commits: Iterable[Call]) -> list[float]:
    """Seconds from each game's put to the first commit that covers it."""
    return covered(
        [(put[key], number) for key, number in numbers.items()],
        [(call.answered_at or 0.0, int(_last(call))) for call in commits if call.applied],
    )


def covered(put: Iterable[tuple[float, int]], commits: Sequence[tuple[float, int]]) -> list[float]:
    """How long each record waited; records and commits (in order) are given by time and sequence number."""
    reached = list(accumulate((number for _, number in commits), max))
    return [commits[bisect_left(reached, number)][0] - at for at, number in put]


def _last(call: Call) -> str:
    (first, *_) = call.request["TransactItems"]
    return str(first["Update"]["ExpressionAttributeValues"][":last"]["S"])


def _key(item: dict[str, dict[str, str]]) -> Key:
    return item["playerId"]["S"], item["timestamp"]["S"]
