"""How many quarantined records are pending: an index counts them at the cost of what is pending, whatever the history.

Only pending rows have the index's key, which is their shard's id: the index takes as many writes per second as the
table, where one value for all pending rows would limit them to 1,000. A count also looks at the state: a row that an
older version settled, or a step back of a checkpoint wrote again, may still have the key.
"""

from collections.abc import Iterator, Mapping
from typing import Any, Final

from consumer.aws.errors import translated
from consumer.aws.items import PENDING_INDEX, PENDING_KEY
from consumer.domain.leases import TableNames

INDEX: Final[dict[str, Any]] = {
    "IndexName": PENDING_INDEX,
    "KeySchema": [{"AttributeName": PENDING_KEY, "KeyType": "HASH"}],
    "Projection": {"ProjectionType": "INCLUDE", "NonKeyAttributes": ["state"]},
}
"""As a request to create it."""
ACTIVE: Final = "ACTIVE"
"""The status of an index that is complete and can be read."""
_COUNT: Final[dict[str, Any]] = {
    "FilterExpression": "#state = :pending",
    "ExpressionAttributeNames": {"#state": "state"},
    "ExpressionAttributeValues": {":pending": {"S": "pending"}},
    "Select": "COUNT",
}


class DynamoPending:
    """The PendingRecords port over a boto3 client."""

    def __init__(self, client: Any, tables: TableNames) -> None:
        self._client = client
        self._quarantine = tables.quarantine

    @translated()
    def count(self) -> int | None:
        """By the index, eventually consistent; see ports.PendingRecords."""
        if status_of(self._client.describe_table(TableName=self._quarantine)["Table"]) != ACTIVE:
            return None
        pages = self._client.get_paginator("scan").paginate(
            TableName=self._quarantine, IndexName=PENDING_INDEX, **_COUNT
        )
        return sum(int(page["Count"]) for page in pages)

    def scan(self) -> Iterator[int]:
        """The whole table; see ports.PendingRecords."""
        pages = iter(self._client.get_paginator("scan").paginate(TableName=self._quarantine, **_COUNT))
        while True:
            with translated():
                page = next(pages, None)
                count = int(page["Count"]) if page is not None else None
            if count is None:
                return
            yield count


def status_of(description: Mapping[str, Any]) -> str | None:
    """The index's status by the table's description; None: there is none."""
    indexes = description.get("GlobalSecondaryIndexes", ())
    # ministack's CloudFormation makes indexes without a status.
    statuses = (str(index.get("IndexStatus", ACTIVE)) for index in indexes if index["IndexName"] == PENDING_INDEX)
    return next(statuses, None)
