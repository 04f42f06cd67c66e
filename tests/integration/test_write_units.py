"""What the board costs in write units per game, as AWS bills them: counted through a proxy."""

import time
from collections import Counter
from collections.abc import Iterable

import pytest

from tests.streams_server.statements import table_of
from tests.support.engines import TableEngine
from tests.support.processes import Call, Game, Proxy, is_commit

GAMES = 600
"""Each is another player's."""
GAMES_PER_SECOND = 200
BATCH = 25
CHECKPOINT_SECONDS = 1.0
"""Between two moves of a checkpoint, as the settings have it."""


def write_units(calls: Iterable[Call]) -> Counter[str]:
    """By table: one per single write and per statement, two per action of a transaction, also where it was refused.

    No row is larger than the kilobyte of one unit.
    """
    units: Counter[str] = Counter()
    for call in calls:
        match call.operation:
            case "UpdateItem" | "PutItem" | "DeleteItem":
                units[call.request["TableName"]] += 1
            case "BatchExecuteStatement":
                units.update(map(table_of, call.request["Statements"]))
            case "TransactWriteItems":
                actions = [what for action in call.request["TransactItems"] for what in action.values()]
                units.update([what["TableName"] for what in actions] * 2)
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
        game.count(*(game.make(f"player-{number:05}") for number in range(GAMES)))
        game.wait_until_consumed()
        assert worker.terminate().code == 0

        worker = game.worker(proxy, poll_interval_seconds="0.2")
        worker.wait_for_event("lease.claimed")
        since, began = len(proxy.calls), time.monotonic()
        rate = play_live(game)
        game.wait_until_consumed()
        calls, seconds = proxy.calls[since:], time.monotonic() - began
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
        f"write units of the lease table for them in {seconds:.1f} s, "
        f"{units[lease] - write_units(commits)[lease]} for all else"
    )
    assert units[board] == GAMES
    most = seconds / CHECKPOINT_SECONDS + 1
    assert write_units(commits)[lease] <= most < len(pages), "a checkpoint moves once per interval, not once per page"
