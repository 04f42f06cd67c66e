"""The status: from rows, members and listings, and how they are read."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial

import pytest

from consumer.domain.accepted_rules import AcceptedRules
from consumer.domain.breaker import Circuit
from consumer.domain.errors import CallFailed, FailureKind, StartRefused
from consumer.domain.leases import LeaseRow, Ledger, StreamStart, TableBinding, TableNames
from consumer.domain.lineage import RETENTION_SECONDS
from consumer.domain.membership import HeartbeatReport, LateShard, Members, code_of
from consumer.domain.operator_ports import LeaseTable
from consumer.domain.records import Corrections, Rules
from consumer.domain.replies import StreamListing
from consumer.domain.stream_halt import StreamHaltReason, StreamUnusable
from consumer.operations.status import Limits, Scope, ShardCondition, ShardStatus, Status, Verdict, collect, status
from tests.support import builders
from tests.support.builders import ARN, ME, OTHER, build_shards, finished, sequence_number, shard
from tests.support.commands import finish
from tests.support.fakes import FakeStreams, FakeTables
from tests.support.fakes.operators import FakeTableReader

NOW = 1_769_900_000.0
HOUR = 3600.0
STREAM_START = StreamStart(ARN, None, ("shard-0",), complete=True)
BINDING = TableBinding(ARN, TableNames().leases, TableNames().leaderboard)
row = partial(builders.row, checkpoint=sequence_number(1))
"""The row of a shard of which something was committed."""
CAUGHT_UP = HeartbeatReport(9, shards=1, behind=0, lag_seconds=0.0, as_of=NOW - 1)


def status_of(
    *rows: LeaseRow,
    workers: Mapping[str, HeartbeatReport] | None = None,
    listing: StreamListing | None = None,
    stream_start: StreamStart | None = STREAM_START,
    pending: int = 0,
    bindings: tuple[TableBinding, ...] = (BINDING,),
) -> Status:
    ledger = Ledger(rows, (stream_start,) if stream_start else ())
    table = LeaseTable(ledger, Members(1, workers or {}))
    return status(table, [listing or build_shards(len(rows), {})], (), pending, NOW, 5, bindings)


def only(found: Status) -> ShardStatus:
    (seen,) = found.shards
    return seen


def test_an_idle_shard_that_its_worker_has_caught_up_with_is_not_behind() -> None:
    found = status_of(row(owner=ME, created=NOW - 20 * HOUR), workers={ME: CAUGHT_UP})
    seen = only(found)
    assert (seen.state, seen.lag_seconds, seen.at_most_seconds) == (
        ShardCondition.RUNNING,
        0.0,
        None,
    )
    assert (found.lag_seconds, found.headroom_seconds) == (0.0, RETENTION_SECONDS)
    assert found.verdict(Limits()) is Verdict.HEALTHY


def test_a_lag_that_its_worker_does_not_know_is_shown_as_unknown() -> None:
    """It has just taken the shard over, and has only met empty pages."""
    report = replace(CAUGHT_UP, behind=1, lag_seconds=40.0, unknown=1)
    found = status_of(row(owner=ME, created=NOW - 90), workers={ME: report})
    assert (only(found).state, only(found).lag_seconds, only(found).at_most_seconds) == (
        ShardCondition.RUNNING,
        None,
        41.0,
    )
    assert (found.lag_seconds, found.at_most_seconds) == (None, 41.0)
    assert found.verdict(Limits()) is Verdict.HEALTHY
    assert found.verdict(Limits(behind_seconds=30.0)) is Verdict.BEHIND


@pytest.mark.parametrize(
    ("created", "lag", "right"),
    [
        (NOW - 500, 90.0, 91.0),
        (NOW - 50, 90.0, 50.0),
        (NOW + 2, 90.0, 0.0),
    ],
    ids=["by the heartbeat", "by the row", "a clock ahead"],
)
def test_the_lag_is_the_lesser_of_what_row_and_heartbeat_allow(created: float, lag: float, right: float) -> None:
    report = replace(CAUGHT_UP, behind=1, lag_seconds=lag, late=(LateShard(code_of(shard()), lag),))
    assert only(status_of(row(owner=ME, created=created), workers={ME: report})).lag_seconds == right


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
def test_the_lag_without_a_fresh_report_is_only_bounded(
    owner: str | None, workers: Mapping[str, HeartbeatReport], at_most: float
) -> None:
    found = status_of(row(owner=owner, created=NOW - 2 * HOUR), workers=workers)
    seen = only(found)
    assert (seen.lag_seconds, seen.at_most_seconds) == (None, at_most)
    assert found.lag_seconds is None
    assert found.headroom_seconds == RETENTION_SECONDS - at_most


def test_a_silent_owner_is_shown_but_the_shard_counts_as_unowned() -> None:
    found = status_of(row(owner=ME, created=NOW - 99), workers={ME: replace(CAUGHT_UP, as_of=NOW - 31)})
    assert (only(found).state, only(found).owner) == (ShardCondition.UNOWNED, ME)
    (worker,) = found.workers
    assert (worker.owns, worker.silent_seconds, worker.fresh) == (1, 31.0, False)


def test_with_a_longer_ttl_reports_stay_fresh_for_longer() -> None:
    table = LeaseTable(
        Ledger((row(owner=ME, created=NOW - 99),), (STREAM_START,)),
        Members(1, {ME: replace(CAUGHT_UP, as_of=NOW - 31)}),
    )
    assert only(status(table, [build_shards(1, {})], (), 0, NOW, 11)).state is ShardCondition.RUNNING


@pytest.mark.parametrize(
    ("rows", "verdict"),
    [
        ([row(created=NOW - 60)], Verdict.HEALTHY),
        ([row(created=NOW - 61)], Verdict.BEHIND),
        ([row(created=NOW - 20 * HOUR)], Verdict.BEHIND),
        ([row(created=NOW - 20 * HOUR - 1)], Verdict.DATA_LOSS_NEAR),
        ([row(created=NOW - 30 * HOUR)], Verdict.DATA_LOSS_NEAR),
        ([row()], Verdict.UNKNOWN),
        ([row(created=NOW - 61), row(1)], Verdict.BEHIND),
        ([row(created=NOW - 20 * HOUR - 1), row(1)], Verdict.DATA_LOSS_NEAR),
        ([row(created=NOW - 20 * HOUR - 1), replace(row(1), circuit=Circuit(halted_at=NOW))], Verdict.HALTED),
        ([finished(0, 1)], Verdict.HALTED),
        ([finished(0)], Verdict.HEALTHY),
    ],
)
def test_the_verdict_is_the_worst_that_holds(rows: list[LeaseRow], verdict: Verdict) -> None:
    assert status_of(*rows, workers={OTHER: CAUGHT_UP}, listing=build_shards(1, {})).verdict(Limits()) is verdict


@pytest.mark.parametrize(
    ("workers", "verdict"),
    [
        ({}, Verdict.NO_WORKER),
        ({OTHER: replace(CAUGHT_UP, as_of=NOW - 31)}, Verdict.NO_WORKER),
        ({OTHER: replace(CAUGHT_UP, as_of=0.0)}, Verdict.NO_WORKER),
        ({OTHER: CAUGHT_UP}, Verdict.HEALTHY),
    ],
    ids=["none", "silent", "just joined", "alive"],
)
def test_without_a_living_worker_nothing_is_healthy(workers: Mapping[str, HeartbeatReport], verdict: Verdict) -> None:
    assert status_of(row(created=NOW - 5), workers=workers).verdict(Limits()) is verdict
    near = status_of(row(created=NOW - 21 * HOUR), workers=workers)
    assert near.verdict(Limits()) is Verdict.DATA_LOSS_NEAR, "that is worse"


def test_the_exit_code_of_what_is_not_known_is_not_0() -> None:
    assert {verdict.value: verdict.exit_code for verdict in Verdict} == {
        "healthy": 0,
        "unknown": 10,
        "behind": 10,
        "no_worker": 10,
        "data_loss_near": 11,
        "halted": 12,
    }


def test_an_idle_shard_is_not_as_late_as_its_owners_worst() -> None:
    late = (LateShard(code_of(shard(1)), 3 * HOUR), LateShard(code_of(shard(2)), 40.0, known=False))
    report = HeartbeatReport(9, 3, 2, 3 * HOUR, NOW, unknown=1, late=late)
    found = status_of(*(row(number, ME, created=NOW - 9 * HOUR) for number in range(3)), workers={ME: report})
    assert [(seen.lag_seconds, seen.at_most_seconds) for seen in found.shards] == [
        (0.0, None),
        (3 * HOUR, None),
        (None, 40.0),
    ]


@pytest.mark.parametrize(
    ("start_time", "at_most"), [(None, None), (NOW - HOUR, HOUR), (NOW - 25 * HOUR, None)], ids=str
)
def test_a_root_that_no_worker_has_read_is_as_late_as_the_start_time_allows(
    start_time: float | None, at_most: float | None
) -> None:
    """When its row was made says nothing of its records."""
    unread = builders.row(owner=None, created=NOW - 1)
    start = replace(STREAM_START, start_time=start_time)
    found = status_of(unread, stream_start=start, workers={OTHER: CAUGHT_UP})
    assert (only(found).lag_seconds, only(found).at_most_seconds, found.at_most_seconds) == (None, at_most, at_most)
    assert found.verdict(Limits()) is (Verdict.BEHIND if at_most else Verdict.UNKNOWN)


def test_what_its_worker_last_reported_bounds_a_shard_without_a_row() -> None:
    late = (LateShard(code_of(shard()), 104.0, known=False),)
    report = HeartbeatReport(9, 1, 1, 104.0, NOW - 2, unknown=1, late=late)
    found = status_of(workers={ME: report}, listing=build_shards(1, {}))
    assert (only(found).state, only(found).at_most_seconds) == (ShardCondition.MISSING, 106.0)
    other = replace(report, late=(LateShard(code_of(shard(7)), 104.0),), unknown=0)
    assert only(status_of(workers={ME: other}, listing=build_shards(1, {}))).at_most_seconds is None


def test_a_quarantine_table_that_does_not_know_the_stream_is_not_healthy() -> None:
    found = status_of(row(owner=ME, created=NOW - 20), workers={ME: CAUGHT_UP}, bindings=())
    assert (found.unbound, found.pending, found.verdict(Limits())) == ((ARN,), None, Verdict.UNKNOWN)


def test_a_lease_table_that_is_not_the_streams_own_is_halted() -> None:
    """A restored one, under another name: `run` refuses it."""
    other = replace(BINDING, lease_table="another")
    found = status_of(row(owner=ME, created=NOW - 20), workers={ME: CAUGHT_UP}, bindings=(other,))
    assert (found.unknown_streams, found.verdict(Limits())) == ((other,), Verdict.HALTED)


def test_limits_can_be_chosen() -> None:
    found = status_of(row(created=NOW - 100), workers={OTHER: CAUGHT_UP})
    assert found.verdict(Limits(behind_seconds=100)) is Verdict.HEALTHY
    assert found.verdict(Limits(headroom_seconds=RETENTION_SECONDS)) is Verdict.DATA_LOSS_NEAR


def test_a_missing_row_halts_and_is_as_old_as_its_parents_last_commit() -> None:
    above = replace(finished(0, 1, 2), created=NOW - 50)
    found = status_of(above, row(2, owner=ME, created=NOW - 50, parent=0), workers={ME: CAUGHT_UP})
    assert [(seen.shard, seen.state, seen.at_most_seconds) for seen in found.halted] == [
        (shard(1), ShardCondition.MISSING, 50.0),
    ]
    assert found.halted[0].parent == "shard-0"
    assert status_of(listing=build_shards(1, {})).halted[0].at_most_seconds is None, "a root"
    assert status_of(listing=build_shards(1, {})).lag_seconds is None


def test_a_halted_shard_is_halted_with_any_owner() -> None:
    halted = replace(row(owner=ME, created=NOW - 30), circuit=Circuit(halted_at=NOW - 20))
    for workers in ({}, {ME: replace(CAUGHT_UP, behind=1, lag_seconds=29.0)}):
        seen = only(status_of(halted, workers=workers))
        assert (seen.state, seen.circuit.halted_at, seen.worst_seconds) == (
            ShardCondition.HALTED,
            NOW - 20,
            30.0,
        )


def test_listed_shards_without_a_row() -> None:
    """Children wait; ancestors of the first shards lie before the start."""
    listing = build_shards(6, {4: 0, 0: [1, 2], 1: 3, 5: 4})
    found = status_of(row(owner=ME, created=NOW - 50), workers={ME: CAUGHT_UP}, listing=listing)
    assert {seen.shard: seen.state for seen in found.shards} == {
        shard(0): ShardCondition.RUNNING,
        shard(1): ShardCondition.WAITING,
        shard(2): ShardCondition.WAITING,
        shard(3): ShardCondition.WAITING,
    }
    first = found.shards[0]
    assert (first.parent, first.children) == ("shard-4", ("shard-1", "shard-2"))
    assert (found.lag_seconds, found.verdict(Limits())) == (0.0, Verdict.HEALTHY)


def test_a_root_that_no_worker_has_found_yet_is_unknown() -> None:
    """No parent is read before it, whose lag would bound its own."""
    found = status_of(row(owner=ME, created=NOW - 50), workers={ME: CAUGHT_UP}, listing=build_shards(3, {1: 2}))
    assert [(seen.state, seen.waits_for_parent) for seen in found.shards[1:]] == [
        (ShardCondition.WAITING, False),
        (ShardCondition.WAITING, True),
    ]
    assert ([seen.shard for seen in found.blind], found.lag_seconds) == ([shard(1)], None)
    assert found.verdict(Limits()) is Verdict.UNKNOWN


def test_the_lag_of_a_late_child_of_a_finished_shard_is_unknown() -> None:
    above = replace(finished(0), created=NOW - 70)
    found = status_of(above, listing=build_shards(2, {0: 1}), workers={ME: CAUGHT_UP})
    late = found.shards[1]
    assert (late.state, late.lag_seconds, late.at_most_seconds) == (ShardCondition.WAITING, None, 70.0)
    assert (found.lag_seconds, found.verdict(Limits())) == (None, Verdict.BEHIND)


@pytest.mark.parametrize(("workers", "verdict"), [({}, Verdict.NO_WORKER), ({ME: CAUGHT_UP}, Verdict.UNKNOWN)])
def test_a_stream_that_no_worker_has_started(workers: Mapping[str, HeartbeatReport], verdict: Verdict) -> None:
    found = status_of(stream_start=None, listing=build_shards(2, {}), bindings=(), workers=workers)
    assert found.unread == (ARN,)
    assert [seen.state for seen in found.shards] == [ShardCondition.WAITING] * 2
    assert (found.lag_seconds, found.at_most_seconds, found.headroom_seconds) == (None, None, None)
    assert (len(found.blind), found.verdict(Limits())) == (2, verdict)


def test_rows_that_no_listing_shows_are_in_the_status() -> None:
    found = status_of(row(checkpoint=sequence_number(7), created=NOW - 5, parent=9), listing=build_shards(0, {}))
    seen = only(found)
    assert (seen.checkpoint, seen.parent, seen.epoch) == (sequence_number(7), "shard-9", 7)


def test_a_lost_lease_table_is_not_a_stream_that_was_never_started() -> None:
    """The binding says that the stream was started: the lease table was emptied, or it is the wrong one."""
    binding = BINDING
    found = status_of(stream_start=None, bindings=(binding,), listing=build_shards(1, {}))
    assert (found.unknown_streams, found.unread) == ((binding,), ())
    assert found.verdict(Limits()) is Verdict.HALTED
    assert (found.lag_seconds, found.headroom_seconds) == (None, None)
    known = status_of(row(owner=ME, created=NOW - 20), workers={ME: CAUGHT_UP}, bindings=(binding,))
    assert (known.unknown_streams, known.verdict(Limits())) == ((), Verdict.HEALTHY)


# --- reading ---


class UnlistedStreams(FakeStreams):
    """Their listing fails with this kind of failure."""

    kind = FailureKind.MISSING

    def list_shards(self, stream_arn: str) -> StreamListing:
        raise CallFailed(self.kind, f"no listing of {stream_arn}")


def no_stream() -> str:
    raise StartRefused("the table has no stream")


def test_a_stream_that_is_gone_is_shown_as_the_tables_know_it() -> None:
    tables = FakeTables()
    tables.rows[shard()] = row(owner=ME, created=NOW)
    tables.stream_starts[ARN] = StreamStart(ARN, None, ("shard-0",), complete=True)
    streams = UnlistedStreams(lambda: NOW, ARN)
    found = finish(collect(FakeTableReader(tables), streams, no_stream, 5))
    assert [shard.shard for shard in found.shards] == [shard()]
    streams.kind = FailureKind.DENIED
    with pytest.raises(CallFailed):
        finish(collect(FakeTableReader(tables), streams, no_stream, 5))


def test_without_a_stream_and_without_rows_there_is_no_status() -> None:
    with pytest.raises(StartRefused, match="has no stream"):
        finish(collect(FakeTableReader(FakeTables()), FakeStreams(lambda: NOW, ARN), no_stream, 5))


def known_to_the_end(*rows: LeaseRow) -> FakeTables:
    """Tables of a stream with these rows."""
    tables = FakeTables()
    tables.rows |= {each.shard: each for each in rows}
    tables.stream_starts[ARN] = StreamStart(ARN, None, ("shard-0",), complete=True)
    return tables


def named_wrong() -> str:
    raise StreamUnusable(StreamHaltReason.OFF, None, "the table does not exist", named_wrong=True)


def test_a_source_table_that_is_gone_is_halted_also_while_its_stream_is_read() -> None:
    tables = known_to_the_end(row(0, owner=ME, created=NOW))
    streams = FakeStreams(lambda: NOW, ARN)
    streams.add_shard("shard-0")
    found = finish(collect(FakeTableReader(tables), streams, named_wrong, 5, Scope("GameEvents")))
    assert found.verdict(Limits()) is Verdict.HALTED
    assert "Is CONSUMER_SOURCE_TABLE (or CONSUMER_STREAM_ARN) right" in found.stream_halts[0].detail


def test_a_source_table_that_never_was_is_refused_with_the_one_that_is_counted() -> None:
    reader = FakeTableReader(known_to_the_end(row(0, owner=ME, created=NOW)))
    with pytest.raises(StartRefused, match=r"Is CONSUMER_SOURCE_TABLE right.* counts GameEvents"):
        finish(collect(reader, FakeStreams(lambda: NOW, ARN), named_wrong, 5, Scope("GameEvent")))


def test_a_stream_arn_that_does_not_exist_is_refused() -> None:
    reader = FakeTableReader(known_to_the_end(row(0, owner=ME, created=NOW)))
    with pytest.raises(StartRefused, match="Is CONSUMER_STREAM_ARN right"):
        finish(collect(reader, UnlistedStreams(lambda: NOW, ARN), lambda: f"{ARN}9", 5))


def test_a_stream_of_the_table_that_lists_no_shards_yet_is_unread() -> None:
    reader = FakeTableReader(known_to_the_end(row(0, owner=ME, created=NOW)))
    found = finish(collect(reader, UnlistedStreams(lambda: NOW, ARN), lambda: f"{ARN}9", 5, Scope("GameEvents")))
    assert (found.unread, found.stream_halts) == ((f"{ARN}9",), ())


def test_a_stream_that_is_known_and_gone_with_records_to_read_is_halted() -> None:
    reader = FakeTableReader(known_to_the_end(row(0, owner=ME, created=NOW)))
    found = finish(collect(reader, UnlistedStreams(lambda: NOW, ARN), lambda: ARN, 5))
    assert found.verdict(Limits()) is Verdict.HALTED


def switched_off(reason: StreamHaltReason = StreamHaltReason.OFF) -> Callable[[], str]:
    def newest() -> str:
        raise StreamUnusable(reason, None, "the stream is of no use")

    return newest


@pytest.mark.parametrize(
    ("rows", "reason", "halts"),
    [
        ((finished(0),), StreamHaltReason.OFF, True),
        ((row(0, owner=ME, created=NOW),), StreamHaltReason.OFF, False),
        ((row(0, owner=ME, created=NOW),), StreamHaltReason.VIEW_TYPE, True),
    ],
    ids=["off and read", "off and left to read", "no images"],
)
def test_a_stream_that_is_off_or_has_no_images_is_halted(
    rows: tuple[LeaseRow, ...], reason: StreamHaltReason, halts: bool
) -> None:
    streams = FakeStreams(lambda: NOW, ARN)
    streams.add_shard("shard-0")
    found = finish(collect(FakeTableReader(known_to_the_end(*rows)), streams, switched_off(reason), 5))
    assert [halt.reason for halt in found.stream_halts] == ([reason] if halts else [])
    assert (found.stream_off is None) is halts, "it is said as well"
    assert (found.verdict(Limits()) is Verdict.HALTED) is halts


class NewImages(FakeStreams):
    """A stream with new images alone."""

    def list_shards(self, stream_arn: str) -> StreamListing:
        return replace(super().list_shards(stream_arn), view="NEW_IMAGE")


@pytest.mark.parametrize(("corrections", "halts"), [(Corrections.APPLY, 1), (Corrections.IGNORE, 0)])
def test_where_corrections_count_a_stream_without_old_images_is_halted(corrections: Corrections, halts: int) -> None:
    streams = NewImages(lambda: NOW, ARN)
    streams.add_shard("shard-0")
    tables = known_to_the_end(row(0, owner=ME, created=NOW))
    tables.accepted = AcceptedRules((Rules(corrections=corrections),))
    found = finish(collect(FakeTableReader(tables), streams, lambda: ARN, 5)).stream_halts
    assert [halt.reason for halt in found] == [StreamHaltReason.VIEW_TYPE] * halts


def test_a_configured_stream_that_is_off_is_halted_when_it_is_read() -> None:
    streams = FakeStreams(lambda: NOW, ARN)
    streams.add_shard("shard-0")
    reader = FakeTableReader(known_to_the_end(finished(0)))
    assert finish(collect(reader, streams, lambda: ARN, 5)).stream_halts == ()
    streams.disable()
    (halt,) = finish(collect(reader, streams, lambda: ARN, 5)).stream_halts
    assert ARN in halt.detail
    (halt,) = finish(collect(reader, UnlistedStreams(lambda: NOW, ARN), lambda: ARN, 5)).stream_halts
    assert "no listing of" in halt.detail
