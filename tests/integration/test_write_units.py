"""What the board costs in write units per game, as AWS bills them: counted through a proxy."""

import time
from collections import Counter
from collections.abc import Iterable

import pytest

from tests.support.engines import TableEngine
from tests.support.processes import Call, Game, Proxy, is_commit

GAMES = 600
"""Each is another player's."""
GAMES_PER_SECOND = 600
BATCH = 25


def write_units(calls: Iterable[Call]) -> Counter[str]:
    """By table: one per single write, two per action of a transaction, also where it was refused.

    No row is larger than the kilobyte of one unit.
    """
    units: Counter[str] = Counter()
    for call in calls:
        if call.operation in ("UpdateItem", "PutItem", "DeleteItem"):
            units[call.request["TableName"]] += 1
        for action in call.request.get("TransactItems", ()) if call.operation == "TransactWriteItems" else ():
            ((_, what),) = action.items()
            units[what["TableName"]] += 2
    return units


def play_live(game: Game) -> float:
    """One game of each player, at the rate if the machine takes it; the games per second that it took."""
    began = time.monotonic()
    for first in range(0, GAMES, BATCH):
        game.count(*(game.make(f"player-{number:05}") for number in range(first, first + BATCH)))
        time.sleep(max(0.0, began + (first + BATCH) / GAMES_PER_SECOND - time.monotonic()))
    return GAMES / (time.monotonic() - began)


@pytest.mark.timeout(90)
def test_a_game_costs_one_write_unit_of_the_board(engine: TableEngine) -> None:
    """Every row is there, with its mark, and each game is another player's: nothing folds."""
    with Game(engine) as game, Proxy(engine.url) as proxy:
        worker = game.worker(proxy)
        play_live(game)
        game.wait_until_consumed()
        assert worker.terminate().code == 0
        since = len(proxy.calls)

        worker = game.worker(proxy, poll_interval_seconds="0.2")
        worker.wait_for_event("lease.claimed")
        rate = play_live(game)
        game.wait_until_consumed()
        calls = proxy.calls[since:]
        assert worker.terminate().code == 0
        game.assert_exact()

    board, lease = game.tables["leaderboard"], game.tables["lease"]
    units = write_units(calls)
    commits = [call for call in calls if is_commit(call)]
    pages = [call for call in calls if call.operation == "GetRecords" and call.sequence_numbers]
    reads = sum(len(call.request["RequestItems"][board]["Keys"]) for call in calls if call.operation == "BatchGetItem")
    print(
        f"{engine.name}: {GAMES} games at {rate:.0f} per second: {units[board] / GAMES:.3f} write units of the board "
        f"per game, {reads} rows read; {len(commits)} commits for {len(pages)} pages, {write_units(commits)[lease]} "
        f"write units of the lease table for them, {units[lease] - write_units(commits)[lease]} for all else"
    )
    assert len(pages) > 1, "it was read while it was played"
    assert units[board] <= GAMES
    assert write_units(commits)[lease] <= len(pages), "at most one unit per page"
