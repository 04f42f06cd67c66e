"""Whether cost grows with the records alone: neither a record nor memory may cost more because there are many."""

from tests.bench.check import Check, Report
from tests.bench.players import zipf
from tests.bench.served import served_to_worker

_PLAYERS = 150
"""So few that a unit holds some 400 records: half a million of them are to be drained in a minute or two."""
_RECORDS = (20_000, 100_000, 500_000)


def linear(engine: str, seed: int) -> Report:
    """Streams of one shard and three lengths."""
    runs = [served_to_worker(engine, 1, zipf(_PLAYERS, 1.0, seed), records, "one shard") for records in _RECORDS]
    micros = [run.cpu_micros for run in runs]
    floors = [run.floors for run in runs]
    memory = [run.resident_mib for run in runs]
    return Report(
        runs,
        [
            Check("CPU a record, most over least", max(micros) / min(micros), 1.15),
            Check("CPU in floors, most over least", max(floors) / min(floors)),
            Check("resident memory, most less least", max(memory) - min(memory), 20, "MiB"),
        ],
    )
