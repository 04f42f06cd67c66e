"""What windows cost: a worker whose board keeps them beside one whose board keeps none, in one run."""

from collections.abc import Iterator
from itertools import islice

from tests.performance.bench.draining import Filling, drained_by_worker
from tests.performance.bench.runs import MINISTACK, different, zipf
from tests.performance.figures import Figure

WINDOWS = {"windows": "day:2,week:2,month:2", "time_zone": "Europe/Berlin"}
_SEED = 20_260_101
_RECORDS = 20_000
"""Of 1,000 players: each of their rows is read once, where nothing else would read it."""
_PLAYERS = 1_000
_WIDE_RECORDS = 6_000
_MOST_CPU = 1.5
_MOST_UNITS = 1.02
"""How a backlog is cut into units varies a little from run to run."""


def windows(_: str) -> Iterator[Figure]:
    """Players who play often, each game another player's, and a source that is not keyed; on engines of their own."""
    often, wide = list(islice(zipf(_PLAYERS, 1.0, _SEED), _RECORDS)), different(_WIDE_RECORDS, _SEED)
    for fillings, keyed in (
        ([Filling("hot", often, now=True)], True),
        ([Filling("wide, empty board", wide, now=True), Filling("wide, known rows", wide, now=True)], True),
        ([Filling("not keyed", often, now=True)], False),
    ):
        without = drained_by_worker(MINISTACK, *fillings, keyed=keyed)
        with_them = drained_by_worker(MINISTACK, *fillings, keyed=keyed, **WINDOWS)
        for bare, kept in zip(without, with_them, strict=True):
            note = f"{kept.cpu_micros:.0f} and {bare.cpu_micros:.0f} µs per game"
            ratio = kept.cpu_micros / bare.cpu_micros
            yield Figure(f"{bare.variant}: CPU per game, times that without", ratio, "", _MOST_CPU, note)
            note = f"{kept.writes_per_record:.3f} and {bare.writes_per_record:.3f} per game"
            ratio = kept.units.board_writes / bare.units.board_writes
            yield Figure(f"{bare.variant}: board write units, times those without", ratio, "", _MOST_UNITS, note)
