"""A worker is killed twenty times while calls for single writes are held back, for many seconds, and delivered late.

Some arrive twice, and most when the next owner has gone on: the board stays exact. It does not without the mark's
condition.
"""

import random
import time
from typing import Any, NamedTuple

import pytest

from consumer.aws.board import SAME_MARK
from tests.support.background import Background
from tests.support.engines import TableEngine
from tests.support.processes import Call, Fate, Game, Hold, Proxy, WorkerProcess, differences, is_row_write

SEED = 20_261_122
PLAYERS = 300
KILLS = 20
HELD_AT_ONCE = 4
"""So many calls for single writes of each worker are held back."""
MOST_CALLS = 8
"""Between two of them at most so many others."""
IN_A_STATEMENT = " AND appliedShard = ? AND appliedTo = ?"
"""The mark's condition there."""
HELD_SECONDS = 6.0
"""At least so long, unless it is delivered before the next start. A worker waits 5 s for a reply."""


class Load(Background):
    """Games, as fast as a worker can take them beside kills, until the test is done with it."""

    def __init__(self, game: Game, poison: float = 0.01) -> None:
        super().__init__()
        self._game = game
        self._poison = poison

    def run(self) -> None:
        while not self.stop.wait(0.2):
            self._game.play(25, PLAYERS, self._poison)


class Late(NamedTuple):
    """A call that is held back, since when (monotonic), and the number of the newest record in it."""

    hold: Hold
    since: float
    number: int

    def deliver(self, fate: Fate) -> list[bool]:
        """Of each single write in it, whether the row's condition refused it."""
        self.hold.let_go(fate)
        assert self.hold.call is not None
        assert self.hold.call.status is not None, "the engine answered"
        return [write.refused for write in self.hold.call.row_writes]


class Backlog:
    """What is held back, and what became of what was."""

    def __init__(self, game: Game, proxy: Proxy, seed: random.Random, early_share: float) -> None:
        """`early_share`: of those that are held back, how many are delivered before the next start."""
        self.refused = self.applied = self.twice = self.early = 0
        self._game = game
        self._proxy = proxy
        self._seed = seed
        self._early_share = early_share
        self._waiting: list[Late] = []

    def kill_in_flight(self, worker: WorkerProcess) -> None:
        """Holds back some calls for single writes, kills the worker, and delivers a share of them at once."""
        seed = self._seed
        skip = 0
        holds = []
        for _ in range(HELD_AT_ONCE):
            skip += seed.randrange(MOST_CALLS // HELD_AT_ONCE)
            holds.append(self._proxy.hold(is_row_write, skip=skip))
        holds[0].wait_caught(60.0)
        worker.wait_for_event("lease.claimed")
        time.sleep(seed.uniform(0.0, 1.5))  # the others go on meanwhile
        worker.kill()
        caught = [hold for hold in holds if hold.cancel()]
        for hold in caught:
            assert hold.call is not None
            late = Late(hold, time.monotonic(), max(write.to for write in hold.call.row_writes))
            if seed.random() < self._early_share:
                self.early += 1
                self._count(late)
            else:
                self._waiting.append(late)

    def deliver_passed(self, *, at_least_seconds: float = HELD_SECONDS) -> None:
        """Delivers those that were held long enough, and whose records the next owner has settled by now."""
        checkpoint = self._game.checkpoint() or "TRIM_HORIZON"
        settled = int(checkpoint) if checkpoint.isdigit() else -1
        due = [
            late
            for late in self._waiting
            if late.number <= settled and time.monotonic() - late.since >= at_least_seconds
        ]
        for late in due:
            self._waiting.remove(late)
            self._count(late)

    def deliver_all(self) -> None:
        """Everything was settled without them."""
        self.deliver_passed(at_least_seconds=0.0)
        assert not self._waiting

    def _count(self, late: Late) -> None:
        fate = self._seed.choice((Fate.PASS, Fate.TWICE))
        self.twice += fate is Fate.TWICE
        refused = late.deliver(fate)
        self.refused += sum(refused)
        self.applied += len(refused) - sum(refused)


@pytest.mark.proof
@pytest.mark.timeout(600)
def test_twenty_kills_with_row_writes_held_back(fresh_engine: TableEngine) -> None:
    seed = random.Random(SEED)
    with Game(fresh_engine, SEED) as game, Proxy(fresh_engine.url) as proxy:
        game.play(500, PLAYERS, 0.01)
        backlog = Backlog(game, proxy, seed, early_share=0.25)
        with Load(game) as load:
            for _ in range(KILLS):
                worker = game.worker(proxy)
                backlog.kill_in_flight(worker)
                backlog.deliver_passed()
                assert load.running
        game.worker(proxy)
        game.wait_until_consumed(180)
        backlog.deliver_all()
        game.assert_exact()
    print(
        f"{fresh_engine.name}, seed {SEED}: {KILLS} SIGKILLs; of the single writes in calls that were held back "
        f"{backlog.refused} were refused and {backlog.applied} applied, {backlog.twice} calls arrived twice, "
        f"{backlog.early} before the next start; {game.expected.games:,} games exact, {len(game.poison)} poison"
    )
    assert backlog.refused >= KILLS
    assert backlog.twice >= KILLS / 2


def without_mark_condition(call: Call) -> Fate:
    """For `Proxy.decide`: takes the mark's condition out of single writes that follow a mark."""
    if call.operation == "UpdateItem" and SAME_MARK in call.request.get("ConditionExpression", ""):
        update: dict[str, Any] = call.request
        others = update["ConditionExpression"].removeprefix(SAME_MARK).removeprefix(" AND ")
        if others:
            update["ConditionExpression"] = others
        else:
            del update["ConditionExpression"]
        for name in (":found", ":foundTo"):
            del update["ExpressionAttributeValues"][name]
        call.change(update)
    elif is_row_write(call):
        for statement in call.request["Statements"]:
            before, condition, after = statement["Statement"].partition(IN_A_STATEMENT)
            if condition:
                statement["Statement"] = before + after
                first = before.count("?")
                del statement["Parameters"][first : first + 2]
        call.change(call.request)
    return Fate.PASS


@pytest.mark.proof
@pytest.mark.timeout(300)
def test_without_the_marks_condition_games_count_twice(fresh_engine: TableEngine) -> None:
    seed = random.Random(SEED)
    with Game(fresh_engine, SEED) as game, Proxy(fresh_engine.url, without_mark_condition) as proxy:
        game.count(*(game.make(f"player-{number:05}") for number in range(PLAYERS)))  # a new row has another condition
        worker = game.worker(proxy)
        game.wait_until_consumed(120)
        assert worker.terminate().code == 0
        game.assert_exact()
        backlog = Backlog(game, proxy, seed, early_share=0.0)
        game.play(500, PLAYERS)
        for _ in range(2):
            backlog.kill_in_flight(game.worker(proxy))
            game.play(100, PLAYERS)
        game.worker(proxy)
        game.wait_until_consumed(120)
        backlog.deliver_all()
        wrong = differences(game.board(), game.expected.rows)
    print(f"{fresh_engine.name}: without the mark's condition {len(wrong)} rows are wrong, such as {wrong[:2]}")
    assert backlog.applied > backlog.refused, "some have an older date than the row"
    assert wrong
    assert all(row.stored and row.right and row.stored.games > row.right.games for row in wrong), "counted twice"
