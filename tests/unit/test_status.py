"""How things stand, as a value: from rows, members and listings alone."""

from collections.abc import Mapping
from dataclasses import replace

import pytest

from consumer.domain.breaker import Circuit
from consumer.domain.leases import Birth, LeaseRow, Members, Pin, Vouch
from consumer.domain.lineage import RETENTION_SECONDS
from consumer.domain.outcomes import Ledger, StreamListing
from consumer.domain.overview import LeaseTable
from consumer.operations.standing import Limits, ShardStatus, State, Status, Verdict
from consumer.operations.status import status
from tests.builders import ARN, ME, OTHER, build_shards, finished, row, sequence_number, shard

NOW = 1_769_900_000.0
HOUR = 3600.0
PIN = Pin(ARN, None, ("shard-0",), complete=True)
CAUGHT_UP = Vouch(9, shards=1, behind=0, lag_seconds=0.0, as_of=NOW - 1)


def stand(
    *rows: LeaseRow,
    workers: Mapping[str, Vouch] | None = None,
    listing: StreamListing | None = None,
    pin: Pin | None = PIN,
    pending: int = 0,
    births: tuple[Birth, ...] = (),
) -> Status:
    ledger = Ledger(rows, (pin,) if pin else ())
    table = LeaseTable(ledger, Members(1, workers or {}))
    return status(table, [listing or build_shards(len(rows), {})], (), pending, NOW, 5, births)


def only(told: Status) -> ShardStatus:
    (each,) = told.shards
    return each


def test_an_idle_shard_that_its_worker_has_caught_up_with_is_not_behind() -> None:
    told = stand(row(owner=ME, created=NOW - 20 * HOUR), workers={ME: CAUGHT_UP})
    each = only(told)
    assert (each.state, each.lag_seconds, each.at_most_seconds) == (State.RUNNING, 0.0, None)
    assert (told.lag_seconds, told.headroom_seconds) == (0.0, RETENTION_SECONDS)
    assert told.verdict(Limits()) is Verdict.HEALTHY


@pytest.mark.parametrize(
    ("created", "lag", "right"),
    [
        (NOW - 500, 90.0, 91.0),
        (NOW - 50, 90.0, 50.0),
        (NOW + 2, 90.0, 0.0),
    ],
    ids=["by the beat", "by the row", "a clock ahead"],
)
def test_the_lag_is_the_lesser_of_what_row_and_beat_allow(created: float, lag: float, right: float) -> None:
    vouch = replace(CAUGHT_UP, behind=1, lag_seconds=lag)
    assert only(stand(row(owner=ME, created=created), workers={ME: vouch})).lag_seconds == right


@pytest.mark.parametrize(
    ("owner", "workers", "at_most"),
    [
        (None, {}, 2 * HOUR),
        (ME, {}, 2 * HOUR),
        (ME, {OTHER: CAUGHT_UP}, 2 * HOUR),
        (ME, {ME: replace(CAUGHT_UP, as_of=NOW - 31)}, 31.0),
        (ME, {ME: replace(CAUGHT_UP, as_of=NOW - 40, lag_seconds=5.0, behind=1)}, 45.0),
        (ME, {ME: replace(CAUGHT_UP, as_of=0.0)}, 2 * HOUR),
        (ME, {ME: replace(CAUGHT_UP, shards=0)}, 2 * HOUR),
    ],
    ids=["released", "no members", "not a member", "silent", "silent and behind", "just joined", "just claimed"],
)
def test_what_nobody_vouches_for_is_unknown_and_at_most(
    owner: str | None, workers: Mapping[str, Vouch], at_most: float
) -> None:
    told = stand(row(owner=owner, created=NOW - 2 * HOUR), workers=workers)
    each = only(told)
    assert (each.lag_seconds, each.at_most_seconds) == (None, at_most)
    assert told.lag_seconds is None
    assert told.headroom_seconds == RETENTION_SECONDS - at_most


def test_a_silent_owner_is_shown_and_not_believed() -> None:
    told = stand(row(owner=ME, created=NOW - 99), workers={ME: replace(CAUGHT_UP, as_of=NOW - 31)})
    assert (only(told).state, only(told).owner) == (State.UNOWNED, ME)
    (worker,) = told.workers
    assert (worker.owns, worker.silent_seconds, worker.fresh) == (1, 31.0, False)


def test_a_longer_ttl_is_waited_for() -> None:
    table = LeaseTable(
        Ledger((row(owner=ME, created=NOW - 99),), (PIN,)), Members(1, {ME: replace(CAUGHT_UP, as_of=NOW - 31)})
    )
    assert only(status(table, [build_shards(1, {})], (), 0, NOW, 11)).state is State.RUNNING


@pytest.mark.parametrize(
    ("rows", "verdict"),
    [
        ([row(created=NOW - 60)], Verdict.HEALTHY),
        ([row(created=NOW - 61)], Verdict.BEHIND),
        ([row(created=NOW - 20 * HOUR)], Verdict.BEHIND),
        ([row(created=NOW - 20 * HOUR - 1)], Verdict.DATA_LOSS_NEAR),
        ([row(created=NOW - 30 * HOUR)], Verdict.DATA_LOSS_NEAR),
        ([row()], Verdict.DATA_LOSS_NEAR),
        ([row(created=NOW - 20 * HOUR - 1), replace(row(1), circuit=Circuit(halted_at=NOW))], Verdict.HALTED),
        ([finished(0, 1)], Verdict.HALTED),
        ([finished(0)], Verdict.HEALTHY),
    ],
)
def test_the_verdict_is_the_worst_that_is_true(rows: list[LeaseRow], verdict: Verdict) -> None:
    assert stand(*rows, listing=build_shards(1, {})).verdict(Limits()) is verdict


def test_limits_are_ones_own() -> None:
    told = stand(row(created=NOW - 100))
    assert told.verdict(Limits(behind_seconds=100)) is Verdict.HEALTHY
    assert told.verdict(Limits(headroom_seconds=RETENTION_SECONDS)) is Verdict.DATA_LOSS_NEAR


def test_a_missing_row_halts_and_is_as_old_as_its_parents_last_commit() -> None:
    above = replace(finished(0, 1, 2), created=NOW - 50)
    told = stand(above, row(2, owner=ME, created=NOW - 50, parent=0), workers={ME: CAUGHT_UP})
    assert [(each.shard, each.state, each.at_most_seconds) for each in told.halted] == [
        (shard(1), State.MISSING, 50.0),
    ]
    assert told.halted[0].parent == "shard-0"
    assert stand(listing=build_shards(1, {})).halted[0].at_most_seconds is None, "a root"
    assert stand(listing=build_shards(1, {})).lag_seconds is None


def test_a_halted_shard_is_halted_whoever_owns_it() -> None:
    halted = replace(row(owner=ME, created=NOW - 30), circuit=Circuit(halted_at=NOW - 20))
    for workers in ({}, {ME: replace(CAUGHT_UP, behind=1, lag_seconds=29.0)}):
        each = only(stand(halted, workers=workers))
        assert (each.state, each.halted_at, each.worst_seconds) == (State.HALTED, NOW - 20, 30.0)


def test_listed_shards_without_a_row() -> None:
    """Children wait; what lies above the first shards is before the beginning."""
    listing = build_shards(6, {4: 0, 0: [1, 2], 1: 3, 5: 4})
    told = stand(row(owner=ME, created=NOW - 50), workers={ME: CAUGHT_UP}, listing=listing)
    assert {each.shard: each.state for each in told.shards} == {
        shard(0): State.RUNNING,
        shard(1): State.WAITING,
        shard(2): State.WAITING,
        shard(3): State.WAITING,
    }
    first = told.shards[0]
    assert (first.parent, first.children) == ("shard-4", ("shard-1", "shard-2"))
    assert (told.lag_seconds, told.verdict(Limits())) == (0.0, Verdict.HEALTHY)


def test_a_late_child_of_a_finished_shard_is_unknown() -> None:
    told = stand(replace(finished(0), created=NOW - 70), listing=build_shards(2, {0: 1}))
    late = told.shards[1]
    assert (late.state, late.lag_seconds, late.at_most_seconds) == (State.WAITING, None, 70.0)
    assert (told.lag_seconds, told.verdict(Limits())) == (None, Verdict.BEHIND)


def test_a_stream_that_no_worker_has_begun_with() -> None:
    told = stand(pin=None, listing=build_shards(2, {}))
    assert told.unread == (ARN,)
    assert [each.state for each in told.shards] == [State.WAITING] * 2
    assert (told.lag_seconds, told.verdict(Limits())) == (None, Verdict.BEHIND)


def test_rows_that_no_listing_shows_are_told() -> None:
    told = stand(row(checkpoint=sequence_number(7), created=NOW - 5, parent=9), listing=build_shards(0, {}))
    each = only(told)
    assert (each.checkpoint, each.parent, each.epoch) == (sequence_number(7), "shard-9", 7)


def test_a_ledger_that_was_lost_is_no_stream_that_was_never_begun() -> None:
    """By the birth row there should be a pin: the lease table was emptied, or another one is looked at."""
    birth = Birth(ARN, "leases", "board")
    told = stand(pin=None, births=(birth,), listing=build_shards(1, {}))
    assert (told.strange, told.unread) == ((birth,), ())
    assert told.verdict(Limits()) is Verdict.HALTED
    assert (told.lag_seconds, told.headroom_seconds) == (None, 0.0)
    known = stand(row(owner=ME, created=NOW - 20), workers={ME: CAUGHT_UP}, births=(birth,))
    assert (known.strange, known.verdict(Limits())) == ((), Verdict.HEALTHY)
