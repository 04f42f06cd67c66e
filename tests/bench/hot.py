"""A full stream of a few players or of many, drained as fast as may be."""

from tests.bench.check import Check, Report
from tests.bench.drained import drained_by_handler, drained_by_worker
from tests.bench.engine import LOCAL
from tests.bench.players import uniform, zipf
from tests.bench.run import Run

_HOT_PLAYERS = 1_000
_WIDE_PLAYERS = 100_000
_RECORDS = 20_000
_HANDLED = {"ministack": 4_000, LOCAL: 3_000}


def hot(engine: str, seed: int) -> Report:
    """1,000 players by Zipf's law with exponent 1."""
    worker = drained_by_worker(engine, zipf(_HOT_PLAYERS, 1.0, seed), _RECORDS)
    handler = drained_by_handler(engine, zipf(_HOT_PLAYERS, 1.0, seed), _HANDLED[engine], worker.floor_micros)
    if engine != LOCAL:
        return Report([worker, handler])
    return Report(
        [worker, handler],
        [
            Check("records/s, times the handler's", worker.rate / handler.rate, 5.0, least=True),
            Check("CPU a record, times the floor", worker.floors, 8.0),
            Check("CPU a record, handler's times ours", handler.cpu_micros / worker.cpu_micros, 40.0, least=True),
            Check("write calls a record", worker.calls_a_record, 0.01),
        ],
    )


def wide(engine: str, seed: int) -> Report:
    """100,000 players, each as likely as the others: nearly every record is another one's."""
    worker = drained_by_worker(engine, uniform(_WIDE_PLAYERS, seed), _RECORDS)
    handler = drained_by_handler(engine, uniform(_WIDE_PLAYERS, seed), _HANDLED[engine], worker.floor_micros)
    return Report([worker, handler], _wide_checks(worker, handler))


def _wide_checks(worker: Run, handler: Run) -> list[Check]:
    return [
        Check("records/s, times the handler's", worker.rate / handler.rate, 3.0, least=True),
        Check("CPU a record, times the floor", worker.floors, 15.0),
    ]
