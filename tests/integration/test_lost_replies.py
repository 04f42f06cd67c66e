"""Replies that never arrive although the write was applied.

The conditions alone keep it exact: the compare-and-set of a transaction, the mark of a single write.
"""

import random
from collections import Counter
from collections.abc import Iterator

import pytest

from tests.support.engines import TableEngine
from tests.support.processes import Call, Fate, Game, Proxy, guards_off, is_commit, is_row_write

SEED = 20_260_131
RECORDS = 4_000
MARKED_RECORDS = 1_000


class LostReplies:
    """Of ten commits and single writes one loses its reply and one is answered with a 500, after they were applied."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)
        self._next: list[Fate] = []

    def __call__(self, call: Call) -> Fate:
        if not is_commit(call) and not is_row_write(call):
            return Fate.PASS
        if not self._next:
            self._next = [Fate.DROP_REPLY, Fate.FAIL_AFTER, *[Fate.PASS] * 8]
            self._random.shuffle(self._next)
        return self._next.pop()


@pytest.fixture
def game(engine: TableEngine) -> Iterator[Game]:
    """A game whose rows are written in transactions alone."""
    with Game(engine, SEED, keyed=False) as game:
        game.play(RECORDS, 2_000)
        yield game


@pytest.fixture
def proxy(engine: TableEngine) -> Iterator[Proxy]:
    with Proxy(engine.url, LostReplies(SEED)) as proxy:
        yield proxy


def consume(game: Game, proxy: Proxy, *unguarded: str) -> int:
    """Runs a worker until all is consumed; how many transactions were applied without a reply that says so."""
    worker = game.worker(proxy, entry=guards_off(*unguarded))
    game.wait_until_consumed()
    assert worker.terminate().code == 0
    applied = [call for call in proxy.matching(is_commit) if call.applied]
    fates = proxy.fates(applied)
    print(f"{game.engine.name}, seed {SEED}: {len(proxy.matching(is_commit))} transactions, applied: {dict(fates)}")
    assert min(fates[Fate.DROP_REPLY.value], fates[Fate.FAIL_AFTER.value]) >= 3
    return len(applied) - fates[Fate.PASS.value]


def test_exact(game: Game, proxy: Proxy) -> None:
    consume(game, proxy, "none")
    game.assert_exact()


def test_marked_writes_are_exact(engine: TableEngine, proxy: Proxy) -> None:
    with Game(engine, SEED) as game:
        game.play(MARKED_RECORDS, 300, poison=0.01)
        worker = game.worker(proxy, poll_interval_seconds="0.05")
        game.wait_until_consumed()
        for _ in range(4):  # rows that are there by now, and units of their own
            game.play(100, 300)
            game.wait_until_consumed()
        assert worker.terminate().code == 0
        game.assert_exact()
    fates: Counter[Fate] = Counter()
    for call in proxy.matching(is_row_write):
        if call.applied:
            fates[call.fate] += sum(not write.refused for write in call.row_writes)
    print(f"{engine.name}: single writes that were applied: {dict(fates)}")
    assert min(fates[Fate.DROP_REPLY], fates[Fate.FAIL_AFTER]) >= 10


def test_exact_also_with_a_fresh_token_per_attempt(game: Game, proxy: Proxy) -> None:
    consume(game, proxy, "token")
    game.assert_exact()


def test_over_counted_without_the_compare_and_set(game: Game, proxy: Proxy) -> None:
    lost = consume(game, proxy, "token", "compare-and-set")
    board = game.board()
    counted = sum(row.games for row in board.values())
    print(f"{counted - RECORDS} games counted twice in {lost} transactions that were applied again")
    assert counted > RECORDS
    assert board.keys() == game.expected.rows.keys()
    assert all(board[player].games >= row.games for player, row in game.expected.rows.items())
    with pytest.raises(AssertionError, match="rows are wrong"):
        game.assert_exact()
