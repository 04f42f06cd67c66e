"""Whether workers have read all there is."""

from collections.abc import Iterable, Mapping
from typing import Any

from tests.streams_server.remote import ShardState

_SHARD_END = "SHARD_END"


def undrained(shards: Iterable[ShardState], rows: Iterable[Mapping[str, Any]], stream_arn: str) -> list[str]:
    """The shards of a stream whose row in the lease table (items in wire form) says that something is left."""
    checkpoints = {
        row["shardId"]["S"]: row["checkpoint"]["S"]
        for row in rows
        if row.get("streamArn", {}).get("S") == stream_arn and "checkpoint" in row
    }
    return [
        f"{shard.shard_id} at {checkpoints.get(shard.shard_id)}"
        for shard in shards
        if not _is_drained(shard, checkpoints.get(shard.shard_id))
    ]


def _is_drained(shard: ShardState, checkpoint: str | None) -> bool:
    if shard.closed:
        return checkpoint == _SHARD_END
    return checkpoint is not None and (shard.records == shard.trimmed or checkpoint == shard.last)
