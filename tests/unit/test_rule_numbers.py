"""Accepted rules and their numbers: who has which, what a claim writes, and what new rows begin with."""

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from consumer.domain.accepted_rules import UNNUMBERED, AcceptedRules, Reading, differences, refuse_unaccepted
from consumer.domain.errors import UnsafeRefused
from consumer.domain.leases import SHARD_END, TRIM_HORIZON, Ledger, Origin, StreamStart, TableBinding, TableNames
from consumer.domain.lineage import late_shards
from consumer.domain.membership import HeartbeatReport, Members
from consumer.domain.records import Corrections, Rules
from consumer.domain.replies import Children, Committed, Done, Lost
from consumer.domain.windows import KeptSince, Kind, WindowKind, after_claim, merged, new_board
from consumer.operations import checkpoint
from consumer.worker import events
from consumer.worker.ledger_calls import Adopt, Claim, CreateRootRows, Load, ReadMembers, SendHeartbeat
from consumer.worker.shard_calls import Commit, EndShard, FindChildren, Open, Read
from consumer.worker.shard_sync import RECHECK_DELAYS_SECONDS, ShardSync
from consumer.worker.stream_start import StreamStarter
from tests.support.builders import ARN, CREATED, ME, OTHER, build_shards, finished, game, lease, page, row, shard
from tests.support.drivers import TTL, CoordinatorDriver, LinearBackoff, ShardDriver, kinds

DAY, WEEK, MONTH = WindowKind.DAY, WindowKind.WEEK, WindowKind.MONTH
A, B, C = Rules(), Rules(windows=((DAY, 2),)), Rules(windows=((DAY, 3), (WEEK, 2)), time_zone="UTC")
D = replace(A, corrections=Corrections.APPLY)
TABLES = TableNames()
BINDING = TableBinding(ARN, *TABLES[:2])
STARTED = StreamStart(ARN, None, ("shard-0",), complete=True)


def numbers(**rules: int) -> Members:
    """Living workers with these numbers; a keyword `w2_b` is the owner w2/b."""
    return Members(0, {owner.replace("_", "/"): HeartbeatReport(1, rules=number) for owner, number in rules.items()})


# --- the list ---


def test_the_number_of_rules_is_their_last_place_in_the_list() -> None:
    """The first place would never let shards go back to rules that are accepted again."""
    accepted = AcceptedRules((A, B, A))
    assert [accepted.number_of(rules) for rules in (A, B, C)] == [3, 2, 0]


def test_without_accepted_rules_all_are_taken_as_the_first_worker_records_its_own() -> None:
    refuse_unaccepted(AcceptedRules(), C, "leases")


@pytest.mark.parametrize("accepted", [AcceptedRules((A,)), AcceptedRules((B, A))])
def test_accepted_rules_are_not_refused_whatever_their_place(accepted: AcceptedRules) -> None:
    for rules in accepted.entries:
        refuse_unaccepted(accepted, rules, "leases")


def test_a_refusal_names_each_setting_that_differs_with_both_values_and_the_harmless_cure_first() -> None:
    other = replace(C, score_attribute="points", max_future_seconds=60)
    with pytest.raises(UnsafeRefused) as refused:
        refuse_unaccepted(AcceptedRules((B, A)), other, "consumer-leases")
    said = str(refused.value)
    assert "CONSUMER_SCORE_ATTRIBUTE is points, accepted is score; " in said
    assert "CONSUMER_MAX_FUTURE_SECONDS is 60, accepted is 86400; " in said
    assert "CONSUMER_WINDOWS is day:3,week:2, accepted is empty" in said
    assert "consumer-leases" in said
    assert "CONSUMER_PLAYER_ATTRIBUTE" not in said
    assert said.index("correct what is set by mistake") < said.index("`consumer init --accept-rules`")
    assert refused.value.exit_code == 4


@pytest.mark.parametrize(("accepted", "own"), [(A, D), (D, A)])
def test_other_corrections_are_refused_without_the_cure_that_would_be_refused_too(accepted: Rules, own: Rules) -> None:
    with pytest.raises(UnsafeRefused) as refused:
        refuse_unaccepted(AcceptedRules((accepted,)), own, "consumer-leases")
    said = str(refused.value)
    assert f"CONSUMER_CORRECTIONS is {own.corrections}, and the board was begun with {accepted.corrections}" in said
    assert "Next: correct CONSUMER_CORRECTIONS" in said
    assert "--accept-rules" not in said
    assert refused.value.exit_code == 4


def test_each_field_of_the_rules_is_the_setting_of_the_same_name() -> None:
    from consumer.settings import OPTIONS, variable

    every = differences(
        A, Rules("a", "b", "c", A.timestamp_format.EPOCH_SECONDS, 1, ((DAY, 1),), "Asia/Tokyo", Corrections.APPLY)
    )
    assert len(every) == len(Rules.__dataclass_fields__)
    assert all(each.field in OPTIONS and each.variable == variable(each.field) for each in every)


# --- a claim ---


def test_a_claim_writes_the_workers_number_and_its_windows_into_the_row() -> None:
    driver = CoordinatorDriver(rules=B).join()
    driver.accepted = AcceptedRules((A, B))
    driver.plan([row(0, rules=1)], numbers(w1_a=2))
    assert driver.machine.number == 2
    claim = driver.call(Claim)
    assert claim.lease == lease(0, ME, 8)
    assert claim.reading.rules == 2
    since = claim.reading.windows[DAY].since
    assert since is not None
    assert since - driver.now == pytest.approx(86_400 * 2, abs=1), "by then no game counts by the older rules any more"


def test_a_claim_by_the_number_of_the_row_leaves_its_windows_alone() -> None:
    driver = CoordinatorDriver(rules=B).join()
    driver.accepted = AcceptedRules((A, B))
    before = row(0).read_as(Reading(2, {DAY: Kind(2, CREATED)}))
    driver.plan([before], numbers(w1_a=2))
    assert driver.call(Claim).reading == before.reading


def test_rows_of_a_higher_number_are_not_claimed_and_wait() -> None:
    driver = CoordinatorDriver(rules=A).join()
    driver.accepted = AcceptedRules((A, B))
    driver.plan([row(0, rules=2), row(1, rules=1)], numbers(w1_a=1))
    assert driver.claims() == [1]
    assert driver.machine.waiting == {shard(0)}


def test_a_shard_that_waits_does_not_make_the_worker_read_the_ledger_all_the_time() -> None:
    driver = CoordinatorDriver(rules=A).join()
    driver.accepted = AcceptedRules((A, B))
    driver.plan_until_quiet([row(0, rules=2)], numbers(w1_a=1))
    driver.wait(TTL)
    assert not driver.has_call(Load)
    driver.wait(30)
    assert driver.has_call(Load), "as every half minute"


def test_a_shard_that_another_living_worker_may_claim_does_not_wait() -> None:
    driver = CoordinatorDriver(rules=A).join()
    driver.accepted = AcceptedRules((A, B))
    driver.plan([row(0, rules=2)], numbers(w1_a=1, w2_b=2))
    assert driver.machine.waiting == frozenset()
    assert driver.claims() == []


def test_the_number_is_looked_up_at_every_load_and_announced_when_it_rises() -> None:
    driver = CoordinatorDriver(rules=A).join()
    driver.accepted = AcceptedRules((A, B))
    driver.plan([row(0, rules=2)], numbers(w1_a=1))
    assert (driver.machine.number, driver.claims()) == (1, [])
    driver.answer(SendHeartbeat, Done())
    driver.accepted = AcceptedRules((A, B, A))
    driver.machine.reload_ledger(driver.now)
    load = driver.call(Load)
    driver.deliver(load, Ledger((row(0, rules=2),), (), driver.accepted))
    assert driver.machine.number == 3
    announced = driver.call(SendHeartbeat)
    assert (announced.report.rules, announced.bump) == (3, True), "the others plan with it"
    for _ in range(2):
        driver.wait(TTL / 8)
        driver.answer(ReadMembers, numbers(w1_a=1))
    assert driver.claims() == [0]


def test_a_worker_whose_rules_are_no_longer_in_the_list_hands_over() -> None:
    """The lease table was restored, or emptied and begun again."""
    driver = CoordinatorDriver(rules=B).join()
    driver.accepted = AcceptedRules((A, B))
    driver.own_shard(0)
    driver.plan([row(0, ME, rules=2)], numbers(w1_a=2))
    driver.accepted = AcceptedRules((A,))
    driver.machine.reload_ledger(driver.now)
    assert not driver.machine.unaccepted
    assert kinds(driver.plan([row(0, ME, rules=2)], numbers(w1_a=2, w2_b=2))) == ["HandOverDecided"]
    assert driver.machine.number == 0
    assert driver.machine.unaccepted, "readiness says so"


def test_while_the_list_is_lost_a_worker_keeps_its_number() -> None:
    driver = CoordinatorDriver(rules=B).join()
    driver.accepted = AcceptedRules((A, B))
    driver.plan([row(0, rules=2)], numbers(w1_a=2))
    driver.answer(Claim, row(0, ME, 8, rules=2))
    driver.accepted = AcceptedRules()
    driver.machine.reload_ledger(driver.now)
    driver.plan([row(0, ME, 8, rules=2), row(1, rules=2)], numbers(w1_a=2))
    assert driver.machine.number == 2


def test_while_draining_a_row_of_a_higher_number_is_not_claimed() -> None:
    driver = CoordinatorDriver(rules=A).join()
    driver.accepted = AcceptedRules((A, B))
    driver.plan([], numbers(w1_a=1))
    driver.machine.drain()
    driver.answer(Load, Ledger((row(0, ME, rules=2), row(1, ME, rules=1)), (), driver.accepted))
    assert driver.claims() == [1]


def test_a_reply_to_a_claim_that_shows_the_row_is_the_row_that_is_read() -> None:
    driver = CoordinatorDriver(rules=B).join()
    driver.accepted = AcceptedRules((A, B))
    driver.plan([row(0, rules=1)], numbers(w1_a=2))
    ours = row(0, ME, 8, rules=2)
    assert driver.answer(Claim, Lost(ours)) == [events.LeaseClaimed(ours, None)]


# --- windows of a row ---

AT = datetime(2026, 11, 26, 12, tzinfo=UTC).timestamp()


def begins(day: int, month: int = 11) -> float:
    return datetime(2026, month, day, tzinfo=UTC).timestamp()


@pytest.mark.parametrize(
    ("before", "kept", "after"),
    [
        ({}, ((DAY, 2),), {DAY: Kind(2, AT + 2 * 86_400)}),
        ({DAY: Kind(2)}, ((DAY, 2),), {DAY: Kind(2)}),
        ({DAY: Kind(2, 5.0)}, ((DAY, 1),), {DAY: Kind(1, 5.0)}),
        ({DAY: Kind(2)}, ((DAY, 4),), {DAY: Kind(4, begins(25))}),
        ({DAY: Kind(2, AT)}, ((DAY, 4),), {DAY: Kind(4, AT)}),
        ({WEEK: Kind(1)}, ((WEEK, 2),), {WEEK: Kind(2, begins(23))}),
        ({MONTH: Kind(1)}, ((MONTH, 3),), {MONTH: Kind(3, begins(1))}),
        ({DAY: Kind(2), WEEK: Kind(2)}, ((WEEK, 2),), {WEEK: Kind(2)}),
        ({DAY: Kind(2)}, (), {}),
    ],
    ids=["new", "same", "fewer", "more days", "more, incomplete", "more weeks", "more months", "a kind less", "none"],
)
def test_what_a_claim_makes_of_a_rows_windows(
    before: KeptSince, kept: tuple[tuple[WindowKind, int], ...], after: KeptSince
) -> None:
    assert after_claim(before, kept, "UTC", AT, 86_400) == after


def test_what_was_kept_an_hour_later_counts_for_windows_that_grow() -> None:
    """A worker of the older rules may write that long after it lost its lease: the day may turn meanwhile."""
    late = datetime(2026, 11, 26, 23, 30, tzinfo=UTC).timestamp()
    assert after_claim({DAY: Kind(2)}, ((DAY, 4),), "UTC", late, 86_400) == {DAY: Kind(4, begins(26))}


def test_games_dated_ahead_by_older_rules_make_new_windows_incomplete_for_longer() -> None:
    ahead = replace(A, max_future_seconds=10 * 86_400)
    accepted = AcceptedRules((ahead, B))
    assert accepted.claimed(Reading(1), 2, AT) == Reading(2, {DAY: Kind(2, AT + 11 * 86_400)})


def test_a_number_never_goes_down_by_a_claim() -> None:
    accepted = AcceptedRules((A, B))
    before = Reading(2, {DAY: Kind(2)})
    assert accepted.claimed(before, 1, AT) == before


def test_of_several_shards_the_fewest_windows_and_the_latest_time_count() -> None:
    rows = [{DAY: Kind(2), WEEK: Kind(2)}, {DAY: Kind(3, AT)}, {DAY: Kind(1, AT - 5), WEEK: Kind(2)}]
    assert merged(rows) == {DAY: Kind(1, AT)}
    assert merged([{WEEK: Kind(2)}]) == {WEEK: Kind(2)}
    assert merged([]) == {}


# --- new rows ---


def test_the_roots_of_the_first_stream_have_number_one_and_complete_windows() -> None:
    assert AcceptedRules((C,)).reading_of_root((), AT) == Reading(1, new_board(C.windows))


def test_the_roots_of_a_later_stream_have_the_highest_number_and_what_is_true_of_all_rows() -> None:
    accepted = AcceptedRules((A, B, C))
    rows = [Reading(2, {DAY: Kind(2)}), Reading(3, {DAY: Kind(3, AT), WEEK: Kind(2, AT)}), Reading(3, {DAY: Kind(3)})]
    merged_windows = {DAY: Kind(3, max(AT, begins(25))), WEEK: Kind(2, AT + 2 * 86_400)}
    assert accepted.reading_of_root(rows, AT) == Reading(3, merged_windows)


def test_rows_of_version_0_1_give_a_root_no_number() -> None:
    assert AcceptedRules((B,)).reading_of_root([UNNUMBERED, UNNUMBERED], AT) == UNNUMBERED


def root_rows(origin: Origin) -> list[Reading]:
    """How the roots that a starter creates are read."""
    starter = StreamStarter(ARN, TRIM_HORIZON, 1, TABLES, B)
    starter.take(starter.next_call(), origin)
    starter.take(starter.next_call(), build_shards(2, {}))
    if origin.stream_start is None:
        starter.take(starter.next_call(), Done())
    call = starter.next_call()
    assert isinstance(call, CreateRootRows)
    return [each.reading for each in call.rows]


def test_a_first_start_creates_roots_with_the_windows_of_its_own_rules() -> None:
    assert root_rows(Origin(None, None)) == [Reading(1, {DAY: Kind(2)})] * 2


def test_a_start_without_rows_beside_several_rules_is_none_of_a_new_board() -> None:
    """Rows were lost: which games were counted by which rules is not known, so windows are incomplete at first."""
    begun = StreamStart(ARN, None, ("shard-0",), complete=False)
    (reading,) = root_rows(Origin(begun, BINDING, accepted=AcceptedRules((C, B))))
    assert reading == Reading(2, {DAY: Kind(2, CREATED + 2 * 86_400)})


def test_a_successors_roots_begin_as_the_shards_before_it_are_read() -> None:
    other = ARN.replace("2026-01-01", "2025-12-31")
    others = ((replace(BINDING, stream_arn=other), StreamStart(other, None, (), complete=True)),)
    readings = (Reading(2, {DAY: Kind(2, 5.0)}), Reading(2, {DAY: Kind(2)}))
    origin = Origin(None, None, others, accepted=AcceptedRules((A, B)), readings=readings)
    assert root_rows(origin) == [Reading(2, {DAY: Kind(2, 5.0)})] * 2


READING = Reading(2, {DAY: Kind(2, CREATED)})


def test_children_inherit_number_and_windows() -> None:
    driver = ShardDriver(row(owner=ME).read_as(READING))
    driver.answer(Open, "first")
    driver.answer(Read, page(game(1), then=None))
    driver.answer(Commit, Committed())
    driver.answer(FindChildren, Children(("shard-1",), leaf=False, served_at=CREATED))
    end = driver.call(EndShard)
    assert [each.reading for each in end.rows] == [READING]
    assert driver.deliver(end, Committed()) == [events.ShardEnded(driver.lease, ("shard-1",), end.rows, READING)]


def test_late_children_inherit_them_from_the_finished_row_in_the_ledger() -> None:
    parent = finished(0, 1).read_as(READING)
    ledger = Ledger((parent, row(1, parent=0, rules=3)), (STARTED,), AcceptedRules((A, B, C)))
    (adoption,) = late_shards(build_shards(3, {0: [1, 2]}), ledger, {}).adoptions
    assert [each.reading for each in adoption.rows] == [READING]


def test_late_roots_are_read_as_the_newest_rows() -> None:
    """Their players may have been read by these in another shard."""
    ledger = Ledger((row(0, rules=1), row(1, rules=2)), (STARTED,), AcceptedRules((A, A)))
    (adoption,) = late_shards(build_shards(3, {}), ledger, {}).adoptions
    assert [each.rules for each in adoption.rows] == [2]


def test_a_child_that_shows_up_after_its_parents_end_inherits_them_too() -> None:
    ledger = Ledger((finished(0, 1).read_as(READING), row(1, parent=0)), (STARTED,), AcceptedRules((A, B)))
    shard_sync = ShardSync(lambda arn: StreamStarter(arn, TRIM_HORIZON, 1, TABLES), LinearBackoff())
    for reply in (ARN, build_shards(2, {0: [1]})):
        (call,) = shard_sync.ready(1000.0, ledger, 1)
        shard_sync.take(call, reply, 1000.0)
    shard_sync.shard_ended(shard(0), ("shard-1",), CREATED, 1000.0, READING)
    at = 1000.0 + RECHECK_DELAYS_SECONDS[0]
    (call,) = shard_sync.ready(at, ledger, 1)
    shard_sync.take(call, Children(("shard-1", "shard-2"), leaf=False, served_at=CREATED), at)
    (adopt,) = shard_sync.ready(at, ledger, 1)
    assert isinstance(adopt, Adopt)
    assert [each.reading for each in adopt.adoption.rows] == [READING]


@pytest.mark.parametrize("position", ["1" * 21, SHARD_END])
def test_a_row_that_an_operator_makes_again_gets_the_highest_number(position: str) -> None:
    """What was read of the shard, and by which rules, is not known: its windows are incomplete for two days, its number
    is the newest, and corrections may have been ignored.
    """
    rows = (row(1, parent=0, rules=2), row(2, OTHER, rules=1))
    ledger = Ledger(rows, (STARTED,), AcceptedRules((A, C, A)))
    made_again = checkpoint.plan(ledger, "shard-0", position, AT).after
    windows = {kind: Kind(kept, AT + 2 * 86_400) for kind, kept in A.windows}
    assert made_again.reading == Reading(3, windows, ignored=True)


def test_the_only_row_is_made_again_with_the_highest_number() -> None:
    ledger = Ledger((), (replace(STARTED, roots=("shard-0",)),), AcceptedRules((A, C)))
    assert checkpoint.plan(ledger, "shard-0", "1" * 21, AT).after.rules == 2


def test_a_row_of_a_ledger_without_rules_is_made_again_without_a_number() -> None:
    ledger = Ledger((), (replace(STARTED, roots=("shard-0",)),))
    assert checkpoint.plan(ledger, "shard-0", "1" * 21, AT).after.reading == UNNUMBERED._replace(ignored=True)
