"""The worker as a whole, over a stream and tables in memory."""

from dataclasses import replace
from decimal import Decimal
from math import inf

import pytest

from consumer.domain.leases import SHARD_END, TRIM_HORIZON, LeaseRow, StreamStart
from consumer.domain.lineage import RETENTION_SECONDS
from consumer.domain.membership import HeartbeatReport
from consumer.domain.records import Outcome
from consumer.domain.replies import Done, Lost
from consumer.worker import events
from consumer.worker.calls import execute
from consumer.worker.ledger_calls import Claim, Load, ReadMembers, SendHeartbeat
from consumer.worker.shard import ShardState
from consumer.worker.shard_calls import Commit, MoveCheckpoint, Open, Read, WriteRows
from tests.support.builders import ARN, OTHER, lease, page, row, shard
from tests.support.drivers import (
    IMAGE,
    NO_ANSWER,
    TTL,
    WorkerDriver,
    done,
    ending_worker,
    kinds,
    reading_worker,
    stream,
    total,
)


def test_a_first_start_counts_the_games() -> None:
    driver = WorkerDriver(streams=stream())
    driver.streams.write("shard-0", IMAGE)
    driver.streams.write("shard-0", IMAGE | {"score": {"N": "-0.5"}})
    driver.serve()
    assert total(driver) == Decimal("149.5")
    assert {"StreamStarted", "Joined", "LeaseClaimed", "UnitCommitted"} <= set(kinds(driver.reported))


def test_a_parent_is_finished_before_its_children_are_read() -> None:
    driver = WorkerDriver(streams=stream(3, {0: [1, 2]}))
    for name in ("shard-0", "shard-1", "shard-2"):
        driver.streams.write(name, IMAGE)
    driver.serve(2.0)
    assert list(driver.machine.shards) == [shard(0)]
    assert total(driver) == 150
    driver.streams.close("shard-0")
    driver.serve(2.0)
    assert set(driver.machine.shards) == {shard(1), shard(2)}
    assert total(driver) == 450
    assert driver.tables.rows[shard(0)].checkpoint == SHARD_END


def test_replies_to_an_earlier_epoch_are_dropped() -> None:
    driver = reading_worker()
    driver.serve(1.0, hold=Read)
    (late,) = [call for call in driver.in_flight if isinstance(call, Read)]
    held = driver.machine.shards[shard(0)].lease
    driver.machine.shards[shard(0)].lease = held._replace(epoch=held.epoch + 1)
    assert driver.deliver(late, page()) == []
    del driver.machine.shards[shard(0)]
    assert driver.deliver(late, page()) == []
    assert driver.deliver(Commit(lease(9), None, (), fills_gap=False), Lost(None)) == []  # type: ignore[arg-type]


def test_an_end_answered_after_its_child_was_claimed_again_leaves_the_later_lease_alone() -> None:
    """The end took effect, its reply is slow; the ledger showed the child's row with this worker's name, not owned."""
    driver, end = ending_worker()
    reply = execute(end, driver.ports)
    driver.machine.coordinator.reload_ledger(driver.now)
    driver.serve(2.0)
    claimed = driver.machine.shards[shard(1)].lease
    assert claimed.epoch == end.rows[0].epoch + 1
    driver.deliver(end, reply)
    assert driver.machine.shards[shard(1)].lease == claimed


def test_a_shard_that_is_claimed_again_starts_again() -> None:
    """The claim of the child was in flight when the reply to its parent's end arrived."""
    driver, end = ending_worker()
    reply = execute(end, driver.ports)
    driver.machine.coordinator.reload_ledger(driver.now)
    driver.serve(2.0, hold=Claim)
    claim = driver.call(Claim)
    driver.deliver(end, reply)
    before = driver.machine.shards[shard(1)]
    driver.start_due()
    driver.deliver(claim, execute(claim, driver.ports))
    after = driver.machine.shards[shard(1)]
    assert after is not before
    assert after.lease == claim.lease
    driver.in_flight.clear()
    assert driver.has_call(Open)


def test_a_lost_lease_is_dropped_and_the_ledger_is_read_soon() -> None:
    driver = reading_worker()
    driver.streams.write("shard-0", IMAGE)
    driver.serve(1.0, hold=Commit)
    driver.answer(Commit, Lost(row(0, OTHER, 99)))
    assert not driver.machine.shards
    assert driver.has_call(Load)


def test_an_idle_worker_that_lost_a_lease_learns_it_from_the_ledger() -> None:
    driver = reading_worker()
    stored = driver.tables.rows[shard(0)]
    driver.tables.workers[OTHER] = HeartbeatReport(1)
    driver.tables.rows[shard(0)] = replace(stored, owner=OTHER, epoch=stored.epoch + 1)
    driver.machine.coordinator.reload_ledger(driver.now)
    driver.serve(0.2)
    assert not driver.machine.shards
    assert [event.owner for event in driver.reported if isinstance(event, events.LeaseLost)] == [OTHER]


def test_a_handed_over_shard_is_released_and_announced() -> None:
    driver = WorkerDriver(streams=stream(2))
    driver.serve(2.0)
    assert len(driver.machine.shards) == 2
    changes = driver.tables.changes
    driver.tables.send_heartbeat(OTHER, HeartbeatReport(1, rules=1), joining=True, bump=True)
    driver.serve(1.0)
    assert list(driver.machine.shards) == [shard(0)]
    assert driver.tables.rows[shard(1)].owner is None
    assert driver.tables.changes == changes + 2


def test_a_missing_row_halts_the_shard_until_an_operator_puts_it_back() -> None:
    driver = reading_worker()
    stored = driver.tables.rows.pop(shard(0))
    driver.streams.write("shard-0", IMAGE)
    driver.serve(2.0)
    assert driver.machine.shards[shard(0)].state is ShardState.HALTED
    status = driver.machine.status(driver.now)
    assert status.shards == {"halted": 1, "unowned": 0, "awaiting_rules": 0, "awaiting_stream": 0}
    assert any("is halted: its row is missing" in reason for reason in status.not_ready)
    driver.tables.rows[shard(0)] = LeaseRow(shard(0), None, stored.epoch + 100, stored.checkpoint)
    driver.serve(40.0)
    assert driver.machine.shards[shard(0)].state is ShardState.RUNNING
    assert total(driver) == 150


def test_nothing_is_committed_after_a_ttl_without_a_heartbeat_until_one_is_written() -> None:
    driver = reading_worker()
    driver.serve(TTL + 1.0, hold=SendHeartbeat)
    driver.streams.write("shard-0", IMAGE)
    driver.serve(2.0, hold=SendHeartbeat)
    assert "foo" not in driver.tables.board
    assert any("no heartbeat" in reason for reason in driver.machine.status(driver.now).not_ready)
    driver.answer(SendHeartbeat, Done())
    driver.serve(2.0)
    assert total(driver) == 150
    assert driver.machine.status(driver.now).not_ready == ()


@pytest.mark.parametrize("call", [ReadMembers, Load, SendHeartbeat])
def test_readiness_names_what_has_failed_for_a_while(call: type[ReadMembers | Load | SendHeartbeat]) -> None:
    driver = reading_worker()
    driver.machine.coordinator.reload_ledger(driver.now)
    for _ in range(3):
        assert driver.machine.status(driver.now).not_ready == ()
        driver.serve(0.0, hold=call)
        while not driver.has_call(call):
            driver.now += 0.25
        driver.answer(call, NO_ANSWER)
        driver.now += 0.01
        driver.machine.coordinator.heartbeat.may_commit_until = inf
    (reason,) = driver.machine.status(driver.now).not_ready
    assert call.operation in reason
    assert "no answer" in reason


def test_readiness_before_the_first_plan_and_during_a_drain() -> None:
    driver = WorkerDriver(streams=stream())
    reasons = driver.machine.status(driver.now).not_ready
    assert [reason.partition(":")[0] for reason in reasons] == [
        "starting",
        "no heartbeat could be written for a lease TTL",
    ]
    driver.serve(2.0)
    driver.machine.drain()
    assert [reason.partition(":")[0] for reason in driver.machine.status(driver.now).not_ready] == ["draining"]


def test_the_status_shows_the_lag_of_the_shard_that_is_furthest_behind() -> None:
    driver = WorkerDriver(streams=stream(2))
    status = driver.machine.status(driver.now)
    assert (status.lag_seconds, status.headroom_seconds, status.lag_known) == (None, None, False)
    assert status.notes == ("lag unknown: the lease table has not been read yet",)
    driver.serve(3.0)
    status = driver.machine.status(driver.now)
    assert (status.lag_seconds, status.lag_known) == (RETENTION_SECONDS, False), "what was there before is not read yet"
    assert status.notes == (
        "lag unknown, at most 86400 s: some shards are not known to be read to their newest record",
    )
    assert driver.machine.coordinator.heartbeat.report.unknown == 2
    driver.serve(70.0)
    status = driver.machine.status(driver.now)
    assert (status.lag_seconds, status.lag_known, status.notes, status.not_ready) == (0.0, True, (), ())
    driver.streams.write("shard-1", IMAGE)
    driver.serve(1.0, hold=Commit)
    status = driver.machine.status(driver.now)
    assert status.lag_seconds == pytest.approx(driver.now - 1000.0)
    assert status.headroom_seconds == RETENTION_SECONDS - (driver.now - 1000.0)
    assert status.leases_owned == 2
    assert status.shards == {"running": 2, "halted": 0, "unowned": 0, "awaiting_rules": 0, "awaiting_stream": 0}
    report = driver.machine.coordinator.heartbeat.report
    assert (report.shards, report.lag_seconds) == (2, status.lag_seconds)


def test_a_shard_without_a_row_that_no_worker_owns_is_shown_as_halted() -> None:
    driver = reading_worker()
    stream_start = driver.tables.stream_starts[ARN]
    driver.tables.stream_starts[ARN] = StreamStart(
        ARN, stream_start.start_time, (*stream_start.roots, "shard-9"), complete=True
    )
    driver.serve(70.0)
    assert driver.machine.status(driver.now).shards == {
        "running": 1,
        "halted": 1,
        "unowned": 0,
        "awaiting_rules": 0,
        "awaiting_stream": 0,
    }


def test_readiness_names_members_of_another_protocol_and_what_follows() -> None:
    driver = WorkerDriver(streams=stream())
    driver.tables.workers[OTHER] = HeartbeatReport(1, protocol=1)
    for number in range(2, 12):
        driver.serve(0.5)
        driver.tables.workers[OTHER] = HeartbeatReport(number, protocol=1)
    assert not driver.machine.shards
    (reason, *_) = driver.machine.status(driver.now).not_ready
    assert OTHER in reason
    assert "claims nothing until they have stopped" in reason
    driver.tables.leave(OTHER)
    driver.serve(2.0)
    assert list(driver.machine.shards) == [shard(0)]
    assert not driver.machine.status(driver.now).not_ready


@pytest.mark.parametrize(("partition_key", "keyed"), [("playerId", True), ("gameId", False), (None, False)])
def test_only_a_keyed_stream_gets_marks(partition_key: str | None, *, keyed: bool) -> None:
    driver = WorkerDriver(streams=stream())
    driver.streams.partition_key = partition_key
    driver.streams.write("shard-0", IMAGE)
    driver.serve(2.0)
    assert driver.tables.stream_starts[ARN].keyed is keyed
    assert (driver.tables.board["foo"].mark is not None) is keyed


def test_a_keyed_board_over_a_split_and_poison() -> None:
    driver = WorkerDriver(streams=stream(3, {0: [1, 2]}))
    driver.streams.partition_key = "playerId"
    for number in range(200):
        player = f"player-{number % 7}"
        score = {"S": "many"} if number % 50 == 3 else {"N": "1"}
        name = f"shard-{0 if number < 100 else 1 + number % 2}"
        driver.streams.write(name, {**IMAGE, "playerId": {"S": player}, "score": score})
    driver.streams.close("shard-0")
    driver.serve(20.0)
    assert sum(score.games for score in driver.tables.board.values()) == 196
    assert len(driver.tables.quarantine) == 4
    assert {row.checkpoint for row in driver.tables.rows.values() if row.finished} == {SHARD_END}
    assert not driver.machine.status(driver.now).not_ready


def test_a_player_whose_games_are_split_over_two_shards_of_one_worker() -> None:
    """Both find no row; one makes it, the other shares it from then on."""
    driver = WorkerDriver(streams=stream(2))
    driver.streams.partition_key = "playerId"
    driver.serve(2.0)
    for _ in range(3):
        driver.streams.write("shard-0", IMAGE)
        driver.streams.write("shard-1", IMAGE)
        driver.serve(1.0)
    score = driver.tables.board["foo"]
    assert (score.games, score.total) == (6, Decimal(900))
    assert score.mark is not None
    assert {row.checkpoint for row in driver.tables.rows.values()} == {
        wires[-1]["dynamodb"]["SequenceNumber"]
        for name in ("shard-0", "shard-1")
        if (wires := driver.streams.shards[name].records)
    }
    committed = [event.unit.outcomes for event in driver.reported if isinstance(event, events.UnitCommitted)]
    assert sum(each.get(Outcome.APPLIED, 0) for each in committed) == 6
    assert not any(each.get(Outcome.ALREADY_SETTLED) for each in committed)


def test_a_drained_worker_finishes_its_single_writes_and_leaves() -> None:
    driver = WorkerDriver(streams=stream())
    driver.streams.partition_key = "playerId"
    driver.serve(2.0)
    for number in range(40):
        driver.streams.write("shard-0", {**IMAGE, "playerId": {"S": f"player-{number}"}})
    driver.serve(0.3, hold=WriteRows)
    assert sum(len(call.writes) for call in driver.in_flight if isinstance(call, WriteRows)) == 40
    driver.machine.drain()
    driver.serve(2.0)
    assert done(driver)
    assert len(driver.tables.board) == 40
    (stored,) = driver.tables.rows.values()
    last = driver.streams.shards["shard-0"].records[-1]["dynamodb"]["SequenceNumber"]
    assert (stored.owner, stored.checkpoint) == (None, last)


def test_what_a_dead_worker_wrote_ahead_of_its_checkpoint_counts_once() -> None:
    dead = WorkerDriver(streams=stream())
    dead.streams.partition_key = "playerId"
    dead.serve(2.0)
    for _ in range(3):
        dead.streams.write("shard-0", IMAGE)
    dead.serve(0.5, hold=MoveCheckpoint)
    assert (total(dead), dead.tables.rows[shard()].checkpoint) == (Decimal(450), TRIM_HORIZON)
    assert dead.machine.status(dead.now).lag_seconds == 0.0, "it is on the board"
    late = dead.call(MoveCheckpoint)

    owner = WorkerDriver(OTHER, dead.tables, dead.streams)
    last = owner.streams.write("shard-0", IMAGE)
    owner.serve(3 * TTL)
    assert (total(owner), owner.tables.rows[shard()].checkpoint) == (Decimal(600), last)
    committed = [event.unit.outcomes for event in owner.reported if isinstance(event, events.UnitCommitted)]
    assert committed == [{Outcome.APPLIED: 1, Outcome.ALREADY_SETTLED: 3}]
    assert kinds(dead.deliver(late, execute(late, dead.ports))) == ["LeaseLost"]
