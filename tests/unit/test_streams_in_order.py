"""Where corrections count, a stream that was switched on again waits until the one before it is read to its end."""

import json
from collections.abc import Iterable
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consumer.cli.output import to_json
from consumer.cli.status import print_status, status_fields
from consumer.domain.accepted_rules import AcceptedRules
from consumer.domain.leases import SHARD_END, LeaseRow, Ledger, Shard, StreamStart, TableBinding, TableNames
from consumer.domain.lineage import counted_from
from consumer.domain.membership import HeartbeatReport, Members
from consumer.domain.operator_ports import LeaseTable
from consumer.domain.planner import plan
from consumer.domain.ports import RulesInUse
from consumer.domain.records import Corrections, Rules
from consumer.operations.status import Limits, Scope, ShardCondition, Status, status
from consumer.worker import events
from consumer.worker.ledger_calls import Claim, Load
from consumer.worker.status import count_by_state
from tests.support.builders import ARN, CREATED, ME, OTHER, build_shards, finished, row, shard
from tests.support.drivers import TTL, CoordinatorDriver, members

LATER = ARN.replace("2026-01-01T00:00:00", "2026-02-01T11:59:40")
APPLY = AcceptedRules((Rules(corrections=Corrections.APPLY),))
IGNORE = AcceptedRules((Rules(),))
OLD_START = StreamStart(ARN, None, ("shard-0",), complete=True)
NOW = CREATED + 86_400
"""2026-02-01T12:00:00Z."""


def later(number: int = 0) -> Shard:
    return Shard(LATER, f"shard-{number}")


def later_row(number: int = 0, owner: str | None = None) -> LeaseRow:
    return replace(row(number, owner), shard=later(number), created=NOW - 20)


def held_back(rows: Iterable[LeaseRow], accepted: AcceptedRules = APPLY, start: StreamStart = OLD_START) -> set[Shard]:
    return set(Ledger(tuple(rows), (start,), accepted).held_back)


# --- which shards wait ---


def test_a_later_stream_waits_for_each_shard_of_the_one_before_it() -> None:
    newer = [later_row(0), later_row(1)]
    assert held_back([row(0), *newer]) == {later(0), later(1)}
    assert held_back([finished(0, 1, 2), finished(1, parent=0), row(2, parent=0), *newer]) == {later(0), later(1)}
    assert held_back([finished(0, 1, 2), finished(1, parent=0), finished(2, parent=0), *newer]) == set()


def test_a_shard_of_the_older_stream_without_a_row_holds_it_back_too() -> None:
    """Its row was deleted, or is not created yet: nothing shows that its records were read."""
    assert held_back([later_row()]) == {later()}
    assert held_back([finished(0, 1), later_row()]) == {later()}
    assert held_back([later_row()], start=replace(OLD_START, complete=False)) == {later()}


def test_of_three_streams_the_oldest_that_is_not_finished_is_read() -> None:
    third = replace(later_row(), shard=Shard(ARN.replace("2026-01-01", "2026-03-01"), "shard-0"))
    assert held_back([row(0), later_row(), third]) == {later(), third.shard}
    assert held_back([finished(0), later_row(), third]) == {third.shard}
    assert held_back([finished(0), replace(later_row(), checkpoint=SHARD_END), third]) == set()


def test_where_corrections_are_ignored_both_streams_are_read_at_once() -> None:
    assert held_back([row(0), later_row()], IGNORE) == set()
    assert held_back([row(0), later_row()], AcceptedRules()) == set()


def test_a_later_stream_goes_to_workers_of_the_highest_number_of_the_earlier_ones() -> None:
    """By older rules the old image of a correction may be no game, although it is counted."""
    rows = (replace(finished(0), rules=2), replace(finished(1), rules=1), later_row())
    in_order = Ledger(rows, (OLD_START,), APPLY).in_order
    assert [each.rules for each in in_order.rows] == [2, 1, 2]
    assert [plan(in_order.rows, {"a": 1, "b": 2}, me, ()).claim for me in "ab"] == [(), (in_order.rows[2],)]
    assert Ledger(rows, (OLD_START,), IGNORE).in_order.rows == rows


# --- the planner and the coordinator ---


def test_no_worker_claims_what_is_held_back_and_the_rest_is_shared_as_always() -> None:
    rows = [row(0), row(1), later_row(0), later_row(1)]
    held = {later(0), later(1)}
    made = [plan(rows, {"a": 0, "b": 0}, me, (), held) for me in "ab"]
    assert [[each.shard for each in mine.claim] for mine in made] == [[shard(0)], [shard(1)]]
    free = [plan(rows, {"a": 0, "b": 0}, me, ()) for me in "ab"]
    assert sorted(each.shard for mine in free for each in mine.claim) == [each.shard for each in rows]


def test_who_has_a_shard_that_is_held_back_hands_it_over() -> None:
    """A shard of the older stream was found late, when the later one was being read."""
    rows = [row(0), later_row(0, "a")]
    made = plan(rows, {"a": 0}, "a", {later(0)}, {later(0)})
    assert ([each.shard for each in made.claim], made.release) == ([shard(0)], (later(0),))
    assert plan([later_row(0, "a")], {"a": 0}, "a", {later(0)}).release == ()


@given(st.sets(st.integers(0, 5)), st.lists(st.sampled_from(["a", "b", None]), min_size=6, max_size=6))
def test_the_plan_leaves_what_is_held_back_out_and_shares_the_rest_as_if_it_were_not_there(
    held: set[int], owners: list[str | None]
) -> None:
    rows = [row(number, owner) for number, owner in enumerate(owners)]
    others = [each for number, each in enumerate(rows) if number not in held]
    waits = {shard(number) for number in held}
    for me in ("a", "b"):
        mine = {each.shard for each in rows if each.owner == me}
        made, without = plan(rows, {"a": 0, "b": 0}, me, mine, waits), plan(others, {"a": 0, "b": 0}, me, mine - waits)
        assert made.claim == without.claim
        assert set(made.release) == set(without.release) | (mine & waits)


def claimed(driver: CoordinatorDriver) -> list[Shard]:
    return [call.row.shard for call in driver.start_due() if isinstance(call, Claim)]


def coordinator() -> CoordinatorDriver:
    driver = CoordinatorDriver().join()
    driver.accepted = APPLY
    driver.machine.starter.rules = APPLY.entries[0]
    return driver


def test_a_worker_claims_the_later_stream_when_the_older_one_is_finished() -> None:
    driver = coordinator()
    driver.plan_until_quiet([row(0, OTHER), later_row()], members(w1_a=1, w2_b=1))
    assert claimed(driver) == []
    assert driver.machine.held_back == {later()}
    driver.now += TTL / 2
    assert not driver.has_call(Load), "a shard that waits is no work left over: the ledger is not read again for it"
    driver.machine.reload_ledger(driver.now)
    driver.plan([finished(0), later_row()], members(w1_a=1, w2_b=1))
    assert claimed(driver) == [later()]
    assert driver.machine.held_back == set()


def test_a_worker_hands_over_the_later_stream_when_the_older_one_has_a_late_shard() -> None:
    driver = coordinator()
    driver.owned[later()] = driver.owned_shard(later())
    reported = driver.plan([finished(0, 1), row(1, parent=0), later_row(0, ME)], members(w1_a=1))
    assert reported == [events.HandOverDecided(later())]
    assert claimed(driver) == [shard(1)]


def test_shards_that_wait_for_a_stream_are_counted_apart() -> None:
    states = count_by_state(
        {}, (), {shard(0), shard(1), later()}, RulesInUse(1, 2, (shard(1),), 2), {later(), later(1)}
    )
    assert states == {"halted": 0, "unowned": 1, "awaiting_rules": 1, "awaiting_stream": 1}


# --- what an operator sees ---


def seen(*rows: LeaseRow, accepted: AcceptedRules = APPLY, start: StreamStart = OLD_START) -> Status:
    second = StreamStart(LATER, None, ("shard-0",), complete=True, started_at=NOW - 20)
    table = LeaseTable(
        Ledger(rows, (start, second), accepted),
        Members(1, {ME: HeartbeatReport(5, 1, 0, 0.0, NOW - 1, rules=1)}),
    )
    bindings = tuple(TableBinding(arn, TableNames().leases, TableNames().leaderboard) for arn in (ARN, LATER))
    listings = [build_shards(1, {}), replace(build_shards(1, {}), stream_arn=LATER)]
    return status(table, listings, (), 0, NOW, 5, bindings, Scope("GameEvents"))


def lines(found: Status, capsys: pytest.CaptureFixture[str], about: str) -> list[str]:
    print_status(found, Limits(), everything=True)
    return [line for line in capsys.readouterr().out.splitlines() if line.startswith(about)]


def test_the_status_says_which_shards_wait_for_which_stream(capsys: pytest.CaptureFixture[str]) -> None:
    found = seen(replace(row(0, ME), created=NOW - 5), later_row())
    (line,) = lines(found, capsys, "waiting")
    assert line == (
        "waiting     1 shard of stream 2026-02-01T11:59:40.000 waits, as corrections count: first stream "
        "2026-01-01T00:00:00.000 must be read to its end, of which 1 shard is not finished"
    )
    waits = {each.shard: (each.state, each.waits_for_stream) for each in found.shards}
    assert waits == {shard(0): (ShardCondition.RUNNING, False), later(): (ShardCondition.WAITING, True)}
    fields = json.loads(to_json(status_fields(found, Limits())))
    assert [each["waitsForStream"] for each in fields["shards"]] == [False, True]


def test_the_lag_of_a_stream_that_waits_is_not_hidden() -> None:
    found = seen(replace(row(0, ME), created=NOW - 5), later_row())
    assert found.worst_seconds == 20.0


def test_nothing_waits_when_the_older_stream_is_finished_or_corrections_are_ignored(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert lines(seen(finished(0), later_row()), capsys, "waiting") == []
    assert lines(seen(row(0), later_row(), accepted=IGNORE), capsys, "waiting") == []


def test_the_status_says_that_corrections_of_earlier_games_make_sums_too_low(
    capsys: pytest.CaptureFixture[str],
) -> None:
    start = replace(OLD_START, start_time=1_767_225_600.0)
    found = seen(row(0), accepted=APPLY, start=start)
    (line,) = lines(found, capsys, "corrections")
    assert line == (
        "corrections applied, also to games from before 2026-01-01T00:00:00.000Z, which are not counted: until those "
        "are back-filled, sums may be too low, and negative"
    )
    fields = json.loads(to_json(status_fields(found, Limits())))
    assert (fields["corrections"], fields["countedSince"]) == ("apply", "2026-01-01T00:00:00.000Z")


def test_where_corrections_are_ignored_the_status_has_no_line_of_them(capsys: pytest.CaptureFixture[str]) -> None:
    found = seen(row(0), accepted=IGNORE)
    assert lines(found, capsys, "corrections") == []
    assert json.loads(to_json(status_fields(found, Limits())))["corrections"] == "ignore"
    none_yet = json.loads(to_json(status_fields(seen(row(0), accepted=AcceptedRules()), Limits())))
    assert none_yet["corrections"] is None


def test_games_count_from_the_first_streams_start_or_its_trim_horizon_then() -> None:
    enabled = 1_767_225_600.0  # the label of ARN
    second = StreamStart(LATER, None, (), complete=True, started_at=enabled + 90_000)

    def begun(first: StreamStart) -> float | None:
        return counted_from(Ledger((), (second, first)))

    assert begun(replace(OLD_START, start_time=enabled + 5)) == enabled + 5
    assert begun(replace(OLD_START, started_at=enabled + 60)) == enabled
    assert begun(replace(OLD_START, started_at=enabled + 86_400 + 60)) == enabled + 60
    assert begun(OLD_START) == enabled
    assert counted_from(Ledger((), ())) is None
