"""An operator's look at lease and quarantine table: one scan, one query and a count, however many shards there are."""

from collections.abc import Mapping
from typing import Final

from consumer.aws.adapters import OperatorAdapter
from consumer.aws.errors import translated
from consumer.aws.items import (
    BIRTH,
    GAP,
    MEMBERS_KEY,
    SHARD_PREFIX,
    STREAM_PREFIX,
    Item,
    birth_row,
    lease_row,
    members_of,
    pin_row,
    text,
)
from consumer.aws.pages import partition, scan
from consumer.domain.leases import Birth, LeaseRow, Members, Pin
from consumer.domain.outcomes import Ledger
from consumer.domain.overview import Gap, LeaseTable

REPLAY_PREFIX: Final = "replay#"


class DynamoOverviews(OperatorAdapter):
    """The Overviews port over a boto3 client; calls that must be tried again wait on `stop`."""

    @translated()
    def lease_table(self) -> LeaseTable:
        """Every row in one scan; see operator_ports.Overviews."""
        rows: list[LeaseRow] = []
        pins: list[Pin] = []
        replays: list[Mapping[str, str]] = []
        members = Members(0, {})
        for item in scan(self._client, self._stop, TableName=self._leases):
            key = item["leaseKey"]["S"]
            if key.startswith(SHARD_PREFIX):
                rows.append(lease_row(item))
            elif key.startswith(STREAM_PREFIX):
                pins.append(pin_row(item))
            elif key.startswith(REPLAY_PREFIX):
                replays.append(_plain(item))
            elif key == MEMBERS_KEY:
                members = members_of(item)
        return LeaseTable(Ledger(tuple(rows), tuple(pins)), members, tuple(replays))

    @translated()
    def gaps(self) -> tuple[Gap, ...]:
        """One partition; see operator_ports.Overviews."""
        return tuple(
            Gap(
                item["streamArn"]["S"],
                text(item, "shard"),
                item["from"]["S"],
                text(item, "to"),
                text(item, "loss") or "possible",
                text(item, "foundAt") or "",
            )
            for item in partition(self._client, self._stop, self._quarantine, GAP)
        )

    @translated()
    def births(self) -> tuple[Birth, ...]:
        """One partition; see operator_ports.Overviews."""
        return tuple(map(birth_row, partition(self._client, self._stop, self._quarantine, BIRTH)))

    def pending(self) -> int:
        """A scan that answers keys alone; see operator_ports.Overviews."""
        heads = scan(
            self._client,
            self._stop,
            TableName=self._quarantine,
            ProjectionExpression="sequenceNumber",
            FilterExpression="#state = :pending",
            ExpressionAttributeNames={"#state": "state"},
            ExpressionAttributeValues={":pending": {"S": "pending"}},
        )
        return sum(1 for _ in heads)


def _plain(item: Item) -> dict[str, str]:
    """What an item has of text, numbers and truths."""
    told = {name: next(iter(value.items())) for name, value in sorted(item.items())}
    return {name: str(value) for name, (tag, value) in told.items() if tag in ("S", "N", "BOOL")}
