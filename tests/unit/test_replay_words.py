"""What a person is told of a replay before and while it runs."""

from collections import Counter
from dataclasses import replace

from consumer.cli.replay_words import before, gauge, reading, spread, summary
from consumer.domain.position import SHARD_END, TRIM_HORIZON
from consumer.domain.replay import Mode, Range
from tests.builders import shard
from tests.replays import ID, Scene, images


def scene_of() -> tuple[Scene, list[str]]:
    scene = Scene(page_records=2)
    return scene, scene.write(*images("abcdef"))


def test_what_will_be_done() -> None:
    scene, numbers = scene_of()
    assert list(before(scene.plan(numbers[1], numbers[3]))) == [f"Shard {shard()}, from {numbers[1]} to {numbers[3]}."]
    beyond = str(int(numbers[-1]) + 9)
    assert list(before(scene.plan(numbers[1], beyond, mode=Mode.PENDING))) == [
        f"Shard {shard()}, from {numbers[1]} to {numbers[-1]}.",
        f"--to {beyond} lies past the checkpoint: it ends with {numbers[-1]}.",
        "What the worker has counted is left alone; --recount would count it again.",
    ]
    next(scene.desk.steps(scene.begin()))
    assert list(before(scene.plan())) == [
        f"Shard {shard()}, from its oldest record to {numbers[-1]}.",
        f"It goes on with what me began, behind {numbers[1]}.",
    ]


def test_what_the_stream_has() -> None:
    scene, numbers = scene_of()
    planned = scene.plan()
    assert next(reading(planned, scene.desk.scout(planned))) == (
        f"{numbers[0]} is the oldest record that the stream still has."
    )
    scene.streams.trim(ID, 2)
    planned = scene.plan(numbers[0])
    first, second, third = reading(planned, scene.desk.scout(planned))
    assert first.startswith(f"Part of the range is trimmed: {numbers[2]} is the oldest record")
    assert "one more reader" in second
    assert "reset to zero, restored from a backup taken with all workers stopped, or new" in third


def test_how_far_it_is() -> None:
    scene, numbers = scene_of()
    progress = scene.plan().progress
    assert gauge(progress, numbers[0]) is None
    assert gauge(replace(progress, position=numbers[0]), numbers[0]) == 0.0
    assert gauge(replace(progress, position=numbers[-1]), numbers[0]) == 1.0
    assert gauge(replace(progress, position=numbers[0], range=Range(TRIM_HORIZON, SHARD_END)), numbers[0]) is None
    assert gauge(replace(progress, position=numbers[-1]), numbers[-1]) == 1.0, "one record"
    assert gauge(progress, None) is None
    assert summary(replace(progress, games=1)) == "1 game counted"


def test_what_was_not_counted() -> None:
    assert spread(Counter()) == ""
    assert spread(Counter({"refused": 2, "date_type": 1000})) == "; 1,002 not counted (date_type 1,000, refused 2)"
