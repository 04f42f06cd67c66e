"""What the proxy saw of a worker, as the figures of a run."""

from collections.abc import Iterable, Sequence

from tests.bench.run import WORKER, Run
from tests.bench.units import Sizes, is_write, item_bytes, key_text, written_units
from tests.bench.watch import Watch
from tests.processes import Call, Game, Proxy, is_commit

_KEYS = {"leaderboard": ("playerId",), "lease": ("leaseKey",), "quarantine": ("shardId", "sequenceNumber")}


def worker_run(
    game: Game,
    proxy: Proxy,
    watch: Watch,
    began: float,
    ended: float,
    *,
    floor_micros: float = 0.0,
    how: str = "",
    waits: Sequence[float] = (),
) -> Run:
    """Of what it did between two moments (unix seconds). Write calls and units are those of its commits."""
    writes = [call for call in proxy.matching(is_write) if began <= call.entered_at <= ended]
    commits = [call for call in writes if is_commit(call)]
    return Run(
        WORKER,
        game.engine.name,
        game.tally.games,
        ended - began,
        watch.cpu_seconds(began, ended),
        len(commits),
        written_units(commits, sizes_of(game)),
        watch.peak_mib,
        floor_micros,
        how,
        waits,
        (len(writes) - len(commits)) / (ended - began),
    )


def first_page(proxy: Proxy) -> Call | None:
    """The first page with records."""
    pages = (call for call in list(proxy.calls) if call.operation == "GetRecords" and call.sequence_numbers)
    return next(pages, None)


def committed_at(calls: Iterable[Call], last: str) -> float:
    """When the engine had moved a checkpoint to a sequence number, in unix seconds; 0: not yet."""
    mark = f'"{last}"'.encode()
    for call in list(calls):
        if is_commit(call) and call.applied and mark in call.body:
            return call.answered_at or 0.0
    return 0.0


def sizes_of(game: Game) -> Sizes:
    """Of all items that a worker writes, as they are now: none of them shrinks."""
    return {
        (game.tables[table], key_text({name: row[name] for name in keys})): item_bytes(row)
        for table, keys in _KEYS.items()
        for row in game.rows(table)
    }
