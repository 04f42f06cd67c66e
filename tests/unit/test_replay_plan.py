"""What a replay is to do: ranges, resumption, and every refusal as a sentence."""

import pytest

from consumer.domain.errors import NotFound, UnsafeRefused, UsageFault
from consumer.domain.leases import Birth, Pin
from consumer.domain.position import SHARD_END, TRIM_HORIZON
from consumer.domain.replay import LATEST, Mode, Range, merged
from consumer.operations.replay.claim import Claim
from consumer.operations.replay.plan import CountedAlready
from tests.builders import ARN, finished, row, sequence_number, shard
from tests.replays import ID, Scene, images, wish


def scene_of(players: str = "abcdefgh") -> tuple[Scene, list[str]]:
    scene = Scene(page_records=2)
    return scene, scene.write(*images(players))


def interrupted(scene: Scene, first: str, last: str, mode: Mode = Mode.RECOUNT) -> None:
    """A replay that was killed behind its first batch."""
    if mode is Mode.PENDING:
        planned = scene.plan(first, last, mode=mode)
        scene.desk.begin(scene.desk.leftovers(planned, []))
        return
    machine = scene.begin(first, last)
    next(scene.desk.steps(machine))


@pytest.mark.parametrize(
    ("first", "last", "words"),
    [
        ("x", LATEST, "--from is 'x': it must be TRIM_HORIZON or a sequence number"),
        ("1" * 41, LATEST, "21 to 40 decimal digits"),
        ("1" * 20, LATEST, "21 to 40 decimal digits"),
        ("LATEST", LATEST, "--from is 'LATEST'"),
        ("1" * 21, "TRIM_HORIZON", "--to is 'TRIM_HORIZON': it must be LATEST or a sequence number"),
        ("-1", "+5", "--to is '+5'"),
        ("1" + "0" * 21, "9" * 21, f"--from 1{'0' * 21} is after --to {'9' * 21}"),
    ],
)
def test_what_could_never_be_right(first: str, last: str, words: str) -> None:
    with pytest.raises(UsageFault, match="--") as refused:
        wish(first, last).check()
    assert words in str(refused.value)


def test_without_the_streams_row_nobody_knows_what_lies_before_the_start() -> None:
    scene, numbers = scene_of()
    scene.tables.pins.clear()
    with pytest.raises(UnsafeRefused, match="start position before which nothing counts"):
        scene.plan(numbers[1])
    scene.plan(numbers[1], mode=Mode.PENDING)


def test_where_it_ends_is_capped_at_the_checkpoint_and_fixed() -> None:
    scene, numbers = scene_of()
    planned = scene.plan(numbers[1])
    assert planned.progress.range == Range(numbers[1], numbers[-1])
    beyond = str(int(numbers[-1]) + 5)
    capped = scene.plan(numbers[1], beyond)
    assert (capped.progress.range.last, capped.order.capped, planned.order.capped) == (numbers[-1], True, False)
    interrupted(scene, numbers[1], beyond)
    scene.write(*images("xyz"))
    again = scene.plan(numbers[1], beyond)
    assert again.resumes
    assert again.progress.range.last == numbers[-1], "it is the end of then"
    assert scene.plan(numbers[1], numbers[-1]).resumes, "named by its number it is the same"


def test_past_the_checkpoint() -> None:
    scene, numbers = scene_of()
    with pytest.raises(UnsafeRefused, match="lies past that checkpoint: the worker will come to it"):
        scene.plan(str(int(numbers[-1]) + 1))
    scene.tables.rows[shard()] = row(checkpoint=TRIM_HORIZON)
    with pytest.raises(UnsafeRefused, match=r"nothing of shard .* is counted yet"):
        scene.plan()


def test_unknown_and_missing_shards() -> None:
    scene, _ = scene_of()
    with pytest.raises(NotFound, match=rf"there is no shard 'shard-9': the nearest ones are .*{ID}"):
        scene.plan(shard="shard-9")
    scene.tables.pins[ARN] = Pin(ARN, None, (ID,), complete=True)
    del scene.tables.rows[shard()]
    with pytest.raises(NotFound, match="is missing from the lease table"):
        scene.plan()


def test_the_floor_is_the_streams() -> None:
    scene, _ = scene_of()
    scene.tables.pins[ARN] = Pin(ARN, 77.0, (ID,), complete=True)
    assert scene.plan().order.floor == 77.0


def test_the_board_must_be_the_one_that_the_stream_is_counted_into() -> None:
    scene, _ = scene_of()
    scene.tables.births[ARN] = Birth(ARN, "consumer-leases", "Leaderboards")
    scene.plan()
    scene.plan(target="Other", elsewhere=True)
    with pytest.raises(UnsafeRefused, match="is counted into Leaderboards, and the configured leaderboard is Other"):
        scene.plan(target="Other")
    with pytest.raises(UnsafeRefused, match="--into Leaderboards is the board that shard"):
        scene.plan(elsewhere=True)


def test_a_finished_range_that_overlaps_is_refused_unless_again() -> None:
    scene, numbers = scene_of()
    scene.recount(numbers[2], numbers[4])
    for first, last in ((numbers[4], numbers[6]), (numbers[0], numbers[2]), (TRIM_HORIZON, LATEST), (numbers[3],) * 2):
        with pytest.raises(CountedAlready, match=rf"from {numbers[2]} to {numbers[4]} already"):
            scene.plan(first, last)
        assert not scene.plan(first, last, again=True).resumes
        scene.plan(first, last, mode=Mode.PENDING)  # what is pending guards itself
    scene.recount(numbers[5], LATEST)
    with pytest.raises(CountedAlready):
        scene.plan(numbers[4], numbers[4])
    scene.recount(TRIM_HORIZON, numbers[1])
    assert merged(scene.replays.rows[shard(), "Leaderboards"].history) == (
        Range(TRIM_HORIZON, numbers[1]),
        Range(numbers[2], numbers[4]),
        Range(numbers[5], numbers[7]),
    )
    scene.write(*images("xyz"))
    newer = str(int(numbers[-1]) + 1)
    assert scene.recount(newer).progress.games == 3


def test_an_interrupted_one_must_be_ended_or_given_up() -> None:
    scene, numbers = scene_of()
    interrupted(scene, numbers[1], numbers[5])
    with pytest.raises(UnsafeRefused, match=f"--from {numbers[1]} --to {numbers[5]}. Or give it up"):
        scene.plan(numbers[6], numbers[7])
    given_up = scene.plan(numbers[6], numbers[7], again=True)
    assert not given_up.resumes
    assert given_up.progress.done == (Range(numbers[1], numbers[2]),), "what it has counted is known"
    scene.recount(numbers[6], numbers[7], again=True)
    assert scene.replays.trail[-2].detail["outcome"] == "started, another one given up"
    with pytest.raises(CountedAlready, match=f"from {numbers[1]} to {numbers[2]} already"):
        scene.plan(numbers[2], numbers[4])
    assert scene.recount(numbers[3], numbers[5]).progress.games == 3


def test_only_just_the_same_goes_on() -> None:
    scene, numbers = scene_of()
    interrupted(scene, numbers[1], LATEST)
    assert scene.plan(numbers[1]).resumes
    for first, mode in ((numbers[0], Mode.RECOUNT), (numbers[1], Mode.PENDING)):
        with pytest.raises(UnsafeRefused, match="was interrupted behind"):
            scene.plan(first, mode=mode)


def test_again_goes_on_with_the_same_that_was_interrupted() -> None:
    """So a script that repeats its command after a kill counts nothing twice."""
    scene, numbers = scene_of()
    scene.recount()
    scene.tables.board.clear()
    machine = scene.begin(again=True)
    next(scene.desk.steps(machine))
    assert scene.plan(again=True).resumes
    scene.recount(again=True)
    assert {player: games for player, (games, _, _) in scene.board.items()} == dict.fromkeys("abcdefgh", 1)
    assert numbers


def test_a_pending_one_that_was_interrupted_stands_in_nobodys_way() -> None:
    scene, numbers = scene_of()
    interrupted(scene, TRIM_HORIZON, LATEST, Mode.PENDING)
    assert not scene.plan(numbers[0]).resumes
    assert scene.plan(mode=Mode.PENDING).resumes


def test_one_that_is_running_is_left_in_peace() -> None:
    scene, _ = scene_of()
    machine = scene.begin()
    steps = scene.desk.steps(machine)
    next(steps)
    claim = Claim(shard(), "Leaderboards")
    looks = 0
    while (due := claim.due()) is not None:
        claim.take(scene.ask(due.call))
        looks += 1
        if looks == 2:
            next(steps)
    assert (claim.busy, looks) == (True, 3)
    with pytest.raises(UnsafeRefused, match="is running: me began it"):
        claim.refuse_busy()


def test_one_that_does_not_move_is_taken_over_after_some_seconds() -> None:
    scene, numbers = scene_of()
    interrupted(scene, numbers[0], LATEST)
    scene.waited.clear()
    assert scene.plan(numbers[0]).resumes
    assert sum(scene.waited) == 3.0
    scene.waited.clear()
    scene.desk.plan(wish(numbers[0]), acting=False)
    assert not scene.waited, "who only reads does not wait"


def test_children_and_theirs_from_their_beginning() -> None:
    scene, numbers = scene_of("ab")
    for number, parent in ((1, 0), (2, 0), (3, 1)):
        scene.streams.add_shard(f"shard-{number}", f"shard-{parent}")
    scene.tables.rows |= {
        shard(0): finished(0, 1, 2),
        shard(1): finished(1, 3, parent=0),
        shard(2): row(2, checkpoint=TRIM_HORIZON, parent=0),
        shard(3): row(3, checkpoint=sequence_number(5), parent=1),
    }
    plans = scene.desk.plan(wish(numbers[1]), children=True)
    assert [(planned.order.shard, planned.progress.range) for planned in plans.planned] == [
        (shard(0), Range(numbers[1], SHARD_END)),
        (shard(1), Range(TRIM_HORIZON, SHARD_END)),
        (shard(3), Range(TRIM_HORIZON, sequence_number(5))),
    ]
    assert len({planned.progress.act for planned in plans.planned}) == 1
    assert len({planned.progress.runner for planned in plans.planned}) == 3


def test_children_after_an_interruption() -> None:
    """What was begun together goes on together; what of it is finished is left alone, also with --again."""
    scene, _ = scene_of("ab")
    scene.streams.close(ID)
    scene.streams.add_shard("shard-1", ID)
    last = scene.streams.write("shard-1", next(images("c")))
    scene.tables.rows |= {shard(0): finished(0, 1), shard(1): row(1, checkpoint=last, parent=0)}

    def machines(plans: object) -> list[object]:
        return [scene.desk.recount(each, scene.desk.scout(each)) for each in plans.planned]  # type: ignore[attr-defined]

    for round_ in (1, 2):
        first = machines(scene.desk.plan(wish(again=round_ == 2), children=True))
        for machine in first:
            scene.desk.begin(machine)  # type: ignore[arg-type]
        list(scene.desk.steps(first[0]))  # type: ignore[arg-type]
        plans = scene.desk.plan(wish(again=True), children=True)
        assert [order.shard for order in plans.left] == [shard(0)]
        for machine in machines(plans):
            list(scene.desk.steps(machine))  # type: ignore[arg-type]
        assert {player: games for player, (games, _, _) in scene.board.items()} == dict.fromkeys("abc", round_)
    with pytest.raises(CountedAlready):
        scene.desk.plan(wish(), children=True)


@pytest.mark.parametrize(
    ("ranges", "right"),
    [
        ([], []),
        ([("5", "9"), ("1", "4")], [("1", "4"), ("5", "9")]),
        ([("1", "5"), ("5", "1000"), ("2000", SHARD_END)], [("1", "1000"), ("2000", SHARD_END)]),
        ([("7", "8"), (TRIM_HORIZON, SHARD_END)], [(TRIM_HORIZON, SHARD_END)]),
    ],
)
def test_merged(ranges: list[tuple[str, str]], right: list[tuple[str, str]]) -> None:
    assert merged(Range(*each) for each in ranges) == tuple(Range(*each) for each in right)
