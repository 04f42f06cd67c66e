"""The quarantine, read: small heads first, a whole record only when it is asked for."""

from collections.abc import Iterator
from threading import Event
from typing import Any, Final

from consumer.aws.items import Item, text
from consumer.aws.pages import ask, query, scan
from consumer.domain.parcel import unpack
from consumer.domain.position import is_sequence_number
from consumer.domain.quarantine import Head, Settled, State

_HEAD: Final = (
    "shardId, sequenceNumber, reason, detail, #state, playerId, parts, quarantinedAt, createdAt, streamArn, "
    "appliedAt, appliedBy, repairs, discardedAt, discardedBy, discardReason"
)
_NAMES: Final = {"#state": "state"}


class DynamoQuarantine:
    """Reads over a boto3 client, which wait on `stop` when they must be tried again."""

    def __init__(self, client: Any, quarantine: str, stop: Event) -> None:
        self._client = client
        self._quarantine = quarantine
        self._stop = stop

    def heads(self, shard_id: str | None = None) -> Iterator[Head]:
        """All heads, of one shard id or of all, in no order. Gap, birth and audit rows, and parts, have keys that are
        no sequence number. Raises Trouble.
        """
        request: dict[str, Any] = {
            "TableName": self._quarantine,
            "ProjectionExpression": _HEAD,
            "ExpressionAttributeNames": _NAMES,
        }
        if shard_id is None:
            rows = scan(self._client, self._stop, **request)
        else:
            request |= {
                "KeyConditionExpression": "shardId = :shard",
                "ExpressionAttributeValues": {":shard": {"S": shard_id}},
            }
            rows = query(self._client, self._stop, **request)
        for row in rows:
            if is_sequence_number(row["sequenceNumber"]["S"]) and not row["shardId"]["S"].startswith("#"):
                yield head_of(row)

    def head(self, shard_id: str, sequence_number: str) -> Head | None:
        """One record's head, None when there is none. Raises Trouble."""
        key = {"shardId": {"S": shard_id}, "sequenceNumber": {"S": sequence_number}}
        answer = ask(
            lambda: self._client.get_item(TableName=self._quarantine, Key=key, ConsistentRead=True), self._stop
        )
        row = answer.get("Item")
        return head_of(row) if row else None

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


def head_of(row: Item) -> Head:
    """A head from its row."""
    created = text(row, "createdAt", "N")
    return Head(
        shard_id=row["shardId"]["S"],
        sequence_number=row["sequenceNumber"]["S"],
        reason=text(row, "reason") or "",
        state=text(row, "state") or "",
        player=text(row, "playerId"),
        parts=int(text(row, "parts", "N") or 0),
        detail=text(row, "detail") or "",
        quarantined_at=text(row, "quarantinedAt") or "",
        created=float(created) if created is not None else None,
        stream_arn=text(row, "streamArn") or "",
        settled=_settled(row),
    )


def _settled(row: Item) -> Settled | None:
    match text(row, "state"):
        case State.APPLIED:
            repairs = row.get("repairs", {}).get("M", {})
            values = {field: text(repairs, field) or "" for field in sorted(repairs)}
            return Settled(text(row, "appliedBy") or "", text(row, "appliedAt") or "", values)
        case State.DISCARDED:
            by, at = text(row, "discardedBy") or "", text(row, "discardedAt") or ""
            return Settled(by, at, why=text(row, "discardReason"))
    return None
