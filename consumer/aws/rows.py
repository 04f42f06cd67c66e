"""What the worker and people's commands read alike, each in its own way of asking again."""

from collections.abc import Iterable
from typing import Any, Final

from consumer.aws.items import BIRTH, SHARD_PREFIX, STREAM_PREFIX, Item, lease_row, pin_row
from consumer.domain.outcomes import Ledger

PENDING: Final[dict[str, Any]] = {
    "FilterExpression": "#state = :pending",
    "ExpressionAttributeNames": {"#state": "state"},
    "ExpressionAttributeValues": {":pending": {"S": "pending"}},
}
"""Of a scan of the quarantine table: the rows that wait for a person."""


def partition_of(name: str) -> dict[str, Any]:
    """Of a query of the quarantine table: a partition."""
    return {"KeyConditionExpression": "shardId = :name", "ExpressionAttributeValues": {":name": {"S": name}}}


BIRTHS: Final = partition_of(BIRTH)


def ledger_of(items: Iterable[Item]) -> Ledger:
    """Shards' rows and pins among all that the lease table has."""
    rows, pins = [], []
    for item in items:
        key = item["leaseKey"]["S"]
        if key.startswith(SHARD_PREFIX):
            rows.append(lease_row(item))
        elif key.startswith(STREAM_PREFIX):
            pins.append(pin_row(item))
    return Ledger(tuple(rows), tuple(pins))
