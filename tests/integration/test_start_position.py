"""LATEST is derived once, at the first start, whatever becomes of the worker then."""

import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.engines import TableEngine
from tests.processes import Call, Game, Proxy, Tally, until


@pytest.fixture
def game(engine: TableEngine) -> Iterator[Game]:
    with Game(engine) as game:
        yield game


def plants_roots(call: Call) -> bool:
    """The transaction that follows the pin's."""
    return call.operation == "TransactWriteItems" and b"pinComplete = :no" in call.body


def reads(call: Call) -> bool:
    return call.operation == "GetRecords"


@pytest.mark.parametrize("killed_at", [plants_roots, reads])
def test_latest_survives_a_kill_before_the_first_record(game: Game, killed_at: Callable[[Call], bool]) -> None:
    """DynamoDB Local tells creation times in whole minutes, rounded down: there, the first start's minute counts."""
    kill_the_first_start(game, killed_at, told_apart=game.engine.name != "dynamodb-local")


@pytest.mark.proof
def test_latest_on_dynamodb_local_in_a_minute_of_its_own(dynamodb_local_url: str) -> None:
    with Game(TableEngine("dynamodb-local", dynamodb_local_url)) as game:
        kill_the_first_start(game, reads, told_apart=True)


def kill_the_first_start(game: Game, killed_at: Callable[[Call], bool], *, told_apart: bool) -> None:
    """`told_apart`: the games of before are of an earlier moment, as the engine tells it, than the first start."""
    resolution = 60 if game.engine.name == "dynamodb-local" else 1
    before, after = ([game.make(f"{when}-{number}") for number in range(20)] for when in ("before", "after"))
    game.put(before)
    if told_apart:
        _wait_for_the_next(resolution)
    with Proxy(game.engine.url) as proxy:
        held = proxy.hold(killed_at)
        started_at = time.time()
        first = game.worker(proxy, start_position="LATEST")
        held.wait_caught()
        floor = _floor(game)
        assert started_at // resolution * resolution <= floor <= time.time()
        assert floor % resolution == 0
        first.kill()
        assert game.board() == {}

        game.put(after)
        if resolution == 1:
            _wait_for_the_next(resolution)
        second = game.worker(proxy, start_position="LATEST")
        game.wait_until_consumed()
        assert _floor(game) == floor, "the first start's"

        right = Tally()
        for played in game.played():
            if played.created >= floor:
                assert played.image is not None
                right.count(played.image)
        game.assert_exact(right.rows)
        assert {item["playerId"]["S"] for item in after} <= right.rows.keys()
        if told_apart:
            assert len(right.rows) == len(after), "nothing of before"
        ignored = sum(event.get("before_start", 0) for event in second.events("unit.committed"))
        assert ignored == len(before) + len(after) - right.games


def _floor(game: Game) -> float:
    (pin,) = [row for row in game.rows("lease") if row["leaseKey"]["S"].startswith("stream#")]
    floor: dict[str, Any] = pin["floor"]
    return float(floor["N"])


def _wait_for_the_next(seconds: int) -> None:
    """An engine that tells whole seconds, or minutes, cannot tell apart what happened in the same one."""
    now = time.time() // seconds
    until(lambda: time.time() // seconds > now, f"the next {seconds} s", seconds + 5)
