"""What idle workers write to and read from the lease table: heartbeats, and nothing else."""

import time
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from consumer.aws.items import MEMBERS_KEY, WORKER_PREFIX, lease_item, lease_key
from consumer.domain.leases import SHARD_END, LeaseRow, Shard
from tests.performance.figures import Figure
from tests.performance.measure.cluster import DEFAULT_TTL_SECONDS, MeasuredCluster
from tests.support.processes import until

_STILL_SECONDS = 0.1
_SETTLE_SECONDS = 3.0
_BATCH = 25
"""The most items of a BatchWriteItem."""


class Counted(NamedTuple):
    """The writes and read units of the lease table so far, and the number of each worker's last heartbeat."""

    at: float
    writes: Mapping[str, int]
    read_units: float
    heartbeats: Mapping[str, int]


def heartbeats(
    engine_url: str,
    *,
    shards: int = 100,
    workers: int = 3,
    ttl_seconds: float = DEFAULT_TTL_SECONDS,
    seconds: float = 60.0,
) -> Iterator[Figure]:
    """Counts the writes of idle workers with fair shares for `seconds`."""
    with MeasuredCluster(engine_url, shards, ttl_seconds) as cluster:
        yield from _count(cluster, f"{shards:,} shards", workers, seconds, 0)


def crowded(engine_url: str) -> Iterator[Figure]:
    """The same with a thousand shards and ten thousand finished ones."""
    with MeasuredCluster(engine_url, 1_000) as cluster:
        yield from _count(cluster, "1,000 shards, 10,000 finished", 3, 60.0, 10_000)


def _count(cluster: MeasuredCluster, what: str, workers: int, seconds: float, finished: int) -> Iterator[Figure]:
    for _ in range(workers):
        cluster.start()
    cluster.wait_until_shared(workers)
    _finish(cluster, finished)
    time.sleep(_SETTLE_SECONDS)
    before = _read(cluster)
    time.sleep(seconds)
    after = _read(cluster)

    took = after.at - before.at
    sent = [after.heartbeats[owner] - before.heartbeats[owner] for owner in before.heartbeats]
    writes = {name: after.writes[name] - before.writes.get(name, 0) for name in after.writes}
    units = (after.read_units - before.read_units) / workers / (took / 60)
    yield Figure(
        f"heartbeats per worker in {took:.1f} s, {what}",
        max(sent),
        "writes",
        int(took / cluster.heartbeat_seconds) + 1,
        f"{sent}",
    )
    # Finished rows may be marked and deleted meanwhile: then it is not judged.
    limit = None if finished else 0
    yield Figure(f"other writes, {what}", sum(writes.values()) - sum(sent), "writes", limit, f"all: {writes}")
    yield Figure(f"read units per worker and minute, {what}", units, "units")


def _read(cluster: MeasuredCluster) -> Counted:
    """Read while no heartbeat is in flight: nothing changes for a while."""

    def read() -> Counted:
        counts, table = cluster.remote.counts(), cluster.game.tables["lease"]
        item = cluster.game.client.get_item(TableName=table, Key=lease_key(MEMBERS_KEY), ConsistentRead=True)["Item"]
        reports = {name: value["M"] for name, value in item.items() if name.startswith(WORKER_PREFIX)}
        numbers = {name: int(report["beat"]["N"]) for name, report in reports.items()}
        return Counted(time.monotonic(), counts.writes.get(table, {}), counts.read_units.get(table, 0.0), numbers)

    def unchanged() -> Counted | None:
        first = read()
        time.sleep(_STILL_SECONDS)
        second = read()
        return second if (first.writes, first.heartbeats) == (second.writes, second.heartbeats) else None

    found = until(unchanged, "a time without heartbeats")
    assert found is not None
    return found


def _finish(cluster: MeasuredCluster, rows: int) -> None:
    """Adds rows of shards that ended long ago and had no children."""
    table = cluster.game.tables["lease"]
    for start in range(0, rows, _BATCH):
        items = [_finished(cluster, number) for number in range(start, min(rows, start + _BATCH))]
        cluster.game.client.batch_write_item(RequestItems={table: [{"PutRequest": {"Item": item}} for item in items]})


def _finished(cluster: MeasuredCluster, number: int) -> dict[str, object]:
    shard = Shard(cluster.arn, f"shardId-{number:020d}-finished")
    row = LeaseRow(shard, None, int(time.time()), SHARD_END)
    return {**lease_item(row), "childShardIds": {"L": []}}
