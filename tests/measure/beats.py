"""What workers do to the lease table while nothing happens: their beats, and nothing else."""

import time
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from consumer.aws.items import MEMBERS_KEY, WORKER_PREFIX, lease_item, lease_key
from consumer.domain.leases import LeaseRow, Shard
from consumer.domain.position import SHARD_END
from tests.measure.figure import Figure
from tests.measure.stage import DEFAULT_TTL_SECONDS, Stage
from tests.processes import until

_STILL_SECONDS = 0.1
_CALM_SECONDS = 3.0
_BATCH = 25  # items a BatchWriteItem takes


class Moment(NamedTuple):
    """What has come to the lease table by now, and each worker's beats so far."""

    at: float
    writes: Mapping[str, int]
    read_units: float
    beats: Mapping[str, int]


def beats(
    engine_url: str,
    *,
    shards: int = 100,
    workers: int = 3,
    ttl_seconds: float = DEFAULT_TTL_SECONDS,
    seconds: float = 60.0,
) -> Iterator[Figure]:
    """Idle workers with fair shares are counted for `seconds`."""
    with Stage(engine_url, shards, ttl_seconds) as stage:
        yield from _counted(stage, f"{shards:,} shards", workers, seconds, 0)


def crowded(engine_url: str) -> Iterator[Figure]:
    """The same with a thousand shards, and ten thousand that are finished."""
    with Stage(engine_url, 1_000) as stage:
        yield from _counted(stage, "1,000 shards, 10,000 finished", 3, 60.0, 10_000)


def _counted(stage: Stage, what: str, workers: int, seconds: float, finished: int) -> Iterator[Figure]:
    for _ in range(workers):
        stage.start()
    stage.wait_until_shared(workers)
    _finish(stage, finished)
    time.sleep(_CALM_SECONDS)
    before = _moment(stage)
    time.sleep(seconds)
    after = _moment(stage)

    took = after.at - before.at
    beaten = [after.beats[owner] - before.beats[owner] for owner in before.beats]
    writes = {name: after.writes[name] - before.writes.get(name, 0) for name in after.writes}
    units = (after.read_units - before.read_units) / workers / (took / 60)
    yield Figure(
        f"beats a worker in {took:.1f} s, {what}",
        max(beaten),
        "writes",
        int(took / stage.beat_seconds) + 1,
        f"{beaten}",
    )
    # Finished rows may be marked and removed in time: told there, but not judged.
    limit = None if finished else 0
    yield Figure(f"other writes, {what}", sum(writes.values()) - sum(beaten), "writes", limit, f"all: {writes}")
    yield Figure(f"read units a worker and minute, {what}", units, "units")


def _moment(stage: Stage) -> Moment:
    """Taken when no beat is under way: nothing changed for a while."""

    def look() -> Moment:
        told, table = stage.remote.counts(), stage.game.tables["lease"]
        item = stage.game.client.get_item(TableName=table, Key=lease_key(MEMBERS_KEY), ConsistentRead=True)["Item"]
        beats = {name: int(each["M"]["beat"]["N"]) for name, each in item.items() if name.startswith(WORKER_PREFIX)}
        return Moment(time.monotonic(), told.writes.get(table, {}), told.read_units.get(table, 0.0), beats)

    def still() -> Moment | None:
        first = look()
        time.sleep(_STILL_SECONDS)
        second = look()
        return second if (first.writes, first.beats) == (second.writes, second.beats) else None

    found = until(still, "a moment without beats")
    assert found is not None
    return found


def _finish(stage: Stage, rows: int) -> None:
    """Rows of shards that were read to their ends long ago and had no children."""
    table = stage.game.tables["lease"]
    for start in range(0, rows, _BATCH):
        items = [_finished(stage, number) for number in range(start, min(rows, start + _BATCH))]
        stage.game.client.batch_write_item(RequestItems={table: [{"PutRequest": {"Item": item}} for item in items]})


def _finished(stage: Stage, number: int) -> dict[str, object]:
    shard = Shard(stage.arn, f"shardId-{number:020d}-finished")
    row = LeaseRow(shard, None, int(time.time()), SHARD_END)
    return {**lease_item(row), "childShardIds": {"L": []}}
