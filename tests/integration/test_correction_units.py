"""What corrections cost: write units of the board as for games, reads of index rows; counted through a proxy."""

from collections.abc import Callable, Iterable

import pytest

from tests.integration.test_write_units import write_units
from tests.support.engines import TableEngine
from tests.support.processes import Call, Proxy
from tests.support.processes.items import Items

ITEMS = 200
"""Each is another player's: nothing folds."""


class Meter:
    """The calls that a step of the test causes."""

    def __init__(self, game: Items, proxy: Proxy) -> None:
        self._game, self._proxy = game, proxy

    def __call__(self, step: Callable[[int], object]) -> list[Call]:
        since = len(self._proxy.calls)
        for number in range(ITEMS):
            step(number)
        self._game.flush()
        self._game.wait_until_consumed()
        return self._proxy.calls[since:]


def keys_read(calls: Iterable[Call], table: str) -> int:
    """How many rows of a table were asked for, each by its key."""
    read = [call.request["RequestItems"].get(table, {}) for call in calls if call.operation == "BatchGetItem"]
    return sum(len(each.get("Keys", ())) for each in read)


@pytest.mark.timeout(90)
@pytest.mark.parametrize("keyed", [True, False], ids=["keyed", "by match"])
def test_a_correction_costs_what_a_game_costs(engine: TableEngine, *, keyed: bool) -> None:
    """Index rows are read for corrections only, and written for poison only."""
    with Items(engine, keyed=keyed) as game, Proxy(engine.url) as proxy:
        board, quarantine = game.tables["leaderboard"], game.tables["quarantine"]
        worker = game.worker(proxy)
        worker.wait_for_event("lease.claimed")
        measure = Meter(game, proxy)

        def write(score: str | None) -> Callable[[int], None]:
            return lambda number: game.write(f"match-{number}", f"player-{number}", score)

        inserted = measure(write("1"))
        games = measure(lambda number: game.write(f"more-{number}", f"player-{number}", "1"))
        edited = measure(write("2"))
        removed = measure(lambda number: game.remove(f"more-{number}"))
        units = [write_units(calls)[board] for calls in (inserted, games, edited, removed)]
        per_row = 1 if keyed else 2
        assert units == [per_row * ITEMS] * 4
        reads = [keys_read(calls, quarantine) for calls in (inserted, games, edited, removed)]
        assert reads[:2] == [0, 0]
        assert all(ITEMS <= number <= 1.1 * ITEMS for number in reads[2:]), "one behind a unit's end is read again"
        assert [write_units(calls)[quarantine] for calls in (inserted, games, edited, removed)] == [0] * 4

        broken = measure(lambda number: number < 3 and write(None)(number))
        mended = measure(lambda number: number < 3 and write("3")(number))
        assert worker.terminate().code == 0
        game.assert_exact()
    kept = [write_units(calls)[quarantine] for calls in (broken, mended)]
    print(
        f"{engine.name}, {'keyed' if keyed else 'by match'}: {per_row} write units of the board per game and per "
        f"correction, {sum(reads) / 2 / ITEMS:.2f} index rows read per correction; write units of the quarantine: "
        f"{kept[0]} to break 3 items, {kept[1]} to mend them"
    )
    assert kept[0] == 3 * 2 * 3, "a head row, a part and an index row"
    assert kept[1] == 3 * 2 * 2, "the head row is superseded, the index row is gone"
