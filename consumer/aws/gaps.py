"""Gap rows of the quarantine table: where data may be lost. Such a row is made whole, and then only filled."""

from typing import Any

from consumer.aws.items import GAP, iso
from consumer.aws.transaction import Action
from consumer.domain.leases import Shard, label_of


def gap(shard: Shard, checkpoint: str, found_at: float) -> dict[str, Any]:
    """Data of a shard after a checkpoint: the row without its key."""
    return {
        "streamArn": {"S": shard.stream_arn},
        "shard": {"S": shard.shard_id},
        "from": {"S": checkpoint},
        "loss": {"S": "possible"},
        "foundAt": {"S": iso(found_at)},
    }


def stream_gap_key(stream_arn: str, predecessor: str) -> dict[str, Any]:
    """The key of the gap between two streams."""
    return {"shardId": {"S": GAP}, "sequenceNumber": {"S": f"{label_of(stream_arn)}/{label_of(predecessor)}"}}


def stream_gap(stream_arn: str, predecessor: str, found_at: float) -> dict[str, Any]:
    """What was written after one stream ended and before the next began is in neither: the row without its key."""
    return {
        "streamArn": {"S": stream_arn},
        "from": {"S": label_of(predecessor)},
        "to": {"S": label_of(stream_arn)},
        "loss": {"S": "possible"},
        "foundAt": {"S": iso(found_at)},
    }


def fill(quarantine: str, key: dict[str, Any], row: dict[str, Any]) -> Action:
    """Writes what the row does not say yet; what it says stays. It never fails a transaction."""
    return {
        "Update": {
            "TableName": quarantine,
            "Key": key,
            "UpdateExpression": "SET " + ", ".join(f"#{name} = if_not_exists(#{name}, :{name})" for name in row),
            "ExpressionAttributeNames": {f"#{name}": name for name in row},
            "ExpressionAttributeValues": {f":{name}": value for name, value in row.items()},
        }
    }
