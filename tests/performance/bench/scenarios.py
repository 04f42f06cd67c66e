"""The scenarios of the benchmark, by name."""

from collections.abc import Callable, Iterator
from itertools import islice
from typing import NamedTuple

from tests.performance.bench import cost, live
from tests.performance.bench.draining import (
    Filling,
    drained_by_handler,
    drained_by_worker,
    served_to_handler,
    served_to_worker,
)
from tests.performance.bench.idle import idle
from tests.performance.bench.live import Load
from tests.performance.bench.micro import micro
from tests.performance.bench.profiles import profiles
from tests.performance.bench.report import EMPTY, KNOWN, Report
from tests.performance.bench.runs import (
    ENGINES,
    FOLDING,
    LOCAL,
    MINISTACK,
    Run,
    different,
    fresh_engine,
    zipf,
)
from tests.performance.figures import Figure, percentile

_RECORDS = 20_000
_HOT_PLAYERS = 1_000
_WIDE_PLAYERS = 100_000
_HANDLED = {MINISTACK: 4_000, LOCAL: 3_000}
_SHARDS = 64
_LINEAR_PLAYERS = 150
"""So few that a unit holds some 400 records: half a million records are to be drained in a minute or two."""
_LINEAR_RECORDS = (20_000, 100_000, 500_000)
_TRICKLE_PER_SECOND = 20
_TRICKLE_SECONDS = 25
_HOT_PER_SECOND = 800
_WIDE_PER_SECOND = 600
_LIVE_SECONDS = 20
_LEASE_UNITS = 2 + 1.7
"""Of one busy shard and one worker, per second."""
_READS = 0.6
"""Of the leaderboard, per player whose row is met first."""


def hot(engine: str, seed: int) -> Report:
    """1,000 players by Zipf's law with exponent 1; then as many games again, by the same players."""
    games = zipf(_HOT_PLAYERS, 1.0, seed)
    first, again = _filling(EMPTY, games), _filling(KNOWN, games)
    empty, known = drained_by_worker(engine, first, again)
    handler = _handled(engine, zipf(_HOT_PLAYERS, 1.0, seed), known)
    if engine != LOCAL:
        return Report([known, empty, handler])
    plain = drained_by_worker(engine, _filling("not keyed", zipf(_HOT_PLAYERS, 1.0, seed)), keyed=False)
    folding = _handled(engine, zipf(_HOT_PLAYERS, 1.0, seed), known, FOLDING)
    cheaper = handler.cpu_micros / known.cpu_micros
    return Report(
        [known, empty, *plain, handler, folding],
        [
            Figure("records/s, times the handler's", known.rate / handler.rate, limit=8.0, least=True),
            Figure("CPU per record, times the floor", known.floors, limit=6.0),
            Figure("CPU per record, handler's times the worker's", cheaper, limit=40.0, least=True),
            Figure("board: write units per game", known.writes_per_record, limit=0.40),
            *_common(known, len(set(again.players))),
            Figure("write calls per record", known.calls_per_record, limit=0.02),
        ],
    )


def wide(engine: str, seed: int) -> Report:
    """Every game is another player's; then one game more of each, in another order."""
    first = different(_WIDE_PLAYERS, seed)[:_RECORDS]
    empty, known = drained_by_worker(engine, Filling(EMPTY, first), Filling(KNOWN, sorted(first)))
    handler = _handled(engine, iter(first), known)
    return Report(
        [known, empty, handler],
        [
            Figure("records/s, times the handler's", known.rate / handler.rate, limit=3.0, least=True),
            Figure("CPU per record, times the floor", known.floors, limit=20.0),
            Figure("board: write units per game", known.writes_per_record, limit=1.0),
            Figure("board: write units per game, empty board", empty.writes_per_record, limit=1.05),
            *_common(known, _RECORDS),
        ],
    )


def trickle(engine: str, seed: int) -> Report:
    """The worker with defaults, with more polls, and with a window; then the handlers, which poll every 0.2 s too."""
    load = _load(zipf(_HOT_PLAYERS, 1.0, seed), _TRICKLE_PER_SECOND, _TRICKLE_SECONDS)
    with fresh_engine(engine) as tables:
        usual = live.worker(tables, load, "poll 0.2 s", met=True)
        handler = live.handler(tables, load)
        if engine != LOCAL:
            return Report([usual, handler], _soon(usual))
        started = live.worker(tables, load, "poll 0.2 s, just started")
        eager = live.worker(tables, load, "poll 0.05 s", met=True, poll="0.05")
        patient = live.worker(tables, load, "window 1 s", met=True, window="1")
        folding = live.handler(tables, load, FOLDING)
    return Report(
        [usual, started, eager, patient, handler, folding],
        [
            *_soon(usual),
            Figure("p50 with a poll every 0.05 s", percentile(eager.waits, 50) * 1e3, "ms", 60),
            Figure("board: write units per game", usual.writes_per_record, limit=1.0),
            *_common(started, len(set(load.players))),
        ],
    )


def _soon(run: Run) -> list[Figure]:
    return [
        Figure(f"p{percent}", percentile(run.waits, percent) * 1e3, "ms", limit)
        for percent, limit in ((50, 120), (99, 300))
    ]


def rates(engine: str, seed: int) -> Report:
    """More games per second than a per-record handler can write."""
    few = _load(zipf(_HOT_PLAYERS, 1.0, seed), _HOT_PER_SECOND, _LIVE_SECONDS)
    many = _load(iter(different(_WIDE_PLAYERS, seed)), _WIDE_PER_SECOND, _LIVE_SECONDS)
    with fresh_engine(engine) as tables:
        busy = live.worker(tables, few, f"hot, {_HOT_PER_SECOND} games/s")
    with fresh_engine(engine) as tables:
        folding = live.handler(tables, few, FOLDING, f"hot, {_HOT_PER_SECOND} games/s")
    with fresh_engine(engine) as tables:
        spread = live.worker(tables, many, f"wide, {_WIDE_PER_SECOND} games/s")
    return Report(
        [busy, folding, spread],
        [
            cost.slowest("", [busy.rate / _HOT_PER_SECOND, spread.rate / _WIDE_PER_SECOND]),
            Figure("hot: board: write units per game", busy.writes_per_record, limit=0.60),
            *_common(busy, len(set(few.players)), "hot: "),
            Figure("wide: board: write units per game", spread.writes_per_record, limit=1.0),
            *_common(spread, len(set(many.players)), "wide: "),
        ],
    )


def _filling(variant: str, games: Iterator[str]) -> Filling:
    return Filling(variant, list(islice(games, _RECORDS)))


def _load(games: Iterator[str], per_second: int, seconds: int) -> Load:
    return Load(list(islice(games, per_second * seconds)), per_second)


def _handled(engine: str, games: Iterator[str], beside: Run, client: str = "handler") -> Run:
    return drained_by_handler(engine, games, _HANDLED[engine], beside.floor_micros, client)


def _common(run: Run, players: int, prefix: str = "") -> list[Figure]:
    """What is limited in every run of one worker with one busy shard, where rows of so many players are there."""
    return [
        Figure(f"{prefix}board: read units per player met", run.units.board_reads / players, limit=_READS),
        Figure(f"{prefix}lease table: write units per second", run.lease_writes_per_second, limit=_LEASE_UNITS),
    ]


def many(engine: str, seed: int) -> Report:
    """A full stream of many shards, all on one worker; the handler reads them in turn."""
    variant = f"{_SHARDS} shards"
    handled = _HANDLED[LOCAL]
    return Report(
        [
            served_to_worker(engine, _SHARDS, zipf(_HOT_PLAYERS, 1.0, seed), _RECORDS, variant),
            served_to_handler(engine, _SHARDS, zipf(_HOT_PLAYERS, 1.0, seed), handled, variant),
        ]
    )


def linear(engine: str, seed: int) -> Report:
    """Streams of one shard and three lengths: neither processor time per record nor memory may grow with the length."""
    runs = [
        served_to_worker(engine, 1, zipf(_LINEAR_PLAYERS, 1.0, seed), records, "one shard")
        for records in _LINEAR_RECORDS
    ]
    micros = [run.cpu_micros for run in runs]
    floors = [run.floors for run in runs]
    memory = [run.resident_mib for run in runs]
    return Report(
        runs,
        [
            Figure("CPU per record, most over least", max(micros) / min(micros), limit=1.15),
            Figure("CPU in floors, most over least", max(floors) / min(floors)),
            Figure("resident memory, most less least", max(memory) - min(memory), "MiB", 20),
        ],
    )


def _micro(_engine: str, seed: int) -> Report:
    return Report(figures=micro(seed))


class Scenario(NamedTuple):
    """`measure` takes an engine and a seed. A scenario without `engines` needs none, and gets an empty name."""

    name: str
    meaning: str
    measure: Callable[[str, int], Report]
    engines: tuple[str, ...] = ENGINES


SCENARIOS = (
    Scenario("micro", "decode, fold and encode alone, without network and threads", _micro, ()),
    Scenario("hot", "a full stream of 1,000 players, Zipf with exponent 1.0", hot),
    Scenario("wide", "a full stream in which every game is another player's", wide),
    Scenario("trickle", "20 games per second of 1,000 players, Zipf with exponent 1.0", trickle),
    Scenario("live", "800 games per second, hot, and 600, wide", rates, (LOCAL,)),
    Scenario(
        "cost",
        "1, 100 and 1,000 games per second, hot and wide, keyed and not: units for docs/cost.md",
        cost.measure,
        (LOCAL,),
    ),
    Scenario("many", "a full stream of 64 shards on the streams server, players as in hot", many),
    Scenario("idle", "1,000 idle shards on one worker for a minute, on the streams server", idle, (MINISTACK,)),
    Scenario("linear", "20,000, 100,000 and 500,000 records on the streams server", linear, (MINISTACK,)),
    Scenario("profile", "where a worker's processor time goes, hot and wide", profiles, (LOCAL,)),
)
