"""A pending replay: it counts the pending records of the range that are good now, each once, and nothing else."""

from decimal import Decimal

from consumer.domain.fold import Delta
from consumer.domain.position import TRIM_HORIZON
from consumer.domain.quarantine import EntryState
from consumer.domain.records import Rules
from consumer.domain.replay import LATEST, Mode
from consumer.operations.quarantine import Applied, ChangedConcurrently, Result, StillPoison
from consumer.operations.replay.pending import PendingReplay
from tests.support.builders import shard
from tests.support.replay_fixture import ID, ReplayFixture, image

DAY = "2026-01-31"


def points(score: str) -> dict[str, object]:
    """A game of a producer that calls its score points."""
    return {"points" if name == "score" else name: value for name, value in image(score=score).items()}


def machine_of(fixture: ReplayFixture, first: str = TRIM_HORIZON, last: str = LATEST) -> PendingReplay:
    planned = fixture.plan(first, last, mode=Mode.PENDING)
    return fixture.service.pending_replay(planned, fixture.service.pending(planned))


def run(fixture: ReplayFixture, machine: PendingReplay) -> list[Result]:
    return list(fixture.service.steps(machine))


def mended(*scores: str) -> tuple[ReplayFixture, list[str]]:
    """Pending records that are good by the current rules."""
    fixture = ReplayFixture()
    numbers = fixture.write(*map(points, scores))
    fixture.rules = Rules(score_attribute="points")
    return fixture, numbers


def test_it_counts_only_pending_records_of_the_range() -> None:
    fixture, numbers = mended("1", "2", "4", "8", "16")
    fixture.resolve(numbers[2], EntryState.DISCARDED)
    machine = machine_of(fixture, numbers[1], numbers[3])
    assert machine.waiting == 2
    assert [type(result) for result in run(fixture, machine)] == [Applied, Applied]
    assert fixture.board == {"foo": Delta(2, Decimal(10), DAY)}
    assert [fixture.tables.quarantine[ID, number].state for number in numbers] == [
        *("pending", "applied", "discarded", "applied", "pending")
    ]
    assert (machine.finished, machine.progress.games, machine.progress.running) == (True, 2, False)
    assert [audit_entry.action for audit_entry in fixture.quarantine.audit] == ["replay", "replay"]
    assert [audit_entry.detail["outcome"] for audit_entry in fixture.replays.trail] == ["started", "finished"]


def test_a_record_that_is_still_poison_stays_and_says_why() -> None:
    fixture = ReplayFixture()
    (number,) = fixture.write(image(score={"S": "1"}))
    machine = machine_of(fixture)
    (result,) = run(fixture, machine)
    assert isinstance(result, StillPoison)
    assert result.reason == "score_type"
    assert fixture.tables.quarantine[ID, number].state == "pending"
    assert (fixture.board, machine.progress.skipped) == ({}, 1)


def test_a_record_that_another_operator_resolves_first() -> None:
    fixture, numbers = mended("1")
    machine = machine_of(fixture)
    fixture.resolve(numbers[0], EntryState.DISCARDED)
    assert [type(result) for result in run(fixture, machine)] == [ChangedConcurrently]
    assert fixture.board == {}


def test_the_row_moves_on_and_two_at_once_count_each_record_once() -> None:
    fixture, numbers = mended(*["1"] * 50)
    one = machine_of(fixture)
    steps = fixture.service.steps(one)
    for _ in range(25):
        next(steps)
    assert fixture.replays.rows[shard(), "Leaderboards"].position == numbers[19]
    two = machine_of(fixture)
    assert len(run(fixture, two)) == 25
    assert list(steps) is not None
    assert one.overtaken is not None
    assert fixture.board == {"foo": Delta(50, Decimal(50), DAY)}


def test_after_an_interruption_it_goes_on_with_the_rest() -> None:
    fixture, _ = mended(*["1"] * 30)
    steps = fixture.service.steps(machine_of(fixture))
    for _ in range(22):
        next(steps)
    again = machine_of(fixture)
    assert len(run(fixture, again)) == 8
    assert again.finished
    assert fixture.replays.trail[-2].detail["outcome"] == "resumed"
    assert fixture.board == {"foo": Delta(30, Decimal(30), DAY)}
