"""Many single writes in one call: each has its own reply, and only those that failed are sent again."""

from dataclasses import replace

import pytest

from consumer.domain.errors import CallFailed, FailureKind
from consumer.domain.marks import ABSENT, Route, StoredRow
from consumer.domain.records import Outcome
from consumer.domain.replies import Committed, Done, Refused, RowRefused, RowReply
from consumer.worker import events
from consumer.worker.call_timer import LASTING_FAILURES
from consumer.worker.row_writes import MOST_ROW_CALLS
from consumer.worker.shard_calls import Commit, MoveCheckpoint, Read, Release
from tests.support.builders import game, games, page
from tests.support.drivers import NO_ANSWER
from tests.support.marked import ONE_BY_ONE, MarkedShard, mark, marked

FIVE_EACH = replace(ONE_BY_ONE, writes_per_call=5)
THROTTLED = CallFailed(FailureKind.THROTTLED, "too fast")
CONFLICT = CallFailed(FailureKind.CONFLICT, "another transaction writes the row")
PLAYERS = "abcde"


def writing(players: str = PLAYERS) -> MarkedShard:
    """The rows of these players are written in one call."""
    driver = MarkedShard(*(game(number, player) for number, player in enumerate(players, 1)), tuning=FIVE_EACH)
    driver.knows({player: marked(0) for player in players})
    assert sizes(driver) == [len(players)]
    return driver


def sizes(driver: MarkedShard) -> list[int]:
    return [len(call.writes) for call in driver.write_calls()]


def attempt(reported: list[events.Event]) -> int:
    """The number of the failure that is reported."""
    (retried,) = reported
    assert isinstance(retried, events.RetryScheduled)
    return retried.attempt


def applied(driver: MarkedShard) -> int:
    units = [event.unit for event in driver.reported if isinstance(event, events.UnitCommitted)]
    return sum(unit.outcomes.get(Outcome.APPLIED, 0) for unit in units)


@pytest.mark.parametrize(("most", "expected"), [(25, [25, 25, 10]), (1, [1] * MOST_ROW_CALLS)])
def test_so_many_rows_are_in_one_call(most: int, expected: list[int]) -> None:
    tuning = replace(ONE_BY_ONE, writes_per_call=most)
    driver = MarkedShard(*(game(seq, f"player-{seq}") for seq in range(60)), tuning=tuning).knows({})
    assert sizes(driver) == expected
    driver.write_all()
    assert applied(driver) == 60


@pytest.mark.parametrize("failure", [THROTTLED, CONFLICT, NO_ANSWER], ids=["throttled", "conflict", "unknown"])
def test_only_the_rows_that_failed_are_sent_again(failure: CallFailed) -> None:
    driver = writing()
    writes = driver.writes()
    (retried,) = driver.reply_rows(b=failure, d=failure)
    assert isinstance(retried, events.RetryScheduled)
    assert (retried.operation, retried.kind, retried.delay_seconds) == ("write_rows", failure.kind, 1)
    assert not driver.writes(), "after a wait"
    again = driver.wait(1).writes()
    assert again == {player: writes[player] for player in "bd"}, "unchanged, and together"
    driver.reply_rows(d=failure)
    assert not driver.wait(1).writes(), "a longer one each time"
    assert set(driver.wait(1).writes()) == {"d"}
    assert not applied(driver)
    driver.reply_rows(d=Done())
    assert applied(driver) == 5


def test_a_call_without_an_answer_is_sent_again_as_it_was() -> None:
    driver = writing()
    (call,) = driver.write_calls()
    assert attempt(driver.reply(call, NO_ANSWER)) == 1
    assert driver.wait(1).write_calls() == [call]
    driver.write_all()
    assert applied(driver) == 5


def test_other_calls_go_on_while_a_row_fails() -> None:
    """A row that is throttled for long holds up its own unit, and no call of it but its own."""
    driver = MarkedShard(*(game(seq, f"player-{seq}") for seq in range(100)), tuning=FIVE_EACH).knows({})
    driver.reply_rows(**{"player-0": THROTTLED})
    driver.write_all()
    assert not applied(driver)
    assert set(driver.wait(1).writes()) == {"player-0"}
    driver.write_all()
    assert applied(driver) == 100


def test_what_was_written_beside_a_row_that_failed_is_remembered() -> None:
    driver = writing()
    driver.reply_rows(b=THROTTLED)
    assert driver.known.get("a") == marked(1, date="2026-01-31")
    assert driver.known.get("b") == marked(0)


def test_a_call_that_writes_some_rows_is_no_repeated_failure() -> None:
    driver = writing()
    (call,) = driver.write_calls()
    attempts = [attempt(driver.reply(call, NO_ANSWER)), attempt(driver.wait(1).reply_rows(a=THROTTLED, b=THROTTLED))]
    attempts.append(attempt(driver.wait(2).reply_rows(a=THROTTLED, b=THROTTLED)))
    assert attempts == [1, 1, 2]


def test_a_row_that_fails_for_a_while_is_named_in_readiness() -> None:
    driver = writing()
    for failures in range(1, LASTING_FAILURES + 1):
        assert not driver.machine.lasting_failures()
        driver.reply_rows(c=THROTTLED)
        driver.wait(failures)
    assert driver.machine.lasting_failures() == {"write_rows fails: throttled: too fast"}
    driver.write_all()
    assert not driver.machine.lasting_failures()


def test_a_row_with_another_mark_cuts_the_unit_again_after_those_that_failed() -> None:
    driver = writing()
    driver.reply_rows(a=RowRefused(marked(0, date="2026-03-01")), b=THROTTLED, c=RowRefused(StoredRow()))
    assert not driver.writes()
    driver.wait(1)
    assert set(driver.writes()) == {"b"}
    driver.write_all()
    commit = driver.call(Commit)
    assert [(write.player, write.route) for write in commit.rows] == [("c", Route.FRESH)]
    assert driver.known.get("a") == marked(1, date="2026-03-01"), "written without the date"


@pytest.mark.parametrize(
    ("reply", "route"),
    [
        (RowRefused(ABSENT), Route.INSERT),
        (RowRefused(marked(0, date="2026-03-01")), Route.FOLLOW),
    ],
    ids=["deleted", "a later date"],
)
def test_of_a_unit_that_is_cut_again_only_what_is_not_written_is_sent(reply: RowReply, route: Route) -> None:
    driver = writing()
    driver.reply_rows(b=reply)
    assert driver.routes() == {"b": route}
    driver.write_all()
    assert applied(driver) == 5


def test_a_row_that_shows_its_write_is_written() -> None:
    driver = writing()
    (call,) = driver.write_calls()
    driver.reply(call, NO_ANSWER)
    driver.wait(1).reply_rows(a=RowRefused(marked(1)), e=RowRefused(marked(9)))
    assert applied(driver) == 5
    assert driver.has_call(MoveCheckpoint)


def test_several_rows_that_are_refused_for_good_are_committed_apart() -> None:
    driver = writing()
    invalid = Refused(invalid="one digit too many")
    driver.reply_rows(b=invalid, d=invalid, e=THROTTLED)
    assert not driver.has_call(Commit), "the last row gets its reply first"
    driver.wait(1).reply_rows(e=Done())
    sent = []
    while driver.has_call(Commit):
        commit = driver.call(Commit)
        sent.append((commit.unit.records, list(commit.players)))
        driver.deliver(commit, Committed())
    assert sent == [(1, []), (1, ["b"]), (1, []), (1, ["d"]), (1, [])]
    assert applied(driver) == 5


def test_a_drained_shard_leaves_a_unit_of_which_one_row_failed() -> None:
    driver = writing()
    driver.machine.drain()
    driver.reply_rows(b=THROTTLED)
    assert driver.has_call(Release)
    assert not driver.wait(60).writes()


def test_one_write_per_player_is_in_flight_over_units() -> None:
    driver = writing("ab")
    driver.answer(Read, page(*games(3, 4, "a")))
    driver.reply_rows(b=THROTTLED)
    assert not driver.writes()
    driver.wait(1).reply_rows(b=Done())
    assert {player: write.found for player, write in driver.writes().items()} == {"a": mark(1)}
