"""Well-known bugs of stream consumers, each as a test over whole workers: leases and members."""

from dataclasses import replace
from typing import Any

import pytest

from consumer.aws.leases import DynamoMembership
from consumer.domain.errors import UnsafeRefused
from consumer.domain.leases import TableNames
from consumer.domain.membership import HeartbeatReport
from consumer.worker.calls import execute
from consumer.worker.ledger_calls import Claim, SendHeartbeat
from consumer.worker.shard import ShardState
from consumer.worker.shard_calls import Commit
from tests.support.builders import ME, OTHER, shard
from tests.support.cluster import Cluster, single_worker
from tests.support.drivers import NO_ANSWER, TTL, kinds

THIRD = "w3/c"
PAUSE = 4 * TTL


class Client:
    """A DynamoDB client that records the keys of its writes."""

    def __init__(self) -> None:
        self.keys: list[Any] = []

    def update_item(self, **request: Any) -> dict[str, Any]:
        self.keys.append(request["Key"])
        return {}


def test_a_heartbeat_that_races_a_commit_changes_neither_checkpoint_nor_owner() -> None:
    """Elsewhere: a heartbeat renews the lease by writing the whole row as read, over a commit or a claim."""
    cluster, worker = single_worker(0)
    worker.hold = SendHeartbeat
    cluster.serve(TTL / 2)
    late = worker.call(SendHeartbeat)
    cluster.write(0)
    cluster.serve(1.0)
    stored = replace(cluster.row(0), owner=OTHER, epoch=cluster.row(0).epoch + 1)
    cluster.tables.rows[shard(0)] = stored
    cluster.tables.workers.pop(ME)
    execute(late, worker.ports)
    assert cluster.row(0) == stored
    assert ME not in cluster.tables.workers, "an evicted worker comes back by joining, not by a late heartbeat"
    client = Client()
    DynamoMembership(client, TableNames()).send_heartbeat(ME, HeartbeatReport(1), joining=True, bump=True)
    assert client.keys == [{"leaseKey": {"S": "members"}}]


@pytest.mark.parametrize("restarted", [False, True], ids=["worker alive", "worker restarted"])
def test_a_lease_row_deleted_by_hand_halts_its_shard_alone(restarted: bool) -> None:
    """Elsewhere: the row is made again at the horizon or at LATEST, so records are counted twice or lost."""
    cluster, worker = single_worker(0, 1)
    cluster.write(0, 1)
    cluster.serve()
    if restarted:
        cluster.kill(ME)
    del cluster.tables.rows[shard(0)]
    if restarted:
        worker = cluster.start_worker(OTHER)
    cluster.write(0, 1)
    cluster.serve(200.0, step=0.5)
    assert cluster.counted() == [0, 1, 3]
    assert list(cluster.tables.rows) == [shard(1)]
    assert worker.not_ready.startswith(f"shard {shard(0)} is halted: its row is missing from the lease table")


@pytest.mark.parametrize("another", [False, True], ids=["claimed again", "handed over"])
def test_a_claim_whose_reply_was_lost_leaves_no_shard_unread(another: bool) -> None:
    """Elsewhere: the row names a worker that does not know it; while it sends heartbeats none reads the shard."""
    cluster = Cluster(ME)
    cluster.open_shards(0, 1)
    worker = cluster.workers[ME]
    worker.hold = Claim
    cluster.serve()
    for claim in [call for call in worker.in_flight if isinstance(call, Claim)]:
        execute(claim, worker.ports)
        worker.in_flight.remove(claim)
        worker.deliver(claim, NO_ANSWER)
    worker.hold = None
    assert cluster.owners() == {0: ME, 1: ME}
    assert not worker.machine.shards
    if another:
        cluster.start_worker(OTHER)
    cluster.write(0, 1)
    cluster.serve(10.0)
    assert cluster.owners() == {0: ME, 1: OTHER if another else ME}
    assert cluster.exact


def test_an_emptied_lease_table_halts_the_running_and_refuses_the_starting() -> None:
    """Elsewhere: an empty lease table is taken for a first start, and 24 hours are counted a second time."""
    cluster, worker = single_worker(0)
    cluster.write(0)
    cluster.serve()
    cluster.tables.rows.clear()
    cluster.tables.stream_starts.clear()
    cluster.tables.workers.clear()
    cluster.write(0)
    cluster.serve()
    assert worker.machine.shards[shard(0)].state is ShardState.HALTED
    assert "is halted" in worker.not_ready
    with pytest.raises(UnsafeRefused):
        cluster.serve(70.0)
    cluster.kill(ME)
    cluster.start_worker(OTHER)
    with pytest.raises(UnsafeRefused) as refused:
        cluster.serve()
    assert refused.value.exit_code == 4
    assert cluster.counted() == [0]
    assert not cluster.tables.rows


def test_a_worker_that_wakes_from_a_pause_takes_no_other_for_dead() -> None:
    """Elsewhere: the host sleeps, and the worker that wakes first finds all others overdue and claims their shards."""
    cluster = Cluster(ME, OTHER)
    cluster.open_shards(0, 1)
    cluster.serve(10.0)
    assert cluster.owners() == {0: ME, 1: OTHER}
    first, second = cluster.workers.values()
    first.paused = second.paused = True
    cluster.write(0, 1)
    cluster.serve(PAUSE)
    first.paused = False
    cluster.serve(TTL * 0.9)
    second.paused = False
    assert cluster.owners() == {0: ME, 1: OTHER}
    assert cluster.serve().exact
    assert list(first.machine.shards) == [shard(0)]


def test_a_worker_that_was_replaced_while_it_was_paused_is_fenced() -> None:
    """Elsewhere: the last write of the replaced worker is counted as well as that of its successor."""
    cluster = Cluster(ME, OTHER)
    cluster.open_shards(0, 1)
    cluster.serve(10.0)
    zombie, successor = cluster.workers.values()
    zombie.hold = Commit
    cluster.write(0, 1)
    cluster.serve(1.0)
    zombie.paused = True
    successor.hold = Commit
    cluster.serve(PAUSE)
    assert cluster.owners() == {0: OTHER, 1: OTHER}
    zombie.paused, zombie.hold = False, None
    cluster.serve(0.1)
    assert cluster.counted() == [1], "its commit is too late, although its successor has not committed yet"
    assert shard(0) not in zombie.machine.shards
    assert not {"ShardRewound", "ShardHalted"} & {*kinds(zombie.reported)}, "it drops the shard quietly"
    successor.hold = None
    cluster.serve(10.0)
    assert sorted(map(str, cluster.owners().values())) == [ME, OTHER]
    cluster.write(0, 1)
    assert cluster.serve().exact


@pytest.mark.parametrize("dying", [ME, OTHER, THIRD])
def test_any_worker_may_die_and_the_others_take_over_within_a_ttl(dying: str) -> None:
    """Elsewhere: shards wait minutes for a leader, or for leases that are renewed and stolen one by one."""
    cluster = Cluster(ME, OTHER, THIRD)
    cluster.open_shards(*range(6))
    cluster.serve(10.0)
    assert sorted(map(str, cluster.owners().values())) == sorted([ME, OTHER, THIRD] * 2)
    cluster.workers[dying].hold = Commit
    cluster.write(*range(6))
    cluster.serve(0.5)
    cluster.kill(dying)
    cluster.write(*range(6))
    cluster.serve(TTL * 1.5)
    cluster.write(*range(6))
    assert cluster.serve(1.0).exact
    assert sorted(map(str, cluster.owners().values())) == sorted([*cluster.workers] * 3)
