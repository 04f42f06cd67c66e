"""LATEST becomes a start time once, at the first start, whatever happens to that worker."""

import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.support.engines import TableEngine
from tests.support.processes import Call, Expected, Game, Proxy, until


@pytest.fixture
def game(engine: TableEngine) -> Iterator[Game]:
    with Game(engine) as game:
        yield game


def creates_root_rows(call: Call) -> bool:
    """The transaction after the one that records the stream's start."""
    return call.operation == "TransactWriteItems" and b"pinComplete = :no" in call.body


def reads(call: Call) -> bool:
    return call.operation == "GetRecords"


@pytest.mark.parametrize("killed_at", [creates_root_rows, reads])
def test_latest_survives_a_kill_before_the_first_record(game: Game, killed_at: Callable[[Call], bool]) -> None:
    """DynamoDB Local rounds creation times down to minutes: there, the minute of the first start counts."""
    kill_the_first_start(game, killed_at, distinct=game.engine.name != "dynamodb-local")


@pytest.mark.proof
def test_latest_on_dynamodb_local_in_a_minute_of_its_own(dynamodb_local_url: str) -> None:
    with Game(TableEngine("dynamodb-local", dynamodb_local_url)) as game:
        kill_the_first_start(game, reads, distinct=True)


def kill_the_first_start(game: Game, killed_at: Callable[[Call], bool], *, distinct: bool) -> None:
    """`distinct`: the engine's times show that the earlier games were written before the first start."""
    resolution = 60 if game.engine.name == "dynamodb-local" else 1
    before, after = ([game.make(f"{when}-{number}") for number in range(20)] for when in ("before", "after"))
    game.put(before)
    if distinct:
        _wait_for_the_next(resolution)
    with Proxy(game.engine.url) as proxy:
        held = proxy.hold(killed_at)
        started_at = time.time()
        first = game.worker(proxy, start_position="LATEST")
        held.wait_caught()
        start_time = _start_time(game)
        assert started_at // resolution * resolution <= start_time <= time.time()
        assert start_time % resolution == 0
        first.kill()
        assert game.board() == {}

        game.put(after)
        if resolution == 1:
            _wait_for_the_next(resolution)
        second = game.worker(proxy, start_position="LATEST")
        game.wait_until_consumed()
        assert _start_time(game) == start_time, "the first start's"

        expected = Expected()
        for played in game.played():
            if played.created >= start_time:
                assert played.image is not None
                expected.count(played.image)
        game.assert_exact(expected.rows)
        assert {item["playerId"]["S"] for item in after} <= expected.rows.keys()
        if distinct:
            assert len(expected.rows) == len(after), "no earlier game"
        ignored = len(before) + len(after) - expected.games
        until(
            lambda: sum(event.get("before_start", 0) for event in second.events("unit.committed")) == ignored,
            f"{ignored} records from before the start are logged",  # a thread writes the log
        )


def _start_time(game: Game) -> float:
    (stream_start,) = [row for row in game.rows("lease") if row["leaseKey"]["S"].startswith("stream#")]
    start_time: dict[str, Any] = stream_start["floor"]
    return float(start_time["N"])


def _wait_for_the_next(seconds: int) -> None:
    """An engine with times in whole seconds, or minutes, gives the same time to all that happens in one."""
    now = time.time() // seconds
    until(lambda: time.time() // seconds > now, f"the next {seconds} s", seconds + 5)
