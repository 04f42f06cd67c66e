"""A stream that is full before anybody reads it: the worker and the handler each drain it on an engine of their own."""

import itertools
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace

from tests.bench.engine import fresh
from tests.bench.floor import Floor
from tests.bench.handler_process import HandlerProcess
from tests.bench.run import HANDLER, WORKER, Run
from tests.bench.seen import committed_at, first_page, sizes_of, worker_run
from tests.bench.units import units
from tests.bench.watch import Watch
from tests.engines import TableEngine
from tests.processes import Game, Proxy, differences, until

_DRAIN_SECONDS = 180.0
_LOOK_SECONDS = 0.03


def drained_by_worker(engine: str, players: Iterable[str], records: int) -> Run:
    """Twice: through a proxy that counts, and straight to the engine, timed, as the handler is."""
    drawn = list(itertools.islice(players, records))
    counted, page = _counted(engine, drawn)
    return replace(_timed(engine, drawn, page), write_calls=counted.write_calls, write_units=counted.write_units)


def _counted(engine: str, players: Sequence[str]) -> tuple[Run, bytes]:
    """Calls and units, which do not wobble; and the first page."""
    with fresh(engine) as tables, _filled(tables, players) as game, Proxy(tables.url) as proxy:
        last = game.played()[-1].sequence_number
        worker = game.worker(proxy, log_level="INFO")
        with Watch(worker.pid) as watch:
            ended = until(lambda: committed_at(proxy.calls, last), f"a commit of {last}", _DRAIN_SECONDS)
        worker.terminate()
        page = first_page(proxy)
        assert page is not None
        assert page.answer is not None
        return worker_run(game, proxy, watch, page.entered_at, ended), page.answer


def _timed(engine: str, players: Sequence[str], page: bytes) -> Run:
    """From the claim, which the first page follows, to the last commit. `page`: see Floor."""
    with fresh(engine) as tables, _filled(tables, players) as game:
        last = game.played()[-1].sequence_number
        worker = game.worker(log_level="INFO")
        with Watch(worker.pid) as watch, Floor(lambda: page) as floor:
            began, ended = (_moment_of(game, *each) for each in (("leaseOwner", None), ("checkpoint", last)))
        worker.terminate()
        assert not differences(game.board(), game.tally.rows), "the board is wrong"
        cpu = watch.cpu_seconds(began, ended)
        return Run(WORKER, engine, len(players), ended - began, cpu, 0, 0, watch.peak_mib, floor.micros)


def _moment_of(game: Game, attribute: str, value: str | None) -> float:
    """When the shard's row was seen to have it (unix seconds); None: any value."""
    pause = threading.Event()

    def seen() -> float:
        pause.wait(_LOOK_SECONDS)
        now, found = time.time(), (game.lease() or {}).get(attribute, {}).get("S")
        return now if found is not None and value in (None, found) else 0.0

    return until(seen, f"{attribute} {value or 'there'}", _DRAIN_SECONDS)


def drained_by_handler(engine: str, players: Iterable[str], records: int, floor: float) -> Run:
    """Straight to the engine, without a proxy that would cost each of its many calls something."""
    with fresh(engine) as tables, _filled(tables, list(itertools.islice(players, records))) as game:
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
def _filled(tables: TableEngine, players: Sequence[str]) -> Iterator[Game]:
    with Game(tables) as game:
        game.count(*map(game.make, players))
        yield game
