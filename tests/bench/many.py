"""A full stream of many shards."""

from tests.bench.check import Report
from tests.bench.players import zipf
from tests.bench.served import served_to_handler, served_to_worker

_SHARDS = 64
_PLAYERS = 1_000
_RECORDS = 20_000
_HANDLED = 3_000


def many(engine: str, seed: int) -> Report:
    """All on one worker; the handler reads them in turn."""
    how = f"{_SHARDS} shards"
    return Report(
        [
            served_to_worker(engine, _SHARDS, zipf(_PLAYERS, 1.0, seed), _RECORDS, how),
            served_to_handler(engine, _SHARDS, zipf(_PLAYERS, 1.0, seed), _HANDLED, how),
        ]
    )
