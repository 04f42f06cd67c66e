"""The memory of a worker does not grow with the players that it has seen: it remembers a bounded number of rows."""

import pytest

from tests.performance.usage import usage
from tests.support.engines import TableEngine
from tests.support.processes import Game

AT_ONCE = 400
FIRST, LAST = 1_600, 6_400
"""Players that it has seen when its memory is measured: before, and in the end."""
ID_BYTES = 1_900
"""So long are their ids: what is remembered of a player takes at least as much."""
GROWTH_MIB = (LAST - FIRST) * ID_BYTES / 1_048_576


def grown(engine: TableEngine, remembered_rows: int) -> float:
    """By how many MiB the worker has grown from the first measurement to the last."""
    with Game(engine) as game:
        worker = game.worker(remembered_rows=str(remembered_rows), log_level="INFO")
        used = {}
        for first in range(0, LAST, AT_ONCE):
            game.count(*(game.make(f"{number:x<{ID_BYTES}}") for number in range(first, first + AT_ONCE)))
            game.wait_until_consumed(120)
            used[first + AT_ONCE] = usage(worker.pid).resident_mib
        assert worker.terminate().code == 0
        game.assert_exact()
    print(f"{engine.name}: {remembered_rows} rows remembered: {used[FIRST]:.1f} MiB, then {used[LAST]:.1f}")
    return used[LAST] - used[FIRST]


@pytest.mark.proof
@pytest.mark.timeout(600)
def test_memory_does_not_grow_with_the_players_seen(ministack_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MALLOC_ARENA_MAX", "1")  # else each thread's arena grows for a while
    monkeypatch.setenv("PYTHONMALLOC", "malloc")
    engine = TableEngine("ministack", ministack_url)
    assert grown(engine, 1_000) < GROWTH_MIB / 2
    assert grown(engine, 100_000) > GROWTH_MIB * 3 / 4, "else the test would not see it"
