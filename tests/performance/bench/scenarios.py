"""The scenarios of the benchmark, by name."""

from collections.abc import Callable
from typing import NamedTuple

from tests.performance.bench.draining import (
    drained_by_handler,
    drained_by_worker,
    served_to_handler,
    served_to_worker,
)
from tests.performance.bench.idle import idle
from tests.performance.bench.micro import micro
from tests.performance.bench.report import Report
from tests.performance.bench.runs import ENGINES, LOCAL, MINISTACK, uniform, zipf
from tests.performance.bench.trickle import trickle
from tests.performance.figures import Figure

_RECORDS = 20_000
_HOT_PLAYERS = 1_000
_WIDE_PLAYERS = 100_000
_HANDLED = {MINISTACK: 4_000, LOCAL: 3_000}
_SHARDS = 64
_LINEAR_PLAYERS = 150
"""So few that a unit holds some 400 records: half a million records are to be drained in a minute or two."""
_LINEAR_RECORDS = (20_000, 100_000, 500_000)


def hot(engine: str, seed: int) -> Report:
    """1,000 players by Zipf's law with exponent 1."""
    worker = drained_by_worker(engine, zipf(_HOT_PLAYERS, 1.0, seed), _RECORDS)
    handler = drained_by_handler(engine, zipf(_HOT_PLAYERS, 1.0, seed), _HANDLED[engine], worker.floor_micros)
    if engine != LOCAL:
        return Report([worker, handler])
    cheaper = handler.cpu_micros / worker.cpu_micros
    return Report(
        [worker, handler],
        [
            Figure("records/s, times the handler's", worker.rate / handler.rate, limit=5.0, least=True),
            Figure("CPU per record, times the floor", worker.floors, limit=8.0),
            Figure("CPU per record, handler's times the worker's", cheaper, limit=40.0, least=True),
            Figure("write calls per record", worker.calls_per_record, limit=0.01),
        ],
    )


def wide(engine: str, seed: int) -> Report:
    """100,000 players, all equally likely: nearly every record is of another player."""
    worker = drained_by_worker(engine, uniform(_WIDE_PLAYERS, seed), _RECORDS)
    handler = drained_by_handler(engine, uniform(_WIDE_PLAYERS, seed), _HANDLED[engine], worker.floor_micros)
    return Report(
        [worker, handler],
        [
            Figure("records/s, times the handler's", worker.rate / handler.rate, limit=3.0, least=True),
            Figure("CPU per record, times the floor", worker.floors, limit=15.0),
        ],
    )


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
    Scenario("wide", "a full stream of 100,000 players, all equally likely", wide),
    Scenario("trickle", "20 records per second of 1,000 players, Zipf with exponent 1.0", trickle),
    Scenario("many", "a full stream of 64 shards on the streams server, players as in hot", many),
    Scenario("idle", "1,000 idle shards on one worker for a minute, on the streams server", idle, (MINISTACK,)),
    Scenario("linear", "20,000, 100,000 and 500,000 records on the streams server", linear, (MINISTACK,)),
)
