"""A stream that is full before anybody reads it: the worker and the handler each drain it on an engine of their own."""

import itertools
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from tests.bench.engine import fresh
from tests.bench.floor import floor_micros
from tests.bench.handler_process import HandlerProcess
from tests.bench.run import HANDLER, WORKER, Run
from tests.bench.units import Sizes, is_write, item_bytes, key_text, units, written_units
from tests.bench.watch import Watch
from tests.engines import TableEngine
from tests.processes import Call, Game, Proxy, differences, until

_DRAIN_SECONDS = 180.0
_KEYS = {"leaderboard": ("playerId",), "lease": ("leaseKey",), "quarantine": ("shardId", "sequenceNumber")}


def drained_by_worker(engine: str, players: Iterable[str], records: int) -> Run:
    """Through a proxy that counts: a commit is one call for hundreds of records."""
    with fresh(engine) as tables, _filled(tables, players, records) as game, Proxy(tables.url) as proxy:
        last = game.played()[-1].sequence_number
        worker = game.worker(proxy, log_level="INFO")
        with Watch(worker.pid) as watch:
            ended = until(lambda: committed_at(proxy.calls, last), f"a commit of {last}", _DRAIN_SECONDS)
        worker.terminate()
        assert not differences(game.board(), game.tally.rows), "the board is wrong"
        pages = [call for call in proxy.of("GetRecords") if call.sequence_numbers]
        began = pages[0].entered_at
        writes = [call for call in proxy.matching(is_write) if began <= call.entered_at <= ended]
        return Run(
            WORKER,
            engine,
            records,
            ended - began,
            watch.cpu_seconds(began, ended),
            len(writes),
            written_units(writes, sizes_of(game)),
            watch.peak_mib,
            floor_micros([page.answer for page in pages]),
        )


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


def committed_at(calls: list[Call], last: str) -> float:
    """When the engine had moved a checkpoint to a sequence number, in unix seconds; 0: not yet."""
    mark = f'"{last}"'.encode()
    for call in list(calls):
        if call.operation == "TransactWriteItems" and call.applied and mark in call.body:
            return call.answered_at or 0.0
    return 0.0


def sizes_of(game: Game) -> Sizes:
    """Of all items that a worker writes, as they are now: none of them shrinks."""
    return {
        (game.tables[table], key_text({name: row[name] for name in keys})): item_bytes(row)
        for table, keys in _KEYS.items()
        for row in game.rows(table)
    }


@contextmanager
def _filled(tables: TableEngine, players: Iterable[str], records: int) -> Iterator[Game]:
    with Game(tables) as game:
        game.count(*(game.make(player) for player in itertools.islice(players, records)))
        yield game
