"""What the operator reads of a replay before and while it runs."""

from collections import Counter
from dataclasses import replace

from consumer.cli.replay import not_counted, plan_notes, share_done, stream_notes
from consumer.domain.leases import SHARD_END, TRIM_HORIZON
from consumer.domain.replay import Mode, Range
from tests.support.builders import ARN, shard
from tests.support.replay_fixture import ID, ReplayFixture, before_count, images


def fixture_of() -> tuple[ReplayFixture, list[str]]:
    fixture = ReplayFixture(page_records=2)
    return fixture, fixture.write(*images("abcdef"))


def test_what_will_be_done() -> None:
    fixture, numbers = fixture_of()
    assert list(plan_notes(fixture.plan(numbers[1], numbers[3]))) == [
        f"Shard {shard()}, from {numbers[1]} to {numbers[3]}."
    ]
    beyond = str(int(numbers[-1]) + 9)
    assert list(plan_notes(fixture.plan(numbers[1], beyond, mode=Mode.PENDING))) == [
        f"Shard {shard()}, from {numbers[1]} to {numbers[-1]}.",
        f"--to {beyond} lies past the checkpoint: it ends with {numbers[-1]}.",
        "What the worker has counted is left alone; --recount would count it again.",
    ]
    before_count(fixture.begin()).answer()
    assert list(plan_notes(fixture.plan())) == [
        f"Shard {shard()}, from its oldest record to {numbers[-1]}.",
        f"It continues what me began, behind {numbers[1]}.",
    ]


def test_what_the_stream_has() -> None:
    fixture, numbers = fixture_of()
    planned = fixture.plan()
    assert next(stream_notes(planned, fixture.open_reader(planned))) == (
        f"{numbers[0]} is the oldest record that the stream still has."
    )
    fixture.streams.trim(ID, 2)
    planned = fixture.plan(numbers[0])
    first, second, third = stream_notes(planned, fixture.open_reader(planned))
    assert first.startswith(f"Part of the range is trimmed: {numbers[2]} is the oldest record")
    assert "one more reader" in second
    assert "reset to zero, restored from a backup taken with all workers stopped, or new" in third


def test_what_a_recount_does_with_marks() -> None:
    fixture, _ = fixture_of()
    fixture.tables.stream_starts[ARN] = replace(fixture.tables.stream_starts[ARN], keyed=True)
    planned = fixture.plan()
    *_, last = stream_notes(planned, fixture.open_reader(planned))
    assert "whatever the marks of its rows say; the marks stay. So its rows must be deleted" in last
    elsewhere = replace(planned.plan, request=replace(planned.plan.request, into_other_table=True))
    *_, last = stream_notes(replace(planned, plan=elsewhere), fixture.open_reader(planned))
    assert last.endswith("or new.")


def test_how_much_is_done() -> None:
    fixture, numbers = fixture_of()
    progress = fixture.plan().progress
    assert share_done(progress, numbers[0]) is None
    assert share_done(replace(progress, position=numbers[0]), numbers[0]) == 0.0
    assert share_done(replace(progress, position=numbers[-1]), numbers[0]) == 1.0
    assert share_done(replace(progress, position=numbers[0], range=Range(TRIM_HORIZON, SHARD_END)), numbers[0]) is None
    assert share_done(replace(progress, position=numbers[-1]), numbers[-1]) == 1.0, "one record"
    assert share_done(progress, None) is None


def test_what_was_not_counted() -> None:
    assert not_counted(Counter()) == ""
    assert not_counted(Counter({"refused": 2, "date_type": 1000})) == "; 1,002 not counted (date_type 1,000, refused 2)"
