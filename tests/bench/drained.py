"""A stream that is full before anybody reads it: the worker and the handler each drain it on an engine of their own."""

import itertools
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from tests.bench.engine import fresh
from tests.bench.floor import Floor
from tests.bench.handler_process import HandlerProcess
from tests.bench.run import HANDLER, Run
from tests.bench.seen import committed_at, first_page, sizes_of, worker_run
from tests.bench.units import units
from tests.bench.watch import Watch
from tests.engines import TableEngine
from tests.processes import Game, Proxy, differences, until

_DRAIN_SECONDS = 180.0


def drained_by_worker(engine: str, players: Iterable[str], records: int) -> Run:
    """Through a proxy that counts: a commit is one call for hundreds of records."""
    with fresh(engine) as tables, _filled(tables, players, records) as game, Proxy(tables.url) as proxy:
        last = game.played()[-1].sequence_number
        worker = game.worker(proxy, log_level="INFO")
        with Watch(worker.pid) as watch, Floor(lambda: page.answer if (page := first_page(proxy)) else None) as floor:
            ended = until(lambda: committed_at(proxy.calls, last), f"a commit of {last}", _DRAIN_SECONDS)
        worker.terminate()
        assert not differences(game.board(), game.tally.rows), "the board is wrong"
        page = first_page(proxy)
        assert page is not None
        return worker_run(game, proxy, watch, page.entered_at, ended, floor_micros=floor.micros)


def drained_by_handler(engine: str, players: Iterable[str], records: int, floor: float) -> Run:
    """Straight to the engine, without a proxy that would cost each of its many calls something."""
    with fresh(engine) as tables, _filled(tables, players, records) as game:
        with (
            HandlerProcess(tables.environment(), game.stream_arn, game.tables["leaderboard"], records) as handler,
            Watch(handler.pid) as watch,
        ):
            began, ended = (handler.moment(word, _DRAIN_SECONDS) for word in ("began", "ended"))
        assert sum(row.games for row in game.board().values()) == records
        size = max(sizes_of(game).values())
        cpu = watch.cpu_seconds(began, ended)
        write_units = records * units(size)
        return Run(HANDLER, engine, records, ended - began, cpu, records, write_units, watch.peak_mib, floor)


@contextmanager
def _filled(tables: TableEngine, players: Iterable[str], records: int) -> Iterator[Game]:
    with Game(tables) as game:
        game.count(*(game.make(player) for player in itertools.islice(players, records)))
        yield game
