"""Plans of replays: ranges, interruptions, and every refusal as a sentence."""

import pytest

from consumer.domain.errors import NotFound, UnsafeRefused, UsageFault
from consumer.domain.leases import SHARD_END, TRIM_HORIZON, StreamStart, TableBinding
from consumer.domain.replay import LATEST, Mode, Range, merged
from consumer.operations.replay import PendingReplay, Recount
from consumer.operations.replay_plan import CountedAlready, Plans, read_progress
from consumer.operations.steps import OperatorCall
from tests.support.builders import ARN, finished, row, sequence_number, shard
from tests.support.commands import CommandDriver
from tests.support.replay_fixture import BOARD, ID, ReplayFixture, before_count, images, request


def fixture_of(players: str = "abcdefgh") -> tuple[ReplayFixture, list[str]]:
    fixture = ReplayFixture(page_records=2)
    return fixture, fixture.write(*images(players))


def interrupted(fixture: ReplayFixture, first: str, last: str, mode: Mode = Mode.RECOUNT) -> None:
    """A replay that was killed behind its first batch."""
    planned = fixture.plan(first, last, mode=mode)
    if mode is Mode.PENDING:
        fixture.run(PendingReplay(fixture.service, planned, []).begin())
    else:
        before_count(Recount(fixture.service, planned, fixture.open_reader(planned))).answer()


@pytest.mark.parametrize(
    ("first", "last", "fault"),
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
def test_ranges_that_no_shard_can_have(first: str, last: str, fault: str) -> None:
    with pytest.raises(UsageFault, match="--") as refused:
        request(first, last).check()
    assert fault in str(refused.value)


def test_without_the_streams_row_the_start_time_is_unknown() -> None:
    fixture, numbers = fixture_of()
    fixture.tables.stream_starts.clear()
    with pytest.raises(UnsafeRefused, match="start time before which no game counts"):
        fixture.plan(numbers[1])
    fixture.plan(numbers[1], mode=Mode.PENDING)


def test_the_end_is_capped_at_the_checkpoint_and_stays() -> None:
    fixture, numbers = fixture_of()
    planned = fixture.plan(numbers[1])
    assert planned.progress.range == Range(numbers[1], numbers[-1])
    beyond = str(int(numbers[-1]) + 5)
    capped = fixture.plan(numbers[1], beyond)
    assert (capped.progress.range.last, capped.plan.capped, planned.plan.capped) == (numbers[-1], True, False)
    interrupted(fixture, numbers[1], beyond)
    fixture.write(*images("xyz"))
    again = fixture.plan(numbers[1], beyond)
    assert again.resumes
    assert again.progress.range.last == numbers[-1], "the end that it had then"
    assert fixture.plan(numbers[1], numbers[-1]).resumes, "a request with its sequence number is the same"


def test_a_start_past_the_checkpoint() -> None:
    fixture, numbers = fixture_of()
    with pytest.raises(UnsafeRefused, match="is past that checkpoint: its worker will come to it"):
        fixture.plan(str(int(numbers[-1]) + 1))
    fixture.tables.rows[shard()] = row(checkpoint=TRIM_HORIZON)
    with pytest.raises(UnsafeRefused, match=r"nothing of shard .* is counted yet"):
        fixture.plan()


def test_unknown_and_missing_shards() -> None:
    fixture, _ = fixture_of()
    with pytest.raises(NotFound, match=rf"there is no shard 'shard-9': the nearest ones are .*{ID}"):
        fixture.plan(shard="shard-9")
    fixture.tables.stream_starts[ARN] = StreamStart(ARN, None, (ID,), complete=True)
    del fixture.tables.rows[shard()]
    with pytest.raises(NotFound, match="is missing from the lease table"):
        fixture.plan()


def test_the_start_time_is_that_of_the_stream() -> None:
    fixture, _ = fixture_of()
    fixture.tables.stream_starts[ARN] = StreamStart(ARN, 77.0, (ID,), complete=True)
    assert fixture.plan().plan.start_time == 77.0


def test_the_target_must_be_the_leaderboard_of_the_stream() -> None:
    fixture, _ = fixture_of()
    fixture.tables.bindings[ARN] = TableBinding(ARN, "consumer-leases", "Leaderboards")
    fixture.plan()
    fixture.plan(target="Other", into_other_table=True)
    with pytest.raises(UnsafeRefused, match="is counted into Leaderboards, and the configured leaderboard is Other"):
        fixture.plan(target="Other")
    with pytest.raises(UnsafeRefused, match="--into Leaderboards is the leaderboard that shard"):
        fixture.plan(into_other_table=True)


def test_a_finished_range_that_overlaps_is_refused_unless_again() -> None:
    fixture, numbers = fixture_of()
    fixture.recount(numbers[2], numbers[4])
    for first, last in ((numbers[4], numbers[6]), (numbers[0], numbers[2]), (TRIM_HORIZON, LATEST), (numbers[3],) * 2):
        with pytest.raises(CountedAlready, match=rf"from {numbers[2]} to {numbers[4]} already"):
            fixture.plan(first, last)
        assert not fixture.plan(first, last, again=True).resumes
        fixture.plan(first, last, mode=Mode.PENDING)  # the pending state guards itself
    fixture.recount(numbers[5], LATEST)
    with pytest.raises(CountedAlready):
        fixture.plan(numbers[4], numbers[4])
    fixture.recount(TRIM_HORIZON, numbers[1])
    assert merged(fixture.replays.rows[shard(), "Leaderboards"].history) == (
        Range(TRIM_HORIZON, numbers[1]),
        Range(numbers[2], numbers[4]),
        Range(numbers[5], numbers[7]),
    )
    fixture.write(*images("xyz"))
    newer = str(int(numbers[-1]) + 1)
    assert fixture.recount(newer).progress.games == 3


def test_an_interrupted_replay_must_be_finished_or_given_up() -> None:
    fixture, numbers = fixture_of()
    interrupted(fixture, numbers[1], numbers[5])
    with pytest.raises(UnsafeRefused, match=f"--from {numbers[1]} --to {numbers[5]}. Or give that replay up"):
        fixture.plan(numbers[6], numbers[7])
    given_up = fixture.plan(numbers[6], numbers[7], again=True)
    assert not given_up.resumes
    assert given_up.progress.done == (Range(numbers[1], numbers[2]),), "what it has counted is known"
    fixture.recount(numbers[6], numbers[7], again=True)
    assert fixture.replays.trail[-2].detail["outcome"] == "started, another one given up"
    with pytest.raises(CountedAlready, match=f"from {numbers[1]} to {numbers[2]} already"):
        fixture.plan(numbers[2], numbers[4])
    assert fixture.recount(numbers[3], numbers[5]).progress.games == 3


def test_only_the_same_request_goes_on() -> None:
    fixture, numbers = fixture_of()
    interrupted(fixture, numbers[1], LATEST)
    assert fixture.plan(numbers[1]).resumes
    for first, mode in ((numbers[0], Mode.RECOUNT), (numbers[1], Mode.PENDING)):
        with pytest.raises(UnsafeRefused, match="was interrupted behind"):
            fixture.plan(first, mode=mode)


def test_with_again_the_same_request_goes_on_too() -> None:
    """So a script that repeats its command after a kill counts nothing twice."""
    fixture, numbers = fixture_of()
    fixture.recount()
    fixture.tables.board.clear()
    before_count(fixture.begin(again=True)).answer()
    assert fixture.plan(again=True).resumes
    fixture.recount(again=True)
    assert {player: delta.games for player, delta in fixture.board.items()} == dict.fromkeys("abcdefgh", 1)
    assert numbers


def test_an_interrupted_pending_replay_blocks_no_other() -> None:
    fixture, numbers = fixture_of()
    interrupted(fixture, TRIM_HORIZON, LATEST, Mode.PENDING)
    assert not fixture.plan(numbers[0]).resumes
    assert fixture.plan(mode=Mode.PENDING).resumes


def test_a_running_replay_is_not_disturbed() -> None:
    fixture, _ = fixture_of()
    running = before_count(fixture.begin()).answer()
    check = CommandDriver(read_progress(fixture.replays, shard(), BOARD, acting=True))
    check.answer().answer()
    assert check.step is not None
    assert check.step.after_seconds == 1.0
    running.answer_until(OperatorCall.COUNT_BATCH).answer()
    with pytest.raises(UnsafeRefused, match="is running: me started it"):
        check.answer()


def test_a_replay_that_does_not_move_is_taken_over_after_some_seconds() -> None:
    fixture, numbers = fixture_of()
    interrupted(fixture, numbers[0], LATEST)
    fixture.waited.clear()
    assert fixture.plan(numbers[0]).resumes
    assert sum(fixture.waited) == 3.0
    fixture.waited.clear()
    fixture.run(fixture.service.plan(request(numbers[0]), acting=False))
    assert not fixture.waited, "a dry run does not wait"


def test_descendants_from_their_start() -> None:
    fixture, numbers = fixture_of("ab")
    for number, parent in ((1, 0), (2, 0), (3, 1)):
        fixture.streams.add_shard(f"shard-{number}", f"shard-{parent}")
    fixture.tables.rows |= {
        shard(0): finished(0, 1, 2),
        shard(1): finished(1, 3, parent=0),
        shard(2): row(2, checkpoint=TRIM_HORIZON, parent=0),
        shard(3): row(3, checkpoint=sequence_number(5), parent=1),
    }
    plans = fixture.run(fixture.service.plan(request(numbers[1]), children=True))
    assert [(planned.plan.shard, planned.progress.range) for planned in plans.planned] == [
        (shard(0), Range(numbers[1], SHARD_END)),
        (shard(1), Range(TRIM_HORIZON, SHARD_END)),
        (shard(3), Range(TRIM_HORIZON, sequence_number(5))),
    ]
    assert len({planned.progress.replay_id for planned in plans.planned}) == 1
    assert len({planned.progress.runner for planned in plans.planned}) == 3


def test_children_after_an_interruption() -> None:
    """Replays started together go on together; the finished ones are left alone, also with --again."""
    fixture, _ = fixture_of("ab")
    fixture.streams.close(ID)
    fixture.streams.add_shard("shard-1", ID)
    last = fixture.streams.write("shard-1", next(images("c")))
    fixture.tables.rows |= {shard(0): finished(0, 1), shard(1): row(1, checkpoint=last, parent=0)}

    def recounts(plans: Plans) -> list[Recount]:
        return [Recount(fixture.service, planned, fixture.open_reader(planned)) for planned in plans.planned]

    for round_ in (1, 2):
        first = recounts(fixture.run(fixture.service.plan(request(again=round_ == 2), children=True)))
        for recount in first:
            fixture.run(recount.begin())
        fixture.run(first[0].run())
        plans = fixture.run(fixture.service.plan(request(again=True), children=True))
        assert [plan.shard for plan in plans.already_counted] == [shard(0)]
        for recount in recounts(plans):
            fixture.run(recount.run())
        assert {player: delta.games for player, delta in fixture.board.items()} == dict.fromkeys("abc", round_)
    with pytest.raises(CountedAlready):
        fixture.run(fixture.service.plan(request(), children=True))


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
