"""A replay by default: what is pending in the range and good by now, each once, and nothing else."""

from decimal import Decimal

from consumer.domain.leaderboard import Delta
from consumer.domain.position import TRIM_HORIZON
from consumer.domain.quarantine import State
from consumer.domain.records import Rules
from consumer.domain.replay import LATEST, Mode
from consumer.operations.redrive import Applied, Faster, Result, Stayed
from consumer.operations.replay.leftovers import Leftovers
from tests.builders import shard
from tests.replays import ID, Scene, image

DAY = "2026-01-31"


def points(score: str) -> dict[str, object]:
    """A game of a producer that calls its score points."""
    told = image(score=score)
    return {"points" if name == "score" else name: value for name, value in told.items()}


def machine_of(scene: Scene, first: str = TRIM_HORIZON, last: str = LATEST) -> Leftovers:
    planned = scene.plan(first, last, mode=Mode.PENDING)
    return scene.desk.leftovers(planned, scene.desk.pending(planned))


def run(scene: Scene, machine: Leftovers) -> list[Result]:
    return list(scene.desk.steps(machine))


def mended(*scores: str) -> tuple[Scene, list[str]]:
    """Pending records, which are good by the rules of now."""
    scene = Scene()
    numbers = scene.write(*map(points, scores))
    scene.rules = Rules(score_attribute="points")
    return scene, numbers


def test_only_what_is_pending_in_the_range() -> None:
    scene, numbers = mended("1", "2", "4", "8", "16")
    scene.settle(numbers[2], State.DISCARDED)
    machine = machine_of(scene, numbers[1], numbers[3])
    assert machine.waiting == 2
    assert [type(result) for result in run(scene, machine)] == [Applied, Applied]
    assert scene.board == {"foo": Delta(2, Decimal(10), DAY)}
    assert [scene.tables.quarantine[ID, number].state for number in numbers] == [
        *("pending", "applied", "discarded", "applied", "pending")
    ]
    assert (machine.finished, machine.progress.games, machine.progress.running) == (True, 2, False)
    assert [trace.act for trace in scene.operators.audit] == ["replay", "replay"]
    assert [trace.detail["outcome"] for trace in scene.replays.trail] == ["started", "finished"]


def test_what_is_poison_still_stays_and_says_why() -> None:
    scene = Scene()
    (number,) = scene.write(image(score={"S": "1"}))
    machine = machine_of(scene)
    (result,) = run(scene, machine)
    assert isinstance(result, Stayed)
    assert result.reason == "score_type"
    assert scene.tables.quarantine[ID, number].state == "pending"
    assert (scene.board, machine.progress.skipped) == ({}, 1)


def test_somebody_who_is_faster() -> None:
    scene, numbers = mended("1")
    machine = machine_of(scene)
    scene.settle(numbers[0], State.DISCARDED)
    assert [type(result) for result in run(scene, machine)] == [Faster]
    assert scene.board == {}


def test_the_row_moves_on_and_two_at_once_count_each_record_once() -> None:
    scene, numbers = mended(*["1"] * 50)
    one = machine_of(scene)
    steps = scene.desk.steps(one)
    for _ in range(25):
        next(steps)
    assert scene.replays.rows[shard(), "Leaderboards"].position == numbers[19]
    two = machine_of(scene)
    assert len(run(scene, two)) == 25
    assert list(steps) is not None
    assert one.overtaken is not None
    assert scene.board == {"foo": Delta(50, Decimal(50), DAY)}


def test_an_interrupted_one_begins_with_what_is_left() -> None:
    scene, _ = mended(*["1"] * 30)
    steps = scene.desk.steps(machine_of(scene))
    for _ in range(22):
        next(steps)
    again = machine_of(scene)
    assert len(run(scene, again)) == 8
    assert again.finished
    assert scene.replays.trail[-2].detail["outcome"] == "resumed"
    assert scene.board == {"foo": Delta(30, Decimal(30), DAY)}
