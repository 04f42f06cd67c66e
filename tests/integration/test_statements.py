"""Rows are written many per call, by statements; where that is not allowed, one per call."""

from collections.abc import Callable, Iterator

import pytest

from tests.support.engines import TableEngine
from tests.support.processes import Call, Fate, Game, Proxy, is_row_write

PLAYERS = 60


@pytest.fixture
def game(engine: TableEngine) -> Iterator[Game]:
    with Game(engine) as game:
        yield game


def with_fate(fate: Fate, matches: Callable[[Call], bool]) -> Callable[[Call], Fate]:
    return lambda call: fate if matches(call) else Fate.PASS


def play_and_count(game: Game, proxy: Proxy) -> list[str]:
    """New rows, then rows that are there, with poison; the details of `board.statements_unusable` in the log."""
    game.play(200, PLAYERS, poison=0.02)
    worker = game.worker(proxy)
    game.wait_until_consumed()
    game.play(200, PLAYERS, poison=0.02)
    game.wait_until_consumed()
    assert worker.terminate().code == 0
    game.assert_exact()
    return [event["detail"] for event in worker.events("board.statements_unusable")]


def test_rows_are_written_by_statements(game: Game) -> None:
    """A row of its own call is the exception: each call of a unit but its last is full."""
    with Proxy(game.engine.url) as proxy:
        assert play_and_count(game, proxy) == []
    written = [len(call.row_writes) for call in proxy.matching(is_row_write) if not call.refused]
    assert max(written) == 25
    assert sum(written) > 2 * len(written), written


def test_a_role_without_the_permissions_counts_by_updates(game: Game) -> None:
    denied = with_fate(Fate.DENY, lambda call: call.operation == "BatchExecuteStatement")
    with Proxy(game.engine.url, denied) as proxy:
        (detail,) = play_and_count(game, proxy)
    assert "AccessDenied" in detail
    assert len(proxy.of("BatchExecuteStatement")) == 1, "it is tried once, at the start"
    assert len(proxy.matching(is_row_write)) > PLAYERS


def test_a_start_whose_first_tries_fail_uses_statements_all_the_same(game: Game) -> None:
    tries = iter((Fate.DROP_CALL, Fate.FAIL_AFTER, Fate.DROP_REPLY))
    with Proxy(game.engine.url) as proxy:
        proxy.decide = lambda call: next(tries, Fate.PASS) if call.operation == "BatchExecuteStatement" else Fate.PASS
        assert play_and_count(game, proxy) == []
    assert max(len(call.row_writes) for call in proxy.matching(is_row_write)) == 25
