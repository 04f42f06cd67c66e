"""Twenty records a second: how long a game takes to the leaderboard, and what that costs."""

import threading
import time
from bisect import bisect_left
from collections.abc import Iterable, Sequence
from itertools import accumulate

from tests.bench.check import Check, Report
from tests.bench.engine import fresh
from tests.bench.handler_process import HandlerProcess
from tests.bench.percentile import percentile
from tests.bench.players import zipf
from tests.bench.run import HANDLER, Run
from tests.bench.seen import committed_at, sizes_of, worker_run
from tests.bench.units import units
from tests.bench.watch import Watch
from tests.engines import TableEngine
from tests.processes import Call, Game, Proxy, differences, is_commit, until

_PLAYERS = 1_000
_A_SECOND = 20
_SECONDS = 25
_START_SECONDS = 30.0
_LAST_SECONDS = 10.0

Key = tuple[str, str]


def trickle(engine: str, seed: int) -> Report:
    """The worker as it is, polling oftener, and with a window; then the handler, which polls every 0.2 s as well."""
    with fresh(engine) as tables:
        usual = _worker(tables, seed, "poll 0.2 s")
        eager = _worker(tables, seed, "poll 0.05 s", poll="0.05")
        patient = _worker(tables, seed, "window 1 s", window="1")
        handler = _handler(tables, seed)
    return Report(
        [usual, eager, patient, handler],
        [
            Check("p50", percentile(usual.waits, 50) * 1e3, 150, "ms"),
            Check("p99", percentile(usual.waits, 99) * 1e3, 500, "ms"),
            Check("p50 when polled every 0.05 s", percentile(eager.waits, 50) * 1e3, 60, "ms"),
            Check("write units a record", usual.units_a_record, 4.0),
            Check("write units a record, window 1 s", patient.units_a_record, 2.1),
            Check("write calls, window 1 s, part", patient.calls_a_record / usual.calls_a_record, 0.25),
            Check("writes of beats, a second", usual.beats),
        ],
    )


def _worker(tables: TableEngine, seed: int, how: str, poll: str = "0.2", window: str = "0") -> Run:
    with Game(tables) as game, Proxy(tables.url) as proxy:
        worker = game.worker(proxy, log_level="INFO", poll_interval_seconds=poll, batch_window_seconds=window)
        until(lambda: proxy.of("GetRecords"), "a first poll", _START_SECONDS)
        with Watch(worker.pid) as watch:
            put = _play(game, seed)
            last = game.played()[-1].sequence_number
            ended = until(lambda: committed_at(proxy.calls, last), f"a commit of {last}", _LAST_SECONDS)
        worker.terminate()
        assert not differences(game.board(), game.tally.rows), "the board is wrong"
        waits = _waits(put, _numbers(game), proxy.matching(is_commit))
        return worker_run(game, proxy, watch, min(put.values()), ended, how=how, waits=waits)


def _handler(tables: TableEngine, seed: int) -> Run:
    with Game(tables) as game, Proxy(tables.url) as proxy:
        environment = tables.environment() | proxy.variables()
        records = _A_SECOND * _SECONDS
        with HandlerProcess(environment, game.stream_arn, game.tables["leaderboard"], records) as handler:
            handler.moment("began", _START_SECONDS)
            with Watch(handler.pid) as watch:
                put = _play(game, seed)
                ended = handler.moment("ended", _LAST_SECONDS)
        answered = [call.answered_at or 0.0 for call in proxy.of("UpdateItem")]
        in_order = sorted(_numbers(game).items(), key=lambda each: each[1])
        waits = [at - put[key] for at, (key, _) in zip(answered, in_order, strict=True)]
        began = min(put.values())
        cpu, size = watch.cpu_seconds(began, ended), max(sizes_of(game).values())
        return Run(
            HANDLER,
            tables.name,
            records,
            ended - began,
            cpu,
            len(answered),
            records * units(size),
            watch.peak_mib,
            waits=waits,
        )


def _play(game: Game, seed: int) -> dict[Key, float]:
    """Games at their pace; when each was put (unix seconds, from just before)."""
    put: dict[Key, float] = {}
    pause, began = threading.Event(), time.monotonic()
    for number, player in zip(range(_A_SECOND * _SECONDS), zipf(_PLAYERS, 1.0, seed), strict=False):
        pause.wait(began + number / _A_SECOND - time.monotonic())
        item = game.make(player)
        put[_key(item)] = time.time()
        game.client.put_item(TableName=game.tables["source"], Item=item)
        game.tally.count(item)
    return put


def _numbers(game: Game) -> dict[Key, int]:
    """The sequence numbers of the games."""
    return {_key(played.image): int(played.sequence_number) for played in game.played() if played.image is not None}


def _waits(put: dict[Key, float], numbers: dict[Key, int], commits: Iterable[Call]) -> list[float]:
    """For each game, seconds from its put to the first commit that covers it."""
    return covered(
        [(put[key], number) for key, number in numbers.items()],
        [(call.answered_at or 0.0, int(_last(call))) for call in commits if call.applied],
    )


def covered(put: Iterable[tuple[float, int]], commits: Sequence[tuple[float, int]]) -> list[float]:
    """Moments and sequence numbers of records, and of commits in their order: how long each record waited."""
    reached = list(accumulate((number for _, number in commits), max))
    return [commits[bisect_left(reached, number)][0] - at for at, number in put]


def _last(call: Call) -> str:
    (first, *_) = call.request["TransactItems"]
    return str(first["Update"]["ExpressionAttributeValues"][":last"]["S"])


def _key(item: dict[str, dict[str, str]]) -> Key:
    return item["playerId"]["S"], item["timestamp"]["S"]
