"""Two shards of one worker with the same player: their units are sent one after the other, and grow while they wait."""

import pytest

from consumer.domain.errors import CallFailed, FailureKind
from consumer.domain.leases import Shard
from consumer.domain.replies import Committed, Refused
from consumer.worker.calls import Call, execute
from consumer.worker.shard_calls import Commit, Release
from tests.support.builders import later_of, shard
from tests.support.drivers import IMAGE, WorkerDriver, stream


def write(driver: WorkerDriver, number: int, player: str = "foo") -> None:
    driver.streams.write(f"shard-{number}", {**IMAGE, "playerId": {"S": player}})


def both_reading() -> WorkerDriver:
    """Two shards are read; nothing is there to commit yet."""
    driver = WorkerDriver(streams=stream(2))
    driver.serve(2.0)
    assert list(driver.machine.shards) == [shard(0), shard(1)]
    return driver


def commits(driver: WorkerDriver) -> list[Commit]:
    return [call for call in driver.in_flight if isinstance(call, Commit)]


def waiting() -> WorkerDriver:
    """Both have a game of the same player; one commit is in flight, the other waits for its lock."""
    driver = both_reading()
    write(driver, 0)
    write(driver, 1)
    driver.serve(1.0, hold=Commit)
    assert len(commits(driver)) == 1
    return driver


def other_shard(commit: Commit) -> Shard:
    """The shard whose commit waits for this one."""
    return shard(0) if commit.lease.shard == shard(1) else shard(1)


def answer(driver: WorkerDriver, call: Call) -> None:
    driver.in_flight.remove(call)
    driver.deliver(call, execute(call, driver.ports))


def test_units_that_share_a_player_are_sent_one_after_the_other() -> None:
    driver = waiting()
    (first,) = commits(driver)
    answer(driver, first)
    assert driver.machine.wake_at() <= driver.now, "the other commit is granted"
    driver.start_due()
    (second,) = commits(driver)
    assert second.lease.shard != first.lease.shard
    answer(driver, second)
    assert driver.tables.board["foo"].games == 2


def test_units_of_different_players_do_not_wait_for_each_other() -> None:
    driver = both_reading()
    write(driver, 0, "foo")
    write(driver, 1, "bar")
    driver.serve(1.0, hold=Commit)
    assert len(commits(driver)) == 2


def test_a_unit_that_waited_takes_in_what_has_come_since_but_no_player_of_another_unit() -> None:
    driver = waiting()
    (first,) = commits(driver)
    (second,) = {0, 1} - {int(first.lease.shard.shard_id[-1])}
    other_unit_has = "busy"
    for player in ("foo", "new", other_unit_has):
        write(driver, second, player)
    write(driver, 1 - second, other_unit_has)
    driver.serve(1.0, hold=Commit)
    answer(driver, first)
    driver.start_due()
    units = {commit.lease.shard.shard_id: commit.unit for commit in commits(driver)}
    assert set(units[f"shard-{second}"].deltas) >= {"foo", "new"}
    assert units[f"shard-{second}"].deltas["foo"].games == 2
    held = [player for unit in units.values() for player in unit.deltas]
    assert len(held) == len(set(held))
    driver.serve(2.0)
    for commit in commits(driver):
        answer(driver, commit)
    driver.serve(2.0)
    assert {player: score.games for player, score in driver.tables.board.items()} == {"foo": 3, "new": 1, "busy": 2}


def test_a_unit_with_a_later_date_keeps_its_locks() -> None:
    driver = waiting()
    (first,) = commits(driver)
    driver.in_flight.remove(first)
    driver.deliver(first, Refused(later={"foo": "2026-12-31"}))
    driver.start_due()
    (again,) = commits(driver)
    assert again.lease == first.lease
    assert later_of(again) == {"foo"}


@pytest.mark.parametrize("reply", [Refused(conflict=True), CallFailed(FailureKind.NETWORK, "no answer")])
def test_a_unit_that_waits_for_its_retry_releases_its_locks(reply: Refused | CallFailed) -> None:
    driver = waiting()
    (first,) = commits(driver)
    driver.in_flight.remove(first)
    driver.deliver(first, reply)
    driver.start_due()
    assert [commit.lease.shard for commit in commits(driver)] == [other_shard(first)]


def test_a_drain_does_not_wait_for_locks() -> None:
    driver = waiting()
    (first,) = commits(driver)
    driver.machine.drain()
    driver.start_due()
    assert [call.lease.shard for call in driver.in_flight if isinstance(call, Release)] == [other_shard(first)]
    driver.in_flight.remove(first)
    driver.deliver(first, Committed())
    driver.start_due()
    assert commits(driver) == []
    assert sum(isinstance(call, Release) for call in driver.in_flight) == 2


def test_a_lock_granted_while_no_heartbeat_is_written_is_kept() -> None:
    driver = waiting()
    (first,) = commits(driver)
    driver.now += 100.0  # no heartbeat was written for a TTL
    driver.in_flight = [call for call in driver.in_flight if call is first]
    answer(driver, first)
    assert commits(driver) == []
    driver.start_due()
    assert commits(driver) == []
    driver.serve(1.0)
    driver.serve(1.0)
    assert driver.tables.board["foo"].games == 2


def test_a_lease_that_is_lost_while_its_unit_waits_leaves_the_queue() -> None:
    driver = waiting()
    (first,) = commits(driver)
    waits = other_shard(first)
    row = driver.tables.rows[waits]
    driver.tables.rows[waits] = type(row)(row.shard, "w9/z", row.epoch + 1, row.checkpoint, created=row.created)
    driver.tables.workers["w9/z"] = driver.tables.workers[driver.machine.coordinator.identity.owner]
    driver.machine.coordinator.reload_ledger(driver.now)
    driver.serve(1.0, hold=Commit)
    assert waits not in driver.machine.shards
    answer(driver, first)
    driver.start_due()
    assert commits(driver) == []
