"""A pending replay: it counts the pending records of the range that are good now, each once, and nothing else."""

from decimal import Decimal

from consumer.domain.fold import Delta
from consumer.domain.quarantine import EntryState
from consumer.domain.records import Rules
from consumer.operations.quarantine import Applied, ChangedConcurrently, Result, StillPoison
from consumer.operations.replay import PendingReplay
from tests.support.builders import shard
from tests.support.commands import CommandDriver
from tests.support.replay_fixture import ID, ReplayFixture, image

DAY = "2026-01-31"


def points(score: str) -> dict[str, object]:
    """A game of a producer that calls its score points."""
    return {"points" if name == "score" else name: value for name, value in image(score=score).items()}


def run(fixture: ReplayFixture, replay: PendingReplay) -> list[Result]:
    results: list[Result] = []
    fixture.run(replay.run(results.append))
    return results


def interrupted(replay: PendingReplay, records: int) -> tuple[CommandDriver[None], list[Result]]:
    """Behind so many records."""
    results: list[Result] = []
    driver = CommandDriver(replay.run(results.append)).answer_while(lambda: len(results) < records)
    return driver, results


def mended(*scores: str) -> tuple[ReplayFixture, list[str]]:
    """Pending records that are good by the current rules."""
    fixture = ReplayFixture()
    numbers = fixture.write(*map(points, scores))
    fixture.rules = Rules(score_attribute="points")
    return fixture, numbers


def test_it_counts_only_pending_records_of_the_range() -> None:
    fixture, numbers = mended("1", "2", "4", "8", "16")
    fixture.resolve(numbers[2], EntryState.DISCARDED)
    replay = fixture.begin_pending(numbers[1], numbers[3])
    assert len(replay.entries) == 2
    assert [type(result) for result in run(fixture, replay)] == [Applied, Applied]
    assert fixture.board == {"foo": Delta(2, Decimal(10), DAY)}
    assert [fixture.tables.quarantine[ID, number].state for number in numbers] == [
        *("pending", "applied", "discarded", "applied", "pending")
    ]
    assert (replay.finished, replay.progress.games, replay.progress.running) == (True, 2, False)
    assert [audit_entry.action for audit_entry in fixture.quarantine.audit] == ["replay", "replay"]
    assert [audit_entry.detail["outcome"] for audit_entry in fixture.replays.trail] == ["started", "finished"]


def test_a_record_that_is_still_poison_stays_and_says_why() -> None:
    fixture = ReplayFixture()
    (number,) = fixture.write(image(score={"S": "1"}))
    replay = fixture.begin_pending()
    (result,) = run(fixture, replay)
    assert isinstance(result, StillPoison)
    assert result.reason == "score_type"
    assert fixture.tables.quarantine[ID, number].state == "pending"
    assert (fixture.board, replay.progress.skipped) == ({}, 1)


def test_a_record_that_another_operator_resolves_first() -> None:
    fixture, numbers = mended("1")
    replay = fixture.begin_pending()
    fixture.resolve(numbers[0], EntryState.DISCARDED)
    assert [type(result) for result in run(fixture, replay)] == [ChangedConcurrently]
    assert fixture.board == {}


def test_the_row_moves_on_and_two_at_once_count_each_record_once() -> None:
    fixture, numbers = mended(*["1"] * 50)
    one = fixture.begin_pending()
    driver, results = interrupted(one, 25)
    assert fixture.replays.rows[shard(), "Leaderboards"].position == numbers[19]
    two = fixture.begin_pending()
    assert len(run(fixture, two)) == 25
    driver.finish()
    assert len(results) == 40, "it learns with its next step that it was overtaken"
    assert one.overtaken is not None
    assert fixture.board == {"foo": Delta(50, Decimal(50), DAY)}


def test_after_an_interruption_it_goes_on_with_the_rest() -> None:
    fixture, _ = mended(*["1"] * 30)
    interrupted(fixture.begin_pending(), 22)
    again = fixture.begin_pending()
    assert len(run(fixture, again)) == 8
    assert again.finished
    assert fixture.replays.trail[-2].detail["outcome"] == "resumed"
    assert fixture.board == {"foo": Delta(30, Decimal(30), DAY)}
