"""The quarantine, read: small heads first, a whole record only when it is asked for."""

from collections.abc import Iterator
from threading import Event
from typing import Any, Final, NamedTuple

from consumer.aws.items import text
from consumer.aws.pages import ask, scan
from consumer.domain.parcel import unpack
from consumer.domain.position import is_sequence_number

_HEAD: Final = "shardId, sequenceNumber, reason, #state, playerId, parts"


class Head(NamedTuple):
    """What a quarantined record's head row says; its parts hold the record."""

    shard_id: str
    sequence_number: str
    reason: str
    state: str
    player: str | None
    parts: int


class DynamoQuarantine:
    """Reads over a boto3 client, which wait on `stop` when they must be tried again."""

    def __init__(self, client: Any, quarantine: str, stop: Event) -> None:
        self._client = client
        self._quarantine = quarantine
        self._stop = stop

    def heads(self) -> Iterator[Head]:
        """All heads, in no order. Gap, birth and audit rows, and parts, have keys that are no sequence number."""
        rows = scan(
            self._client,
            self._stop,
            TableName=self._quarantine,
            ProjectionExpression=_HEAD,
            ExpressionAttributeNames={"#state": "state"},
        )
        for row in rows:
            sequence_number = row["sequenceNumber"]["S"]
            if is_sequence_number(sequence_number):
                yield Head(
                    row["shardId"]["S"],
                    sequence_number,
                    text(row, "reason") or "",
                    text(row, "state") or "",
                    text(row, "playerId"),
                    int(text(row, "parts", "N") or 0),
                )

    def record(self, head: Head) -> dict[str, Any]:
        """The whole record in wire form. Raises Trouble; ValueError or OSError when a part is missing or damaged."""
        return unpack(self._part(head, position) for position in range(1, head.parts + 1))

    def _part(self, head: Head, position: int) -> bytes:
        key = {"shardId": {"S": head.shard_id}, "sequenceNumber": {"S": f"{head.sequence_number}#{position}"}}
        answer = ask(
            lambda: self._client.get_item(TableName=self._quarantine, Key=key, ConsistentRead=True), self._stop
        )
        part: bytes | None = answer.get("Item", {}).get("record", {}).get("B")
        if part is None:
            raise ValueError(f"part {position} of record {head.sequence_number} is missing")
        return part
