"""An operator's look at lease and quarantine table: one scan, one query and a count, however many shards there are."""

from typing import Final

from consumer.aws.adapters import OperatorAdapter
from consumer.aws.errors import translated
from consumer.aws.items import BIRTH, GAP, MEMBERS_KEY, Item, birth_row, members_of, text
from consumer.aws.pages import partition, scan
from consumer.aws.rows import PENDING, ledger_of
from consumer.domain.leases import Birth
from consumer.domain.overview import Gap, LeaseTable

REPLAY_PREFIX: Final = "replay#"


class DynamoOverviews(OperatorAdapter):
    """The Overviews port over a boto3 client; calls that must be tried again wait on `stop`."""

    @translated()
    def lease_table(self) -> LeaseTable:
        """Every row in one scan; see operator_ports.Overviews."""
        items = {item["leaseKey"]["S"]: item for item in scan(self._client, self._stop, TableName=self._leases)}
        replays = tuple(_plain(item) for key, item in items.items() if key.startswith(REPLAY_PREFIX))
        return LeaseTable(ledger_of(items.values()), members_of(items.get(MEMBERS_KEY, {})), replays)

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
        names = {"TableName": self._quarantine, "ProjectionExpression": "sequenceNumber"}
        return sum(1 for _ in scan(self._client, self._stop, **names, **PENDING))


def _plain(item: Item) -> dict[str, str]:
    """What an item has of text, numbers and truths."""
    told = {name: next(iter(value.items())) for name, value in sorted(item.items())}
    return {name: str(value) for name, (tag, value) in told.items() if tag in ("S", "N", "BOOL")}
